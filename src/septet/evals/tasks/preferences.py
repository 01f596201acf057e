"""Preferences: how often the model finds the chosen answer likelier than the rejected one, beside the model before alignment.

Both answers of a random part of the held-out pairs are scored by the model and by the model before alignment; the accuracies stand
side by side, overall and by kind of pair, with their paired difference and McNemar's test.

What it is not: proof of better answers. A model can learn the pairs' style (their length, say) and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from septet.core.errors import DataError
from septet.data.documents import read_rows
from septet.evals.reader import Reader
from septet.evals.sample import Output, Sample, Score, pick
from septet.evals.stats import difference, mcnemar
from septet.evals.task import Bench, Figure, Findings, Task, figures_of, judge_all

__all__ = ["Preferences"]


class Preferences(Task):
    """Preference accuracy by kind of pair, before and after."""

    needs: ClassVar[tuple[str, ...]] = ("pairs",)

    limit: int = Field(default=200, ge=1)
    """Held-out pairs to score."""

    def run(self, bench: Bench) -> Findings:
        samples = _pairs(bench, self.limit)
        names = [name for name in ("model", "before") if name in bench.readers]
        outputs = {}
        for turn, name in enumerate(names):
            outputs[name] = _score(bench.readers[name], samples)
            bench.readers[name].close()
            bench.tell(turn + 1, len(names))
        figures: list[Figure] = []
        for scorer in bench.reading("preference"):
            scores = {name: judge_all(scorer, samples, outputs[name]) for name in names}
            for name in names:
                figures += figures_of(self.kind, scorer, scores[name], of=name, seed=bench.seed)
            if "before" in scores and "correct" in scores["model"][0].values:
                figures += _changes(self.kind, scores["model"], scores["before"])
        return Findings(figures)


def _pairs(bench: Bench, limit: int) -> list[Sample]:
    path = bench.inputs["pairs"] / "held_out.jsonl"
    rows = []
    for number, row in read_rows(path):
        missing = [name for name in ("prompt", "chosen", "rejected") if not row.get(name)]
        if missing or not isinstance(row["prompt"], list):
            raise DataError(
                f"a pair has a prompt (messages), chosen and rejected; missing: {missing}.", file=path, row=number
            )
        document = str(row.get("document", ""))
        kind = str(row.get("kind", ""))
        rows.append(
            Sample(
                f"{number}:{document}", row["chosen"], document, kind, tuple(row["prompt"]), rejected=row["rejected"]
            )
        )
    if not rows:
        raise DataError("there are no held-out pairs.", file=path)
    return pick(rows, seed=bench.seed, key=lambda sample: sample.id, limit=limit)


def _score(reader: Reader, samples: Sequence[Sample]) -> list[Output]:
    found = reader.prefer([(s.prompt, s.reference) for s in samples] + [(s.prompt, s.rejected) for s in samples])
    return [
        Output(chosen=a.logprob, chosen_tokens=a.num_tokens, rejected=b.logprob, rejected_tokens=b.num_tokens)
        for a, b in zip(found[: len(samples)], found[len(samples) :], strict=True)
    ]


def _changes(task: str, after: Sequence[Score], before: Sequence[Score]) -> list[Figure]:
    found = []
    for kind in ("", *sorted({score.sample.kind for score in after} - {""})):
        places = [i for i, score in enumerate(after) if kind in ("", score.sample.kind)]
        now, then = ([side[i].values["correct"] for i in places] for side in (after, before))
        test = mcnemar([x > 0 for x in now], [x > 0 for x in then])
        note = f"{test.only_first} pairs right only with the model, {test.only_second} only before; {test.method}, p = {test.p:.2g}"
        metric = "preference_accuracy" + (f", {kind}" if kind else "") + " minus before"
        groups = [after[i].sample.cluster for i in places]
        found.append(Figure(task, metric, "model", difference(now, then, groups=groups), note=note))
    return found
