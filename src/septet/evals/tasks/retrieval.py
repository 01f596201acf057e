"""Retrieval and refusing: is the right entry found, is it cited first, and are questions beyond the documents refused.

Figures are of the `test` half of the question file alone, since the threshold was chosen on the other. For each way of searching
(bm25, dense, hybrid: both): recall@k, the share of answerable questions with a right name among the first k, and the mean
reciprocal rank (0 where none is found), with paired differences to bm25. First-citation accuracy: the share of answerable
questions whose first citation is a right name; a refusal is wrong. AUROC of refusing: the probability that an answerable
question gets more confidence than one that the documents do not cover.

What it is not: a measurement on other people's questions; it is as good as the file.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from septet.core.errors import ComponentError
from septet.evals.judged import Judged
from septet.evals.stats import Estimate, auroc, difference, mean, proportion
from septet.evals.task import Bench, Figure, Findings, Task

__all__ = ["Retrieval"]


class Retrieval(Task):
    """Recall@k, reciprocal rank, first citation, refusing."""

    needs: ClassVar[tuple[str, ...]] = ("index", "questions")

    depths: tuple[int, ...] = Field(default=(1, 5, 10), min_length=1)
    """The k of recall@k."""

    def run(self, bench: Bench) -> Findings:
        assert bench.judge is not None, "the step hands in the judge together with the index"
        asked = bench.judge()
        test = [judged for judged in asked if judged.half == "test"]
        inside, outside = [j for j in test if j.answerable], [j for j in test if not j.answerable]
        if not inside:
            raise ComponentError(
                "The question set has no answerable question in its test half; write some, with gold names."
            )
        note = "test half of the question file"
        figures = [
            Figure(self.kind, metric, of, estimate, note=text or note)
            for metric, of, estimate, text in _found(inside, self.depths)
        ]
        figures += self._answering(inside, outside, bench.seed, note)
        return Findings(figures, [_row(self.kind, judged) for judged in test])

    def _answering(self, inside: list[Judged], outside: list[Judged], seed: int, note: str) -> list[Figure]:
        def figure(metric: str, estimate: Estimate, told: str) -> Figure:
            return Figure(self.kind, metric, "answers", estimate, note=f"{told}; {note}")

        first = proportion(sum(j.correct for j in inside), len(inside))
        found = [figure("first_citation_accuracy", first, "answerable questions; refusing one is wrong")]
        if outside:
            surer = auroc([j.confidence for j in inside], [j.confidence for j in outside], seed=seed)
            told = f"{len(inside)} answerable, {len(outside)} not"
            found.append(figure("auroc_of_refusing", surer, told))
            right = proportion(sum(j.refused for j in outside), len(outside))
            found.append(figure("refused, not in the documents", right, "at the tuned threshold"))
        answered = proportion(sum(not j.refused for j in inside), len(inside))
        found.append(figure("answered, in the documents", answered, "at the tuned threshold"))
        return found


def _found(inside: list[Judged], depths: tuple[int, ...]) -> list[tuple[str, str, Estimate, str]]:
    ways = list(dict.fromkeys(way for judged in inside for way in judged.ranks))
    gains = {way: [1 / rank if (rank := judged.ranks.get(way)) else 0.0 for judged in inside] for way in ways}
    rows = []
    for way in ways:
        for depth in depths:
            hits = sum(1 for judged in inside if (rank := judged.ranks.get(way)) and rank <= depth)
            rows.append((f"recall@{depth}", way, proportion(hits, len(inside)), ""))
        rows.append(("mean_reciprocal_rank", way, mean(gains[way]), ""))
    for way in ways:
        if way != "bm25" and "bm25" in ways:
            change = difference(gains[way], gains["bm25"])
            rows.append(("mean_reciprocal_rank minus bm25", way, change, "paired by question"))
    return rows


def _row(task: str, judged: Judged) -> dict[str, object]:
    return {
        "task": task,
        "question": judged.question,
        "gold": list(judged.gold),
        "cited": list(judged.cited),
        "correct": judged.correct,
        "refused": judged.refused,
        "confidence": judged.confidence,
        "ranks": dict(judged.ranks),
    }
