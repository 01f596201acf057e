"""Regression: by hand, then scipy and scikit-learn.

python -m pytest tests/evals/scorers/test_regression.py
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from septet.core.errors import DataError
from septet.evals.sample import Output, Sample, Score
from septet.evals.scorers.regression import Regression


def judged(right: list, said: list) -> list[Score]:
    pairs = zip(right, said, strict=True)
    return [Regression().score(Sample(str(i), expected=r), Output(prediction=s)) for i, (r, s) in enumerate(pairs)]


def values(right: list, said: list) -> dict[str, float]:
    return {name: found.value for name, found in Regression().reduce(judged(right, said), seed=0).items()}


def test_regression_by_hand() -> None:
    # x - mean: -1, 0, 1; y - mean: -1, 1, 0: pearson 1/2; ranks 1 2 3 and 1 3 2: spearman 1/2; errors 0, 2, 0
    found = values([1, 2, 3], [1, 4, 3])
    # said: 1 4 3, mean 8/3: -5/3, 4/3, 1/3; product (5/3 + 1/3) = 2; norms sqrt(2), sqrt(42)/3
    assert found["pearson"] == pytest.approx(2 / (math.sqrt(2) * math.sqrt(42) / 3))
    assert found["spearman"] == pytest.approx(0.5)
    assert found["mean_absolute_error"] == pytest.approx(2 / 3)
    assert found["root_mean_squared_error"] == pytest.approx(math.sqrt(4 / 3))


@pytest.mark.parametrize("seed", range(5))
def test_regression_agrees_with_scipy_and_sklearn(seed: int) -> None:
    from scipy import stats

    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    right = rng.normal(size=60).round(1).tolist()  # ties
    said = (np.asarray(right) + rng.normal(size=60).round(1)).tolist()
    found = values(right, said)
    assert found["pearson"] == pytest.approx(stats.pearsonr(said, right).statistic)
    assert found["spearman"] == pytest.approx(stats.spearmanr(said, right).statistic)
    assert found["mean_absolute_error"] == pytest.approx(metrics.mean_absolute_error(right, said))
    assert found["root_mean_squared_error"] == pytest.approx(metrics.root_mean_squared_error(right, said))


def test_a_constant_has_errors_but_no_correlation() -> None:
    found = values([1, 2, 3], [2, 2, 2])
    assert found.keys() == {"mean_absolute_error", "root_mean_squared_error"}
    assert Regression().is_lower_better("mean_absolute_error")
    assert not Regression().is_lower_better("pearson")


def test_two_systems_are_compared() -> None:
    rng = np.random.default_rng(0)
    right = rng.normal(size=80)
    near, far = right + 0.1 * rng.normal(size=80), right + rng.normal(size=80)
    found = Regression().compare(judged(right.tolist(), near.tolist()), judged(right.tolist(), far.tolist()), seed=0)
    assert found["pearson"].low > 0
    assert found["root_mean_squared_error"].high < 0


@pytest.mark.parametrize("said", ["3", None, math.nan, True, [1.0]])
def test_what_is_no_number_is_refused(said: object) -> None:
    with pytest.raises(DataError, match=r"sample '0': expected a finite number"):
        values([1], [said])
