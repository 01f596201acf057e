"""dataset: makes rows of questions and answers, from a corpus or from one's own file.

Writes `train.jsonl` and `held_out.jsonl`; held-out rows come from held-out documents only. It makes no preference pairs.

    septet dataset --corpus text --builder docs-questions
"""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from pydantic import Field, model_validator

from septet.core.artifact import Artifact, Fact
from septet.core.component import CorpusRef
from septet.core.errors import DataError
from septet.core.step import Step, Work
from septet.data.builder import Builder
from septet.data.documents import read_documents, write_rows

__all__ = ["Dataset"]


class Dataset(Step):
    """Make rows of questions and answers."""

    produces: ClassVar[str] = "dataset"

    builder: Builder
    """How the rows are made."""
    corpus: CorpusRef | None = None
    """The corpus to ask about; not needed for a builder that reads a file."""
    limit: int | None = Field(default=None, ge=1)
    """At most so many training rows, and a tenth of it held out; none: all."""
    seed: int = 0
    """Chooses phrasings, order and, where there is no corpus, what is held out."""

    @model_validator(mode="after")
    def _has_what_it_reads(self) -> Dataset:
        if self.builder.reads_corpus and self.corpus is None:
            raise ValueError(f"the builder '{self.builder.kind}' asks about a corpus; name one: corpus: $text")
        if not self.builder.reads_corpus and self.corpus is not None:
            raise ValueError(f"the builder '{self.builder.kind}' reads its own file and no corpus; leave 'corpus' out.")
        return self

    def run(self, work: Work, **inputs: Artifact) -> dict[str, Fact]:
        """Errors: DataError where no row comes about."""
        parts: dict[str, list] = {"train": [], "held_out": []}
        if "corpus" in inputs:
            parts = {part: list(read_documents(inputs["corpus"].path / f"{part}.jsonl")) for part in parts}
        built = self.builder.build(parts["train"], parts["held_out"], seed=self.seed)
        train = built.train[: self.limit]
        held_out = built.held_out[: None if self.limit is None else max(self.limit // 10, 1)]
        if not train:
            raise DataError(
                f"The builder {self.builder.kind!r} made no training row from {len(parts['train'])} documents;"
                " it needs documents with a name and at least one sentence."
            )
        write_rows(work.out / "train.jsonl", train)
        write_rows(work.out / "held_out.jsonl", held_out)
        work.progress(1, 1, unit="stages", rows=len(train))
        answers = [len(row["messages"][-1]["content"].split()) for row in train]
        return {
            "train_rows": len(train),
            "held_out_rows": len(held_out),
            "kinds": dict(sorted(Counter(row["kind"] for row in train).items())),
            "mean_answer_words": round(sum(answers) / len(answers), 1),
            **built.notes,
        }
