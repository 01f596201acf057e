"""recogniser: trains a tagger for names and other entities on marked sentences, and measures it on sentences it never saw.

Reads CoNLL columns, or JSON rows of a text with spans. Writes `recogniser.json` and `recogniser.safetensors`, which the filter
`pii` reads for the kind "name". The split keeps groups together (a document, a template). No recogniser ships with Septet: it is as
good as the sentences that it learned from, in their language and their kind of text only.

    septet recogniser --path eng.train --test eng.testb --entities '{PER: name}' --name names
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field

from septet.core.artifact import Artifact, Fact
from septet.core.component import InputPath
from septet.core.errors import DataError
from septet.core.step import Step, Work
from septet.data.entities import Layout, Tagged, compare, read_tagged, tally
from septet.data.labelled import is_held_out
from septet.data.tagger import train
from septet.evals import stats

__all__ = ["Recogniser", "measure"]


class Recogniser(Step):
    """Train a recogniser of names and other entities."""

    produces: ClassVar[str] = "recogniser"

    path: InputPath
    """Marked sentences: CoNLL columns (word first, tag last), or JSON rows of a text with spans; plain or .gz."""
    test: InputPath | None = None
    """Marked sentences to measure on; none: a part of `path` is held out."""
    layout: Layout = "auto"
    """What the files are; auto: JSON is spans, everything else CoNLL."""
    text_field: str = "full_text"
    """For spans: the field of the text."""
    group_field: str = "template_id"
    """For spans: rows with the same value stay on one side of the split. CoNLL files are split by document where they mark any."""
    entities: dict[str, str] = Field(default_factory=dict)
    """Names of the file's types -> names of ours, such as {PER: name}; types that are not named are left out. Empty: all as they
    are."""
    held_out: float = Field(default=0.2, gt=0, le=0.5)
    """Share of the groups that is only measured on, where `test` is none."""
    epochs: int = Field(default=10, ge=1, le=100)
    """How often the training sentences are gone through."""
    bits: int = Field(default=18, ge=10, le=24)
    """Rows of weights: 2 to this power. More take memory, and mix fewer features up."""
    seed: int = 0
    """Chooses the held-out groups and the order of the sentences."""

    def run(self, work: Work, **inputs: Artifact) -> dict[str, Fact]:
        """Errors: DataError where either side has no entities."""
        inside, outside = self._read(self.path), []
        if self.test is not None:
            outside = self._read(self.test)
        else:
            aside = [is_held_out(one.group, share=self.held_out, seed=self.seed) for one in inside]
            outside = [one for one, out in zip(inside, aside, strict=True) if out]
            inside = [one for one, out in zip(inside, aside, strict=True) if not out]
        for side, sentences in (("train on", inside), ("measure on", outside)):
            if not tally(sentences):
                raise DataError(
                    f"No entity is left to {side}; give more groups than {len({one.group for one in sentences})}, another seed, or"
                    " a file of its own as `test`.",
                    file=self.path,
                )
        tagger = train(
            inside,
            epochs=self.epochs,
            bits=self.bits,
            seed=self.seed,
            tell=lambda epoch, wrong: work.progress(epoch, self.epochs, unit="epochs", wrong=wrong),
        )
        tagger.save(work.out)
        return {
            "train_sentences": len(inside),
            "train_words": sum(len(one.words) for one in inside),
            "train_entities": tally(inside),
            "held_out_sentences": len(outside),
            "held_out_entities": tally(outside),
            "held_out": measure(outside, tagger.tag([one.words for one in outside]), seed=self.seed),
        }

    def _read(self, path: str) -> list[Tagged]:
        return read_tagged(
            path,
            layout=self.layout,
            text_field=self.text_field,
            group_field=self.group_field,
            entities=self.entities,
        )


def measure(gold: Sequence[Tagged], found: Sequence[Sequence[str]], *, seed: int = 0) -> dict[str, Any]:
    """Return precision, recall and F1 of entities, of all ("all") and of each type, with 95% bootstrap intervals over groups.

    An entity is right where its extent and its type are, as `conlleval` counts (Tjong Kim Sang and De Meulder 2003):
    precision = right / found, recall = right / gold, F1 = 2 right / (found + gold). A figure with nothing below the line is None.
    """
    groups = [one.group for one in gold]
    result: dict[str, Any] = {}
    for label in ("", *tally(gold)):
        counts = [compare(one.tags, tags, label) for one, tags in zip(gold, found, strict=True)]
        right, had, wanted = ([getattr(one, name) for one in counts] for name in ("right", "found", "gold"))
        both = [a + b for a, b in zip(had, wanted, strict=True)]
        figures = {
            "precision": (right, had),
            "recall": (right, wanted),
            "f1": ([2 * one for one in right], both),
        }
        result[label or "all"] = {
            name: _estimate(above, below, groups, seed) for name, (above, below) in figures.items()
        }
    return result


def _estimate(above: list[int], below: list[int], groups: list[str], seed: int) -> dict[str, Any] | None:
    if not sum(below):
        return None
    # rows without anything below the line carry nothing, and a resample of those alone would divide by 0
    kept = [n for n, one in enumerate(below) if one]
    return stats.ratio(
        [above[n] for n in kept], [below[n] for n in kept], seed=seed, groups=[groups[n] for n in kept]
    ).to_json()
