"""Uncertainty: an estimate with its interval, paired comparisons, and what to resample.

Every figure of a report is an `Estimate`: value, interval, number of samples, and the method's name. Samples that come from one
module (or page, or author) resemble each other, so the functions take `groups` and then resample or sum whole groups.

    mean              s/sqrt(n), t(n-1);  by groups: sqrt(C/(C-1) * sum_c (sum_{i in c} (x_i - m))^2) / n, t(C-1)
                      (Miller 2024, arXiv:2411.00640, eqs. 1 and 4, with the C/(C-1) correction)
    proportion        Wilson (1927) score interval, right near 0 and 1 where s/sqrt(n) is not
    ratio             sum(a)/sum(b), such as bits per byte: percentile bootstrap over samples or groups (Efron 1979)
    bootstrap         any statistic of row numbers; bootstrap_all: several at once, from the same draws
    difference        of two systems on the same samples: always paired; bootstrap_difference: the same for any statistic
    mcnemar           two systems, right or wrong on the same samples (McNemar 1947)
    auroc             Mann-Whitney, ties count a half

What it is not: a correction for many comparisons, and no interval here covers another training seed: one model was trained.

    python -m pytest tests/evals/test_stats.py
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np

__all__ = [
    "Estimate",
    "Figures",
    "McNemar",
    "Rows",
    "auroc",
    "bootstrap",
    "bootstrap_all",
    "bootstrap_difference",
    "difference",
    "mcnemar",
    "mean",
    "proportion",
    "ranks",
    "ratio",
    "ratio_difference",
    "summed",
]

CONFIDENCE = 0.95
RESAMPLES = 2000

Array = np.ndarray[Any, np.dtype[np.float64]]
Rows = np.ndarray[Any, np.dtype[np.int64]]
"""Row numbers of samples, some of them several times."""
Figures = Callable[[Rows], Mapping[str, float]]
"""Makes the figures of some rows, by name; NaN where a figure is undefined there."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its uncertainty. `low` and `high` are None where no interval can be formed (one sample, one group)."""

    value: float
    low: float | None
    high: float | None
    n: int
    method: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def with_scale(self, factor: float) -> Estimate:
        """Return the estimate in another unit, such as percent; `factor` is positive."""
        assert factor > 0, factor

        def scaled(x: float | None) -> float | None:
            return None if x is None else x * factor

        return Estimate(self.value * factor, scaled(self.low), scaled(self.high), self.n, self.method)


@dataclass(frozen=True, slots=True)
class McNemar:
    """`only_first` and `only_second`: how many samples only one of two systems had right; `p`: two-sided."""

    only_first: int
    only_second: int
    p: float
    method: str


def mean(values: Sequence[float], *, groups: Sequence[Hashable] | None = None) -> Estimate:
    """Return the mean with its 95% t interval; with `groups`, the standard error is clustered.

    Raises ValueError if there are no values, or not one group per value.
    """
    x = _column(values)
    centre = float(x.mean())
    if groups is not None:
        sums = np.bincount(_codes(groups, len(x)), weights=x - centre)
        count, method = len(sums), f"t interval, clustered by {len(sums)} groups"
        if count < 2:
            return Estimate(centre, None, None, len(x), "one group: no interval")
        error = math.sqrt(count / (count - 1) * float((sums**2).sum())) / len(x)
    else:
        count, method = len(x), "t interval"
        if count < 2:
            return Estimate(centre, None, None, len(x), "one sample: no interval")
        error = float(x.std(ddof=1)) / math.sqrt(count)
    reach = _t(count - 1) * error
    return Estimate(centre, centre - reach, centre + reach, len(x), method)


def proportion(successes: int, n: int) -> Estimate:
    """Return successes/n with its 95% Wilson score interval.

    centre = (p + z^2/2n) / (1 + z^2/n), half width = z sqrt(p(1-p)/n + z^2/4n^2) / (1 + z^2/n); Wilson (1927).
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"a proportion needs 0 <= successes <= n and n > 0; got {successes} of {n}.")
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    p, scale = successes / n, 1 + z * z / n
    centre = (p + z * z / (2 * n)) / scale
    reach = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / scale
    # at 0 and n the formula's ends are exactly 0 and 1, up to rounding
    low = 0.0 if successes == 0 else max(0.0, centre - reach)
    high = 1.0 if successes == n else min(1.0, centre + reach)
    return Estimate(p, low, high, n, "Wilson")


def ratio(
    above: Sequence[float],
    below: Sequence[float],
    *,
    seed: int,
    groups: Sequence[Hashable] | None = None,
    transform: Callable[[Array], Array] = lambda x: x,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Return transform(sum(above) / sum(below)) with a 95% percentile bootstrap interval; `transform` is monotone.

    Samples are drawn with replacement, or whole groups where `groups` is given. Bits per byte is the ratio of bits to bytes;
    a perplexity is the exponential of one.
    """
    a, b = _column(above), _column(below)
    draws, method, units = _weights(len(a), groups, seed, resamples)
    total_a, total_b = _totals(a, groups), _totals(b, groups)
    value = float(transform(np.asarray(a.sum() / b.sum())))
    if units < 2:
        return Estimate(value, None, None, len(a), "one group: no interval")
    low, high = _ends(transform((draws @ total_a) / (draws @ total_b)))
    return Estimate(value, low, high, len(a), method)


def ratio_difference(
    first: Sequence[float],
    second: Sequence[float],
    below: Sequence[float],
    *,
    seed: int,
    groups: Sequence[Hashable] | None = None,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Return sum(first)/sum(below) - sum(second)/sum(below), paired: both systems are resampled together."""
    delta = _column(first) - _column(second)
    found = ratio(delta.tolist(), below, seed=seed, groups=groups, resamples=resamples)
    return Estimate(found.value, found.low, found.high, found.n, f"paired {found.method}")


def bootstrap(
    statistic: Callable[[Rows], float],
    n: int,
    *,
    seed: int,
    groups: Sequence[Hashable] | None = None,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Return statistic(all rows) with a 95% percentile bootstrap interval; the statistic takes an array of row numbers."""
    found = bootstrap_all(lambda rows: {"": float(statistic(rows))}, n, seed=seed, groups=groups, resamples=resamples)
    return found[""]


def bootstrap_all(
    figures: Figures,
    n: int,
    *,
    seed: int,
    groups: Sequence[Hashable] | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, Estimate]:
    """Return each of figures(all rows) with a 95% percentile bootstrap interval; all are computed on the same draws.

    Resamples in which a figure is undefined (NaN: no sample of a class was drawn) are left out of its interval, and `method`
    says how many. A figure with a bias, such as a maximum, can lie outside its resamples; the interval is then widened to
    hold it. A figure that is undefined for all rows has no interval.
    """
    if n == 0:
        raise ValueError("a bootstrap needs at least one sample.")
    rng = np.random.default_rng(seed)
    codes = _codes(groups, n) if groups is not None else np.arange(n)
    units = int(codes.max()) + 1
    whole = figures(np.arange(n))
    if units < 2:
        return {name: Estimate(value, None, None, n, "one group: no interval") for name, value in whole.items()}
    by_unit, sizes = np.argsort(codes, kind="stable"), np.bincount(codes)
    starts = np.cumsum(sizes) - sizes
    found: dict[str, Array] = {name: np.empty(resamples) for name in whole}
    for turn in range(resamples):
        drawn = rng.integers(units, size=units)
        # the rows of each unit drawn, one unit after the other: where it starts, and 0, 1, ... from there
        counts = sizes[drawn]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        part = figures(by_unit[np.repeat(starts[drawn], counts) + within])
        for name, values in found.items():
            values[turn] = part[name]
    method = _bootstrap_name(resamples, units if groups is not None else None)
    return {name: _spread(value, found[name], n, method) for name, value in whole.items()}


def bootstrap_difference(
    first: Figures,
    second: Figures,
    n: int,
    *,
    seed: int,
    groups: Sequence[Hashable] | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, Estimate]:
    """Return first minus second for each figure that both systems have, paired: both are computed on the same draws.

    For figures of a whole corpus (F1, BLEU, a correlation), which are no means of the samples' own scores (Koehn 2004,
    W04-3250).
    """

    def minus(rows: Rows) -> dict[str, float]:
        a, b = first(rows), second(rows)
        return {name: a[name] - b[name] for name in a if name in b}

    found = bootstrap_all(minus, n, seed=seed, groups=groups, resamples=resamples)
    return {name: replace(estimate, method=f"paired {estimate.method}") for name, estimate in found.items()}


def summed(counts: Array, rows: Rows) -> Array:
    """Return the sum of some rows of `counts` [N, K], as [K]; a row that is named twice counts twice."""
    return np.bincount(rows, minlength=len(counts)) @ counts


def ranks(x: Array) -> Array:
    """Return the ranks of `x` [N] from 1; equal values share the mean of theirs."""
    _, place, count = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


def difference(
    first: Sequence[float], second: Sequence[float], *, groups: Sequence[Hashable] | None = None
) -> Estimate:
    """Return mean(first - second) over the same samples, with the t interval of the differences."""
    a, b = _column(first), _column(second)
    if len(a) != len(b):
        raise ValueError(f"a paired difference needs equally many values on both sides; got {len(a)} and {len(b)}.")
    found = mean((a - b).tolist(), groups=groups)
    return Estimate(found.value, found.low, found.high, found.n, f"paired {found.method}")


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> McNemar:
    """Compare two systems that were right or wrong on the same samples.

    With b and c the samples that only one has right: exact binomial if b + c < 25, else chi2 = max(|b - c| - 1, 0)^2 / (b + c),
    one degree of freedom (Edwards' correction).
    """
    if len(first) != len(second):
        raise ValueError(f"McNemar's test needs the same samples on both sides; got {len(first)} and {len(second)}.")
    b = sum(bool(x) and not y for x, y in zip(first, second, strict=True))
    c = sum(bool(y) and not x for x, y in zip(first, second, strict=True))
    if b + c == 0:
        return McNemar(b, c, 1.0, "McNemar, no sample differs")
    if b + c < 25:
        below = sum(math.comb(b + c, k) for k in range(min(b, c) + 1))
        return McNemar(b, c, min(1.0, 2 * below / 2 ** (b + c)), "McNemar, exact")
    # the upper tail of chi-squared with one degree of freedom is erfc(sqrt(x / 2))
    p = math.erfc(max(abs(b - c) - 1, 0) / math.sqrt(2 * (b + c)))
    return McNemar(b, c, p, "McNemar, chi-squared corrected")


def auroc(positive: Sequence[float], negative: Sequence[float], *, seed: int, resamples: int = RESAMPLES) -> Estimate:
    """Return P(a positive scores above a negative) + P(equal)/2, with a bootstrap interval stratified by class."""
    if not positive or not negative:
        raise ValueError(f"AUROC needs both classes; got {len(positive)} positive and {len(negative)} negative scores.")
    pos, neg = _column(positive), _column(negative)
    wins = (pos[:, None] > neg[None, :]) + 0.5 * (pos[:, None] == neg[None, :])
    rng = np.random.default_rng(seed)
    draws_p = rng.multinomial(len(pos), np.full(len(pos), 1 / len(pos)), size=resamples) / len(pos)
    draws_n = rng.multinomial(len(neg), np.full(len(neg), 1 / len(neg)), size=resamples) / len(neg)
    low, high = _ends(np.einsum("rp,pn,rn->r", draws_p, wins, draws_n, optimize=True))
    name = f"{_bootstrap_name(resamples, None)}, by class"
    return Estimate(float(wins.mean()), low, high, len(pos) + len(neg), name)


# -- pieces -------------------------------------------------------------------------------------------------------------


def _t(freedom: int) -> float:
    """Return the 97.5% point of Student's t."""
    from scipy.special import stdtrit  # 0.2 s to import, and recipes are checked without any statistics

    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def _column(values: Sequence[float]) -> Array:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not len(x):
        raise ValueError("an estimate needs at least one value.")
    if not np.isfinite(x).all():
        raise ValueError(f"an estimate needs finite values; {int((~np.isfinite(x)).sum())} of {len(x)} are not.")
    return x


def _codes(groups: Sequence[Hashable], n: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    if len(groups) != n:
        raise ValueError(f"groups names the group of each sample; got {len(groups)} names for {n} samples.")
    known: dict[Hashable, int] = {}
    return np.asarray([known.setdefault(group, len(known)) for group in groups], dtype=np.int64)


def _totals(x: Array, groups: Sequence[Hashable] | None) -> Array:
    return x if groups is None else np.bincount(_codes(groups, len(x)), weights=x).astype(np.float64)


def _weights(n: int, groups: Sequence[Hashable] | None, seed: int, resamples: int) -> tuple[Array, str, int]:
    # drawing units with replacement is a multinomial over how often each is drawn, which makes sums a matrix product
    units = n if groups is None else int(_codes(groups, n).max()) + 1
    draws = np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), size=resamples)
    return draws.astype(np.float64), _bootstrap_name(resamples, None if groups is None else units), units


def _bootstrap_name(resamples: int, units: int | None) -> str:
    return f"percentile bootstrap, {resamples} resamples" + (f" of {units} groups" if units is not None else "")


def _spread(value: float, found: Array, n: int, method: str) -> Estimate:
    kept = found[np.isfinite(found)]
    if not math.isfinite(value) or not len(kept):
        return Estimate(value, None, None, n, "undefined")
    if len(kept) < len(found):
        method += f", {len(found) - len(kept)} of them undefined and left out"
    low, high = _ends(kept)
    if value < low - 1e-9 or value > high + 1e-9:
        method += ", widened to the value"
    return Estimate(value, min(low, value), max(high, value), n, method)


def _ends(found: Array) -> tuple[float, float]:
    low, high = np.quantile(found, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
