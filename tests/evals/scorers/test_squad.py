"""SQuAD: the official scripts' rules by hand, and the threshold beside a search over all thresholds.

python -m pytest tests/evals/scorers/test_squad.py
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from septet.core.errors import DataError
from septet.evals.normalise import normalised
from septet.evals.sample import Output, Sample, Score
from septet.evals.scorers.squad import Squad, word_f1
from septet.evals.stats import mean, proportion

Row = tuple[list[str], str, float | None]


def judged(rows: list[Row], scorer: Squad | None = None) -> list[Score]:
    scorer = scorer or Squad()
    return [
        scorer.score(Sample(str(i), expected=right), Output(prediction={"text": said, "no_answer": none}))
        for i, (right, said, none) in enumerate(rows)
    ]


def values(rows: list[Row], threshold: float | None = None) -> Mapping[str, float]:
    return Squad().corpus(judged(rows, Squad(threshold=threshold)))(np.arange(len(rows)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Denver Broncos.", "denver broncos"),
        ("an apple-a-day", "appleaday"),  # punctuation goes first, so the article inside a word stays
        ("theatre of the absurd", "theatre of absurd"),
        ("“U.S.”", "“us”"),  # only ASCII punctuation
        ("A", ""),
    ],
)
def test_normalisation(text: str, expected: str) -> None:
    assert normalised(text) == expected


@pytest.mark.parametrize(
    ("said", "right", "f1"),
    [
        ("Denver Broncos", "the Denver Broncos!", 1),
        ("gold anniversary", "golden anniversary", 1 / 2),  # P 1/2, R 1/2
        ("in the year 1970", "1970", 2 * (1 / 3) / (1 / 3 + 1)),  # P 1/3 (in, year, 1970), R 1
        ("to be or not to be", "to to be", 2 * (3 / 6) / (3 / 6 + 1)),  # each word as often as both have it
        ("Paris", "London", 0),
        ("", "London", 0),
        ("", "", 1),
        ("the", "", 1),  # normalisation leaves nothing
    ],
)
def test_word_f1_by_hand(said: str, right: str, f1: float) -> None:
    assert word_f1(said, right) == pytest.approx(f1)


def test_figures_by_hand() -> None:
    rows: list[Row] = [
        (["Santa Clara, California", "Levi's Stadium"], "levis stadium", None),  # the best of several: 1, 1
        (["February 7, 2016"], "7 February", None),  # P 1, R 2/3: F1 4/5
        (["the"], "the", None),  # the script of 2.0 drops such an answer; "" and "" are equal: 1, 1
        ([], "", None),  # 1, 1
        ([], "Denver", None),  # 0, 0
    ]
    found = Squad().reduce(judged(rows), seed=0)
    assert found["exact_match"] == proportion(3, 5)
    assert found["f1"].value == pytest.approx((1 + 0.8 + 1 + 1 + 0) / 5)
    assert found["f1, has answer"].value == pytest.approx(2.8 / 3)
    assert found["exact_match, has answer"] == proportion(2, 3)
    assert found["exact_match, no answer"] == proportion(1, 2)
    assert found["f1, no answer"].value == 0.5
    # so it is no answer to agree with where there is another one
    assert values([(["the", "Paris"], "the", None)])["exact_match"] == 0
    # the best answer is taken for each figure apart
    assert values([(["a b", "c d e"], "c d", None)]) == pytest.approx({"exact_match": 0, "f1": 0.8})
    # no scores, no threshold; and one slice alone is the whole
    assert not {"best_f1", "best_f1_threshold"} & found.keys()
    assert values(rows[:2]).keys() == {"exact_match", "f1"}


def test_intervals_are_of_shares_and_means() -> None:
    rows: list[Row] = [(["x y"], "x", None), (["x"], "x", None), (["z"], "q", None)]
    found = Squad().reduce(judged(rows), seed=0)
    assert found["f1"] == mean([2 / 3, 1, 0], groups=range(3))
    assert found["exact_match"] == proportion(1, 3)


def test_best_threshold_by_hand() -> None:
    rows: list[Row] = [
        (["x"], "x", 0.1),  # +1
        ([], "y", 0.2),  # -1
        (["x"], "x", 0.3),  # +1
        (["x y"], "x", 0.4),  # + 2/3
        ([], "", 0.5),  # 0: it says none anyway
        ([], "z", 0.9),  # -1
    ]
    # all none: 3 of 6 right; then 4, 3, 4, 4 2/3, 4 2/3, 3 2/3: the best is 4 2/3, first reached at .4
    found = values(rows)
    assert found["best_f1"] == pytest.approx((4 + 2 / 3) / 6)
    assert found["best_f1_threshold"] == 0.4
    # the threshold does what it says when it is set
    assert values(rows, 0.4)["f1"] == pytest.approx(found["best_f1"])
    assert "best_f1" not in Squad(threshold=0.4).reduce(judged(rows, Squad(threshold=0.4)), seed=0)
    with pytest.raises(DataError, match=r"sample '0' has no no-answer score, which squad's threshold 0.4"):
        judged([(["x"], "x", None)], Squad(threshold=0.4))
    # answering nothing is best where every answer is wrong: the script's threshold is then 0
    assert values([(["x"], "y", 0.2), ([], "y", 0.3)])["best_f1_threshold"] == 0
    assert values([(["x"], "y", 0.2), ([], "y", 0.3)])["best_f1"] == 0.5


@pytest.mark.parametrize("seed", range(8))
def test_best_threshold_is_the_best_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    words = ["red", "green", "blue", "red green", ""]
    rows: list[Row] = [
        ([] if rng.random() < 0.4 else [words[rng.integers(4)]], words[rng.integers(5)], float(p))
        for p in rng.permutation(50) / 50 + 0.01
    ]
    rows[0] = ([], "red", rows[0][2])
    found = values(rows)
    tried = {t: values(rows, t)["f1"] for t in (0.0, *(row[2] for row in rows))}
    assert found["best_f1"] == pytest.approx(max(tried.values()))
    assert tried[found["best_f1_threshold"]] == pytest.approx(max(tried.values()))


def test_thresholds_of_two_systems_are_compared() -> None:
    rng = np.random.default_rng(0)
    rows: list[Row] = [([] if i % 3 == 0 else ["x"], "x", float(rng.random())) for i in range(60)]
    sure: list[Row] = [(right, said, 0.1 + 0.8 * (not right)) for right, said, _ in rows]
    found = Squad().compare(judged(sure), judged(rows), seed=0)
    assert found["best_f1"].low > 0
    assert found["f1"].value == 0


def test_on_real_questions(real_data: Path) -> None:
    path = next((real_data / "qa" / "squad_v2_dev").glob("*.json.gz"))
    with gzip.open(path, "rt", encoding="utf-8") as file:
        content = json.load(file)["data"]
    questions = [q for article in content for paragraph in article["paragraphs"] for q in paragraph["qas"]]
    right = [[answer["text"] for answer in q["answers"]] for q in questions]
    # the first right answer is right, whatever the others are; saying nothing is right exactly where there is none
    first: list[Row] = [(texts, texts[0] if texts else "", 0.0 if texts else 1.0) for texts in right]
    assert set(values(first).values()) - {values(first)["best_f1_threshold"]} == {1}
    none: list[Row] = [(texts, "", None) for texts in right]
    assert values(none)["f1"] == pytest.approx(sum(not texts for texts in right) / len(right))
    assert sum(not texts for texts in right) == 3168


def odd_answer(number: int, context: str, texts: list[str], start: int) -> str:
    """Right, nearly right and wrong in turn: with an article and a mark, in capitals and backwards, too long, nothing."""
    match number % 6:
        case 0:
            return texts[0] if texts else ""
        case 1:
            return " ".join(context.split()[:6])
        case 2:
            return f"The {texts[-1]}!" if texts else context.split()[0]
        case 3:
            return ""
        case 4:
            return " ".join(reversed(texts[0].upper().split())) if texts else ""
        case _:
            return context[max(0, start - 10) : start + 25]


def test_the_official_scripts_figures_on_the_same_predictions(real_data: Path) -> None:
    path = next((real_data / "qa" / "squad_v2_dev").glob("*.json.gz"))
    with gzip.open(path, "rt", encoding="utf-8") as file:
        content = json.load(file)["data"]
    asked = [(p["context"], q["answers"]) for article in content for p in article["paragraphs"] for q in p["qas"]]
    rows: list[Row] = []
    for number, (context, answers) in enumerate(asked):
        texts = [answer["text"] for answer in answers]
        said = odd_answer(number, context, texts, answers[0]["answer_start"] if answers else 0)
        rows.append((texts, said, number * 7919 % 1000 / 1000))
    # printed by evaluate-v2.0.py for these 6,078 predictions (2026-11-30), times 100
    found = values(rows)
    expected = {
        "exact_match": 47.30174399473511, "f1": 57.09261210429511,
        "exact_match, has answer": 39.72508591065292, "f1, has answer": 60.1748784776312,
        "exact_match, no answer": 54.26136363636363, "f1, no answer": 54.26136363636363, "best_f1": 54.538398649291715,
    }  # fmt: skip
    assert {name: 100 * found[name] for name in expected} == pytest.approx(expected, rel=1e-12)
    assert found["best_f1_threshold"] == 0.97
    found = values(rows, 0.4)  # --na-prob-thresh 0.4
    expected = {
        "exact_match": 50.46067785455742, "f1": 54.41765174756988,
        "exact_match, has answer": 16.013745704467354, "f1, has answer": 24.278517979975998, "f1, no answer": 82.10227272727273,
    }  # fmt: skip
    assert {name: 100 * found[name] for name in expected} == pytest.approx(expected, rel=1e-12)
