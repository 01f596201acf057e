"""The ladder of adaptations: one rung's figures, the picture of cost against quality, and which rung to use.

What it is not: where rungs are trained or asked; that is the step `adapt`.

    python -m pytest tests/steps/test_adapt.py
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

from septet.ops.progress import duration
from septet.ops.report.charts import decimal, number, powers, size_text, ticks
from septet.ops.report.html import Markup, join, table, tag

__all__ = ["Advice", "Rung", "draw", "ladder_parts", "picture_of", "recommend", "told", "weighed"]


@dataclass(frozen=True, slots=True)
class Rung:
    """One adaptation. value, low, high: the figure over test rows with its interval; by_seed: the figure of each seed alone.

    learning_rate: the one that was chosen; None where nothing is trained. parameters: those that learn. seconds: of training, or
    until it could be asked. peak_bytes: memory of that (of what is asked, with its answers) above what the process held before.
    bytes_on_disk: what has to be kept beside the base. milliseconds: to predict one row; None where answers came from a cache.
    tokens, cost: what asking took in all, where the engine counts it, and for a row. note: what a reader of the figures must know.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    by_seed: Sequence[float]
    learning_rate: float | None
    parameters: int
    seconds: float
    peak_bytes: float | None
    bytes_on_disk: int
    milliseconds: float | None
    tokens: int | None = None
    cost: float | None = None
    tokens_per_row: float | None = None
    cost_per_row: float | None = None
    note: str = ""

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
    alone = "" if rung.milliseconds is None else f", {number(rung.milliseconds)} ms a row"
    costs = f"{number(rung.seconds)} s{memory}, {size_text(rung.bytes_on_disk)} on disk{alone}"
    learning = "nothing learns"
    if rung.learning_rate is not None:
        learning = f"{rung.parameters:,} parameters learn at {rung.learning_rate:.2g}"
    more = "".join(f"; {text}" for text in (_spent(rung), rung.note) if text)
    return f"{rung.name}: {metric} {rung.value:.3f}{between}{seeds}; {learning}, {costs}{more}"


def _spent(rung: Rung) -> str:
    """Return what asking took, where that is counted."""
    if rung.tokens is None:
        return ""
    money = "" if rung.cost is None else f" for {number(rung.cost)}"
    row = "" if rung.tokens_per_row is None else f", {number(rung.tokens_per_row)} tokens a row"
    row += "" if rung.cost_per_row is None else f", {number(1000 * rung.cost_per_row)} for a thousand rows"
    return f"{rung.tokens:,} tokens{money}{row}"


def recommend(rungs: Sequence[Rung], minus_the_best: Mapping[str, Difference], metric: str) -> Advice:
    """Return the rung to use. minus_the_best: for each rung but the best, the paired difference of its held-out rows' values.

    Of the rungs that lie within one standard error of the best, the fewest parameters win (Breiman et al. 1984, section 3.4.3: the
    rule for pruning trees), and of those without any, what costs the least money a row and then the fewest bytes. That an interval
    holds zero would be too little: with few rows it always does.
    """
    by = {rung.name: rung for rung in rungs}
    best = next(name for name in by if name not in minus_the_best)
    alike = [best]
    for name, found in minus_the_best.items():
        if found.value >= -_error(found):
            alike.append(name)
    chosen = min(alike, key=lambda name: (by[name].parameters, by[name].cost_per_row or 0.0, by[name].bytes_on_disk))
    rung = by[chosen]
    costs = f"{rung.parameters:,} parameters learn and {size_text(rung.bytes_on_disk)} are kept"
    if rung.learning_rate is None:
        costs = f"nothing is trained and {size_text(rung.bytes_on_disk)} are kept"
    if rung.cost_per_row:
        costs += f", but a thousand rows cost {number(1000 * rung.cost_per_row)}"
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


def _error(found: Difference) -> float:
    """Return the standard error: an interval of 95 % is 1.96 of them to either side."""
    return 0.0 if found.low is None or found.high is None else (found.high - found.low) / (2 * 1.96)


def weighed(advice: Advice, minus_the_commonest: Difference) -> Advice:
    """Return the advice, with a warning where the commonest answer is as good on the held-out rows: then none of it is any use."""
    if minus_the_commonest.value > _error(minus_the_commonest):
        return advice
    plain = "But one answer for every row, the commonest, is as good (within a standard error), so no rung has found anything yet."
    return advice._replace(why=f"{advice.why} {plain} Take more rows, another model, or other words.")


def ladder_parts(name: str, ladder: Mapping[str, Any]) -> Markup:
    """Return `ladder.json` of a step as the parts of a report: the picture, the table, and how to use the rung recommended."""
    rungs, metric = [Rung(**rung) for rung in ladder["rungs"]], ladder["metric"]
    about = f"{metric} over {ladder['rows']} {ladder['part']} rows against the parameters that learn. "
    about += "Bars: 95% intervals over rows; seeds are pooled."
    picture = picture_of(rungs, metric=metric, recommended=ladder["recommended"])
    counted = any(rung.tokens is not None for rung in rungs)
    head = ["rung", metric, "interval", "seeds", "learn", "rate", "made in", "memory", "on disk", "a row"]
    head += ["tokens a row", "a thousand rows", "spent here"] if counted else []
    rows = [[*_cells(rung), *(_spending(rung) if counted else ())] for rung in rungs]
    notes = [ladder["why"], "Memory is what making it took above what the process held before."]
    notes += ["Money is in the currency of the prices that were given."] if counted else []
    notes += [f"{rung.name}: {rung.note}." for rung in rungs if rung.note]
    notes += [f"{rung} was left out: {reason}" for rung, reason in ladder.get("left_out", {}).items()]
    command = ladder.get("commands", {}).get(ladder["recommended"], "")
    if ladder.get("model"):
        command = f"septet predict {name} TEXT\n{command}"
    return join(
        tag("figure", tag("h3", name), picture, tag("figcaption", about)),
        tag("div", table(head, rows, " ".join(notes), numbers={1, *range(4, len(head))}), class_="card scroll"),
        *([tag("pre", tag("code", command))] if command else []),
    )


def _cells(rung: Rung) -> list[str]:
    between = "–" if rung.low is None or rung.high is None else f"{decimal(rung.low, 3)} to {decimal(rung.high, 3)}"
    return [
        rung.name,
        decimal(rung.value, 3),
        between,
        f"{decimal(min(rung.by_seed), 3)} to {decimal(max(rung.by_seed), 3)}",
        number(rung.parameters),
        _or_dash(rung.learning_rate, lambda rate: f"{rate:.2g}"),
        duration(rung.seconds),
        _or_dash(rung.peak_bytes, size_text),
        size_text(rung.bytes_on_disk),
        _or_dash(rung.milliseconds, lambda found: f"{number(found)} ms"),
    ]


def _spending(rung: Rung) -> list[str]:
    thousand = None if rung.cost_per_row is None else 1000 * rung.cost_per_row
    return [_or_dash(value, number) for value in (rung.tokens_per_row, thousand, rung.cost)]


def _or_dash(value: float | None, write: Callable[[float], str]) -> str:
    return "–" if value is None else write(value)


Box = tuple[float, float, float, float]
"""Left, top, right and bottom of what lies in the picture."""


def _beside(
    x: float, y: float, long: float, others: Sequence[Box], within: Box
) -> tuple[tuple[float, float], str, Box]:
    """Return where a name of a dot goes, how it is anchored, and its box: right of it, left, above or below, on nothing else."""
    places = [
        ((x + 10, y + 4), "start", x + 10),
        ((x - 10, y + 4), "end", x - 10 - long),
        ((x, y - 10), "middle", x - long / 2),
        ((x, y + 19), "middle", x - long / 2),
    ]
    # where all these are taken it moves away from the dot
    places += [((x + 10, y + 4 + 14 * step), "start", x + 10) for near in range(1, 20) for step in (near, -near)]
    boxes = [(left, at[1] - 11, left + long, at[1] + 3) for at, _, left in places]
    for (at, anchor, _), box in zip(places, boxes, strict=True):
        inside = box[0] >= within[0] and box[1] >= within[1] and box[2] <= within[2] and box[3] <= within[3]
        if inside and not any(
            box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3] for other in others
        ):
            return at, anchor, box
    return places[0][0], places[0][1], boxes[0]


def draw(rungs: Sequence[Rung], *, metric: str, recommended: str) -> str:
    """Return the picture as a file that stands alone."""
    return str(picture_of(rungs, metric=metric, recommended=recommended)) + "\n"


def picture_of(rungs: Sequence[Rung], *, metric: str, recommended: str, width: int = 720, height: int = 400) -> Markup:
    """Return parameters that learn, from left to right by their logarithm, against the figure of each rung.

    Nought has no logarithm: rungs in which nothing learns stand side by side at the left, a power of ten from the others.
    """
    left, right, top, bottom = 64, 150, 28, 48
    learn = [math.log10(rung.parameters) for rung in rungs if rung.parameters]
    none = min(learn, default=1.0) - 1.0
    beside = iter(range(len(rungs)))
    xs = [math.log10(rung.parameters) if rung.parameters else none - 0.15 * next(beside) for rung in rungs]
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
    words = (
        f"{rung.name} {rung.value:.3f}, {number(rung.parameters)} learn{', recommended' if rung.name == recommended else ''}"
        for rung in rungs
    )
    parts = [tag("title", f"{metric} of each rung against the parameters that learn"), tag("desc", "; ".join(words))]
    parts.append(tag("style", style))
    parts.append(tag("rect", width=width, height=height, fill="#fff"))
    for value in ticks(y0, y1, 5):
        parts.append(tag("line", x1=left, x2=width - right, y1=up(value), y2=up(value), class_="grid"))
        parts.append(tag("text", f"{value:g}", x=left - 8, y=up(value) + 4, text_anchor="end"))
    axis = powers(10 ** (min(learn) - 0.3), 10**x1) if learn else []
    if len(learn) < len(rungs):
        parts.append(tag("text", "none", x=across(none), y=height - bottom + 18, text_anchor="middle"))
    for value in [value for value in axis if str(value).startswith("1")] or axis:
        parts.append(
            tag("text", number(value), x=across(math.log10(value)), y=height - bottom + 18, text_anchor="middle")
        )
    parts.append(tag("line", x1=left, x2=width - right, y1=height - bottom, y2=height - bottom, class_="axis"))
    parts.append(tag("text", "parameters that learn", x=width - right, y=height - 10, text_anchor="end"))
    parts.append(tag("text", metric, x=8, y=16))
    marks = [
        (across(x) - 6, min(up(rung.value) - 6, up(high)), across(x) + 6, max(up(rung.value) + 6, up(low)))
        for rung, x, low, high in zip(rungs, xs, lows, highs, strict=True)
    ]
    field = (left, 0.0, width, height - bottom)
    for rung, x in sorted(zip(rungs, xs, strict=True), key=lambda pair: -pair[0].value):
        chosen = rung.name == recommended
        if rung.low is not None and rung.high is not None:
            bar = "chosenbar" if chosen else "bar"
            parts.append(tag("line", x1=across(x), x2=across(x), y1=up(rung.low), y2=up(rung.high), class_=bar))
        dot = tag("title", told(rung, metric))
        parts.append(tag("circle", dot, cx=across(x), cy=up(rung.value), r=5, class_="chosen" if chosen else "dot"))
        text = f"{rung.name} {rung.value:.3f}{' (recommended)' if chosen else ''}"
        at, anchor, box = _beside(across(x), up(rung.value), 6.4 * len(text), marks, field)
        marks.append(box)
        parts.append(tag("text", text, x=round(at[0], 1), y=round(at[1], 1), text_anchor=anchor))
    size = {"viewBox": f"0 0 {width} {height}", "width": width, "height": height}
    return tag("svg", *parts, xmlns="http://www.w3.org/2000/svg", role="img", **size)
