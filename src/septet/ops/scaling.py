"""A scaling law of one's own runs: loss against parameters and tokens, and what a budget of computing is best spent on.

    L(N, D) = E + A / N^alpha + B / D^beta

Hoffmann et al. 2022 (https://arxiv.org/abs/2203.15556), approach 3, equations 2 to 4: the constants minimise a Huber loss (1e-3)
of the log of the loss, by L-BFGS from a grid of starts. Where we differ: the grid is about the runs' own mean size, and the Huber
loss is summed in units of its threshold, since small sums end L-BFGS too early (Besiroglu et al. 2024,
https://arxiv.org/abs/2404.10102). Intervals come from runs drawn anew with replacement.

What it is not: a law of nature. It holds for one kind of model, one text and one tokenizer, near the sizes that were trained.

    septet scaling small middle large --out scaling.html
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from septet.core.artifact import Artifact
from septet.core.errors import DataError
from septet.ops.comparison import put
from septet.ops.report.charts import Curve, curves, number
from septet.ops.report.html import Markup, document, table, tag

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Best", "Law", "Point", "Scaling", "constants", "fit_points", "point_of", "scale", "short", "write_page"]

DELTA = 1e-3
"""Where the Huber loss turns from square to straight, in nats of the log of the loss; the paper's."""
LEAST = 5
"""The law has five constants; fewer runs than that fit any law."""
ENOUGH, SPAN = 6, 4.0
"""Fewer runs, or sizes within a smaller factor, do not determine the exponents."""
MOST_EXPONENT = 3.0
TRIED = 16
"""So many of the starts, those with the lowest value, are followed to their end."""


@dataclass(frozen=True, slots=True)
class Point:
    """A run. parameters: without embeddings. tokens: seen in training. loss: held-out, nats a token."""

    name: str
    parameters: float
    tokens: float
    loss: float


@dataclass(frozen=True, slots=True)
class Law:
    """E, A, B and the exponents; loss in nats a token."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float

    def loss(self, parameters: float, tokens: float) -> float:
        return self.E + self.A / parameters**self.alpha + self.B / tokens**self.beta

    def optimum(self, flops: float) -> tuple[float, float]:
        """Return the parameters and tokens with the lowest loss for C = 6 N D (equation 4 of the paper).

        >>> N, D = Law(E=1.69, A=1.0, B=1.0, alpha=0.5, beta=0.5).optimum(600)
        >>> round(N, 6), round(D, 6)
        (10.0, 10.0)
        """
        both = self.alpha + self.beta
        ratio = (self.alpha * self.A / (self.beta * self.B)) ** (1 / both)
        return ratio * (flops / 6) ** (self.beta / both), (flops / 6) ** (self.alpha / both) / ratio


@dataclass(frozen=True, slots=True)
class Best:
    """What a budget is best spent on, each with its 95 % interval."""

    flops: float
    parameters: float
    parameters_interval: tuple[float, float]
    tokens: float
    tokens_interval: tuple[float, float]
    loss: float


@dataclass(frozen=True, slots=True)
class Scaling:
    """The runs, the law, 95 % intervals of its constants, the best use of budgets, and what to beware of."""

    points: list[Point]
    law: Law
    intervals: dict[str, tuple[float, float]]
    best: list[Best]
    warnings: list[str]

    def to_dict(self) -> dict[str, Any]:
        found = asdict(self)
        for row, point in zip(found["points"], self.points, strict=True):
            row["fitted"] = self.law.loss(point.parameters, point.tokens)
        return found


def point_of(name: str, artifact: Artifact) -> Point:
    """Return the point of a pre-trained model.

    N is `facts.parameters` less the tables that are as long as the vocabulary (`facts.derived`: vocabulary x width): one, or two
    where the family says that embeddings and head are not tied. Learned positions stay in. Errors: DataError for what has no point.
    """
    facts, derived = artifact.facts, artifact.facts.get("derived")
    if artifact.kind != "model" or not isinstance(derived, dict):
        raise DataError(
            f"'{name}' is not a model that `pretrain` made ({artifact.kind}); a scaling law is of such models."
        )
    if artifact.step.get("continue_from") is not None:
        raise DataError(f"'{name}' went on from another model, whose tokens are not among its own. Leave it out.")
    held_out = facts.get("held_out_loss")
    if not isinstance(held_out, dict) or "nll" not in held_out:
        raise DataError(
            f"'{name}' has no held_out_loss.nll: hold text out of its corpus, and use an objective with that term."
        )
    family = artifact.step.get("family")
    tables = 2 if isinstance(family, dict) and family.get("tied") is False else 1
    inner = facts["parameters"] - tables * derived["vocabulary"] * derived["width"]
    assert inner > 0, f"{name}: {facts['parameters']} parameters, {derived}"
    return Point(name, float(inner), float(facts["tokens"]), float(held_out["nll"]))


def scale(
    named: Sequence[tuple[str, Artifact]], *, budgets: Sequence[float] = (), draws: int = 200, seed: int = 0
) -> Scaling:
    """Fit the law to models. budgets: FLOPs; unless given, 1, 10 and 100 times those of the largest run. draws: for the intervals.

    Errors: DataError for models that cannot be compared, for fewer than five, and for sizes or lengths that are all the same.
    """
    points = [point_of(name, artifact) for name, artifact in named]
    for role in ("corpus", "tokenizer"):
        if len({artifact.inputs.get(role) for _, artifact in named}) > 1:
            raise DataError(f"these models were not made with one {role}, so their losses a token do not compare.")
    objectives = {str(artifact.facts.get("objective")) for _, artifact in named}
    if len(objectives) > 1:
        raise DataError(
            f"these models learned different objectives ({', '.join(sorted(objectives))}); their losses do not compare."
        )
    found = fit_points(points, budgets=budgets, draws=draws, seed=seed)
    families = {str((artifact.step.get("family") or {}).get("kind")) for _, artifact in named}
    if len(families) > 1:
        found.warnings.append(
            f"The models are of different families ({', '.join(sorted(families))}); one law is fitted to all."
        )
    often = [name for name, artifact in named if artifact.facts.get("epochs", 0) > 4]
    if often:
        found.warnings.append(
            f"{', '.join(often)} passed over the text more than 4 times; repeated tokens are worth less than fresh ones."
        )
    return found


def fit_points(points: Sequence[Point], *, budgets: Sequence[float] = (), draws: int = 200, seed: int = 0) -> Scaling:
    """Fit the law to points; see `scale`."""
    import numpy as np  # 0.1 s

    for name, values in (("size", [p.parameters for p in points]), ("number of tokens", [p.tokens for p in points])):
        if len(set(values)) < 2:
            raise DataError(
                f"all these runs have the same {name}; a law needs runs of different sizes and different lengths."
            )
    if len(points) < LEAST:
        raise DataError(
            f"a scaling law has {LEAST} constants, and these are {len(points)} runs. Train more, for example with sweep."
        )
    data = np.array([[math.log(p.parameters), math.log(p.tokens), math.log(p.loss)] for p in points])
    centre = data[:, :2].mean(axis=0)
    data[:, :2] -= (
        centre  # a constant then says how much its part adds at the mean size, which keeps the fit well conditioned
    )
    best = min((_descend(data, start) for start in _starts(data)), key=lambda found: found[0])[1]
    law = _law(best, centre)
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(draws):
        rows = data[rng.integers(len(data), size=len(data))]
        drawn.append(_law(_descend(rows, best)[1], centre))
    if not budgets:
        largest = max(6 * p.parameters * p.tokens for p in points)
        budgets = [largest * factor for factor in (1, 10, 100)]
    intervals = {name: _interval([getattr(one, name) for one in drawn]) for name in ("E", "A", "B", "alpha", "beta")}
    warnings = _warnings(points, law, intervals)
    inner = law.alpha > 0 and law.beta > 0
    return Scaling(list(points), law, intervals, [_best(law, drawn, c) for c in budgets] if inner else [], warnings)


def _starts(data: NDArray[Any]) -> list[NDArray[Any]]:
    """Return the most promising of a grid of starts, as (log A', log B', log E, alpha, beta)."""
    import numpy as np

    level = float(data[:, 2].mean())
    parts, floors, exponents = (-4.0, -2.0, -1.0, -0.3), (-2.0, -1.0, -0.5, -0.2), (0.1, 0.3, 0.5, 1.0, 1.5)
    grid = itertools.product(*2 * [[level + x for x in parts]], [level + x for x in floors], exponents, exponents)
    starts = [np.array(start) for start in grid]
    return sorted(starts, key=lambda start: _objective(start, data)[0])[:TRIED]


def _objective(constants: NDArray[Any], data: NDArray[Any]) -> tuple[float, NDArray[Any]]:
    """Return the summed Huber loss in units of DELTA squared, and its gradient. data: log N, log D (centred), log L; [runs, 3]."""
    import numpy as np

    a, b, e, alpha, beta = constants
    logs = np.stack([a - alpha * data[:, 0], b - beta * data[:, 1], np.full(len(data), e)])
    top = logs.max(axis=0)
    shares = np.exp(logs - top)
    total = shares.sum(axis=0)
    shares /= total
    rest = (top + np.log(total) - data[:, 2]) / DELTA
    size = np.abs(rest)
    value = np.where(size <= 1, 0.5 * rest * rest, size - 0.5).sum()
    slope = np.clip(rest, -1, 1) / DELTA
    parts = [slope * shares[0], slope * shares[1], slope * shares[2]]
    gradient = [parts[0].sum(), parts[1].sum(), parts[2].sum(), -(parts[0] @ data[:, 0]), -(parts[1] @ data[:, 1])]
    return float(value), np.array(gradient)


def _descend(data: NDArray[Any], start: NDArray[Any]) -> tuple[float, NDArray[Any]]:
    from scipy.optimize import minimize  # 0.3 s

    level = float(data[:, 2].mean())
    bounds = [
        (level - 12, level + 4),
        (level - 12, level + 4),
        (level - 12, level),
        (0, MOST_EXPONENT),
        (0, MOST_EXPONENT),
    ]
    options = {"maxiter": 3000, "maxfun": 6000, "ftol": 1e-13, "gtol": 1e-7}
    done = minimize(_objective, start, args=(data,), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return float(done.fun), done.x


def _law(constants: NDArray[Any], centre: NDArray[Any]) -> Law:
    a, b, e, alpha, beta = map(float, constants)
    return Law(math.exp(e), math.exp(a + alpha * centre[0]), math.exp(b + beta * centre[1]), alpha, beta)


def _interval(values: Sequence[float]) -> tuple[float, float]:
    import numpy as np

    if not values:
        return (math.nan, math.nan)
    low, high = np.quantile(np.array(values), [0.025, 0.975])
    return float(low), float(high)


def _best(law: Law, drawn: Sequence[Law], flops: float) -> Best:
    size, length = law.optimum(flops)
    # a draw whose exponents are nought has no optimum, and tells nothing of where it lies
    found = [one.optimum(flops) for one in drawn if one.alpha > 0.01 and one.beta > 0.01]
    sizes, lengths = _interval([n for n, _ in found]), _interval([d for _, d in found])
    return Best(flops, size, sizes, length, lengths, law.loss(size, length))


def _warnings(points: Sequence[Point], law: Law, intervals: dict[str, tuple[float, float]]) -> list[str]:
    import numpy as np

    found = []
    if len(points) < ENOUGH:
        found.append(
            f"{len(points)} runs for five constants: the exponents are not determined. Train at least {ENOUGH}."
        )
    sizes, lengths = [p.parameters for p in points], [p.tokens for p in points]
    for name, values in (("parameters", sizes), ("tokens", lengths)):
        span = max(values) / min(values)
        if span < 0.98 * SPAN:  # whole steps make 8,192 and 32,768 tokens not quite a factor of 4
            found.append(
                f"The {name} span a factor of {number(span)}; below {SPAN:g} their exponent is not determined."
            )
    if abs(float(np.corrcoef(np.log(sizes), np.log(lengths))[0, 1])) > 0.95:
        found.append("Larger models saw more tokens in nearly one proportion: the two exponents cannot be told apart.")
    if 0.01 * min(p.loss for p in points) > law.E:
        found.append(
            "E is nought: the losses are still too far from their floor to tell where it lies. Do not extrapolate far."
        )
    for name in ("alpha", "beta"):
        value, (low, high) = getattr(law, name), intervals[name]
        if value < 0.01 or value > MOST_EXPONENT - 0.01:
            found.append(f"{name} is {number(value)}, the end of what is allowed: these runs do not determine it.")
        elif high - low > value:
            found.append(f"{name} is uncertain: {number(value)}, 95 % interval {number(low)} to {number(high)}.")
    return found


def short(value: float) -> str:
    """Return a large number for people.

    >>> short(70.2e9), short(5.76e23), short(820)
    ('70.2 B', '5.8e+23', '820')
    """
    if value >= 1e15:
        return f"{value:.1e}"
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g}"


def constants(found: Scaling) -> list[list[str]]:
    """Return rows of a constant's name, value and interval."""

    def said(value: float) -> str:
        return number(value) if value < 1e6 else f"{value:.1e}"

    return [
        [name, said(getattr(found.law, name)), f"{said(low)} to {said(high)}"]
        for name, (low, high) in found.intervals.items()
    ]


def write_page(found: Scaling, out: Path) -> Path:
    """Write the law as one HTML page that needs nothing else."""
    law, points = found.law, found.points
    best = [
        [
            short(b.flops),
            short(b.parameters),
            _range(b.parameters_interval),
            short(b.tokens),
            _range(b.tokens_interval),
            number(b.loss),
        ]
        for b in found.best
    ]
    runs = [
        [p.name, short(p.parameters), short(p.tokens), number(p.loss, 4), number(law.loss(p.parameters, p.tokens), 4)]
        for p in sorted(points, key=lambda p: (p.parameters, p.tokens))
    ]
    body: list[Markup] = [tag("h1", "Scaling law")]
    body += [tag("p", warning, class_="bad") for warning in found.warnings]
    head = ["constant", "value", "95 % interval"]
    body.append(
        tag(
            "section",
            tag("h2", "L = E + A / N^alpha + B / D^beta"),
            table(head, constants(found), "Nats a token", numbers={1, 2}),
        )
    )
    body += [
        tag("section", tag("h2", f"Loss against {x}"), _chart(found, x, by))
        for x, by in (("tokens", "parameters"), ("parameters", "tokens"))
    ]
    head = ["FLOPs", "parameters", "95 %", "tokens", "95 %", "loss"]
    body.append(
        tag("section", tag("h2", "Best use of a budget"), table(head, best, "C = 6 N D", numbers={1, 2, 3, 4, 5}))
    )
    head = ["run", "parameters", "tokens", "loss", "fitted"]
    body.append(
        tag(
            "section",
            tag("h2", "Runs"),
            table(head, runs, "Parameters without embeddings; held-out loss", numbers={1, 2, 3, 4}),
        )
    )
    return put(document("Scaling law", tag("main", *body)), out)


def _range(interval: tuple[float, float]) -> str:
    return f"{short(interval[0])} to {short(interval[1])}"


def _chart(found: Scaling, x: str, by: str, most: int = 4) -> Markup:
    """Draw the runs as dots and the law as lines: a colour for each value of `by`, at most four of them, evenly chosen."""
    values = sorted({getattr(p, by) for p in found.points})
    if len(values) > most:
        values = [values[round(place * (len(values) - 1) / (most - 1))] for place in range(most)]
    xs = [getattr(p, x) for p in found.points]
    low, high = math.log(min(xs)), math.log(max(xs))
    grid = [math.exp(low + (high - low) * place / 40) for place in range(41)]
    lines = []
    for value, style in zip(values, "abcd", strict=False):
        dots = sorted((getattr(p, x), p.loss) for p in found.points if getattr(p, by) == value)
        lines.append(Curve(f"{short(value)} {by}:", dots, style, joined=False))
        lines.append(Curve("", [(at, found.law.loss(**{x: at, by: value})) for at in grid], style))
    return curves(
        lines, title=f"Loss against {x}, by {by}", x=x, y="nats a token", width=960, height=380, logarithmic=True
    )
