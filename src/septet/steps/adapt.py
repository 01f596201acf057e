"""adapt: climbs the ladder of adaptations over one task and model, and says which to use.

A rung is an adapter (full, lora, prompt, ...) that is trained for each seed by `finetune` itself, or a way to ask without training
(zero-shot, in-context, hard-prompt) of the model, or of another that an `engine` reaches. Each is judged on rows that it was not
made with. Learning rates are chosen on held-out rows with the first seed; wordings and examples come from training rows; the test
rows are looked at last. Beside the rungs stands the commonest answer. What each costs is measured in the same runs: parameters that
learn, time, memory, size on disk, milliseconds for one row, and where an engine counts them, tokens and money.

Rungs that ask come first: they are quick, and an address that does not answer is known before anything is trained.

The recommendation: of the rungs within one standard error of the best on the held-out rows, the one with the fewest parameters,
with the command that makes or uses it.

Writes `report.json` (figures with intervals over rows; seeds are pooled, and their spread is told), `ladder.json` (a row for each
rung), `ladder.svg`, and for `septet predict` the `model` of the recommended rung, made with the first seed, and `asked/RUNG.json`.
A run that was stopped goes on with the rung where it was.

What it is not: a search over everything. Rates and rungs are those that are named.

    septet adapt --model base --data reviews --rungs zero-shot --rungs lora --rungs full
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from septet.core.artifact import Artifact, Fact, write_json
from septet.core.component import Component, DatasetRef, ModelRef, OneOf
from septet.core.errors import ComponentError, DataError, SeptetError
from septet.core.events import Event, Progress
from septet.core.footprint import watched
from septet.core.step import Step, Work
from septet.evals.asked import ALONE, check, keep, material_of, measure, one_by_one
from septet.evals.quality import Quality, quality_of
from septet.evals.sample import Score
from septet.evals.task import Figure, figures_of, judge_all
from septet.evals.tasks.predictions import commonest, output_of, rows_of
from septet.infer.asking import Asking, Material
from septet.infer.engine import ContextError
from septet.infer.task import Task
from septet.ops.report.ladder import Rung, draw, recommend, told, weighed
from septet.steps.finetune import Finetune, longest_of, prepare
from septet.train.adapter import Adapter

__all__ = ["Adapt"]


class Adapt(Step):
    """Compare the ways to adapt a model to a task, and say which to use."""

    produces: ClassVar[str] = "report"
    version: ClassVar[int] = 2  # as `finetune`'s

    model: ModelRef
    """The model that is adapted."""
    data: DatasetRef
    """Rows of the task."""
    task: Task | None = None
    """What is learned, where its settings matter; none: the task of the data."""
    rungs: tuple[Annotated[Adapter | Asking, OneOf()], ...] = Field(
        default_factory=lambda: tuple(Adapter.parse(kind) for kind in ("last-layers", "lora", "full")), min_length=1
    )
    """What is compared: adapters, which are trained, and ways to ask without training."""
    seeds: tuple[int, ...] = Field(default=(0, 1), min_length=1)
    """Each rung is made once for each; one that draws nothing, such as zero-shot, once."""
    rates: tuple[float, ...] = Field(default=(1.0,), min_length=1)
    """Multiples of each adapter's own learning rate to try; the best on held-out rows is taken."""
    epochs: float = Field(default=3.0, gt=0)
    """How often each row is seen. With stop_after: at most."""
    stop_after: int | None = Field(default=None, ge=1)
    """End a training after so many passes in a row without a new best loss on held-out rows, and keep the best weights."""
    limit: int | None = Field(default=None, ge=1)
    """At most so many training rows, for adapters, examples and searches; none: all."""
    judged: int = Field(default=2000, ge=1)
    """At most so many held-out and test rows are judged."""
    batch_size: int = Field(default=16, ge=1)
    """Rows in one optimizer step."""
    max_tokens: int | None = Field(default=None, ge=2)
    """The longest training row in tokens; the task's too_long says what happens to longer ones. None: the model's context."""
    keep: Literal["recommended", "none"] = "recommended"
    """What is kept of the models: that of the recommended rung, for which those of all rungs lie on the disk meanwhile; or none."""

    def run(self, work: Work, **inputs: Artifact) -> dict[str, Fact]:
        """Errors: those of `finetune` and of the engines that are asked; DataError without held-out rows."""
        folder = inputs["data"].path
        task, labels = Task.of_data(folder)
        task = self.task or task
        quality = quality_of(task)
        rows = {part: rows_of(folder / f"{part}.jsonl", limit=self.judged, seed=0) for part in ("held_out", "test")}
        if not rows["held_out"]:
            raise DataError(
                "the ladder needs held-out rows, on which rates are chosen.", file=folder / "held_out.jsonl"
            )
        climb = _Climb(self, work, inputs, task, labels, rows, quality)
        names, left_out = climb.possible()
        climb.count = sum(climb.runs_of(rung) for rung in names.values())
        part = "test" if rows["test"] else "held_out"
        samples, chooses = quality.samples(rows[part]), quality.samples(rows["held_out"])
        figures: list[Figure] = []
        ladder: list[Rung] = []
        verdicts: dict[str, list[Score]] = {}
        commands: dict[str, str] = {}
        asked: dict[str, str] = {}
        for name, rung in names.items():
            try:
                rate, runs = climb.climb(name, rung)
            except ContextError as error:
                if not isinstance(rung, Asking):
                    raise
                # a row has no room in a prompt; rungs that ask come first, so nothing has been trained yet
                left_out[name] = _told_left_out(work, name, error)
                climb.count -= climb.runs_of(rung)
                continue
            by_seed = [quality.value(quality.scores(run[part], samples)) for run in runs]
            scores = [score for run in runs for score in quality.scores(run[part], samples)]
            # a rung that draws nothing stands for every seed, so that rungs are paired
            every = runs * (len(self.seeds) // len(runs))
            verdicts[name] = [score for run in every for score in quality.scores(run["held_out"], chooses)]
            note = f"{part} rows, {len(runs)} seeds pooled" if len(runs) > 1 else f"{part} rows"
            found = figures_of(task.kind, quality.scorer, scores, of=name, seed=0, note=note)
            for other in quality.more:
                pooled = [score for run in runs for score in judge_all(other, samples, list(run[part]))]
                found += figures_of(task.kind, other, pooled, of=name, seed=0, note=note)
            figures += found
            main = next(figure.estimate for figure in found if figure.metric == quality.metric)
            ladder.append(Rung(name, main.value, main.low, main.high, by_seed, rate, **_costs(runs)))
            commands[name] = self._command(name, rung, rate, inputs, work)
            if isinstance(rung, Asking):
                asked[name] = f"asked/{_place(name)}.json"
                keep(work.out / asked[name], runs[0]["asking"], task, labels, limit=self.limit)
            work.log(told(ladder[-1], quality.metric))
        if not ladder:
            raise _none(left_out)
        compared = quality.minus_the_best(verdicts)
        advice = recommend(ladder, compared, quality.metric)
        if (plain := commonest(task, folder, labels)) is not None:
            scores = quality.scores([plain(row) for row in rows[part]], samples)
            figures += figures_of(task.kind, quality.scorer, scores, of="commonest", seed=0, note=f"{part} rows")
            same = quality.scores([plain(row) for row in rows["held_out"]], chooses) * len(self.seeds)
            advice = weighed(advice, quality.minus(verdicts[advice.name], same))
        figures += [
            Figure(task.kind, f"{quality.metric} minus the best", name, estimate, note="held-out rows, paired")
            for name, estimate in compared.items()
        ]
        write_json(work.out / "report.json", [figure.to_json() for figure in figures])
        content = {
            "task": task.kind,
            "metric": quality.metric,
            "part": part,
            "rows": len(samples),
            "rungs": [r.to_json() for r in ladder],
            "recommended": advice.name,
            "why": advice.why,
            "left_out": left_out,
            "commands": commands,
            "asked": asked,
            "model": climb.give(advice.name, work.out / "model"),
        }
        write_json(work.out / "ladder.json", content)
        picture = draw(ladder, metric=quality.metric, recommended=advice.name)
        (work.out / "ladder.svg").write_text(picture, encoding="utf-8")
        use, again = shlex.join(["septet", "predict", work.step, "TEXT"]), commands[advice.name]
        work.log(f"{advice.why} To use it: {f'{use}. To make it by itself: {again}' if content['model'] else again}")
        return {
            "task": task.kind,
            "metric": quality.metric,
            "judged_on": part,
            "judged_rows": len(samples),
            **{f"{quality.metric} of {rung.name}": round(rung.value, 4) for rung in ladder},
            "recommended": advice.name,
            "why": advice.why,
            "command": commands[advice.name],
        }

    def _command(
        self, name: str, rung: Adapter | Asking, rate: float | None, inputs: Mapping[str, Artifact], work: Work
    ) -> str:
        """Return the command that makes what was judged here with the first seed, or asks in the same way."""
        if isinstance(rung, Asking):
            return shlex.join(["septet", "predict", work.step, "--rung", name, "TEXT"])
        changed = _changed(rung)
        options = {
            "model": inputs["model"].id if self.model.startswith("$") else str(self.model),
            "data": inputs["data"].id if self.data.startswith("$") else str(self.data),
            "task": None if self.task is None else json.dumps(self.task.dump()),
            "adapter": json.dumps({"kind": rung.kind, **changed}) if changed else rung.kind,
            "epochs": f"{self.epochs:g}",
            "stop-after": self.stop_after,
            "limit": self.limit,
            "learning-rate": rate,
            "batch-size": self.batch_size,
            "max-tokens": self.max_tokens,
            "seed": self.seeds[0],
            "name": f"{work.step}-{rung.kind}",
        }
        words = [word for key, value in options.items() if value is not None for word in (f"--{key}", str(value))]
        return shlex.join(["septet", "finetune", *words])


class _Climb:
    """Makes rungs and has them predict, and keeps on disk what is done."""

    def __init__(
        self,
        step: Adapt,
        work: Work,
        inputs: dict[str, Artifact],
        task: Task,
        labels: Sequence[str],
        rows: dict[str, list[dict[str, Any]]],
        quality: Quality,
    ) -> None:
        self.step, self.work, self.inputs, self.task, self.labels = step, work, inputs, task, labels
        self.rows, self.quality = rows, quality
        self.count, self.done = 0, 0
        self.chosen: dict[str, Path] = {}

    # -- before anything is made ------------------------------------------------------------------------------------

    def possible(self) -> tuple[dict[str, Adapter | Asking], dict[str, str]]:
        """Return the rungs that can be, those that ask first, and why the others are left out."""
        named = _names(self.step.rungs)
        possible: dict[str, Adapter | Asking] = {}
        left_out: dict[str, str] = {}
        for name in sorted(named, key=lambda name: not isinstance(named[name], Asking)):
            rung = named[name]
            try:
                self._try_asking(rung) if isinstance(rung, Asking) else self._try_training(rung)
            except SeptetError as error:
                if isinstance(rung, Adapter) and not isinstance(error, ComponentError):
                    raise
                left_out[name] = _told_left_out(self.work, name, error)
            else:
                possible[name] = rung
        if not possible:
            raise _none(left_out)
        trained = [rung for rung in possible.values() if isinstance(rung, Adapter)]
        if trained:  # a row that is refused shall be known before half of the rungs are made
            self._try_rows(max(trained, key=lambda rung: rung.places))
        return possible, left_out

    def _try_training(self, rung: Adapter) -> None:
        rung.attach(self.task.open(self.inputs["model"].path, labels=self.labels, device="cpu"), seed=0)

    def _try_rows(self, rung: Adapter) -> None:
        model = self.task.open(self.inputs["model"].path, labels=self.labels, device="cpu")
        most = longest_of(model, rung, self.step.max_tokens)
        prepare(self.task, self.inputs["data"].path, model, max_tokens=most, limit=self.step.limit)

    def _try_asking(self, rung: Asking) -> None:
        from septet.nn.architecture import architecture_of  # torch, 1.5 s
        from septet.nn.load import open_config

        model = self.inputs["model"].path
        architecture = architecture_of(open_config(model))
        check(rung, model, self._material(0), architecture=architecture, row=self.rows["held_out"][0], device="cpu")

    def _material(self, seed: int, **more: Any) -> Material:
        known = material_of(self.task, self.inputs["data"].path, self.labels, limit=self.step.limit)
        return replace(known, seed=seed, metric=self.quality, **more)

    # -- runs ---------------------------------------------------------------------------------------------------------

    def runs_of(self, rung: Adapter | Asking) -> int:
        """Return how many runs a rung takes."""
        seeds = len(self.step.seeds)
        if isinstance(rung, Asking):
            return seeds if rung.draws else 1
        return seeds + len(self.step.rates) - 1

    def climb(self, name: str, rung: Adapter | Asking) -> tuple[float | None, list[dict[str, Any]]]:
        """Return the rate that was chosen, and a run for each seed; one where all are the same."""
        rates, seeds = self.step.rates, self.step.seeds
        if isinstance(rung, Asking):
            return None, [self.run(name, rung, 1.0, seed) for seed in seeds[: self.runs_of(rung)]]
        best, runs = rates[0], []
        if len(rates) > 1:
            chooses = self.quality.samples(self.rows["held_out"])
            tried = {factor: self.run(name, rung, factor, seeds[0]) for factor in rates}
            best = max(tried, key=lambda f: self.quality.value(self.quality.scores(tried[f]["held_out"], chooses)))
            runs = [tried[best]]
            for factor in set(rates) - {best}:
                shutil.rmtree(self._model_of(name, factor), ignore_errors=True)
        runs += [self.run(name, rung, best, seed) for seed in seeds[len(runs) :]]
        self.chosen[name] = self._model_of(name, best)
        return runs[0]["learning_rate"], runs

    def run(self, name: str, rung: Adapter | Asking, factor: float, seed: int) -> dict[str, Any]:
        """Return what a run found: predictions by part, and its costs."""
        place = self.work.state / _place(f"{name}-{factor:g}-{seed}")
        kept = place.with_name(f"{place.name}.json")
        if not kept.is_file():
            place.mkdir(parents=True, exist_ok=True)
            work = replace(self.work, out=place / "out", state=place / "state", emit=self._tell)
            found = self._ask(work, rung, seed) if isinstance(rung, Asking) else self._train(work, rung, factor, seed)
            if isinstance(rung, Adapter) and seed == self.step.seeds[0] and self.step.keep == "recommended":
                target = self._model_of(name, factor)
                shutil.rmtree(target, ignore_errors=True)
                target.parent.mkdir(exist_ok=True)
                work.out.replace(target)
            write_json(kept, found)
            shutil.rmtree(place, ignore_errors=True)
        self.done += 1
        self.work.progress(min(self.done, self.count), self.count, "runs")
        content = json.loads(kept.read_text(encoding="utf-8"))
        return {**content, **{part: [output_of(one) for one in content[part]] for part in ("held_out", "test")}}

    def _model_of(self, name: str, factor: float) -> Path:
        return self.work.state / "models" / _place(f"{name}-{factor:g}")

    def give(self, name: str, target: Path) -> str | None:
        """Put the model of a rung into what is made; return its name there, or None where there is none."""
        source = self.chosen.get(name)
        if source is None or not source.is_dir():
            return None
        shutil.rmtree(target, ignore_errors=True)
        # a second name for each file: should the run be killed now, the state still has them
        shutil.copytree(source, target, copy_function=os.link)
        return target.name

    def _ask(self, work: Work, rung: Asking, seed: int) -> dict[str, Any]:
        def tell(done: int, total: int) -> None:
            work.progress(done, total, "rows")

        material = self._material(seed, folder=work.state, tell=tell)
        return measure(rung, self.inputs["model"].path, material, self.rows, device=work.runtime.device)

    def _train(self, work: Work, rung: Adapter, factor: float, seed: int) -> dict[str, Any]:
        step = self.step
        for folder in (work.out, work.state):
            folder.mkdir(exist_ok=True)
        fields = {"model": "$model", "data": "$data", "task": self.task, "adapter": rung, "epochs": step.epochs}
        fields["stop_after"] = step.stop_after
        fields |= {"limit": step.limit, "batch_size": step.batch_size, "max_tokens": step.max_tokens, "seed": seed}
        fields["rate_factor"] = factor
        with watched() as used:
            started = time.perf_counter()
            facts = Finetune.model_validate(fields).run(work, **self.inputs)
            seconds = time.perf_counter() - started
        task, labels = Task.of_folder(work.out)
        model = task.open(work.out, labels=labels, device=work.runtime.device)
        found = {
            part: [{"prediction": one.prediction, "probabilities": dict(one.probabilities)} for one in predicted]
            for part in ("held_out", "test")
            for predicted in [task.predict(model, self.rows[part]) if self.rows[part] else []]
        }
        kept = work.out / "adapter" if (work.out / "adapter").is_dir() else work.out
        sizes = [path.stat().st_size for path in kept.rglob("*.safetensors")]
        return {
            **found,
            "learning_rate": facts["learning_rate"],
            "parameters": facts["parameters"],
            "seconds": round(seconds, 2),
            "peak_bytes": used[0] if used else None,
            "bytes_on_disk": sum(sizes),
            "milliseconds": one_by_one(lambda rows: task.predict(model, rows), self.rows["held_out"][:ALONE]),
            "held_out_loss": facts["held_out_loss"],
        }

    def _tell(self, event: Event) -> None:
        """Pass on a run's progress as a part of the whole climb's."""
        if isinstance(event, Progress):
            share = event.done / event.total if event.total else 0.0
            event = replace(event, done=round(self.done + min(share, 0.999), 3), total=self.count, unit="runs")
        self.work.emit(event)


def _told_left_out(work: Work, name: str, error: Exception) -> str:
    work.log(f"{name} is left out: {error}")
    return str(error)


def _none(left_out: Mapping[str, str]) -> ComponentError:
    return ComponentError(f"This model has a place for none of the rungs. {next(iter(left_out.values()))}")


def _place(name: str) -> str:
    """Return a rung's name as that of a file."""
    return name.replace("/", "-")


def _changed(component: Component) -> dict[str, Any]:
    """Return the fields that are not at their default."""
    plain = type(component)().dump()
    return {name: value for name, value in component.dump().items() if plain[name] != value}


def _names(rungs: Sequence[Adapter | Asking]) -> dict[str, Adapter | Asking]:
    """Return a name for each rung: its kind, with the fields that differ where a kind stands several times."""
    found: dict[str, Adapter | Asking] = {}
    for rung in rungs:
        name = rung.kind
        if sum(other.kind == rung.kind for other in rungs) > 1:
            name += "".join(f" {key}={_short(value)}" for key, value in _changed(rung).items())
        if rung in found.values():
            raise ComponentError(f"the rung '{name}' stands twice; every rung must be another.")
        count = sum(other == name or other.startswith(f"{name} #") for other in found)
        found[f"{name} #{count + 1}" if count else name] = rung
    return found


def _short(value: Any) -> Any:
    """Return a field's value in few words: of a component, such as an engine, its model or its kind; of a group, its first text."""
    if not isinstance(value, Mapping):
        return value
    texts = [one for one in value.values() if isinstance(one, str) and one.strip()]
    return value.get("model") or value.get("kind") or next(iter(texts), "")[:24]


def _costs(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what a rung costs: the median of its runs, but of tokens and money, which were spent on all of them, the sum."""

    def known(name: str) -> list[Any]:
        return [run[name] for run in runs if run.get(name) is not None]

    def middle(name: str) -> Any:
        return statistics.median(known(name)) if known(name) else None

    return {
        "parameters": int(runs[0]["parameters"]),
        "bytes_on_disk": int(runs[0]["bytes_on_disk"]),
        **{name: middle(name) for name in ("seconds", "peak_bytes", "milliseconds", "tokens_per_row", "cost_per_row")},
        **{name: sum(known(name)) if known(name) else None for name in ("tokens", "cost")},
        "note": next(iter(known("note")), ""),
    }
