"""Texts with their genders exchanged.

python -m pytest tests/data/test_gender.py
"""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from septet.core.errors import DataError
from septet.data.gender import her_is_him, his_is_hers, read_names, swap

PRONOUN = re.compile(r"\[(he|she|him|her|his|hers)\]", re.IGNORECASE)


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("She lost her book.", "He lost his book."),
        ("I saw her.", "I saw him."),
        ("They gave her a hug.", "They gave him a hug."),
        ("We wished her luck and let her go home.", "We wished him luck and let him go home."),
        ("She turned her back; we brought her back.", "He turned his back; we brought him back."),
        ("He kissed her softly on the cheek.", "She kissed him softly on the cheek."),
        ("Her lovely room was her own.", "His lovely room was his own."),
        ("A friend of his is here; the hat is his.", "A friend of hers is here; the hat is hers."),
        ("That was hers.", "That was his."),
        ("HE told HIM: She's mad, isn't she?", "SHE told HER: He's mad, isn't he?"),
        ("The king’s daughter’s son", "The queen’s son’s daughter"),
        ("Mr. Smith and Mrs. Jones", "Mrs. Smith and Mr. Jones"),
        ("Yes, sir. Sir Walter met Lady Anne.", "Yes, madam. Lady Walter met Lord Anne."),
        ("Ladies and gentlemen, my lord!", "Gentlemen and ladies, my lady!"),
        ("Miss Clara did not miss it.", "Mr Clara did not miss it."),
        ("her mother-in-law", "his father-in-law"),
        ("The actress and her husband", "The actor and his wife"),
        ("He or she, his or her; her or his hat", "She or he, her or his; his or her hat"),
        ("\0he\0she\0", "\0she\0he\0"),
    ],
)
def test_crafted_sentences(text: str, other: str):
    assert swap(text)[0] == other


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The table is round.",
        "Write to her@his.example or http://example.org/her/him and @her.",
        "The Lord is good to mankind.",
        "A man-made lake, a king-size bed.",
        "there then theme mandate herd",
    ],
)
def test_what_is_left_alone(text: str):
    assert swap(text) == (text, 0)


def test_words_are_counted():
    assert swap("She lost her book, he did not.") == ("He lost his book, she did not.", 3)


def test_swapping_twice_gives_the_text_again_where_words_go_both_ways():
    text = "The boy saw his mother himself. He told her: my sons, brothers and uncles love her. MEN, Women."
    once, changed = swap(text)
    assert changed == 12
    assert once != text
    assert swap(once)[0] == text


def test_swapping_twice_keeps_the_pronouns_of_a_real_book(real_data: Path):
    with gzip.open(
        real_data / "pretraining/english_novels/Cbronte_Jane_1847.txt.gz", "rt", encoding="utf-8-sig"
    ) as file:
        text = file.read()[:400_000]
    twice = swap(swap(text)[0])[0]
    every = re.findall(r"\b(?:he|she|him|her|his|hers|himself|herself)\b", text.lower())
    again = re.findall(r"\b(?:he|she|him|her|his|hers|himself|herself)\b", twice.lower())
    assert len(every) == len(again) > 2000
    # her -> his -> her and his -> her -> his go round; him/his taken for one another do not
    assert sum(a == b for a, b in zip(every, again, strict=True)) / len(every) > 0.98


def test_her_is_told_apart_as_his_and_him_are_in_real_books(real_data: Path):
    """In a text about men the answer stands there: "him" or "his". 68% are "his"."""
    right = count = 0
    for path in sorted((real_data / "pretraining" / "english_novels").glob("*.gz"))[1::3]:
        with gzip.open(path, "rt", encoding="utf-8-sig") as file:
            low = re.findall(r"[^\W\d_]+|\n\s*\n|[^\s]", file.read()[300_000:450_000].lower())
        low = ["\n" if token.isspace() else token for token in low]
        for place in range(1, len(low) - 2):
            word, before, after, later = low[place], low[place - 1], low[place + 1], low[place + 2]
            if word == "him" or (word == "his" and not his_is_hers(before, after)):
                count += 1
                right += her_is_him(before, after, later) == (word == "him")
    assert count > 5000
    assert right / count > 0.955, f"{right} of {count}"


@pytest.mark.parametrize("kind", [1, 2])
def test_winobias(kind: int, real_data: Path):
    """The swapped pronoun is the one that the other half of WinoBias has; its test part was not looked at for the rule."""
    folder = real_data / "bias" / "winobias"
    pro, anti = (
        gzip.decompress((folder / f"{side}_stereotyped_type{kind}.txt.test.gz").read_bytes()).decode().splitlines()
        for side in ("pro", "anti")
    )
    right = count = 0
    for first, second in zip(pro, anti, strict=True):
        one, two = PRONOUN.search(first), PRONOUN.search(second)
        if one and two:
            bare = re.sub(r"[\[\]]", "", first)
            place = len(re.findall(r"\w+", first[: one.start()]))
            count += 1
            right += re.findall(r"\w+", swap(bare)[0])[place].lower() == two.group(1).lower()
    assert count == 396
    assert right / count >= 0.975, f"{right} of {count}"  # type 1: 394, type 2: 389


def test_names_where_a_list_is_given(tmp_path: Path):
    path = tmp_path / "names.csv"
    path.write_text("# feminine, masculine\nMary,Martin\nEve\tAdam\n", encoding="utf-8")
    names = read_names(path)
    assert swap("Mary met Adam's mary.", names)[0] == "Martin met Eve's mary."
    assert swap("Mary met Adam.")[0] == "Mary met Adam."


@pytest.mark.parametrize(
    ("text", "message"),
    [("Mary\n", "row 1: Two names"), ("a,b\nc,a\n", "row 2: The name 'a' stands twice"), ("a,b1\n", "Two names")],
)
def test_names_that_cannot_be_used(text: str, message: str, tmp_path: Path):
    path = tmp_path / "names.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_names(path)
