"""Intervals and tests: numbers worked by hand, then scipy and scikit-learn as references.

python -m pytest tests/evals/test_stats.py
"""

import math

import numpy as np
import pytest
from scipy import stats as reference

from septet.evals import stats


def test_mean_by_hand() -> None:
    # 2, 4, 6: mean 4, s = 2, standard error 2/sqrt(3), t(2) at 97.5% = 4.302653
    found = stats.mean([2, 4, 6])
    assert found.value == 4
    assert found.n == 3
    assert found.high == pytest.approx(4 + 4.302653 * 2 / math.sqrt(3), abs=1e-5)
    assert found.low == pytest.approx(4 - 4.302653 * 2 / math.sqrt(3), abs=1e-5)


def test_mean_agrees_with_scipy() -> None:
    x = np.random.default_rng(1).normal(size=40)
    low, high = reference.t.interval(0.95, 39, loc=x.mean(), scale=reference.sem(x))
    found = stats.mean(x.tolist())
    assert (found.low, found.high) == pytest.approx((low, high))


def test_clustered_mean_by_hand() -> None:
    # groups a = {1, 1}, b = {3, 3}: sums of deviations -2 and 2, so sqrt(2/1 * 8)/4 = 1; t(1) at 97.5% = 12.7062
    found = stats.mean([1, 1, 3, 3], groups=["a", "a", "b", "b"])
    assert found.value == 2
    assert found.high == pytest.approx(2 + 12.7062047, abs=1e-5)
    # one sample a group is the ordinary interval
    assert stats.mean([2, 4, 6], groups=[1, 2, 3]).high == pytest.approx(stats.mean([2, 4, 6]).high)


def test_one_sample_and_one_group_have_no_interval() -> None:
    assert stats.mean([3.0]).low is None
    assert stats.mean([3.0, 4.0], groups=["a", "a"]).high is None
    assert stats.ratio([1, 2], [3, 4], seed=0, groups=["a", "a"]).low is None


def test_wilson_by_hand_and_by_scipy() -> None:
    found = stats.proportion(8, 10)
    # p = .8, z = 1.959964: centre (.8 + .192073)/1.384146 = .716739, reach 1.959964*sqrt(.016 + .009604)/1.384146 = .226577
    assert found.low == pytest.approx(0.490162, abs=1e-5)
    assert found.high == pytest.approx(0.943318, abs=1e-5)
    for k, n in [(0, 7), (1, 50), (37, 50), (50, 50)]:
        low, high = reference.binomtest(k, n).proportion_ci(method="wilson")
        found = stats.proportion(k, n)
        assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)


def test_ratio_is_the_ratio_of_sums() -> None:
    found = stats.ratio([1, 2, 3], [10, 10, 20], seed=0)
    assert found.value == pytest.approx(6 / 40)
    assert found.low <= found.value <= found.high
    # equal ratios leave nothing to vary
    flat = stats.ratio([1, 2, 3], [2, 4, 6], seed=0)
    assert (flat.low, flat.high) == pytest.approx((0.5, 0.5))


def test_ratio_agrees_with_scipys_bootstrap() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.gamma(4, size=60), rng.gamma(9, size=60)
    theirs = reference.bootstrap(
        (a, b), lambda x, y, axis: x.sum(axis) / y.sum(axis), paired=True, method="percentile", n_resamples=9999, rng=1
    ).confidence_interval
    ours = stats.ratio(a.tolist(), b.tolist(), seed=5, resamples=9999)
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.05 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.05 * width)


def test_transform_maps_value_and_ends() -> None:
    plain, risen = stats.ratio([1, 5], [2, 3], seed=4), stats.ratio([1, 5], [2, 3], seed=4, transform=np.exp)
    for name in ("value", "low", "high"):
        assert getattr(risen, name) == pytest.approx(math.exp(getattr(plain, name)))


def test_cluster_bootstrap_is_wider_when_groups_agree_within() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=10)
    values = np.repeat(centres, 20) + rng.normal(scale=0.1, size=200)
    groups = np.repeat(np.arange(10), 20).tolist()
    loose = stats.ratio(values.tolist(), [1.0] * 200, seed=1)
    tight = stats.ratio(values.tolist(), [1.0] * 200, seed=1, groups=groups)
    assert tight.high - tight.low > 3 * (loose.high - loose.low)


def test_ninety_five_percent_intervals_cover_about_ninety_five_percent() -> None:
    rng = np.random.default_rng(7)
    hits = 0
    for turn in range(300):
        x = rng.gamma(3.0, size=50)
        found = stats.ratio(x.tolist(), [1.0] * 50, seed=turn, resamples=400)
        hits += found.low <= 3.0 <= found.high
    assert 0.89 <= hits / 300 <= 0.98


def test_bootstrap_of_any_statistic_is_seeded() -> None:
    x = np.arange(20.0)
    first = stats.bootstrap(lambda rows: float(np.median(x[rows])), 20, seed=2, resamples=300)
    again = stats.bootstrap(lambda rows: float(np.median(x[rows])), 20, seed=2, resamples=300)
    other = stats.bootstrap(lambda rows: float(np.median(x[rows])), 20, seed=3, resamples=300)
    assert first == again
    assert first != other
    assert first.value == 9.5


def test_bootstrap_by_groups_draws_whole_groups() -> None:
    seen = []
    stats.bootstrap(lambda rows: float(seen.append(sorted(rows)) or 0), 4, seed=0, groups="aabb", resamples=50)
    assert all(rows.count(0) == rows.count(1) and rows.count(2) == rows.count(3) for rows in map(list, seen))


def test_several_figures_come_from_the_same_draws() -> None:
    x = np.arange(20.0)
    found = stats.bootstrap_all(
        lambda rows: {"sum": x[rows].sum(), "twice": 2 * x[rows].sum()}, 20, seed=1, resamples=200
    )
    assert found["twice"] == found["sum"].with_scale(2)
    assert found["sum"] == stats.bootstrap(lambda rows: x[rows].sum(), 20, seed=1, resamples=200)


def test_undefined_resamples_are_left_out_and_counted() -> None:
    # two samples: both drawn twice in half of the resamples
    def spread(rows: np.ndarray) -> float:
        return 1.0 if len(set(rows)) == 2 else math.nan

    found = stats.bootstrap(spread, 2, seed=0, resamples=400)
    assert (found.value, found.low, found.high) == (1, 1, 1)
    count = int(found.method.split(", ")[2].split()[0])
    assert found.method.endswith("of them undefined and left out")
    assert 150 < count < 250
    never = stats.bootstrap(lambda rows: math.nan, 2, seed=0, resamples=10)
    assert math.isnan(never.value)
    assert never.low is None


def test_an_interval_holds_a_value_that_its_resamples_do_not_reach() -> None:
    # the number of different rows is largest when every row is there once
    found = stats.bootstrap(lambda rows: float(len(set(rows.tolist()))), 12, seed=0, resamples=100)
    assert found.value == found.high == 12
    assert found.method.endswith("widened to the value")


def test_difference_of_a_corpus_figure_is_paired() -> None:
    rng = np.random.default_rng(0)
    right = rng.normal(size=50)
    noise = rng.normal(size=50)

    def figure(x: np.ndarray) -> stats.Figures:
        return lambda rows: {"correlation": float(np.corrcoef(x[rows], right[rows])[0, 1]), "other": 0.0}

    near, far = figure(right + 0.5 * noise), figure(right + noise)
    found = stats.bootstrap_difference(near, far, 50, seed=0, resamples=500)["correlation"]
    every = np.arange(50)
    assert found.value == pytest.approx(near(every)["correlation"] - far(every)["correlation"])
    assert found.low > 0
    assert found.method.startswith("paired percentile bootstrap")
    assert stats.bootstrap_difference(near, near, 50, seed=0, resamples=50)["correlation"].high == 0
    theirs = reference.bootstrap(
        (right + 0.5 * noise, right + noise, right),
        lambda a, b, y: np.corrcoef(a, y)[0, 1] - np.corrcoef(b, y)[0, 1],
        paired=True,
        vectorized=False,
        method="percentile",
        n_resamples=500,
        rng=2,
    ).confidence_interval
    width = theirs.high - theirs.low
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.2 * width)


def test_sums_and_ranks() -> None:
    counts = np.asarray([[1.0, 2], [3, 4], [5, 6]])
    assert stats.summed(counts, np.asarray([0, 2, 2])).tolist() == [11, 14]
    x = np.asarray([0.3, 0.1, 0.3, 0.2])
    assert stats.ranks(x).tolist() == [3.5, 1, 3.5, 2]
    assert stats.ranks(x).tolist() == reference.rankdata(x).tolist()


def test_paired_difference_by_hand() -> None:
    # differences 1, 3: mean 2, s = sqrt 2, standard error 1, t(1) = 12.7062
    found = stats.difference([2, 5], [1, 2])
    assert found.value == 2
    assert found.high == pytest.approx(2 + 12.7062047, abs=1e-5)
    assert found.method.startswith("paired")
    theirs = reference.ttest_rel([1.0, 4, 2, 8], [0.5, 3, 3, 5]).confidence_interval(0.95)
    ours = stats.difference([1.0, 4, 2, 8], [0.5, 3, 3, 5])
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_ratio_difference_is_paired() -> None:
    # the two systems differ by exactly one bit on every sample of ten bytes: no doubt is left
    found = stats.ratio_difference([5, 9, 14], [4, 8, 13], [10, 10, 10], seed=0)
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))


def test_mcnemar_by_hand() -> None:
    # b = 5, c = 1: exact two-sided p = 2 * (C(6,0) + C(6,1)) / 2^6 = 14/64
    first, second = [True] * 5 + [False] + [True] * 9, [False] * 5 + [True] + [True] * 9
    found = stats.mcnemar(first, second)
    assert (found.only_first, found.only_second) == (5, 1)
    assert found.p == pytest.approx(14 / 64)
    # b = 30, c = 10: chi2 = 19^2/40 = 9.025, p = 0.002663
    first, second = [True] * 30 + [False] * 10, [False] * 30 + [True] * 10
    assert stats.mcnemar(first, second).p == pytest.approx(0.002663, abs=1e-6)
    assert stats.mcnemar([True], [True]).p == 1.0


@pytest.mark.parametrize(("b", "c"), [(3, 3), (12, 11), (0, 9), (24, 0), (13, 12), (40, 21), (26, 26)])
def test_mcnemar_agrees_with_scipy(b: int, c: int) -> None:
    found = stats.mcnemar([True] * b + [False] * c, [False] * b + [True] * c)
    if b + c < 25:
        assert found.p == pytest.approx(reference.binomtest(b, b + c).pvalue)
    elif b != c:
        assert found.p == pytest.approx(reference.chi2.sf((abs(b - c) - 1) ** 2 / (b + c), 1))
    else:
        assert found.p == 1.0


def test_auroc_by_hand_and_by_sklearn() -> None:
    # pairs: 3>1, 3>2, 2>1, 2=2 -> (1 + 1 + 1 + .5)/4
    assert stats.auroc([3, 2], [1, 2], seed=0).value == pytest.approx(0.875)
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(5)
    pos, neg = rng.normal(1, 1, 30).round(1), rng.normal(0, 1, 40).round(1)
    theirs = metrics.roc_auc_score([1] * 30 + [0] * 40, np.concatenate([pos, neg]))
    ours = stats.auroc(pos.tolist(), neg.tolist(), seed=0)
    assert ours.value == pytest.approx(theirs)
    assert ours.low < ours.value < ours.high


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: stats.mean([]), "at least one"),
        (lambda: stats.mean([1.0, math.nan]), "finite"),
        (lambda: stats.mean([1.0], groups=["a", "b"]), "2 names for 1"),
        (lambda: stats.proportion(3, 2), "3 of 2"),
        (lambda: stats.difference([1.0], [1.0, 2.0]), "1 and 2"),
        (lambda: stats.mcnemar([True], []), "same samples"),
        (lambda: stats.auroc([1.0], [], seed=0), "both classes"),
    ],
)
def test_wrong_arguments_say_what_was_expected(call, text) -> None:
    with pytest.raises(ValueError, match=text):
        call()
