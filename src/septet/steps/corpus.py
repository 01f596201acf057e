"""corpus: reads documents, cleans them, and sets a part aside.

Writes `documents.jsonl` (everything the source offers, as read: what an index holds), `train.jsonl` and `held_out.jsonl`
(after the filters), `dropped.jsonl` and `report.json` (what was dropped or changed, and why). It makes no tokens.

    septet corpus --source python-docs --filters normalise --filters docstrings --filters exact-dedup --filters pii
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from septet.core.artifact import Artifact, Fact
from septet.core.errors import DataError
from septet.core.step import Step, Work
from septet.data.documents import Document, write_documents, write_rows
from septet.data.filter import Filter
from septet.data.source import Source
from septet.data.split import HeldOut

__all__ = ["Corpus", "EmptyCorpus"]

EXAMPLES = 5  # shown for each reason in the report


class EmptyCorpus(DataError):
    """Nothing is left to train on."""


class Corpus(Step):
    """Read, clean and split a collection of text."""

    produces: ClassVar[str] = "corpus"

    source: Source
    """Where the documents come from."""
    filters: tuple[Filter, ...] = ()
    """What is trained on: filters, applied in this order."""
    held_out: HeldOut = HeldOut()
    """The part that is never trained on."""

    def run(self, work: Work, **inputs: Artifact) -> dict[str, Fact]:
        """Errors: EmptyCorpus where the source or the filters leave nothing; DataError for rows that cannot be read."""
        stages = len(self.filters) + 3
        skipped: list[tuple[str, str]] = []
        docs = list(self.source.read(bad=lambda place, reason: skipped.append((place, reason))))
        _require_unique(docs)
        if not docs:
            raise EmptyCorpus(f"The source {self.source.kind!r} offers no documents; at least one is expected.")
        work.progress(1, stages, unit="stages", documents=len(docs))
        write_documents(work.out / "documents.jsonl", docs)
        report = _Report()
        report.stage("source", self.source.kind, before=None, after=docs)
        for place, (file, reason) in enumerate(skipped):
            report.skipped.append({"file": file, "reason": reason})
            if place < EXAMPLES:
                work.log(f"left out {file}: {reason}")
        kept = docs
        for place, one in enumerate(self.filters):
            before = kept
            kept = list(one.apply(iter(before), report.dropper(one.kind)))
            report.stage("filter", one.kind, before=before, after=kept)
            work.progress(place + 2, stages, unit="stages", documents=len(kept))
        kept = [doc for doc in kept if doc.text.strip() or report.drop("empty", doc, "no text")]
        if not kept:
            reasons = ", ".join(f"{count} {why}" for why, count in report.reasons().most_common(5))
            raise EmptyCorpus(
                f"The filters left nothing of {len(docs)} documents ({reasons}); take out or loosen the filter that drops most."
            )
        split = self.held_out.split(kept)
        if self.held_out.by != "document" and split.by == "document":
            work.log("All documents are of one group, so single documents are held out.")
        write_documents(work.out / "train.jsonl", split.train)
        write_documents(work.out / "held_out.jsonl", split.held_out)
        write_rows(work.out / "dropped.jsonl", report.dropped)
        summary = report.content(train=split.train, held_out=split.held_out, by=split.by)
        (work.out / "report.json").write_text(
            json.dumps(summary, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
        )
        work.progress(stages, stages, unit="stages", documents=len(kept))
        return {
            "documents": len(docs),
            "public": sum(doc.public for doc in docs),
            "bytes": _size(docs),
            "dropped": len(report.dropped),
            "train_documents": len(split.train),
            "train_bytes": _size(split.train),
            "held_out_documents": len(split.held_out),
            "held_out_bytes": _size(split.held_out),
            "held_out_share": round(_size(split.held_out) / max(_size(kept), 1), 4),
            "held_out_groups": sorted({doc.group for doc in split.held_out})[:50],
            "emails": sum(int(doc.meta.get("emails", 0)) for doc in kept),
            "skipped_files": len(report.skipped),
        }


def _size(docs: Iterable[Document]) -> int:
    """Bytes of UTF-8."""
    return sum(len(doc.text.encode("utf-8", "surrogatepass")) for doc in docs)


def _require_unique(docs: list[Document]) -> None:
    repeated = [doc_id for doc_id, count in Counter(doc.id for doc in docs).items() if count > 1]
    if repeated:
        raise DataError(
            f"The source gives {len(repeated)} ids more than once, such as {repeated[0]!r}; ids must be unique."
        )


class _Report:
    """What happened to the documents, stage by stage."""

    def __init__(self) -> None:
        self.dropped: list[dict[str, Any]] = []
        self.stages: list[dict[str, Any]] = []
        self.skipped: list[dict[str, str]] = []

    def drop(self, kind: str, doc: Document, reason: str) -> bool:
        self.dropped.append({"id": doc.id, "name": doc.name, "filter": kind, "reason": reason})
        return False

    def dropper(self, kind: str) -> Any:
        return lambda doc, reason: self.drop(kind, doc, reason)

    def reasons(self) -> Counter[str]:
        return Counter(_general(row["reason"]) for row in self.dropped)

    def stage(self, what: str, kind: str, *, before: list[Document] | None, after: list[Document]) -> None:
        row: dict[str, Any] = {"stage": what, "kind": kind, "documents": len(after), "bytes": _size(after)}
        if before is not None:
            texts = {doc.id: doc.text for doc in before}
            row["dropped"] = len(before) - len(after)
            row["changed"] = sum(texts.get(doc.id) != doc.text for doc in after)
        self.stages.append(row)

    def content(self, *, train: Iterable[Document], held_out: Iterable[Document], by: str) -> dict[str, Any]:
        groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in self.dropped:
            groups.setdefault((row["filter"], _general(row["reason"])), []).append(row)
        return {
            "stages": self.stages,
            "dropped": [
                {
                    "filter": kind,
                    "reason": reason,
                    "count": len(rows),
                    "examples": [row["name"] or row["id"] for row in rows[:EXAMPLES]],
                }
                for (kind, reason), rows in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
            ],
            "types": dict(sorted(Counter(str(doc.meta.get("type", "")) for doc in _chain(train, held_out)).items())),
            "split": {
                "by": by,
                "train": {"documents": len(list(train)), "bytes": _size(train)},
                "held_out": {
                    "documents": len(list(held_out)),
                    "bytes": _size(held_out),
                    "groups": sorted({doc.group or doc.id for doc in held_out})[:200],
                },
            },
            "skipped_files": self.skipped,
        }


def _chain(*parts: Iterable[Document]) -> Iterator[Document]:
    for part in parts:
        yield from part


def _general(reason: str) -> str:
    """The reason without the particular document it names."""
    return "same text as another" if reason.startswith("same text as ") else reason
