"""Entities: by hand, malformed tags as conlleval reads them, then seqeval on random tags.

python -m pytest tests/evals/scorers/test_entity_f1.py
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from septet.core.errors import DataError
from septet.evals.sample import Output, Sample, Score
from septet.evals.scorers.entity_f1 import EntityF1
from septet.evals.spans import malformed, spans

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-my-type", "I-my-type"]


def judged(right: list[list[str]], said: list[list[str]]) -> list[Score]:
    pairs = zip(right, said, strict=True)
    return [EntityF1().score(Sample(str(i), expected=r), Output(prediction=s)) for i, (r, s) in enumerate(pairs)]


def values(right: list[list[str]], said: list[list[str]]) -> dict[str, float]:
    return {name: found.value for name, found in EntityF1().reduce(judged(right, said), seed=0).items()}


@pytest.mark.parametrize(
    ("tags", "found", "wrong"),
    [
        ("B-PER I-PER O B-LOC B-LOC", [("PER", 0, 2), ("LOC", 3, 4), ("LOC", 4, 5)], []),
        ("I-PER I-PER O", [("PER", 0, 2)], [0]),
        ("O I-LOC", [("LOC", 1, 2)], [1]),
        ("B-PER I-LOC I-LOC", [("PER", 0, 1), ("LOC", 1, 3)], [1]),
        ("B-PER O I-PER", [("PER", 0, 1), ("PER", 2, 3)], [2]),
        ("B-PER PER B- I-PER", [("PER", 0, 1), ("PER", 3, 4)], [1, 2, 3]),
        ("O O", [], []),
        ("", [], []),
    ],
)
def test_spans_as_conlleval_reads_them(tags: str, found: list, wrong: list[int]) -> None:
    assert spans(tags.split()) == found
    assert malformed(tags.split()) == wrong


def test_entity_f1_by_hand() -> None:
    right = ["B-PER I-PER O B-LOC".split(), "O B-LOC".split()]
    said = ["B-PER O O B-LOC".split(), "B-PER I-LOC".split()]
    # expected: PER, LOC, LOC; predicted: PER (too short), LOC, PER, LOC (begun by an I-): two right
    found = values(right, said)
    assert found["entity_precision"] == pytest.approx(2 / 4)
    assert found["entity_recall"] == pytest.approx(2 / 3)
    assert found["entity_f1"] == pytest.approx(2 * 2 / (4 + 3))
    assert (found["entity_f1, LOC"], found["entity_f1, PER"]) == (1, 0)
    assert (found["entity_precision, PER"], found["entity_recall, PER"]) == (0, 0)
    assert found["malformed_tags"] == pytest.approx(1 / 6)
    scores = judged(right, said)
    assert EntityF1().note(scores).endswith("1 of 6 predicted tags malformed")
    assert EntityF1().is_lower_better("malformed_tags")
    assert "entity_f1, LOC" not in EntityF1(by_type=False).reduce(scores, seed=0)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), max_size=8), min_size=1, max_size=6))
def test_entities_agree_with_seqeval_on_random_tags(rows: list[list[tuple[str, str]]]) -> None:
    metrics = pytest.importorskip("seqeval.metrics")
    labelling = pytest.importorskip("seqeval.metrics.sequence_labeling")
    right, said = ([[pair[side] for pair in row] for row in rows] for side in (0, 1))
    for row in said:
        assert spans(row) == [(kind, a, b + 1) for kind, a, b in labelling.get_entities(row)]
    found = EntityF1().corpus(judged(right, said))(np.arange(len(rows)))
    if any(spans(row) for row in (*right, *said)):
        for name in ("precision", "recall", "f1"):
            theirs = getattr(metrics, f"{name}_score")(right, said, zero_division=0)
            assert found[f"entity_{name}"] == pytest.approx(theirs), name
        report = metrics.classification_report(right, said, output_dict=True, zero_division=0)
        for kind in {kind for row in (*right, *said) for kind, _, _ in spans(row)}:
            assert found[f"entity_f1, {kind}"] == pytest.approx(report[kind]["f1-score"])


def test_entities_agree_with_seqeval_on_real_tags(real_data: Path) -> None:
    metrics = pytest.importorskip("seqeval.metrics")
    path = next((real_data / "ner" / "wnut17").glob("emerging.dev*"))
    with gzip.open(path, "rt", encoding="utf-8") as file:
        posts = [part.splitlines() for part in file.read().split("\n\n") if part.strip()]
    right = [[line.split("\t")[1].strip() for line in post if "\t" in line] for post in posts][:400]
    rng = np.random.default_rng(0)
    kinds = sorted({tag for row in right for tag in row})
    said = [[tag if rng.random() < 0.9 else kinds[rng.integers(len(kinds))] for tag in row] for row in right]
    found = values(right, said)
    assert found["entity_f1"] == pytest.approx(metrics.f1_score(right, said))
    assert found["malformed_tags"] > 0


def test_right_tags_of_the_older_scheme_are_read_and_counted() -> None:
    # IOB1, as in CoNLL-2003: B- only between neighbours of one type
    scores = judged([["I-PER", "I-PER", "B-PER", "O"]], [["B-PER", "I-PER", "B-PER", "O"]])
    assert EntityF1().corpus(scores)(np.arange(1))["entity_f1"] == 1
    assert EntityF1().note(scores).endswith("0 of 4 predicted tags malformed, and 1 of the right ones")


def test_resamples_without_a_type_are_left_out_of_its_interval() -> None:
    rows = [["B-RARE"], *(["B-LOC"] for _ in range(9))]
    found = EntityF1().reduce(judged(rows, rows), seed=0)["entity_f1, RARE"]
    assert (found.low, found.value, found.high) == (1, 1, 1)
    assert found.method.endswith("undefined and left out")


def test_wrong_tags_are_refused() -> None:
    with pytest.raises(DataError, match="sample '0' has 2 words and 1 predicted tags"):
        judged([["O", "O"]], [["O"]])
    with pytest.raises(DataError, match="sample '0': the right tag of word 2 is 'E-PER'; expected O, B-TYPE or I-TYPE"):
        judged([["O", "E-PER"]], [["O", "O"]])
    with pytest.raises(DataError, match="the right tag of word 1 is 'I-'"):
        judged([["I-"]], [["O"]])
    with pytest.raises(DataError, match="expected a list of BIO tags; got 'O O'"):
        judged([["O", "O"]], ["O O"])
