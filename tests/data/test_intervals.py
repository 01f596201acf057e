"""Intervals of ratios over documents, by hand and beside other implementations.

python -m pytest tests/data/test_intervals.py
"""

from __future__ import annotations

import math

import pytest
from scipy import stats

from septet.data.intervals import Figure, add, change, mean, rate, share, together
from septet.evals import stats as evaluation


def sums(pairs: list[tuple[int, int]]) -> list[int]:
    found = [0] * 6
    for x, y in pairs:
        add(found, x, y)
    return found


def test_the_six_sums_by_hand():
    assert sums([(2, 1), (3, 0)]) == [2, 5, 1, 13, 2, 1]
    assert together([sums([(2, 1)]), sums([(3, 0)])]) == [2, 5, 1, 13, 2, 1]
    found = [0] * 6
    add(found, 2, 1, 3)  # three times over, still one unit
    assert found == [1, 6, 3, 36, 18, 9]


def test_wilson_by_hand():
    # 2 of 10: p = .2, z^2 = 3.8415: centre (.2 + .19207) / 1.38415 = .28326, reach 1.96 sqrt(.016 + .009604) / 1.38415 = .22658
    found = share(sums([(10, 2)]))
    assert found.low == pytest.approx(0.05668, abs=2e-5)
    assert found.high == pytest.approx(0.50984, abs=2e-5)


@pytest.mark.parametrize(("y", "n"), [(0, 7), (3, 7), (7, 7), (40, 1000)])
def test_wilson_is_the_one_of_the_evaluations_where_each_document_is_one_draw(y: int, n: int):
    found = share([1, n, y, n * n, n * y, y * y])  # one document: no spread is known, the binomial one is taken
    other = evaluation.proportion(y, n)
    assert (found.value, found.low, found.high) == pytest.approx((other.value, other.low, other.high), abs=1e-12)


def test_a_poisson_rate_by_hand_and_against_the_chi_squared_form():
    # Garwood's limits for 5 events are 1.6235 and 11.6683; five documents of ten words name the group once each
    found = rate(sums([(10, 1)] * 5), 1.0)
    assert found.value == 0.1
    assert found.low == pytest.approx(1.6235 / 50, abs=1e-5)
    assert found.high == pytest.approx(11.6683 / 50, abs=1e-5)
    low, high = stats.chi2.ppf(0.025, 10) / 2, stats.chi2.ppf(0.975, 12) / 2
    assert (found.low, found.high) == pytest.approx((low / 50, high / 50))


def test_no_mention_still_has_an_upper_limit():
    found = rate(sums([(1000, 0)] * 3), 1e6)
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(3.68888 / 3000 * 1e6, rel=1e-4)  # -ln(0.025)


def test_mentions_heaped_in_one_document_widen_the_interval():
    spread = rate(sums([(1000, 3)] * 100), 1e6)
    heaped = rate(sums([(1000, 300)] + [(1000, 0)] * 99), 1e6)
    assert spread.value == heaped.value == 3000.0
    # 300 mentions of one document are one event: variance 100/99 (297^2 + 99 * 9) = 90000, so 300 / 300 = 1 effective event
    assert heaped.high == pytest.approx(stats.chi2.ppf(0.975, 4) / 2 * 3000.0, rel=1e-6)
    assert heaped.low < 100 < 2600 < spread.low


def test_intervals_hold_their_value_as_often_as_they_say():
    import numpy as np

    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(300):
        sizes = rng.integers(50, 400, size=80)
        own = rng.gamma(2.0, 0.005, size=80)  # each document has a rate of its own, 0.01 on the average
        counts = rng.poisson(own * sizes)
        found = rate(sums(list(zip(sizes.tolist(), counts.tolist(), strict=True))), 1.0)
        assert found.low is not None
        assert found.high is not None
        inside += found.low <= 0.01 <= found.high
    assert 0.90 <= inside / 300 <= 0.99


def test_a_mean_is_the_clustered_one_of_the_evaluations():
    groups = [[1, 0, -1, 1], [1, 1], [0, 0, -1], [-1]]
    found = mean(sums([(len(group), sum(group)) for group in groups]))
    flat = [float(value) for group in groups for value in group]
    other = evaluation.mean(flat, groups=[place for place, group in enumerate(groups) for _ in group])
    assert (found.value, found.low, found.high) == pytest.approx((other.value, other.low, other.high))


def test_one_document_has_no_interval_of_a_mean():
    assert mean(sums([(3, 2)])) == Figure(2 / 3, None, None, 3)


def test_large_numbers_do_not_cancel():
    # 10^6 documents of equal rate: the three terms of the spread cancel to nought, which floats would not
    found = mean([10**6, 10**12, 3 * 10**11, 10**18, 3 * 10**17, 9 * 10**16])
    assert found.low == found.value == found.high == 0.3


def test_a_change_by_hand():
    found = change(Figure(1.0, 0.7, 1.2, 10), Figure(2.0, 1.6, 2.5, 20))
    assert found.value == 1.0
    assert found.low == pytest.approx(1.0 - math.hypot(0.4, 0.2))
    assert found.high == pytest.approx(1.0 + math.hypot(0.5, 0.3))
    assert change(Figure(1.0, None, None, 1), Figure(2.0, 1.6, 2.5, 20)).low is None
