"""The ladder of adaptations: one rung's figures, the picture of cost against quality, and which rung to use.

What it is not: where rungs are trained; that is the step `adapt`.

    python -m pytest tests/steps/test_adapt.py
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

from septet.ops.report.charts import number, powers, size_text, ticks
from septet.ops.report.html import Markup, tag

__all__ = ["Advice", "Rung", "draw", "picture_of", "recommend", "told"]


@dataclass(frozen=True, slots=True)
class Rung:
    """One adaptation. value, low, high: the figure over test rows with its interval; by_seed: the figure of each seed alone.

    learning_rate: the one that was chosen. parameters: those that learn. seconds: of training. peak_bytes: memory of training above
    what the process held before. bytes_on_disk: what has to be kept beside the base. milliseconds: to predict one row.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    by_seed: Sequence[float]
    learning_rate: float
    parameters: int
    seconds: float
    peak_bytes: float | None
    bytes_on_disk: int
    milliseconds: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Difference(Protocol):
    """A paired difference with its interval."""

    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


class Advice(NamedTuple):
    """Which rung to use, and why, in a sentence."""

    name: str
    why: str


def told(rung: Rung, metric: str) -> str:
    """Return a rung in a line for people."""
    between = "" if rung.low is None or rung.high is None else f" [{rung.low:.3f}, {rung.high:.3f}]"
    seeds = "" if len(rung.by_seed) < 2 else f", seeds {min(rung.by_seed):.3f} to {max(rung.by_seed):.3f}"
    memory = "" if rung.peak_bytes is None else f", {size_text(rung.peak_bytes)} of memory"
    costs = f"{number(rung.seconds)} s{memory}, {size_text(rung.bytes_on_disk)} on disk, {number(rung.milliseconds)} ms a row"
    learning = f"{rung.parameters:,} parameters learn at {rung.learning_rate:.2g}"
    return f"{rung.name}: {metric} {rung.value:.3f}{between}{seeds}; {learning}, {costs}"


def recommend(rungs: Sequence[Rung], minus_the_best: Mapping[str, Difference], metric: str) -> Advice:
    """Return the rung to use. minus_the_best: for each rung but the best, the paired difference of its held-out rows' values.

    Of the rungs that lie within one standard error of the best, the fewest parameters win (Breiman et al. 1984, section 3.4.3: the
    rule for pruning trees). That an interval holds zero would be too little: with few rows it always does.
    """
    by = {rung.name: rung for rung in rungs}
    best = next(name for name in by if name not in minus_the_best)
    alike = [best]
    for name, found in minus_the_best.items():
        # an interval of 95 % is 1.96 standard errors to either side
        error = 0.0 if found.low is None or found.high is None else (found.high - found.low) / (2 * 1.96)
        if found.value >= -error:
            alike.append(name)
    chosen = min(alike, key=lambda name: (by[name].parameters, by[name].bytes_on_disk))
    rung = by[chosen]
    costs = f"{rung.parameters:,} parameters learn and {size_text(rung.bytes_on_disk)} are kept"
    if len(by) == 1:
        return Advice(chosen, f"{chosen} is the only rung; its {metric} is {rung.value:.3f}.")
    if chosen == best and len(alike) == 1:
        return Advice(
            chosen, f"Use {chosen}: on the held-out rows no other rung is within a standard error of it; {costs}."
        )
    others = ", ".join(name for name in alike if name != chosen)
    return Advice(
        chosen,
        f"Use {chosen}: on the held-out rows it is as good as {others} (within a standard error), and smaller: {costs}.",
    )


def draw(rungs: Sequence[Rung], *, metric: str, recommended: str) -> str:
    """Return the picture as a file that stands alone."""
    return str(picture_of(rungs, metric=metric, recommended=recommended)) + "\n"


def picture_of(rungs: Sequence[Rung], *, metric: str, recommended: str, width: int = 720, height: int = 400) -> Markup:
    """Return parameters that learn, from left to right by their logarithm, against the figure of each rung."""
    left, right, top, bottom = 64, 150, 28, 48
    xs = [math.log10(max(1, rung.parameters)) for rung in rungs]
    lows = [rung.value if rung.low is None else rung.low for rung in rungs]
    highs = [rung.value if rung.high is None else rung.high for rung in rungs]
    x0, x1 = min(xs) - 0.3, max(xs) + 0.3
    pad = 0.1 * ((max(highs) - min(lows)) or 1.0)
    y0, y1 = min(lows) - pad, max(highs) + pad

    def across(value: float) -> float:
        return round(left + (value - x0) / (x1 - x0) * (width - left - right), 1)

    def up(value: float) -> float:
        return round(height - bottom - (value - y0) / (y1 - y0) * (height - top - bottom), 1)

    style = (
        "text{font:12px system-ui,sans-serif;fill:#333}.grid{stroke:#ddd}.axis{stroke:#888}.bar{stroke:#3465a4;stroke-width:2}"
        ".dot{fill:#3465a4}.chosen{fill:#c4500a}.chosenbar{stroke:#c4500a;stroke-width:2}"
    )
    parts = [tag("title", f"{metric} of each rung against the parameters that learn"), tag("style", style)]
    parts.append(tag("rect", width=width, height=height, fill="#fff"))
    for value in ticks(y0, y1, 5):
        parts.append(tag("line", x1=left, x2=width - right, y1=up(value), y2=up(value), class_="grid"))
        parts.append(tag("text", f"{value:g}", x=left - 8, y=up(value) + 4, text_anchor="end"))
    whole = [value for value in powers(10**x0, 10**x1) if str(value).startswith("1")] or powers(10**x0, 10**x1)
    for value in whole:
        parts.append(
            tag("text", number(value), x=across(math.log10(value)), y=height - bottom + 18, text_anchor="middle")
        )
    parts.append(tag("line", x1=left, x2=width - right, y1=height - bottom, y2=height - bottom, class_="axis"))
    parts.append(tag("text", "parameters that learn", x=width - right, y=height - 10, text_anchor="end"))
    parts.append(tag("text", metric, x=8, y=16))
    taken: list[float] = []
    for rung, x in sorted(zip(rungs, xs, strict=True), key=lambda pair: -pair[0].value):
        chosen = rung.name == recommended
        if rung.low is not None and rung.high is not None:
            bar = "chosenbar" if chosen else "bar"
            parts.append(tag("line", x1=across(x), x2=across(x), y1=up(rung.low), y2=up(rung.high), class_=bar))
        dot = tag("title", told(rung, metric))
        parts.append(tag("circle", dot, cx=across(x), cy=up(rung.value), r=5, class_="chosen" if chosen else "dot"))
        y = up(rung.value)
        while any(abs(y - other) < 14 for other in taken):  # names that would lie on each other move down
            y += 14
        taken.append(y)
        text = f"{rung.name} {rung.value:.3f}{' (recommended)' if chosen else ''}"
        parts.append(tag("text", text, x=across(x) + 10, y=y + 4))
    size = {"viewBox": f"0 0 {width} {height}", "width": width, "height": height}
    return tag("svg", *parts, xmlns="http://www.w3.org/2000/svg", role="img", **size)
