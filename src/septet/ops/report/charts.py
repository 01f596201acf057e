"""Two charts as inline SVG: curves with axes, and values with their intervals. Colours come from the page's style sheet.

What it is not: a plotting library. Every chart has a title for screen readers, units on its axes, and a table beside it.

    python -m pytest tests/ops/test_report.py
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from septet.ops.report.html import Markup, tag

__all__ = ["Curve", "Span", "curves", "decimal", "number", "powers", "size_text", "spans", "ticks"]


@dataclass(frozen=True, slots=True)
class Curve:
    """A named line: points (x, y) by rising x. `style` is a class of the style sheet; dots are drawn where there are few.

    Without a name it is not in the legend; not `joined`, it is dots alone.
    """

    name: str
    points: Sequence[tuple[float, float]]
    style: str
    joined: bool = True


@dataclass(frozen=True, slots=True)
class Span:
    """A named value with its interval, if it has one."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    style: str = "a"


def number(value: float, digits: int = 3) -> str:
    """Return a number for people: `digits` significant ones, thousands apart, no exponent above 0.0001. Counts stay whole."""
    if not math.isfinite(value):
        return str(value)
    if value == 0 or (value == int(value) and (isinstance(value, int) or 100 <= abs(value) < 1e15)):
        return f"{int(value):,}".replace("-", "−")
    if abs(value) < 1e-4:
        return f"{value:.1e}".replace("-", "−")
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}".replace("-", "−")


def size_text(size: float) -> str:
    """Return bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{number(size)} {unit}"
        size /= 1000
    raise AssertionError


def decimal(value: float, places: int | None) -> str:
    """Return a number with so many decimals, so that small ones of a column end alike; none: as `number` gives it."""
    if places is None:
        return number(value)
    return f"{round(value, places) + 0.0:.{places}f}".replace("-", "−")  # adding nought turns -0 into 0


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about `count` round numbers (1, 2 or 5 times a power of ten) within [low, high]."""
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(step * k, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def powers(low: float, high: float) -> list[float]:
    """Return the numbers 1, 2 and 5 times a power of ten within [low, high], for an axis of logarithms.

    >>> powers(90, 1000)
    [100.0, 200.0, 500.0, 1000.0]
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    found = [factor * 10.0**power for power in range(first, last + 1) for factor in (1, 2, 5)]
    return [value for value in found if low * 0.999 <= value <= high * 1.001]


def curves(
    lines: Sequence[Curve],
    *,
    title: str,
    x: str,
    y: str,
    width: int = 480,
    height: int = 270,
    logarithmic: bool = False,
) -> Markup:
    """Return lines over labelled axes, each named at its end. logarithmic: the axis across, whose values are then positive."""
    drawn = [replace(line, points=_thin(line.points)) for line in lines if line.points]
    if not drawn:
        return tag("p", "No points were recorded.", class_="quiet")
    xs = [px for line in drawn for px, _ in line.points]
    ys = [py for line in drawn for _, py in line.points]
    left, right, top, bottom = 52, 14, 30, 40
    x0, x1 = (min(xs), max(xs)) if logarithmic else (min(0.0, min(xs)), max(xs) or 1.0)
    spread = (max(ys) - min(ys)) or abs(max(ys)) or 1.0
    y0, y1 = min(ys) - 0.06 * spread, max(ys) + 0.06 * spread
    if min(ys) >= 0:
        y0 = max(0.0, y0)

    def across(value: float) -> float:
        share = math.log(value / x0) / (math.log(x1 / x0) or 1) if logarithmic else (value - x0) / ((x1 - x0) or 1)
        return round(left + share * (width - left - right), 2)

    def up(value: float) -> float:
        return round(height - bottom - (value - y0) / (y1 - y0) * (height - top - bottom), 2)

    parts = [tag("title", title)]
    for value in ticks(y0, y1, 4):
        parts.append(tag("line", x1=left, x2=width - right, y1=up(value), y2=up(value), class_="grid"))
        parts.append(tag("text", _short(value), x=left - 8, y=up(value) + 4, class_="tick end"))
    for value in powers(x0, x1) if logarithmic else ticks(x0, x1, 5):
        parts.append(tag("text", _short(value), x=across(value), y=height - bottom + 17, class_="tick middle"))
    parts.append(tag("line", x1=left, x2=width - right, y1=height - bottom, y2=height - bottom, class_="axis"))
    parts.append(tag("text", x, x=width - right, y=height - 6, class_="label end"))
    parts.append(tag("text", y, x=left - 44, y=14, class_="label"))
    for line in drawn:
        path = " ".join(f"{'M' if i == 0 else 'L'}{across(px)} {up(py)}" for i, (px, py) in enumerate(line.points))
        if line.joined:
            parts.append(tag("path", d=path, class_=f"line {line.style}"))
        if len(line.points) <= 16 or not line.joined:
            for px, py in line.points:
                dot = tag(
                    "circle",
                    tag("title", f"{line.name}: {number(py, 4)} at {_short(px)}"),
                    cx=across(px),
                    cy=up(py),
                    r=3,
                )
                parts.append(tag("g", dot, class_=f"dots {line.style}"))
    at = width - right
    for line in reversed(
        [line for line in drawn if line.name]
    ):  # a legend at the top right, each name beside a piece of its line
        text = f"{line.name} {number(line.points[-1][1], 4)}"
        at -= 6.4 * len(text)
        parts.append(tag("text", text, x=round(at, 1), y=14, class_="label"))
        parts.append(tag("line", x1=round(at - 22, 1), x2=round(at - 6, 1), y1=10, y2=10, class_=f"line {line.style}"))
        at -= 38
    return tag("svg", *parts, viewBox=f"0 0 {width} {height}", role="img", aria_label=title, class_="chart")


def spans(
    rows: Sequence[Span], *, title: str, unit: str, width: int = 960, left: int = 262, places: int | None = None
) -> Markup:
    """Return one line a row: its name, a dot for the value, a bar for the interval, the value in words.

    left: pixels for the names. places: decimals of the values; none: as many as `number` gives.
    """
    step, right, top, bottom = 34, 190, 8, 34
    height = top + step * len(rows) + bottom
    ends = [end for row in rows for end in (row.low, row.high, row.value) if end is not None]
    low, high = min(0.0, *ends), max(0.0, *ends)

    def across(value: float) -> float:
        return round(left + (value - low) / ((high - low) or 1) * (width - left - right), 2)

    parts = [tag("title", title)]
    floor = top + step * len(rows)
    for value in ticks(low, high, 6):
        parts.append(tag("line", x1=across(value), x2=across(value), y1=top, y2=floor, class_="grid"))
        parts.append(tag("text", _short(value), x=across(value), y=floor + 17, class_="tick middle"))
    parts.append(tag("text", unit, x=width - right + 14, y=floor + 17, class_="label"))
    for place, row in enumerate(rows):
        y = top + step * (place + 0.5)
        parts.append(tag("text", row.name, x=left - 14, y=y + 4, class_="name end"))
        parts.append(tag("line", x1=across(0.0), x2=across(row.value), y1=y, y2=y, class_=f"stem {row.style}"))
        if row.low is not None and row.high is not None:
            parts.append(tag("line", x1=across(row.low), x2=across(row.high), y1=y, y2=y, class_=f"range {row.style}"))
        parts.append(tag("circle", cx=across(row.value), cy=y, r=5.5, class_=f"dot {row.style}"))
        text = decimal(row.value, places)
        if row.low is not None and row.high is not None:
            text += f"  [{decimal(row.low, places)}, {decimal(row.high, places)}]"
        parts.append(tag("text", text, x=width - right + 14, y=y + 4, class_="value"))
    return tag("svg", *parts, viewBox=f"0 0 {width} {height}", role="img", aria_label=title, class_="chart wide")


def _short(value: float) -> str:
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}".rstrip() + letter if value % size == 0 else f"{value / size:.3g}{letter}"
    return f"{value:g}"


def _thin(points: Sequence[tuple[float, float]], most: int = 240) -> list[tuple[float, float]]:
    """Return at most about `most` points, each the mean of its neighbours; first and last stay."""
    if len(points) <= most:
        return list(points)
    size = len(points) / most
    found = []
    for place in range(most):
        part = points[int(place * size) : max(int((place + 1) * size), int(place * size) + 1)]
        found.append((sum(p[0] for p in part) / len(part), sum(p[1] for p in part) / len(part)))
    return [points[0], *found[1:-1], points[-1]]
