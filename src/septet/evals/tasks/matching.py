"""Matching: how near the top, of all texts of the test rows that could belong to it, a text's vector finds its own partner.

Read are the rows of `test.jsonl`, or where there is none, the held-out ones, of a data set of pairs. Each anchor ranks every
distinct positive by the cosine of the vectors; a tie counts as lost. Figures: recall@k, the share of anchors whose own positive is
among the first k, and the mean reciprocal rank. Beside the model stand the one before fine-tuning, where it is given, and `bm25`,
which knows only the words that two texts share; with paired differences to both. Anchors with the same positive (questions about
one passage) count as a group in the intervals.

What it is not: a search of an index; that is `retrieval`. The rows' negatives are not looked at: their right anchors are unknown.

    evaluate: {model: $vectors, before: $minilm, data: $pairs, tasks: [{kind: matching, limit: 500}]}
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from septet.core.errors import ComponentError, DataError
from septet.evals.stats import difference, mean, proportion
from septet.evals.task import Bench, Figure, Findings, Task
from septet.evals.tasks.predictions import part_of, rows_of
from septet.infer.task import Task as Learned

__all__ = ["Matching", "bm25", "ranks_of"]

Places = np.ndarray[Any, np.dtype[np.int64]]


class Matching(Task):
    """Recall@k and reciprocal rank of a text's own partner among those of all test rows."""

    needs: ClassVar[tuple[str, ...]] = ("data",)

    limit: int = Field(default=1000, ge=1)
    """At most so many rows, drawn by the seed; every positive of theirs is a candidate."""
    part: Literal["auto", "test", "held_out", "train"] = "auto"
    """Which rows; auto: test rows where there are any, else held-out ones."""
    depths: tuple[int, ...] = Field(default=(1, 5, 10), min_length=1)
    """The k of recall@k."""

    def unsuited(self, inputs: Mapping[str, Path]) -> str:
        task, _ = Learned.of_data(inputs["data"])
        return "" if task.gives == "vector" else f"the data is of the task '{task.kind}', which gives no vectors"

    def run(self, bench: Bench) -> Findings:
        """Errors: ComponentError where the rows hold one positive only, among which nothing can be found."""
        folder = bench.inputs["data"]
        task, _ = Learned.of_data(folder)
        path = part_of(folder, self.part)
        rows = rows_of(path, limit=self.limit, seed=bench.seed)
        if not rows:
            raise DataError("there are no rows to match.", file=path)
        anchors = [row["anchor"] for row in rows]
        positives = list(dict.fromkeys(row["positive"] for row in rows))
        if len(positives) < 2:
            raise ComponentError(
                f"all {len(rows)} rows of {path.name} have the same positive; two or more are expected."
            )
        own = np.array([positives.index(row["positive"]) for row in rows])
        systems: dict[str, Places] = {}
        names = [name for name in ("model", "before") if name in bench.readers]
        for turn, name in enumerate(names):
            vectors = bench.readers[name].vectors(
                [*anchors, *positives],
                task=task,
                tell=lambda done, total, turn=turn: bench.tell(turn * total + done, len(names) * total),
            )
            systems[name] = ranks_of(vectors[: len(anchors)] @ vectors[len(anchors) :].T, own)
        systems["bm25"] = ranks_of(bm25(anchors, positives), own)
        note = f"{len(positives)} candidates; {path.stem} rows"
        groups = own.tolist()
        figures: list[Figure] = []
        for of, ranks in systems.items():
            for depth in self.depths:
                found = proportion(int((ranks <= depth).sum()), len(rows))
                figures.append(Figure(self.kind, f"recall@{depth}", of, found, note=note))
            found = mean((1 / ranks).tolist(), groups=groups)
            figures.append(Figure(self.kind, "mean_reciprocal_rank", of, found, note=note))
        for other in ("before", "bm25"):
            if other in systems:
                found = difference((1 / systems["model"]).tolist(), (1 / systems[other]).tolist(), groups=groups)
                name = f"mean_reciprocal_rank minus {other}"
                figures.append(Figure(self.kind, name, "model", found, note=f"paired by row; {note}"))
        shown = [
            {"task": self.kind, **row, "ranks": {of: int(ranks[place]) for of, ranks in systems.items()}}
            for place, row in enumerate(rows)
        ]
        return Findings(figures, shown)


def ranks_of(scores: np.ndarray, own: np.ndarray) -> Places:
    """Return the rank [A] from 1 of each anchor's own candidate, from scores [A, C]; equal scores stand before it."""
    right = np.take_along_axis(scores, own[:, None], axis=1)
    return (scores >= right).sum(axis=1)


def bm25(queries: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    """Return BM25 scores [queries, texts], 0 where no word is shared: FTS5's, of English stems as in Septet's own index."""
    scores = np.zeros((len(queries), len(texts)))
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute(
            "CREATE VIRTUAL TABLE words USING fts5(text, tokenize = 'porter unicode61 remove_diacritics 2')"
        )
        database.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", enumerate(texts))
        for place, query in enumerate(queries):
            if found := dict.fromkeys(re.findall(r"\w+", query)):
                # quoted, so that FTS5 reads words and never its own operators
                match = " OR ".join(f'"{term}"' for term in found)
                asked = database.execute("SELECT rowid, bm25(words) FROM words WHERE words MATCH ?", (match,))
                for row, score in asked:
                    scores[place, row] = -score
    return scores
