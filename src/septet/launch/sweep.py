"""A sweep: a recipe run again and again with other values of some fields, for the best of a metric.

Each trial is an ordinary run under a name of its own (`tiny-001`), so what trials have in common is made once, and one that was
stopped goes on from its checkpoint. Search is a grid, or Optuna's tree-structured Parzen estimator (Bergstra et al. 2011), whose
trials are kept in the store. Every value goes through the overrides of `--set`.

What it is not: a scheduler; trials run one after the other, and none is cut short.

    septet sweep recipes/tiny.yaml --over base.learning_rate=0.003,0.01 --metric base.bits_per_byte
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from septet.core.artifact import Artifact
from septet.core.errors import ComponentError, OfflineError, RecipeError, SpaceError, Stopped, nearest
from septet.core.extras import need
from septet.core.recipe import Recipe, plan
from septet.core.store import Store
from septet.ops.comparison import flat
from septet.ops.sweeps import Sweep, Trial, write_page

__all__ = ["Axis", "axes", "begin", "run_sweep"]

_RANGE = re.compile(r"(log|int|float):(.+?)\.\.(.+)")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Axis:
    """A field and its values as texts, or a range `scale` (log, int, float) from low to high, both included."""

    field: str
    given: str
    values: tuple[str, ...] = ()
    scale: str = ""
    low: float = 0.0
    high: float = 0.0

    @property
    def first(self) -> str:
        return self.values[0] if self.values else self.text(self.low)

    def text(self, value: Any) -> str:
        """Return a value as an override has it."""
        return str(int(value)) if self.scale == "int" else str(value)


def axes(over: Iterable[str]) -> list[Axis]:
    """Read `step.field=a,b,c`, `=log:1e-4..1e-1`, `=int:2..6`, `=float:0..1`. Errors: ComponentError.

    >>> axes(["base.optimizer=adamw,{kind: muon, momentum: 0.9}"])[0].values
    ('adamw', '{kind: muon, momentum: 0.9}')
    """
    found: list[Axis] = []
    for text in over:
        name, mark, given = (part.strip() for part in text.partition("="))
        if not mark or not given or "." not in name:
            raise ComponentError(f"--over takes step.field=value,value, for example base.depth=2,4; got '{text}'.")
        if any(axis.field == name for axis in found):
            raise ComponentError(f"--over {name}: the field is given twice; write all its values in one --over.")
        found.append(_range(name, given) or Axis(name, given, tuple(_apart(given))))
        if not all(found[-1].values or ["a range"]):
            raise ComponentError(f"--over {name}: a value between two commas is missing in '{given}'.")
    if not found:
        raise ComponentError("--over is missing: say which field to vary, for example --over base.depth=2,4.")
    return found


def _range(name: str, given: str) -> Axis | None:
    match = _RANGE.fullmatch(given)
    if match is None:
        return None
    scale = match[1]
    try:
        low, high = float(match[2]), float(match[3])
    except ValueError:
        raise ComponentError(f"--over {name}: a range is two numbers, such as log:1e-4..1e-1; got '{given}'.") from None
    if not low < high or not math.isfinite(high - low) or (scale == "log" and low <= 0):
        raise ComponentError(
            f"--over {name}: a range rises{', from above 0' if scale == 'log' else ''}; got '{given}'."
        )
    if scale == "int" and (low != int(low) or high != int(high)):
        raise ComponentError(f"--over {name}: the ends of int: are whole numbers; got '{given}'.")
    return Axis(name, given, (), scale, low, high)


def _apart(text: str) -> Iterator[str]:
    """Split at commas that stand in no brackets and no quotes."""
    depth, quote, begin = 0, "", 0
    for place, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "[{":
            depth += 1
        elif letter in "]}":
            depth -= 1
        elif letter == "," and depth == 0:
            yield text[begin:place].strip()
            begin = place + 1
    yield text[begin:].strip()


def begin(
    path: Path,
    store: Store,
    over: Sequence[Axis],
    *,
    metric: str,
    maximize: bool = False,
    search: str = "grid",
    seed: int = 0,
    name: str | None = None,
    fixed: Sequence[str] = (),
) -> Sweep:
    """Return a new sweep, or the one of that name to go on with, after checking every value by itself.

    Errors: RecipeError and ComponentError for fields and values that no trial could use, or a sweep of that name that was another.
    """
    first = [f"{axis.field}={axis.first}" for axis in over]
    recipe = Recipe.load(path, overrides=[*fixed, *first])
    for axis in over:
        if search == "grid" and axis.scale:
            raise ComponentError(
                f"--over {axis.field}={axis.given}: a grid needs values; --search optuna takes ranges."
            )
        for value in axis.values or (axis.text(axis.low), axis.text(axis.high)):
            Recipe.load(path, overrides=[*fixed, *first, f"{axis.field}={value}"])
    step, mark, _ = metric.partition(".")
    if not mark or step not in recipe.steps:
        raise ComponentError(
            f"--metric takes step.fact, such as base.bits_per_byte; got '{metric}'.{nearest(step, recipe.steps)}"
        )
    needed = _needed(recipe, step)
    for axis in over:
        varied = axis.field.partition(".")[0]
        if varied not in needed:
            raise ComponentError(
                f"--over {axis.field}: '{step}' does not depend on '{varied}', so every trial would be the same."
            )
    name = name or recipe.name
    if not _NAME.fullmatch(name):
        raise ComponentError(f"--name has letters, digits, '-' and '_' and begins with a letter; got '{name}'.")
    base = next(planned.id for planned in plan(recipe, store) if planned.name == step)
    given = {axis.field: axis.given for axis in over}
    sweep = Sweep(name, str(path), metric, maximize, search, seed, list(fixed), given, base)
    if not (Sweep.folder(store, name) / "sweep.json").exists():
        return sweep
    earlier = Sweep.load(store, name)
    old, new = earlier.definition(), sweep.definition()
    changed = [key for key in new if new[key] != old[key]]
    if changed:
        said = ", ".join("the recipe or its text" if key == "base" else f"{key} {old[key]}" for key in changed)
        raise RecipeError(
            f"The sweep '{name}' was begun otherwise ({said}); give this one a name of its own: --name {name}-2."
        )
    sweep.trials = earlier.trials
    return sweep


def _needed(recipe: Recipe, step: str) -> set[str]:
    found, todo = set(), [step]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += [ref[1:] for ref in recipe.steps[name].refs().values() if ref.startswith("$")]
    return found


def run_sweep(
    sweep: Sweep,
    store: Store,
    over: Sequence[Axis],
    make: Callable[[Recipe, str], Artifact],
    *,
    trials: int = 20,
    telling: Callable[[Trial, int], None] = lambda trial, total: None,
) -> Path:
    """Run the trials that are missing and return the page. `make` runs a recipe up to a step and returns what that made.

    trials: of a search, in all; a grid runs every combination, and those that failed again. A trial that fails is recorded and the
    next one begins; Stopped, a full disk and offline mode end the sweep, and the same call goes on.
    """
    sweep.save(store)

    def attempt(number: int, settings: dict[str, str], total: int) -> Trial:
        trial = Trial(number, f"{sweep.name}-{number:03d}", settings)
        telling(trial, total)
        trial = _attempt(sweep, trial, make)
        sweep.add(trial)
        sweep.save(store)
        return trial

    try:
        if sweep.search == "grid":
            combinations = list(itertools.product(*(axis.values for axis in over)))
            for number, values in enumerate(combinations, 1):
                attempt(
                    number, {axis.field: value for axis, value in zip(over, values, strict=True)}, len(combinations)
                )
        else:
            _search(sweep, store, over, attempt, trials)
    finally:
        page = write_page(sweep, Sweep.folder(store, sweep.name) / "sweep.html")
    return page


def _attempt(sweep: Sweep, trial: Trial, make: Callable[[Recipe, str], Artifact]) -> Trial:
    step, _, fact = sweep.metric.partition(".")

    def ended(**more: Any) -> Trial:
        return Trial(trial.number, trial.name, trial.settings, **more)

    try:
        recipe = Recipe.load(sweep.recipe, overrides=[*sweep.fixed, *trial.overrides, f"name={trial.name}"])
        artifact = make(recipe, step)
    except (Stopped, SpaceError, OfflineError):
        raise
    except Exception as error:  # whatever ended one trial, the others may be well
        return ended(reason=str(error) or type(error).__name__)
    facts = flat(artifact.facts)
    value = facts.get(fact)
    if isinstance(value, bool) or not isinstance(value, int | float):
        if not any(other.value is not None for other in sweep.trials):
            known = [f"{step}.{n}" for n, v in facts.items() if isinstance(v, int | float) and not isinstance(v, bool)]
            raise ComponentError(f"--metric {sweep.metric}: '{step}' has no such number.{nearest(sweep.metric, known)}")
        return ended(id=artifact.id, reason=f"it has no number {fact}")
    if not math.isfinite(value):
        return ended(id=artifact.id, reason=f"{fact} is {value}")
    return ended(value=float(value), id=artifact.id, seconds=artifact.facts.get("seconds"))


def _search(
    sweep: Sweep, store: Store, over: Sequence[Axis], attempt: Callable[[int, dict[str, str], int], Trial], trials: int
) -> None:
    optuna = need("optuna", "sweep")
    import numpy as np  # 0.1 s

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=f"sqlite:///{Sweep.folder(store, sweep.name) / 'study.db'}",
        study_name=sweep.name,
        direction="maximize" if sweep.maximize else "minimize",
        load_if_exists=True,
    )
    states = optuna.trial.TrialState
    spaces = {axis.field: _space(axis, optuna.distributions) for axis in over}

    def tried(number: int, params: Mapping[str, Any]) -> None:
        settings = {axis.field: axis.text(params[axis.field]) for axis in over}
        trial = attempt(number + 1, settings, trials)
        if trial.value is None:
            study.tell(number, state=states.FAIL)
        else:
            study.tell(number, trial.value)

    for left in study.get_trials(deepcopy=False, states=(states.RUNNING,)):  # stopped in the middle
        if set(left.params) == set(spaces):
            tried(left.number, left.params)
        else:
            study.tell(left.number, state=states.FAIL)
    while (number := len(study.get_trials(deepcopy=False))) < trials:
        # a seed for each trial: a search that was stopped draws what it would have drawn
        drawn = int(np.random.SeedSequence([sweep.seed, number]).generate_state(1)[0])
        study.sampler = optuna.samplers.TPESampler(seed=drawn)
        asked = study.ask(fixed_distributions=spaces)
        tried(asked.number, asked.params)


def _space(axis: Axis, distributions: Any) -> Any:
    if axis.values:
        return distributions.CategoricalDistribution(axis.values)
    if axis.scale == "int":
        return distributions.IntDistribution(int(axis.low), int(axis.high))
    return distributions.FloatDistribution(axis.low, axis.high, log=axis.scale == "log")
