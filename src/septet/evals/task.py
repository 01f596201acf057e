"""The family of tasks: samples, who is asked, and which comparisons are made.

A task is one file in `evals/tasks/`. It `needs` some of the step's inputs, gives its samples to every reader on the bench, lets the
scorers judge, and returns figures (every one with n and an interval) and samples to look at. A task whose inputs are not there
is left out by the step, which says so.

What it is not: a loader of models or of retrieval; those are handed in on the `Bench`.

    evaluate: {tasks: [held-out-text, {kind: answers, limit: 32}]}
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from septet.core.component import Component
from septet.core.errors import ComponentError
from septet.evals.judged import Judged
from septet.evals.reader import Reader
from septet.evals.sample import Output, Sample, Score
from septet.evals.scorer import Reads, Scorer
from septet.evals.stats import Estimate

__all__ = ["Bench", "Figure", "Findings", "Task", "figures_of", "judge_all"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of the report: which task, which metric, of which system, and how it was computed."""

    task: str
    metric: str
    of: str
    estimate: Estimate
    unit: str = ""
    lower_is_better: bool = False
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        content = {"task": self.task, "metric": self.metric, "of": self.of, **self.estimate.to_json()}
        return {**content, "unit": self.unit, "lower_is_better": self.lower_is_better, "note": self.note}


@dataclass(frozen=True, slots=True)
class Findings:
    """What a task found: figures, and samples as JSON rows."""

    figures: list[Figure]
    samples: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {"figures": [figure.to_json() for figure in self.figures], "samples": self.samples}


@dataclass(frozen=True, slots=True)
class Bench:
    """What a task may use.

    readers: "model", and where they were given "before" (before alignment) and "base" (before fine-tuning). inputs: folders
    of artifacts by role. judge: asks the index the questions, one `Judged` each. tell: progress, done of total.
    """

    readers: Mapping[str, Reader]
    inputs: Mapping[str, Path] = field(default_factory=dict)
    scorers: Sequence[Scorer] = ()
    seed: int = 0
    judge: Callable[[], Sequence[Judged]] | None = None
    tell: Callable[[int, int], None] = lambda done, total: None

    def reading(self, what: Reads) -> list[Scorer]:
        """Return the scorers that read this kind of output."""
        return [scorer for scorer in self.scorers if scorer.can_read(what)]


class Task(Component):
    """One part of an evaluation: fields are its limits and settings."""

    drawer: ClassVar[str] = "septet.evals.tasks"
    needs: ClassVar[tuple[str, ...]] = ()
    """Inputs of the evaluate step without which this task cannot run: corpus, data, pairs, index, questions."""

    def unsuited(self, inputs: Mapping[str, Path]) -> str:
        """Return why the inputs, which are all there, are not for this task; empty where they are."""
        return ""

    @abstractmethod
    def run(self, bench: Bench) -> Findings:
        """Ask, judge and compare."""


def figures_of(
    task: str, scorer: Scorer, scores: Sequence[Score], *, of: str, seed: int, note: str = ""
) -> list[Figure]:
    """Reduce one system's scores to figures. Raises ComponentError if a scorer of the user's gives something else."""
    found = scorer.reduce(scores, seed=seed)
    notes = "; ".join(part for part in (scorer.note(scores), note) if part)
    for name, estimate in found.items():
        if not isinstance(estimate, Estimate):
            raise ComponentError(
                f"The scorer '{scorer.kind}' returned {type(estimate).__name__} for '{name}'; reduce returns an Estimate by name."
            )
    return [
        Figure(task, name, of, estimate, scorer.units.get(name, ""), scorer.is_lower_better(name), notes)
        for name, estimate in found.items()
    ]


def judge_all(scorer: Scorer, samples: Sequence[Sample], outputs: Sequence[Output]) -> list[Score]:
    """Return the scorer's verdict on each sample's output, in order."""
    return [scorer.score(sample, output) for sample, output in zip(samples, outputs, strict=True)]
