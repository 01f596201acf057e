"""Entity F1: precision, recall and F1 over whole entities, as conlleval counts them, overall and by type.

An entity is right if its type, its first and its last word are. Counts are summed over all samples (micro):

    entity_precision = right / predicted    entity_recall = right / expected    entity_f1 = 2 right / (predicted + expected)

0 where the divisor is 0. Malformed tags are read as conlleval and seqeval's default mode read them: an I- after O, at the
start or after another type begins an entity. `malformed_tags` is their share of the predicted tags, and the note counts them; what
is no BIO tag at all counts there too and belongs to no entity. Among the right tags it is refused.

Source: Tjong Kim Sang and De Meulder 2003 (W03-0419), conlleval; Ramshaw and Marcus 1995 for the tags.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from septet.core.errors import DataError
from septet.evals.sample import Output, Sample, Score
from septet.evals.scorer import Reads, Scorer
from septet.evals.shapes import text_list
from septet.evals.spans import malformed, spans
from septet.evals.stats import Figures, Rows, summed

__all__ = ["EntityF1"]


class EntityF1(Scorer):
    """Exact match of entities."""

    reads: ClassVar[Reads] = "tags"
    lower_figures: ClassVar[tuple[str, ...]] = ("malformed_tags",)

    by_type: bool = True
    """Give the figures of each type of entity as well."""

    def score(self, sample: Sample, output: Output) -> Score:
        right, said = (text_list(x, sample, "a list of BIO tags") for x in (sample.expected, output.prediction))
        if len(right) != len(said):
            raise DataError(
                f"sample '{sample.id}' has {len(right)} words and {len(said)} predicted tags; each word has one."
            )
        for place in malformed(right):
            if not spans(right[place : place + 1]):
                raise DataError(
                    f"sample '{sample.id}': the right tag of word {place + 1} is '{right[place]}'; expected O, B-TYPE or I-TYPE. "
                    "Convert the tags when the data are prepared."
                )
        there, found = set(spans(right)), set(spans(said))
        counts = {"right": len(there & found), "predicted": len(found), "expected": len(there)}
        parts = [Counter(kind for kind, _, _ in part) for part in (there & found, found, there)]
        return Score(
            sample,
            {name: float(n) for name, n in counts.items()},
            (*parts, len(malformed(said)), len(said), len(malformed(right))),
        )

    def corpus(self, scores: Sequence[Score]) -> Figures:
        kinds = sorted({kind for score in scores for part in score.parts[:3] for kind in part})
        # [N, 3 per type, then malformed and all tags]
        counts = np.asarray(
            [[*(part[kind] for kind in kinds for part in s.parts[:3]), *s.parts[3:5]] for s in scores], dtype=np.float64
        )

        def figures(rows: Rows) -> Mapping[str, float]:
            *entities, wrong, tags = summed(counts, rows).tolist()
            table = [entities[start : start + 3] for start in range(0, len(entities), 3)]
            found = _figures(*(sum(row[column] for row in table) for column in range(3)))
            for kind, row in zip(kinds, table, strict=True) if self.by_type else ():
                there = row[1] + row[2] > 0  # a resample may lack a type; that is no 0
                found |= {f"{name}, {kind}": value if there else math.nan for name, value in _figures(*row).items()}
            return {**found, "malformed_tags": wrong / tags if tags else 0.0}

        return figures

    def signature(self) -> str:
        return "whole entities as in conlleval, micro; an I- that continues nothing begins an entity"

    def note(self, scores: Sequence[Score]) -> str:
        wrong, tags, given = (sum(score.parts[place] for score in scores) for place in (3, 4, 5))
        also = f", and {given} of the right ones" if given else ""
        return f"{self.signature()}; {wrong} of {tags} predicted tags malformed{also}"


def _figures(right: float, predicted: float, expected: float) -> dict[str, float]:
    return {
        "entity_f1": 2 * right / (predicted + expected) if predicted + expected else 0.0,
        "entity_precision": right / predicted if predicted else 0.0,
        "entity_recall": right / expected if expected else 0.0,
    }
