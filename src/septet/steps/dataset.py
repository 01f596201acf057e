"""dataset: makes the rows of a data set for any task, from a corpus or from one's own files.

Writes `train.jsonl`, `held_out.jsonl` (what choices are made on), where there is one `test.jsonl` (looked at once), and
`dataset.json`: the task, its labels, the columns that were read, and a review of the rows. It makes no preference pairs.

    septet dataset --corpus text --builder docs-questions
    septet dataset --builder '{kind: table, train: reviews.csv}'
"""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

from pydantic import Field, model_validator

from septet.core.artifact import Artifact, Fact, write_json
from septet.core.component import CorpusRef
from septet.core.errors import DataError
from septet.core.step import Step, Work
from septet.data.builder import Builder, Built, Row
from septet.data.documents import read_documents, write_rows

__all__ = ["Dataset"]


class Dataset(Step):
    """Make the rows of a data set."""

    produces: ClassVar[str] = "dataset"
    version: ClassVar[int] = 2

    builder: Builder
    """How the rows are made."""
    corpus: CorpusRef | None = None
    """The corpus to ask about; not needed for a builder that reads files."""
    limit: int | None = Field(default=None, ge=1)
    """At most so many training rows, and a tenth of it held out; the test rows stay. None: all."""
    seed: int = 0
    """Chooses phrasings, order and, where there is no corpus, what is held out."""

    @model_validator(mode="after")
    def _has_what_it_reads(self) -> Dataset:
        if self.builder.reads_corpus and self.corpus is None:
            raise ValueError(f"the builder '{self.builder.kind}' asks about a corpus; name one: corpus: $text")
        if not self.builder.reads_corpus and self.corpus is not None:
            raise ValueError(
                f"the builder '{self.builder.kind}' reads its own files and no corpus; leave 'corpus' out."
            )
        return self

    def run(self, work: Work, **inputs: Artifact) -> dict[str, Fact]:
        """Errors: DataError where no row comes about."""
        from septet.data.review import remarks, review  # numpy: 0.1 s

        parts: dict[str, list] = {"train": [], "held_out": []}
        if "corpus" in inputs:
            parts = {part: list(read_documents(inputs["corpus"].path / f"{part}.jsonl")) for part in parts}
        built = self.builder.build(parts["train"], parts["held_out"], seed=self.seed)
        made = {
            "train": built.train[: self.limit],
            "held_out": built.held_out[: None if self.limit is None else max(self.limit // 10, 1)],
            "test": built.test,
        }
        if not made["train"]:
            raise DataError(
                f"The builder {self.builder.kind!r} made no training row from {len(parts['train'])} documents;"
                " it needs documents with a name and at least one sentence."
            )
        for part, rows in made.items():
            if rows or part != "test":
                write_rows(work.out / f"{part}.jsonl", rows)
        found = review(made)
        write_json(work.out / "dataset.json", _told(built, found))
        for line in (*built.remarks, *remarks(found)):
            work.log(line)
        work.progress(1, 1, unit="stages", rows=len(made["train"]))
        return {**_facts(built, made, found), **built.notes}


def _told(built: Built, found: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"task": built.task, "columns": built.columns, "remarks": built.remarks, "review": found}
    return told if built.labels is None else {**told, "labels": built.labels}


def _facts(built: Built, made: dict[str, list[Row]], found: dict[str, Any]) -> dict[str, Fact]:
    train = made["train"]
    facts: dict[str, Fact] = {"task": built.task, "train_rows": len(train), "held_out_rows": len(made["held_out"])}
    if made["test"]:
        facts["test_rows"] = len(made["test"])
    if built.labels is not None:
        facts["labels"] = len(built.labels)
    kinds = Counter(row["kind"] for row in train if "kind" in row)
    if kinds:
        facts["kinds"] = dict(sorted(kinds.items()))
    if built.task == "chat":
        answers = [len(row["messages"][-1]["content"].split()) for row in train]
        facts["mean_answer_words"] = round(sum(answers) / len(answers), 1)
    equal, near = (
        sum(pair[name] for pair in found["shared"] if pair["first"] == "train") for name in ("equal", "near")
    )
    return {**facts, "rows_shared_with_training": equal, "rows_nearly_shared_with_training": near}
