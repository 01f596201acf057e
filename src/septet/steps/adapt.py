"""adapt: climbs the ladder of adaptations over one task and model, and says which to use.

Every rung is an adapter (full, lora, prompt, ...) that is trained for each seed by `finetune` itself and judged on rows that were
never trained on. Learning rates are chosen on held-out rows with the first seed; the test rows are looked at with the rate chosen.
Beside the rungs stands the commonest answer. What each costs is measured in the same runs: parameters that learn, time, memory,
size on disk, milliseconds for one row.

The recommendation: of the rungs within one standard error of the best on the held-out rows, the one with the fewest parameters.

Writes `report.json` (figures with intervals over rows; seeds are pooled, and their spread is told), `ladder.json` (a row for each
rung) and `ladder.svg`. A run that was stopped goes on with the rung where it was.

What it is not: a search over everything. Rates and rungs are those that are named.

    septet adapt --model base --data reviews --rungs full --rungs lora --rungs prompt
"""

from __future__ import annotations

import contextlib
import json
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from septet.core.artifact import Artifact, Fact, write_json
from septet.core.component import DatasetRef, ModelRef
from septet.core.errors import ComponentError, DataError
from septet.core.events import Event, Progress
from septet.core.step import Step, Work
from septet.evals.sample import Output, Score
from septet.evals.scorer import Scorer
from septet.evals.scorers.accuracy import Accuracy
from septet.evals.scorers.bleu import Bleu
from septet.evals.scorers.chrf import Chrf
from septet.evals.scorers.entity_f1 import EntityF1
from septet.evals.scorers.f1 import F1
from septet.evals.scorers.regression import Regression
from septet.evals.scorers.rouge import Rouge
from septet.evals.scorers.squad import Squad
from septet.evals.stats import Estimate
from septet.evals.task import Figure, figures_of, judge_all
from septet.evals.tasks.predictions import commonest, output_of, rows_of, sample_of
from septet.infer.task import Task
from septet.ops.report.ladder import Rung, draw, recommend, told
from septet.steps.finetune import Finetune
from septet.train.adapter import Adapter

__all__ = ["Adapt"]

METRICS: dict[str, tuple[Scorer, str]] = {
    "label": (Accuracy(), "accuracy"),
    "labels": (F1(), "f1_micro"),
    "value": (Regression(), "spearman"),
    "tags": (EntityF1(), "entity_f1"),
    "span": (Squad(), "f1"),
    "text": (Chrf(), "chrf"),
}
"""By what a task gives: the scorer, and its figure."""
MORE: dict[str, tuple[Scorer, ...]] = {"label": (F1(),), "text": (Bleu(), Rouge())}
ALONE = 20
"""Rows that are predicted one by one, for the time that one takes."""


class Adapt(Step):
    """Compare the ways to adapt a model to a task, and say which to use."""

    produces: ClassVar[str] = "report"

    model: ModelRef
    """The model that is adapted."""
    data: DatasetRef
    """Rows of the task."""
    task: Task | None = None
    """What is learned, where its settings matter; none: the task of the data."""
    rungs: tuple[Adapter, ...] = Field(
        default_factory=lambda: tuple(Adapter.parse(kind) for kind in ("last-layers", "lora", "full")), min_length=1
    )
    """The adapters to compare."""
    seeds: tuple[int, ...] = Field(default=(0, 1), min_length=1)
    """Each rung is trained once for each."""
    rates: tuple[float, ...] = Field(default=(1.0,), min_length=1)
    """Multiples of each adapter's own learning rate to try; the best on held-out rows is taken."""
    epochs: float = Field(default=3.0, gt=0)
    """How often each row is seen."""
    limit: int | None = Field(default=None, ge=1)
    """At most so many training rows; none: all."""
    judged: int = Field(default=2000, ge=1)
    """At most so many held-out and test rows are judged."""
    batch_size: int = Field(default=16, ge=1)
    """Rows in one optimizer step."""
    max_tokens: int | None = Field(default=None, ge=2)
    """Longer rows are cut at their end; none: the model's context."""

    def run(self, work: Work, **inputs: Artifact) -> dict[str, Fact]:
        """Errors: those of `finetune`; DataError without held-out rows."""
        folder = inputs["data"].path
        task, labels = Task.of_data(folder)
        task = self.task or task
        if task.gives not in METRICS:
            raise ComponentError(f"the task '{task.kind}' has no figure by which rungs could be compared.")
        scorer, metric = METRICS[task.gives]
        rows = {part: rows_of(folder / f"{part}.jsonl", limit=self.judged, seed=0) for part in ("held_out", "test")}
        if not rows["held_out"]:
            raise DataError(
                "the ladder needs held-out rows, on which rates are chosen.", file=folder / "held_out.jsonl"
            )
        names, left_out = self._possible(task, labels, inputs, work)
        tries = len(self.rates) if len(self.rates) > 1 else 0
        count = len(names) * (len(self.seeds) + max(0, tries - 1))
        climb = _Climb(self, work, inputs, task, rows, count)
        part = "test" if rows["test"] else "held_out"
        samples = [replace(sample_of(task, row), group=str(row["id"])) for row in rows[part]]
        chooses = [replace(sample_of(task, row), group=str(row["id"])) for row in rows["held_out"]]
        figures: list[Figure] = []
        ladder: list[Rung] = []
        verdicts: dict[str, list[Score]] = {}

        def judged(outputs: Sequence[Output], against: list[Any]) -> list[Score]:
            return judge_all(scorer, against, list(outputs))

        for name, rung in names.items():
            rate, runs = self._climb(climb, name, rung, lambda out: _value(scorer, judged(out, chooses), metric))
            scores = [score for run in runs for score in judged(run[part], samples)]
            by_seed = [_value(scorer, judged(run[part], samples), metric) for run in runs]
            verdicts[name] = [score for run in runs for score in judged(run["held_out"], chooses)]
            found = figures_of(
                task.kind, scorer, scores, of=name, seed=0, note=f"{part} rows, {len(runs)} seeds pooled"
            )
            for other in MORE.get(task.gives, ()):
                pooled = [score for run in runs for score in judge_all(other, samples, list(run[part]))]
                found += figures_of(
                    task.kind, other, pooled, of=name, seed=0, note=f"{part} rows, {len(runs)} seeds pooled"
                )
            figures += found
            main = next(figure.estimate for figure in found if figure.metric == metric)
            ladder.append(Rung(name, main.value, main.low, main.high, by_seed, rate, **_costs(runs)))
            work.log(told(ladder[-1], metric))
        if (plain := commonest(task, folder, labels)) is not None:
            scores = judged([plain(row) for row in rows[part]], samples)
            figures += figures_of(task.kind, scorer, scores, of="commonest", seed=0, note=f"{part} rows")
        compared = _against_the_best(scorer, metric, verdicts)
        advice = recommend(ladder, compared, metric)
        figures += [
            Figure(task.kind, f"{metric} minus the best", name, estimate, note="held-out rows, paired")
            for name, estimate in compared.items()
        ]
        write_json(work.out / "report.json", [figure.to_json() for figure in figures])
        content = {
            "task": task.kind,
            "metric": metric,
            "part": part,
            "rows": len(samples),
            "rungs": [r.to_json() for r in ladder],
        }
        write_json(
            work.out / "ladder.json", {**content, "recommended": advice.name, "why": advice.why, "left_out": left_out}
        )
        (work.out / "ladder.svg").write_text(draw(ladder, metric=metric, recommended=advice.name), encoding="utf-8")
        work.log(advice.why)
        return {
            "task": task.kind,
            "metric": metric,
            "judged_on": part,
            "judged_rows": len(samples),
            **{f"{metric} of {rung.name}": round(rung.value, 4) for rung in ladder},
            "recommended": advice.name,
            "why": advice.why,
        }

    def _possible(
        self, task: Task, labels: Sequence[str], inputs: dict[str, Artifact], work: Work
    ) -> tuple[dict[str, Adapter], dict[str, str]]:
        """Return the rungs that the model has a place for, and why the others are left out: known before the first is trained."""
        possible, left_out = {}, {}
        for name, rung in _names(self.rungs).items():
            model = task.open(inputs["model"].path, labels=labels, device="cpu")
            try:
                rung.attach(model, seed=0)
            except ComponentError as error:
                left_out[name] = str(error)
                work.log(f"{name} is left out: {error}")
            else:
                possible[name] = rung
        if not possible:
            raise ComponentError(f"This model has a place for none of the rungs. {next(iter(left_out.values()))}")
        return possible, left_out

    def _climb(self, climb: _Climb, name: str, rung: Adapter, judge: Any) -> tuple[float, list[dict[str, Any]]]:
        """Return the rate that was chosen, and a run for each seed."""
        best, first = self.rates[0], None
        if len(self.rates) > 1:
            tried = {factor: climb.run(name, rung, factor, self.seeds[0]) for factor in self.rates}
            best = max(tried, key=lambda factor: judge(tried[factor]["held_out"]))
            first = tried[best]
        runs = [first] if first is not None else []
        runs += [climb.run(name, rung, best, seed) for seed in self.seeds[len(runs) :]]
        return runs[0]["learning_rate"], runs


class _Climb:
    """Trains rungs and predicts, and keeps on disk what is done."""

    def __init__(
        self,
        step: Adapt,
        work: Work,
        inputs: dict[str, Artifact],
        task: Task,
        rows: dict[str, list[dict[str, Any]]],
        count: int,
    ) -> None:
        self.step, self.work, self.inputs, self.task, self.rows = step, work, inputs, task, rows
        self.count, self.done = count, 0

    def run(self, name: str, rung: Adapter, factor: float, seed: int) -> dict[str, Any]:
        """Return what a run found: predictions by part, and its costs."""
        place = self.work.state / f"{name}-{factor:g}-{seed}".replace("/", "-")
        kept = place.with_suffix(".json")
        if not kept.is_file():
            content = self._measure(place, rung, factor, seed)
            write_json(kept, content)
            shutil.rmtree(place, ignore_errors=True)
        self.done += 1
        self.work.progress(self.done, self.count, "runs")
        content = json.loads(kept.read_text(encoding="utf-8"))
        return {**content, **{part: [output_of(one) for one in content[part]] for part in ("held_out", "test")}}

    def _measure(self, place: Path, rung: Adapter, factor: float, seed: int) -> dict[str, Any]:
        step = self.step
        work = replace(self.work, out=place / "out", state=place / "state", emit=self._tell)
        for folder in (work.out, work.state):
            folder.mkdir(parents=True, exist_ok=True)
        fields = {"model": "$model", "data": "$data", "task": self.task, "adapter": rung, "epochs": step.epochs}
        fields |= {"limit": step.limit, "batch_size": step.batch_size, "max_tokens": step.max_tokens, "seed": seed}
        fields["rate_factor"] = factor
        with _memory() as used:
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
        alone = []
        for row in self.rows["held_out"][:ALONE]:
            begun = time.perf_counter()
            task.predict(model, [row])
            alone.append(time.perf_counter() - begun)
        kept = work.out / "adapter" if (work.out / "adapter").is_dir() else work.out
        sizes = [path.stat().st_size for path in kept.rglob("*.safetensors")]
        return {
            **found,
            "learning_rate": facts["learning_rate"],
            "parameters": facts["parameters"],
            "seconds": round(seconds, 2),
            "peak_bytes": used[0] if used else None,
            "bytes_on_disk": sum(sizes),
            "milliseconds": round(1000 * statistics.median(alone), 2),
            "held_out_loss": facts["held_out_loss"],
        }

    def _tell(self, event: Event) -> None:
        """Pass on a run's progress as a part of the whole climb's."""
        if isinstance(event, Progress):
            share = event.done / event.total if event.total else 0.0
            event = replace(event, done=round(self.done + min(share, 0.999), 3), total=self.count, unit="runs")
        self.work.emit(event)


def _value(scorer: Scorer, scores: list[Score], metric: str) -> float:
    return scorer.reduce(scores, seed=0)[metric].value


def _names(rungs: Sequence[Adapter]) -> dict[str, Adapter]:
    """Return a name for each rung: its kind, with the fields that differ where a kind stands several times."""
    found: dict[str, Adapter] = {}
    for rung in rungs:
        name = rung.kind
        if sum(other.kind == rung.kind for other in rungs) > 1:
            fields = {key: value for key, value in rung.dump().items() if key not in ("kind", "version")}
            plain = type(rung)().dump()
            name += "".join(f" {key}={value}" for key, value in fields.items() if plain.get(key) != value)
        if name in found:
            raise ComponentError(f"the rung '{name}' stands twice; every rung must be another.")
        found[name] = rung
    return found


def _costs(runs: list[dict[str, Any]]) -> dict[str, Any]:
    peaks = [run["peak_bytes"] for run in runs if run["peak_bytes"] is not None]
    return {
        "parameters": int(runs[0]["parameters"]),
        "seconds": statistics.median(run["seconds"] for run in runs),
        "peak_bytes": statistics.median(peaks) if peaks else None,
        "bytes_on_disk": int(runs[0]["bytes_on_disk"]),
        "milliseconds": statistics.median(run["milliseconds"] for run in runs),
    }


def _against_the_best(scorer: Scorer, metric: str, scores: Mapping[str, Sequence[Score]]) -> dict[str, Estimate]:
    """Return for each rung its figure minus that of the best one, paired by rows."""
    best = max(scores, key=lambda name: scorer.reduce(scores[name], seed=0)[metric].value)
    return {name: scorer.compare(own, scores[best], seed=0)[metric] for name, own in scores.items() if name != best}


@contextlib.contextmanager
def _memory() -> Iterator[list[int]]:
    """Within, watch the memory of this process; afterwards the list holds the most above what there was, in bytes (Linux)."""
    found: list[int] = []
    path = Path("/proc/self/statm")
    if sys.platform != "linux" or not path.is_file():
        yield found
        return
    import resource

    page = resource.getpagesize()

    def now() -> int:
        return int(path.read_text().split()[1]) * page

    before, ended = now(), threading.Event()
    most = before

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.05):
            most = max(most, now())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()
        found.append(max(most, now()) - before)
