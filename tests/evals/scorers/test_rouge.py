"""ROUGE and the stemmer: by hand, then rouge-score and NLTK on random and real texts.

python -m pytest tests/evals/scorers/test_rouge.py
"""

from __future__ import annotations

import gzip
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from septet.evals.porter import stem
from septet.evals.sample import Output, Sample
from septet.evals.scorers.rouge import Rouge

NAMES = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
WORDS = "the cat cats sat was sitting on its mats mat running ran relational flies, a b. naïve 12"
texts = st.lists(st.sampled_from([*WORDS.split(), "\n"]), max_size=14).map(" ".join)


def ours(said: str, right: list[str], *, stemmer: bool = False) -> dict[str, float]:
    return dict(Rouge(stemmer=stemmer).score(Sample("a", right[0], expected=right), Output(text=said)).values)


def theirs(said: str, right: list[str], *, stemmer: bool = False) -> dict[str, float]:
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(NAMES, use_stemmer=stemmer)
    return {name: found.fmeasure for name, found in scorer.score_multi(right, said).items()}


def test_rouge_by_hand() -> None:
    # said 6 words, right 7: 5 common words: 10/13; pairs (the cat), (on the), (the mat) of 5 and 6: 6/11; subsequence
    # "the cat on the mat": 10/13
    found = ours("the cat sat on the mat", ["the big cat lies on the mat"])
    assert found["rouge1"] == pytest.approx(10 / 13)
    assert found["rouge2"] == pytest.approx(2 * 2 / 11)  # (on the), (the mat); "the big cat" parts the first
    assert found["rougeL"] == found["rougeLsum"] == pytest.approx(10 / 13)
    assert ours("", ["x"]) == ours("x", [""]) == dict.fromkeys(NAMES, 0.0)


def test_only_longer_words_are_stemmed() -> None:
    assert ours("cats", ["cat"])["rouge1"] == 0
    assert ours("cats", ["cat"], stemmer=True)["rouge1"] == 1
    assert ours("its", ["it"], stemmer=True)["rouge1"] == 0


def test_lines_by_hand() -> None:
    # Lin 2004, section 3.2: reference w1..w5, candidates "w1 w2 w6 w7 w8" and "w1 w3 w8 w9 w5": the union is w1 w2 w3 w5
    found = ours("w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5", ["w1 w2 w3 w4 w5"])
    assert found["rougeLsum"] == pytest.approx(2 * 4 / (10 + 5))
    # of the whole text in one line only w1 w2 w3 w5 in a row counts; in another order the lines still match
    swapped = ours("w4 w5\nw1 w2 w3", ["w1 w2 w3\nw4 w5"])
    assert swapped["rougeLsum"] == 1
    assert swapped["rougeL"] == pytest.approx(2 * 3 / 10)
    # equally long subsequences: rouge-score takes the first c of the reference for "c b" and the last for "c", so the union
    # has both
    assert (
        ours("c b\nc", ["c c"])["rougeLsum"]
        == pytest.approx(theirs("c b\nc", ["c c"])["rougeLsum"])
        == pytest.approx(0.8)
    )


def test_several_references_the_best_for_each_figure() -> None:
    found = ours("a b c d", ["b a d c", "a b x y"])
    assert found["rouge1"] == 1  # of the first
    assert found["rouge2"] == pytest.approx(1 / 3)  # of the second


@settings(max_examples=200, deadline=None)
@given(texts, st.lists(texts, min_size=1, max_size=3), st.booleans())
def test_rouge_agrees_with_rouge_score(said: str, right: list[str], stemmer: bool) -> None:
    assert ours(said, right, stemmer=stemmer) == pytest.approx(theirs(said, right, stemmer=stemmer))


@pytest.mark.parametrize("stemmer", [False, True])
def test_rouge_agrees_with_rouge_score_on_real_summaries(real_data: Path, stemmer: bool) -> None:
    path = next((real_data / "summarization" / "dialogsum").glob("*test*"))
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file][:60]
    for row, other in pairwise(rows):
        right = [row[f"summary{i}"] for i in (1, 2, 3)]
        said = other["summary1"] + "\n" + row["dialogue"][:200]
        assert ours(said, right, stemmer=stemmer) == pytest.approx(theirs(said, right, stemmer=stemmer))


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("caresses", "caress"),
        ("ponies", "poni"),
        ("ties", "tie"),  # NLTK: four letters keep the e
        ("agreed", "agre"),
        ("feed", "feed"),
        ("hopping", "hop"),
        ("falling", "fall"),
        ("filing", "file"),
        ("happy", "happi"),
        ("enjoy", "enjoy"),  # NLTK: y after a vowel stays
        ("relational", "relat"),
        ("vietnamization", "vietnam"),
        ("adoption", "adopt"),
        ("controlling", "control"),
        ("skies", "sky"),
        ("by", "by"),
    ],
)
def test_stems_by_hand(word: str, expected: str) -> None:
    assert stem(word) == expected


ENDINGS = "ies ied eed ed ing s sses alli fulli logi bli ational iviti ement ment ent ion e ll y ful ative izer ization ys icate"


@settings(max_examples=300, deadline=None)
@given(
    st.text("abcdeilnoqstuwxyz", max_size=6),
    st.lists(st.sampled_from(ENDINGS.split()), max_size=3),
)
def test_stems_agree_with_nltk(start: str, ends: list[str]) -> None:
    porter = pytest.importorskip("nltk.stem.porter").PorterStemmer()
    word = start + "".join(ends)
    if word:
        assert stem(word) == porter.stem(word)


def test_stems_agree_with_nltk_on_real_words(real_data: Path) -> None:
    porter = pytest.importorskip("nltk.stem.porter").PorterStemmer()
    path = next((real_data / "summarization" / "scitldr").glob("train*"))
    with gzip.open(path, "rt", encoding="utf-8") as file:
        words = sorted(set(re.findall("[a-z0-9]+", file.read().lower())))
    assert len(words) > 5000
    assert [word for word in words if stem(word) != porter.stem(word)] == []
