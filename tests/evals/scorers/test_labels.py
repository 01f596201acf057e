"""Accuracy, F1 and the Matthews correlation: by hand, then scikit-learn on random labels.

python -m pytest tests/evals/scorers/test_labels.py
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from septet.core.errors import ComponentError, DataError
from septet.evals.sample import Output, Sample, Score
from septet.evals.scorer import Scorer
from septet.evals.scorers.accuracy import Accuracy
from septet.evals.scorers.f1 import F1
from septet.evals.scorers.matthews_corrcoef import MatthewsCorrcoef
from septet.evals.stats import proportion


def judged(scorer: Scorer, right: list, said: list) -> list[Score]:
    pairs = zip(right, said, strict=True)
    return [scorer.score(Sample(str(i), expected=r), Output(prediction=s)) for i, (r, s) in enumerate(pairs)]


def values(scorer: Scorer, right: list, said: list) -> dict[str, float]:
    return {name: found.value for name, found in scorer.reduce(judged(scorer, right, said), seed=0).items()}


RIGHT, SAID = list("aaaabbc"), list("aaabbca")
# a: tp 3, fp 1, fn 1: P = R = F1 = 3/4. b: tp 1, fp 1, fn 1: 1/2. c: tp 0: 0.


def test_accuracy_is_a_share_with_wilsons_interval() -> None:
    found = Accuracy().reduce(judged(Accuracy(), RIGHT, SAID), seed=0)["accuracy"]
    assert found == proportion(4, 7)
    # sets of labels are right only when they are equal, in any order; naming no label is right where there is none
    assert values(Accuracy(), [["x", "y"], ["x"], [], ["y"]], [["y", "x"], ["x", "y"], [], []])["accuracy"] == 0.5
    assert values(Accuracy(), ["x"], [None])["accuracy"] == 0


def test_f1_by_hand() -> None:
    found = values(F1(), RIGHT, SAID)
    assert found == pytest.approx(
        {
            "f1_macro": (3 / 4 + 1 / 2 + 0) / 3,
            "f1_micro": 4 / 7,
            "f1_weighted": (4 * 3 / 4 + 2 * 1 / 2 + 1 * 0) / 7,
            "precision_macro": (3 / 4 + 1 / 2 + 0) / 3,
            "recall_macro": (3 / 4 + 1 / 2 + 0) / 3,
        }
    )


def test_f1_of_several_labels_by_hand() -> None:
    # x: tp 1, fp 1, fn 0: P 1/2, R 1, F1 2/3; y: tp 1, fp 0, fn 1: P 1, R 1/2, F1 2/3; z: fp 1: 0
    found = values(F1(), [["x", "y"], ["y"], []], [["x", "y"], ["z"], ["x"]])
    assert found["f1_macro"] == pytest.approx((2 / 3 + 2 / 3) / 3)
    assert found["f1_micro"] == pytest.approx(2 * 2 / (4 + 3))
    assert found["f1_weighted"] == pytest.approx((1 * 2 / 3 + 2 * 2 / 3) / 3)
    assert found["precision_macro"] == pytest.approx((1 / 2 + 1) / 3)
    # a sample's own value: 2 * common / (said + right)
    assert judged(F1(), [["x", "y"]], [["y", "z"]])[0].values["f1"] == 0.5


def test_a_label_that_is_sought_has_its_own_figures() -> None:
    found = values(F1(positive="b"), RIGHT, SAID)
    assert (found["precision_binary"], found["recall_binary"], found["f1_binary"]) == (0.5, 0.5, 0.5)
    with pytest.raises(ComponentError, match=r"positive is 'spams', which no sample has.*spam"):
        values(F1(positive="spams"), ["ham", "spam"], ["ham", "ham"])
    assert "'b'" in F1(positive="b").signature()


def test_no_label_named_is_missed_but_no_label_of_its_own() -> None:
    # a: tp 1, fn 1: F1 2/3; None is not a class, or the mean would be over two
    assert values(F1(), ["a", "a"], ["a", None])["f1_macro"] == pytest.approx(2 / 3)


def test_texts_without_any_label() -> None:
    assert set(values(F1(), [[], []], [[], []]).values()) == {0}


def test_matthews_by_hand() -> None:
    # tp 3, tn 1, fp 2, fn 1: (3*1 - 2*1) / sqrt(5*4*3*2) = 1/sqrt(120)
    right, said = list("ppppnnn"), list("pppnppn")
    assert values(MatthewsCorrcoef(), right, said)["matthews_corrcoef"] == pytest.approx(1 / math.sqrt(120))
    # always saying the commoner label is guessing
    assert values(MatthewsCorrcoef(), right, ["p"] * 7)["matthews_corrcoef"] == 0
    with pytest.raises(DataError, match="one label a text"):
        values(MatthewsCorrcoef(), [["a", "b"]], ["a"])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("num_labels", [2, 3, 7])
def test_labels_agree_with_sklearn(seed: int, num_labels: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    # some labels only expected, some only predicted
    right = [f"l{x}" for x in rng.integers(num_labels, size=40)]
    said = [r if rng.random() < 0.5 else f"l{rng.integers(1, num_labels + 1)}" for r in right]
    found = values(F1(positive="l1"), right, said)
    for average in ("macro", "micro", "weighted"):
        theirs = metrics.f1_score(right, said, average=average, zero_division=0)
        assert found[f"f1_{average}"] == pytest.approx(theirs), average
    assert found["precision_macro"] == pytest.approx(
        metrics.precision_score(right, said, average="macro", zero_division=0)
    )
    assert found["recall_macro"] == pytest.approx(metrics.recall_score(right, said, average="macro", zero_division=0))
    binary = {"labels": ["l1"], "average": "macro", "zero_division": 0}
    assert found["f1_binary"] == pytest.approx(metrics.f1_score(right, said, **binary))
    assert found["precision_binary"] == pytest.approx(metrics.precision_score(right, said, **binary))
    assert values(Accuracy(), right, said)["accuracy"] == pytest.approx(metrics.accuracy_score(right, said))
    theirs = metrics.matthews_corrcoef(right, said)
    assert values(MatthewsCorrcoef(), right, said)["matthews_corrcoef"] == pytest.approx(theirs)


def test_a_resample_is_scored_as_sklearn_would_score_it() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(2)
    right, said = ([f"l{x}" for x in rng.integers(6, size=30)] for _ in range(2))
    f1, matthews = (scorer.corpus(judged(scorer, right, said)) for scorer in (F1(), MatthewsCorrcoef()))
    for _ in range(20):
        rows = rng.integers(30, size=8)  # few, so that labels are missing and samples come twice
        a, b = [right[i] for i in rows], [said[i] for i in rows]
        assert f1(rows)["f1_macro"] == pytest.approx(metrics.f1_score(a, b, average="macro", zero_division=0))
        assert f1(rows)["f1_weighted"] == pytest.approx(metrics.f1_score(a, b, average="weighted", zero_division=0))
        assert matthews(rows)["matthews_corrcoef"] == pytest.approx(metrics.matthews_corrcoef(a, b))


@pytest.mark.parametrize("seed", range(4))
def test_several_labels_agree_with_sklearn(seed: int) -> None:
    metrics, preprocessing = pytest.importorskip("sklearn.metrics"), pytest.importorskip("sklearn.preprocessing")
    rng = np.random.default_rng(seed)
    names = np.asarray(["sport", "money", "arts", "war", "law"])
    right = [names[rng.random(5) < 0.3].tolist() for _ in range(30)]
    said = [names[rng.random(5) < 0.3].tolist() for _ in range(30)]
    made = preprocessing.MultiLabelBinarizer().fit(right + said)
    a, b = made.transform(right), made.transform(said)
    found = values(F1(), right, said)
    for average in ("macro", "micro", "weighted"):
        assert found[f"f1_{average}"] == pytest.approx(metrics.f1_score(a, b, average=average, zero_division=0))
    assert values(Accuracy(), right, said)["accuracy"] == pytest.approx(metrics.accuracy_score(a, b))


def test_two_systems_are_compared_on_the_same_draws() -> None:
    rng = np.random.default_rng(0)
    right = [f"l{x}" for x in rng.integers(3, size=120)]
    noisy = [r if rng.random() < 0.6 else "l0" for r in right]
    better = [r if rng.random() < 0.3 else n for r, n in zip(right, noisy, strict=True)]
    for scorer in (F1(), MatthewsCorrcoef(), Accuracy()):
        first, second = judged(scorer, right, better), judged(scorer, right, noisy)
        found = scorer.compare(first, second, seed=1)
        apart = {name: (a, scorer.reduce(second, seed=1)[name]) for name, a in scorer.reduce(first, seed=1).items()}
        assert found.keys() == apart.keys()
        for name, (a, b) in apart.items():
            assert found[name].value == pytest.approx(a.value - b.value)
            assert found[name].low > 0
            assert found[name].method.startswith("paired")
            # paired by sample, so narrower than the two intervals together
            assert found[name].high - found[name].low < (a.high - a.low) + (b.high - b.low)
        same = scorer.compare(first, first, seed=1)
        assert all(e.value == 0 == e.low == e.high for e in same.values())
    with pytest.raises(ValueError, match="same samples"):
        Accuracy().compare(first, list(reversed(first)), seed=0)
