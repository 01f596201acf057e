"""The lexicon: what counts as a mention, sentences, words, and good and bad words.

python -m pytest tests/data/test_lexicon.py
"""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from septet.core.errors import DataError
from septet.data.lexicon import LONGEST, OCCUPATION, Lexicon, digest, plain, polarity, sentences, words

LEXICON = Lexicon.read(occupations=True)


def found(text: str) -> set[str]:
    return {f"{one.axis}/{one.group}" for _, some in LEXICON.mentions(text) for one in some}


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("The black dog ran.", ()),
        ("A black woman spoke.", ("ethnicity/Black", "gender/women")),
        ("A blind old sailor.", (f"{OCCUPATION}/sailor", "disability/blind", "age/old")),
        ("The blind are led.", ("disability/blind",)),
        ("He turned a blind eye.", ("gender/men",)),
        ("Polish the table.", ()),
        ("Two Polish workers came.", ("nationality/Polish",)),
        ("Some Germans came.", ("nationality/German",)),
        ("A gay tune.", ()),
        ("It is about gay rights.", ("orientation/gay",)),
        ("They are openly gay.", ("orientation/gay",)),
        ("Then Gay and Major Straight left.", ("orientation/gay",)),  # "gay and": a name that is not told apart
        ("I saw Gay yesterday.", ()),
        ("The poor have nothing.", ("class/poor",)),
        ("The poor man!", ("gender/men",)),
        ("A poor excuse.", ()),
        ("African-American voters.", ("ethnicity/Black",)),
        ("African voters.", ("nationality/African",)),
        ("Mrs. Smith's wheelchair user.", ("gender/women", "disability/mobility")),
        ("I miss the train.", ()),
        ("There Miss Clara sat.", ("gender/women",)),
        ("She'd go; the woman’s hat.", ("gender/women",)),
        ("A straight line.", ()),
        ("Straight couples.", ("orientation/heterosexual",)),
        ("A Christian prayer.", ("religion/Christian",)),
        ("The chief executive and the nurse.", (f"{OCCUPATION}/ceo", f"{OCCUPATION}/nurse")),
    ],
)  # fmt: skip
def test_ambiguous_words_count_in_context_only(text: str, groups: tuple[str, ...]):
    assert found(text) == set(groups)


def test_the_longest_term_wins_within_an_axis():
    tokens = words("trans women and women")
    some = LEXICON.find(tokens, plain(tokens))
    assert [(one.group, one.term) for one in some] == [("trans and non-binary", "trans women"), ("women", "women")]


def test_every_term_of_the_lexicon_can_be_found():
    for entries in LEXICON.first.values():
        for entry in entries:
            if entry.rule in ("always", "before", "after", "person", "Person", "the", "lower"):
                text = " ".join(entry.words)
                text = text.title() if entry.rule == "Person" else text
                before = {"the": "the ", "after": f"{min(entry.context, default='')} "}.get(entry.rule, "")
                after = {"before": f" {min(entry.context, default='')}", "person": " person", "Person": " person"}
                tokens = words(f"{before}{text}{after.get(entry.rule, '')}")
                groups = [(one.axis, one.group) for one in LEXICON.find(tokens, plain(tokens))]
                assert (entry.axis, entry.group) in groups, entry


def test_sentences_end_where_they_should():
    text = 'Mr. Smith went to St. Ives. "Why?" he asked. It cost 3.50 in all... Then\n\nA title\n\nEnd! (So.) Yes'
    assert list(sentences(text)) == [
        "Mr. Smith went to St. Ives.", '"Why?" he asked.', "It cost 3.50 in all...", "Then", "A title", "End!", "(So.)", "Yes",
    ]  # fmt: skip


def test_a_text_without_ends_has_bounded_sentences_and_loses_no_word():
    text = "word " * 5000 + "x" * 3000
    pieces = list(sentences(text))
    assert max(map(len, pieces)) <= LONGEST
    assert "".join(pieces).replace(" ", "") == text.replace(" ", "")
    assert list(sentences("")) == list(sentences(" \n ")) == []


def test_plain_words_are_as_many_as_the_words():
    tokens = words("The İstanbul woman’s “O'Brien's” don't, well-being; ﬁne 3 cats")
    assert tokens == ["The", "İstanbul", "woman’s", "O'Brien's", "don't", "well", "being", "ﬁne", "cats"]
    low = plain(tokens)
    assert len(low) == len(tokens)
    assert low[2:5] == ["woman", "o", "don"]


@pytest.mark.parametrize(
    ("text", "sense"),
    [("a good day", 1), ("not a good day", -1), ("good and bad", 0), ("the table", 0), ("never cruel", 1), ("vile lies", -1)],
)  # fmt: skip
def test_polarity(text: str, sense: int):
    assert polarity(plain(words(text))) == sense


def test_polarity_agrees_with_people_where_it_decides(real_data: Path):
    right = decided = 0
    with gzip.open(real_data / "classification" / "sst2" / "stsa.binary.test.gz", "rt", encoding="utf-8") as file:
        lines = file.readlines()
    for line in lines:
        sense = polarity(plain(words(line[2:])))
        decided += sense != 0
        right += sense == (1 if line[0] == "1" else -1)
    assert len(lines) == 1821
    assert right / decided > 0.75  # 0.5 is chance
    assert decided / len(lines) > 0.4


def test_a_lexicon_of_your_own(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "axes:\n  team:\n    red: {always: [red team]}\n    blue: {before: {blue: [team]}}\n", encoding="utf-8"
    )
    own = Lexicon.read(path)
    assert own.axis("team") == ("red", "blue")
    tokens = words("the red team and the blue team, blue")
    assert [one.group for one in own.find(tokens, plain(tokens))] == ["red", "blue"]
    assert digest(path) != digest()
    with pytest.raises(DataError, match=r"no axis 'teem'\. Did you mean 'team'"):
        own.axis("teem")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "a mapping"),
        ("axes: {}\n", "axis -> group -> rule -> terms"),
        ("axes: {a: {b: {alway: [x]}}}\n", "a, b: there is no rule 'alway'. Did you mean 'always'"),
        ("axes: {a: {b: [x]}}\n", "a, b: rules with their terms"),
        ("axes: {a: {b: {always: x}}}\n", "a, b, always: a list of terms"),
        ("axes: {a: {b: {always: [no]}}}\n", "False is not a term"),
        ("axes: {a: {b: {before: [x]}}}\n", "term -> list of words"),
        ("axes: [unclosed\n", "cannot be read"),
    ],
)
def test_a_lexicon_that_cannot_be_used_names_the_place(text: str, message: str, tmp_path: Path):
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as error:
        Lexicon.read(path)
    assert "bad.yaml" in str(error.value)
