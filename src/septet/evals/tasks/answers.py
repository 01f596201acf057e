"""Answers: the model answers held-out questions, and what it says is compared with the reference answers.

Greedy answers to a random part of the dataset's held-out questions, judged by every scorer that reads texts. Two comparisons stand
beside the model: the model before alignment on the same questions (paired difference of the first value of each scorer), and
`another answer`: the reference of another question of the same kind, which is what fluent words about something else would
score. All answers are kept as samples, so that the report can show good and bad ones.

What it is not: a judgement of truth. chrF counts shared characters; an answer may score well and be wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from septet.core.errors import DataError
from septet.data.documents import read_documents, read_rows
from septet.evals.sample import Output, Sample, Score, pick
from septet.evals.stats import difference
from septet.evals.task import Bench, Figure, Findings, Task, figures_of, judge_all
from septet.infer.task import Task as Learned

__all__ = ["Answers"]

OTHER = "another answer"


class Answers(Task):
    """Generated answers beside references."""

    needs: ClassVar[tuple[str, ...]] = ("data",)

    limit: int = Field(default=64, ge=1)
    """Held-out questions to ask."""
    max_tokens: int = Field(default=64, ge=1)
    """The longest answer, in tokens."""
    compare: bool = True
    """Ask the model before alignment as well, where it was given."""

    def unsuited(self, inputs: Mapping[str, Path]) -> str:
        task, _ = Learned.of_data(inputs["data"])
        return "" if task.kind == "chat" else f"the data is of the task '{task.kind}'"

    def run(self, bench: Bench) -> Findings:
        samples = _questions(bench, self.limit)
        names = [name for name in ("model", "before") if name in bench.readers and (name == "model" or self.compare)]
        outputs: dict[str, list[Output]] = {}
        for turn, name in enumerate(names):
            said = bench.readers[name].answer(
                [sample.prompt for sample in samples],
                max_tokens=self.max_tokens,
                tell=lambda done, total, turn=turn: bench.tell(turn * total + done, len(names) * total),
            )
            bench.readers[name].close()
            outputs[name] = [Output(text=text) for text in said]
        others = _another(samples)
        if others is not None:
            outputs[OTHER] = [Output(text=text) for text in others]
        note = f"greedy, at most {self.max_tokens} tokens"
        figures: list[Figure] = []
        verdicts: dict[str, list[Score]] = {}
        for scorer in bench.reading("text"):
            scores = {name: judge_all(scorer, samples, made) for name, made in outputs.items()}
            verdicts[scorer.kind] = scores["model"]
            for name, judged in scores.items():
                told = "the reference of another question of the same kind" if name == OTHER else note
                figures += figures_of(self.kind, scorer, judged, of=name, seed=bench.seed, note=told)
            if "before" in scores:
                figures.append(_change(self.kind, scorer, scores["model"], scores["before"]))
        rows = [
            {
                "task": self.kind,
                "id": sample.id,
                "kind": sample.kind,
                "question": sample.prompt[-1]["content"],
                "reference": sample.reference,
                **{name: outputs[name][place].text for name in names},
                "scores": {metric: dict(judged[place].values) for metric, judged in verdicts.items()},
            }
            for place, sample in enumerate(samples)
        ]
        return Findings(figures, rows)


def _change(task: str, scorer: Any, after: Sequence[Score], before: Sequence[Score]) -> Figure:
    name = next(iter(after[0].values))
    found = difference(
        [score.values[name] for score in after],
        [score.values[name] for score in before],
        groups=[score.sample.cluster for score in after],
    )
    note = f"mean difference of the answers' own {name}, model minus before alignment"
    return Figure(
        task, f"{name} minus before", "model", found, scorer.units.get(name, ""), scorer.lower_is_better, note
    )


def _questions(bench: Bench, limit: int) -> list[Sample]:
    path = bench.inputs["data"] / "held_out.jsonl"
    groups = _groups(bench.inputs.get("corpus"))
    rows = []
    for number, row in read_rows(path):
        messages = row.get("messages")
        if (
            not isinstance(messages, list)
            or len(messages) < 2
            or not all(isinstance(m, Mapping) and isinstance(m.get("content"), str) for m in messages)
            or messages[-1].get("role") != "assistant"
        ):
            raise DataError(
                "'messages' must end with the assistant's answer after at least one turn.", file=path, row=number
            )
        document = str(row.get("document", ""))
        rows.append(
            Sample(
                id=f"{number}:{document}",
                reference=messages[-1]["content"],
                group=groups.get(document, document),
                kind=str(row.get("kind", "")),
                prompt=tuple(messages[:-1]),
            )
        )
    if not rows:
        raise DataError("there are no held-out questions to ask.", file=path)
    return pick(rows, seed=bench.seed, key=lambda sample: sample.id, limit=limit)


def _groups(corpus: Path | None) -> dict[str, str]:
    """Return document id -> group for the corpus, so that questions on one module are resampled together."""
    if corpus is None:
        return {}
    return {d.id: d.group for d in read_documents(corpus / "documents.jsonl") if d.group}


def _another(samples: Sequence[Sample]) -> list[str] | None:
    """Return, for each sample, the next sample's reference of the same kind (the last takes the first); None if one is alone."""
    by_kind: dict[str, list[int]] = {}
    for place, sample in enumerate(samples):
        by_kind.setdefault(sample.kind, []).append(place)
    if any(len(places) < 2 for places in by_kind.values()):
        return None
    found = [""] * len(samples)
    for places in by_kind.values():
        for here, there in zip(places, [*places[1:], places[0]], strict=True):
            found[here] = samples[there].reference
    return found
