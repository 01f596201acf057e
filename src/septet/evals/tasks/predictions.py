"""What a model predicts for rows of its task, against what they say is right; beside it what needs no model.

Read are the rows of `test.jsonl`, or where there is none, the held-out ones. The metrics are those scorers of the step that read
what the task gives: labels, numbers, tags, spans or text. Less than these is nothing learned:

    commonest         every row gets the commonest label of the training rows (numbers: their mean; tags: "O"); a text or an answer
                      only where one is that of a hundredth of the training rows or more
    lead-1, lead-3    the first sentence, and the first three, of what is read: of a source, which is what a summary is measured by
                      (of one sentence: its copy), or of a passage. A line ends a sentence

What it is not: for conversations; those are `answers`. Nor for vectors; those are `matching`.

    evaluate: {tasks: [{kind: predictions, limit: 2000}], scorers: [accuracy, f1]}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from septet.core.errors import ComponentError, DataError
from septet.data.documents import read_rows
from septet.evals.sample import Output, Sample, pick
from septet.evals.task import Bench, Figure, Findings, Task, figures_of, judge_all
from septet.infer.long_text import first_sentences
from septet.infer.task import Task as Learned

__all__ = ["Predictions", "commonest", "leads", "output_of", "part_of", "rows_of", "sample_of"]

COMMON = 0.01
"""A text that is right for a smaller share of the training rows than this is nobody's guess."""
READ = {"text-to-text": "source", "question-answering": "context"}
"""By task the field whose first sentences are a baseline."""


class Predictions(Task):
    """Predictions for the test rows of a task."""

    needs: ClassVar[tuple[str, ...]] = ("data",)

    limit: int = Field(default=5000, ge=1)
    """At most so many rows, drawn by the seed."""
    part: Literal["auto", "test", "held_out", "train"] = "auto"
    """Which rows; auto: test rows where there are any, else held-out ones."""

    def unsuited(self, inputs: Mapping[str, Path]) -> str:
        task, _ = Learned.of_data(inputs["data"])
        if task.gives == "vector":
            return "the data is pairs of texts, for the task 'matching'"
        return "the data is conversations, for the task 'answers'" if task.kind == "chat" else ""

    def run(self, bench: Bench) -> Findings:
        """Errors: ComponentError where no scorer reads what the task gives."""
        folder = bench.inputs["data"]
        task, labels = Learned.of_data(folder)
        path = part_of(folder, self.part)
        rows = rows_of(path, limit=self.limit, seed=bench.seed)
        if not rows:
            raise DataError("there are no rows to predict.", file=path)
        samples = [sample_of(task, row) for row in rows]
        scorers = [scorer for scorer in bench.scorers if task.gives != "vector" and scorer.can_read(task.gives)]
        if not scorers:
            raise ComponentError(
                f"the task '{task.kind}' gives a {task.gives}, which none of the scorers reads: "
                f"{', '.join(scorer.kind for scorer in bench.scorers)}."
            )
        systems: dict[str, list[Output]] = {}
        told: list[Mapping[str, int]] = []
        for name in ("model", "before"):
            if name in bench.readers:
                found = bench.readers[name].predict(rows, tell=bench.tell)
                told = told or [one.facts for one in found]
                systems[name] = [
                    output_of({"prediction": one.prediction, "probabilities": one.probabilities}) for one in found
                ]
        if (plain := commonest(task, folder, labels)) is not None:
            systems["commonest"] = [plain(row) for row in rows]
        systems |= leads(task, rows)
        figures: list[Figure] = []
        shown: list[dict[str, Any]] = [
            {"task": task.kind, **row, "predicted": output.prediction, **facts}
            for row, output, facts in zip(rows, systems["model"], told, strict=True)
        ]
        for scorer in scorers:
            for of, outputs in systems.items():
                verdicts = judge_all(scorer, samples, outputs)
                figures += figures_of(task.kind, scorer, verdicts, of=of, seed=bench.seed, note=f"{path.stem} rows")
                if of == "model":
                    for row, verdict in zip(shown, verdicts, strict=True):
                        row.update(verdict.values)
        return Findings(figures, shown)


def part_of(folder: Path, part: str) -> Path:
    """Return the file of a part of a data set; auto: the test rows where there are any, else the held-out ones."""
    if part != "auto":
        return folder / f"{part}.jsonl"
    test = folder / "test.jsonl"
    return test if test.is_file() else folder / "held_out.jsonl"


def rows_of(path: Path, *, limit: int, seed: int) -> list[dict[str, Any]]:
    """Return at most `limit` rows of a part, drawn by the seed, each with an id; none where there is no such file."""
    if not path.is_file():
        return []
    rows = [{"id": f"{path.stem}:{number}", **row} for number, row in read_rows(path)]
    return pick(rows, seed=seed, key=lambda row: str(row["id"]), limit=limit)


def output_of(predicted: Mapping[str, Any]) -> Output:
    """Return a prediction, {"prediction", "probabilities"}, as scorers read it."""
    said = predicted["prediction"]
    return Output(
        text=said if isinstance(said, str) else "", prediction=said, probabilities=dict(predicted["probabilities"])
    )


def sample_of(task: Learned, row: Mapping[str, Any]) -> Sample:
    """Return a row, which has an id, as scorers read it."""
    expected = task.expected(row)
    first = expected[0] if task.gives == "text" and isinstance(expected, list) else expected
    return Sample(
        id=str(row["id"]),
        reference=first if isinstance(first, str) else "",
        group=str(row.get("group", "")),
        kind=str(expected) if task.gives == "label" else "",
        expected=expected,
    )


def commonest(task: Learned, folder: Path, labels: Sequence[str]) -> Any:
    """Return a function from a row to what a system says that only knows the training labels; None where there is no such thing."""
    if task.gives == "tags":
        return lambda row: Output(prediction=["O"] * len(row["words"]))
    if task.gives == "vector":
        return None
    right = [task.expected(row) for _, row in read_rows(folder / "train.jsonl")]
    if task.gives == "value":
        mean = sum(right) / len(right)
        return lambda row: Output(prediction=mean)
    if task.gives == "labels":
        counts = Counter(label for some in right for label in some)
        shares = {label: counts[label] / len(right) for label in labels}
        often = [label for label, share in shares.items() if share >= 0.5]
        return lambda row: Output(prediction=often, probabilities=shares)
    if task.gives in ("text", "span"):
        # of several right answers the first, as it is the one that is learned; of none, none
        text, times = Counter(one if isinstance(one, str) else next(iter(one), "") for one in right).most_common(1)[0]
        return None if times < COMMON * len(right) else lambda row: _said(task, text)
    counts = Counter(right)
    shares = {label: counts[label] / len(right) for label in labels}
    most = max(shares, key=shares.__getitem__)
    return lambda row: Output(prediction=most, probabilities=shares)


def leads(task: Learned, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Output]]:
    """Return by name what the first sentences of what is read would score; three only where some text has more than one."""
    field = READ.get(task.kind)
    if field is None:
        return {}
    found = {f"lead-{count}": [first_sentences(row[field], count) for row in rows] for count in (1, 3)}
    if task.gives == "span" or found["lead-3"] == found["lead-1"]:
        del found["lead-3"]
    return {name: [_said(task, text) for text in texts] for name, texts in found.items()}


def _said(task: Learned, text: str) -> Output:
    return Output(text=text, prediction={"text": text} if task.gives == "span" else text)
