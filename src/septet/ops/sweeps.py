"""What a sweep leaves: `sweeps/NAME/sweep.json` in the store, and a page with the metric against each field.

What it is not: the models; each trial's are in the store under the trial's name.

    septet sweep recipes/tiny.yaml --over base.learning_rate=0.003,0.01 --metric base.bits_per_byte
"""

from __future__ import annotations

import itertools
import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from septet.core.artifact import Artifact, write_json
from septet.core.errors import StoreError, nearest
from septet.core.store import Store
from septet.ops.comparison import put
from septet.ops.report.charts import Span, number, spans
from septet.ops.report.html import Markup, document, table, tag

__all__ = ["Sweep", "Trial", "brief", "write_page"]

MOST_ROWS = 12
"""A field with more values than that is drawn in groups of neighbours."""
GROUPS = 8


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of the recipe. settings: field -> its text. value: the metric, where it was finished; else reason says why not."""

    number: int
    name: str
    settings: dict[str, str]
    value: float | None = None
    id: str | None = None
    seconds: float | None = None
    reason: str | None = None

    @property
    def overrides(self) -> list[str]:
        return [f"{name}={text}" for name, text in self.settings.items()]


@dataclass(slots=True)
class Sweep:
    """A sweep's definition and its trials so far.

    recipe: the file. fixed: overrides of every trial. over: field -> what was given for it. base: the id that the first values lead
    to, so that a recipe or text that changed is noticed.
    """

    name: str
    recipe: str
    metric: str
    maximize: bool
    search: str
    seed: int
    fixed: list[str]
    over: dict[str, str]
    base: str
    trials: list[Trial] = field(default_factory=list)

    @staticmethod
    def folder(store: Store, name: str) -> Path:
        return store.home / "sweeps" / name

    @classmethod
    def load(cls, store: Store, name: str) -> Sweep:
        """Errors: StoreError where no sweep has that name."""
        try:
            content = json.loads((cls.folder(store, name) / "sweep.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            known = [path.parent.name for path in (store.home / "sweeps").glob("*/sweep.json")]
            raise StoreError(f"There is no sweep '{name}' in {store.home}.{nearest(name, known)}") from None
        trials = [Trial(**trial) for trial in content.pop("trials")]
        return cls(**content, trials=trials)

    def save(self, store: Store) -> None:
        folder = self.folder(store, self.name)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "sweep.json", self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def definition(self) -> dict[str, Any]:
        """Return what must be the same for a command to go on with this sweep."""
        return {name: value for name, value in self.to_dict().items() if name not in ("trials", "recipe")}

    def add(self, trial: Trial) -> None:
        """Add a trial, in place of an earlier attempt at it."""
        kept = [other for other in self.trials if other.number != trial.number]
        self.trials = sorted([*kept, trial], key=lambda one: one.number)

    def ranked(self) -> list[Trial]:
        """Return the finished trials, the best first, then those that failed."""
        done = [trial for trial in self.trials if trial.value is not None]
        done.sort(key=lambda trial: (trial.value or 0.0) * (-1 if self.maximize else 1))
        return done + [trial for trial in self.trials if trial.value is None]

    def best(self) -> Trial | None:
        first = next(iter(self.ranked()), None)
        return first if first is not None and first.value is not None else None

    def command(self, trial: Trial) -> str:
        """Return the command that runs the recipe as this trial did."""
        given = [f"--set {shlex.quote(text)}" for text in [*self.fixed, *trial.overrides]]
        return " ".join(["septet run", shlex.quote(self.recipe), *given])

    def artifacts(self, store: Store) -> list[tuple[str, Artifact]]:
        """Return what the metric was measured on, of every finished trial that is still there."""
        step = self.metric.partition(".")[0]
        found = [(f"{trial.name}/{step}", store.get(trial.id)) for trial in self.trials if trial.id is not None]
        return [(name, artifact) for name, artifact in found if artifact is not None]


def write_page(sweep: Sweep, out: Path) -> Path:
    """Write the sweep as one HTML page that needs nothing else."""
    ranked, best = sweep.ranked(), sweep.best()
    head = ["trial", *sweep.over, sweep.metric, "seconds"]
    rows = [
        [
            trial.name,
            *map(brief, trial.settings.values()),
            number(trial.value, 4) if trial.value is not None else f"failed: {trial.reason}",
            number(trial.seconds) if trial.seconds is not None else "–",
        ]
        for trial in ranked
    ]
    body: list[Markup] = [tag("h1", f"Sweep {sweep.name}")]
    if best is not None:
        body.append(tag("section", tag("h2", "The best"), tag("pre", sweep.command(best))))
        for name in sweep.over:
            chart = spans(_spans(sweep, name), title=f"{sweep.metric} by {name}", unit=sweep.metric.partition(".")[2])
            note = tag("figcaption", "Dot: the best trial with that value; bar: from the best to the worst.")
            body.append(tag("section", tag("h2", f"By {name}"), tag("figure", chart, note)))
    caption = f"Sorted by {sweep.metric}, the {'highest' if sweep.maximize else 'lowest'} first"
    body.append(tag("section", tag("h2", "Trials"), table(head, rows, caption, numbers={len(head) - 2, len(head) - 1})))
    return put(document(f"Sweep {sweep.name}", tag("main", *body)), out)


def _spans(sweep: Sweep, name: str) -> list[Span]:
    """Group the finished trials by a field's value; numbers of many values in groups of neighbours."""
    groups: dict[str, list[float]] = {}
    done = [(trial.settings[name], trial.value) for trial in sweep.trials if trial.value is not None]
    for text, value in sorted(done, key=lambda pair: _order(pair[0])):
        groups.setdefault(brief(text), []).append(value)
    if len(groups) > MOST_ROWS and all(math.isfinite(_order(text)[0]) for text, _ in done):
        groups = _joined(list(groups.items()))
    pick = max if sweep.maximize else min
    return [
        Span(text, pick(values), *((min(values), max(values)) if len(values) > 1 else (None, None)))
        for text, values in groups.items()
    ]


def _joined(groups: Sequence[tuple[str, list[float]]]) -> dict[str, list[float]]:
    edges = [round(place * len(groups) / GROUPS) for place in range(GROUPS + 1)]
    parts = [groups[a:b] for a, b in itertools.pairwise(edges)]
    return {
        f"{part[0][0]} to {part[-1][0]}": [value for _, values in part for value in values] for part in parts if part
    }


def _order(text: str) -> tuple[float, str]:
    """Numbers by their value, then words."""
    try:
        return float(text), ""
    except ValueError:
        return math.inf, text


def brief(text: str) -> str:
    """Return a number with four digits, so that names stay readable; other texts as they are.

    >>> brief("0.0031622776601683794"), brief("adamw"), brief("64")
    ('0.003162', 'adamw', '64')
    """
    value = _order(text)[0]
    return f"{value:.4g}" if math.isfinite(value) and value != int(value) else text
