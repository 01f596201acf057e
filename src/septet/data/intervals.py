"""Intervals for ratios that were counted in pieces: rates, shares and means, with documents as the units that vary.

Words of one document resemble each other, so counting each mention as independent gives intervals that are far too narrow. Every
ratio Y/X is therefore kept as six whole numbers over the documents c, which add up exactly in any order:

    C, sum x_c, sum y_c, sum x_c^2, sum x_c y_c, sum y_c^2

    spread    C/(C-1) * sum_c (y_c - R x_c)^2, R = Y/X: the linearised variance of Y (Miller 2024, arXiv:2411.00640, eq. 4)
    rate      Garwood (1936): exact Poisson limits of Y / f, times f, with f = max(1, spread / Y), the over-dispersion
    share     Wilson (1927) with n / f in place of n, f = max(1, spread / (X p (1-p))): an effective sample size
    mean      Student's t with C-1 degrees of freedom
    change    of two figures with intervals, taken as independent: Zou and Donner (2008), "MOVER"

With f = 1, as for single mentions scattered over documents, these are the plain Poisson and Wilson intervals. What it is not: the
place for intervals of evaluations (`septet.evals.stats`), which has every sample at hand.

    python -m pytest tests/data/test_intervals.py
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Figure", "add", "change", "mean", "rate", "share", "together"]

Z = 1.959963984540054
"""The 97.5% point of the normal distribution."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A value with its 95% interval; `low` and `high` are None where none can be formed. n: what was counted."""

    value: float
    low: float | None
    high: float | None
    n: int

    def to_json(self) -> dict[str, Any]:
        # six digits are more than any interval is worth, and hide how a processor rounds the last bits
        return {key: float(f"{x:.6g}") if isinstance(x, float) else x for key, x in asdict(self).items()}


def add(sums: list[int], x: int, y: int, times: int = 1) -> None:
    """Add a document to the six sums: x and y are its own, counted `times` times over as one unit."""
    x, y = x * times, y * times
    for place, value in enumerate((1, x, y, x * x, x * y, y * y)):
        sums[place] += value


def together(many: Iterable[Sequence[int]]) -> list[int]:
    """Return the sums of sums."""
    total = [0] * 6
    for sums in many:
        total = [a + b for a, b in zip(total, sums, strict=True)]
    return total


def rate(sums: Sequence[int], per: float) -> Figure:
    """Return Y/X times `per`, such as mentions per million words; n is Y. Needs X > 0."""
    from scipy.special import gammaincinv  # 0.2 s to import, and only reports need it

    _, X, Y, *_ = sums
    factor = max(1.0, _spread(sums) / Y) if Y else 1.0
    low = float(gammaincinv(Y / factor, 0.025)) if Y else 0.0
    high = float(gammaincinv(Y / factor + 1, 0.975))
    return Figure(Y / X * per, low * factor / X * per, high * factor / X * per, Y)


def share(sums: Sequence[int]) -> Figure:
    """Return Y/X where Y counts some of X; n is X. Needs X > 0."""
    _, X, Y, *_ = sums
    p = Y / X
    factor = max(1.0, _spread(sums) / (X * p * (1 - p))) if 0 < Y < X else 1.0
    n = X / factor
    scale = 1 + Z * Z / n
    centre = (p + Z * Z / (2 * n)) / scale
    reach = Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n)) / scale
    # at 0 and n the formula's ends are exactly 0 and 1, up to rounding
    return Figure(p, 0.0 if not Y else max(0.0, centre - reach), 1.0 if Y == X else min(1.0, centre + reach), X)


def mean(sums: Sequence[int], unit: float = 1.0) -> Figure:
    """Return Y/X in units of `unit` (1000 where y was counted in thousandths); n is X. Needs X > 0."""
    C, X, Y, *_ = sums
    value = Y / X / unit
    if C < 2:
        return Figure(value, None, None, X)
    from scipy.special import stdtrit  # 0.2 s to import

    reach = float(stdtrit(C - 1, 0.975)) * math.sqrt(_spread(sums)) / X / unit
    return Figure(value, value - reach, value + reach, X)


def change(before: Figure, after: Figure) -> Figure:
    """Return after minus before. Where the two share documents, the true interval is narrower than this one.

    low = d - sqrt((a - a_low)^2 + (b_high - b)^2), high = d + sqrt((a_high - a)^2 + (b - b_low)^2).
    """
    d = after.value - before.value
    if after.low is None or after.high is None or before.low is None or before.high is None:
        return Figure(d, None, None, after.n)
    low = d - math.hypot(after.value - after.low, before.high - before.value)
    high = d + math.hypot(after.high - after.value, before.value - before.low)
    return Figure(d, low, high, after.n)


def _spread(sums: Sequence[int]) -> float:
    C, X, Y, XX, XY, YY = sums
    if C < 2:
        return 0.0
    # whole numbers to the end: the three terms nearly cancel
    squares = YY * X * X - 2 * Y * X * XY + Y * Y * XX
    return C / (C - 1) * (squares / (X * X))
