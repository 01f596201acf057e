"""ROC AUC, log loss and calibration: by hand, then scikit-learn on random probabilities.

python -m pytest tests/evals/scorers/test_probabilities.py
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from septet.core.errors import DataError
from septet.evals.sample import Output, Sample, Score
from septet.evals.scorer import Scorer
from septet.evals.scorers.calibration import Calibration
from septet.evals.scorers.log_loss import LogLoss
from septet.evals.scorers.roc_auc import RocAuc

ALL = (RocAuc(), LogLoss(), Calibration())


def judged(scorer: Scorer, right: list, probabilities: list[dict[str, float]]) -> list[Score]:
    pairs = zip(right, probabilities, strict=True)
    return [scorer.score(Sample(str(i), expected=r), Output(probabilities=p)) for i, (r, p) in enumerate(pairs)]


def value(scorer: Scorer, right: list, probabilities: list[dict[str, float]]) -> float:
    (found,) = scorer.reduce(judged(scorer, right, probabilities), seed=0).values()
    return found.value


def binary(*positive: float) -> list[dict[str, float]]:
    return [{"no": 1 - p, "yes": p} for p in positive]


def test_roc_auc_by_hand() -> None:
    # yes: .8, .4; no: .4, .1: .8 beats both, .4 ties once and wins once: (2 + 1/2 + 1)/4
    assert value(RocAuc(), ["yes", "yes", "no", "no"], binary(0.8, 0.4, 0.4, 0.1)) == pytest.approx(0.875)
    assert value(RocAuc(), ["yes", "no"], binary(0.1, 0.9)) == 0


def test_log_loss_by_hand() -> None:
    # -(ln .8 + ln .5 + ln .9)/3
    found = value(LogLoss(), ["yes", "no", "no"], binary(0.8, 0.5, 0.1))
    assert found == pytest.approx(-(math.log(0.8) + math.log(0.5) + math.log(0.9)) / 3)
    # nothing is infinitely wrong
    assert value(LogLoss(), ["yes", "yes"], binary(0.0, 0.0)) == pytest.approx(36.04, abs=0.01)


def test_calibration_by_hand() -> None:
    # bins of a fifth. (.6, .8]: .7 right, .7 wrong: |1 - 1.4| = .4. (.8, 1]: .9 right, 1.0 right: |2 - 1.9| = .1. Together .5 of 4
    found = value(Calibration(bins=5), ["yes", "no", "yes", "no"], binary(0.7, 0.7, 0.9, 0.0))
    assert found == pytest.approx(0.5 / 4)
    # an edge belongs to the bin below it (Guo et al. 2017: ((m-1)/M, m/M]); apart, .5 wrong and .75 right would add up
    assert value(Calibration(bins=4), ["no", "yes"], binary(0.75, 0.6)) == pytest.approx(abs(1 - 1.35) / 2)
    # .7 is not .7 of a binary float: 10 * .7 is above 7
    assert value(Calibration(bins=10), ["no", "yes"], binary(0.7, 0.65)) == pytest.approx(abs(1 - 1.35) / 2)
    assert Calibration().bins == 15


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("num_labels", [2, 3, 6])
def test_probabilities_agree_with_sklearn(seed: int, num_labels: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    names = [f"l{i}" for i in range(num_labels)]
    p = rng.dirichlet(np.ones(num_labels), size=50).round(1)  # ties
    p[:, -1] = 1 - p[:, :-1].sum(1)
    p = np.abs(p) / np.abs(p).sum(1, keepdims=True)
    right = [names[i % num_labels] for i in rng.permutation(50)]
    rows = [dict(zip(names, row, strict=True)) for row in p.tolist()]
    if num_labels == 2:
        theirs = metrics.roc_auc_score([r == "l1" for r in right], p[:, 1])
    else:
        theirs = metrics.roc_auc_score(right, p, multi_class="ovr", average="macro", labels=names)
    assert value(RocAuc(), right, rows) == pytest.approx(theirs)
    assert value(LogLoss(), right, rows) == pytest.approx(metrics.log_loss(right, p, labels=names))


def test_several_labels_agree_with_sklearn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(3)
    names, p, has = ["a", "b", "c"], rng.random((40, 3)), rng.random((40, 3)) < 0.4
    right = [[n for n, h in zip(names, row, strict=True) if h] for row in has]
    rows = [dict(zip(names, row, strict=True)) for row in p.tolist()]
    assert value(RocAuc(), right, rows) == pytest.approx(metrics.roc_auc_score(has, p, average="macro"))


def test_calibration_agrees_with_the_definition_bin_by_bin() -> None:
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.ones(3), size=200)
    names = list("abc")
    right = [names[i] for i in rng.integers(3, size=200)]
    sure, correct = p.max(1), np.asarray([names[i] for i in p.argmax(1)]) == np.asarray(right)
    expected = 0.0
    for m in range(1, 16):
        inside = (sure > (m - 1) / 15) & (sure <= m / 15)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - sure[inside].mean())
    rows = [dict(zip(names, row, strict=True)) for row in p.tolist()]
    assert value(Calibration(), right, rows) == pytest.approx(expected)


def test_a_label_without_a_curve_is_left_out_and_named() -> None:
    rows = [{"a": 0.7, "b": 0.2, "c": 0.1}, {"a": 0.2, "b": 0.7, "c": 0.1}, {"a": 0.5, "b": 0.4, "c": 0.1}]
    scores = judged(RocAuc(), ["a", "b", "a"], rows)
    assert RocAuc().reduce(scores, seed=0)["roc_auc"].value == 1
    assert "no curve for c" in RocAuc().note(scores)
    # one label for all: no curve at all, so no figure
    assert RocAuc().reduce(judged(RocAuc(), ["a", "a", "a"], rows), seed=0) == {}
    # resamples in which a label is missing are counted
    assert "undefined and left out" in RocAuc().reduce(scores, seed=0)["roc_auc"].method


@pytest.mark.parametrize("scorer", ALL, ids=lambda s: s.kind)
def test_systems_without_probabilities_get_no_figure(scorer: Scorer) -> None:
    bare = judged(scorer, ["yes", "no"], [{}, {}])
    assert scorer.reduce(bare, seed=0) == {}
    assert scorer.compare(bare, bare, seed=0) == {}
    assert scorer.note(bare) == scorer.signature()
    with pytest.raises(DataError, match=r"1 of 2 outputs have probabilities, sample '1'"):
        scorer.reduce(judged(scorer, ["yes", "no"], [{"yes": 0.5, "no": 0.5}, {}]), seed=0)


@pytest.mark.parametrize("scorer", ALL, ids=lambda s: s.kind)
def test_probabilities_that_cannot_be_are_refused(scorer: Scorer) -> None:
    with pytest.raises(DataError, match=r"sample '0'.*right label.*'maybe'"):
        value(scorer, ["maybe"], binary(0.5))
    with pytest.raises(DataError, match="between 0 and 1"):
        value(scorer, ["yes"], [{"yes": 3.2, "no": -1.0}])


def test_probabilities_of_other_labels_are_refused() -> None:
    with pytest.raises(DataError, match="sample '1' has probabilities of a, c; the first one has them of a, b"):
        value(RocAuc(), ["a", "a"], [{"a": 0.5, "b": 0.5}, {"a": 0.5, "c": 0.5}])
    with pytest.raises(DataError, match="one right label"):
        value(LogLoss(), [["a", "b"]], [{"a": 0.5, "b": 0.5}])
