"""corpus: reads documents, cleans them, and sets a part aside.

Writes `documents.jsonl` (everything the source offers, as read: what an index holds), `train.jsonl` and `held_out.jsonl`
(after the filters), `dropped.jsonl` and `report.json` (what was dropped, changed or could not be read, and why), with `audits`
also `audits.json`. It makes no tokens.

The work goes shard by shard over all processor cores, or over a cluster, with the same bytes as the result; an interrupted run
goes on; memory does not grow with the corpus.

    septet corpus --source python-docs --filters normalise --filters docstrings --filters exact-dedup --filters pii
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from septet.core.artifact import Artifact, Fact, write_json
from septet.core.component import TokenizerRef
from septet.core.errors import DataError
from septet.core.step import Step, Work
from septet.data.audit import Audit
from septet.data.documents import read_documents, read_rows, write_documents
from septet.data.filter import Filter
from septet.data.pipeline import EXAMPLES, Pipeline, join_files, size_of
from septet.data.source import Source
from septet.data.split import Held, HeldOut

__all__ = ["Corpus", "EmptyCorpus"]


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
    audits: tuple[Audit, ...] = ()
    """What to look for in the texts as a whole, before and after the filters."""
    on_error: Literal["skip", "stop"] = "skip"
    """What to do with a record that cannot be read: leave it out, count it and name it in the report; or stop."""
    tokenizer: TokenizerRef | None = None
    """A tokenizer to count tokens with, at each stage and by language and source; it changes nothing else."""
    keep_read: bool = True
    """Keep `documents.jsonl`, the text as read, which an index needs; without it the corpus takes half the room."""

    def run(self, work: Work, **inputs: Artifact) -> dict[str, Fact]:
        """Errors: EmptyCorpus where the source or the filters leave nothing; DataError for rows that do not fit the fields."""
        folders = {str(ref): inputs[role].path for role, ref in self.refs().items()}
        tokenizer = inputs["tokenizer"].path if self.tokenizer is not None else None
        pipeline = Pipeline(
            self.source, self.filters, work, self.audits, folders, self.keep_read, self.on_error, tokenizer
        )
        # every shard goes through each phase, is looked at by the audits before and after, and is split
        turns = len(pipeline.shards) * (len(pipeline.phases()) + (2 if self.audits else 0) + 1)
        done = itertools.count(1)
        pipeline.done = lambda: work.progress(next(done), turns, unit="turns")
        total = pipeline.run()
        read = {"documents": 0, "public": 0, "bytes": 0, "words": 0, **total["read"]}
        for row in total["bad"][:EXAMPLES]:
            work.log(f"left out {row['file']}: {row['reason']}")
        if not read["documents"]:
            named = "".join(f" {row['file']}: {row['reason']}." for row in total["bad"][:EXAMPLES])
            raise EmptyCorpus(f"The source {self.source.kind!r} offers no documents; at least one is expected.{named}")
        stages = _stages(self.source.kind, read, total["stages"])
        if not stages[-1]["documents"]:
            reasons = sorted(_reasons(total["stages"]), key=lambda row: -row["count"])
            told = ", ".join(f"{row['count']} {row['reason']}" for row in reasons[:5])
            raise EmptyCorpus(
                f"The filters left nothing of {read['documents']} documents ({told}); take out or loosen the filter that "
                "drops most."
            )
        split = self._split(pipeline, work)
        self._write(pipeline, work.out)
        report = {
            "stages": stages,
            "dropped": _reasons(total["stages"]),
            "types": dict(sorted(total["types"].items())),
            "lengths": dict(sorted(total["lengths"].items(), key=lambda item: int(item[0]))),
            "tables": {name: dict(sorted(rows.items())) for name, rows in sorted(total["tables"].items())},
            "split": split,
            "skipped_files": total["bad"],
            "skipped": total["bad_count"],
        }
        _write_json(work.out / "report.json", report)
        if self.audits:
            _write_json(work.out / "audits.json", self._audit(pipeline))
        kept = stages[-1]
        return {
            "documents": read["documents"],
            "public": read["public"],
            "bytes": read["bytes"],
            "dropped": sum(row["count"] for row in report["dropped"]),
            "train_documents": split["train"]["documents"],
            "train_bytes": split["train"]["bytes"],
            "held_out_documents": split["held_out"]["documents"],
            "held_out_bytes": split["held_out"]["bytes"],
            "held_out_share": round(split["held_out"]["bytes"] / max(kept["bytes"], 1), 4),
            "held_out_groups": split["held_out"]["groups"][:50],
            "pii": {name: n for stage in stages if stage["kind"] == "pii" for name, n in stage["counts"].items()},
            "skipped_files": total["bad_count"],
        }

    def _split(self, pipeline: Pipeline, work: Work) -> dict[str, Any]:
        last = pipeline.last()
        shards = sorted(last.glob("*[0-9].jsonl"))

        def groups() -> Iterator[tuple[str, int]]:
            for path in shards:
                for _, row in read_rows(path.with_suffix(".groups.jsonl")):
                    yield row["group"], row["bytes"]

        def documents() -> Iterator[tuple[str, int]]:
            for path in shards:
                for doc in read_documents(path):
                    yield doc.id, size_of(doc.text)

        held = self.held_out.choose(groups, documents)
        if self.held_out.by != "document" and held.by == "document":
            work.log("All documents are of one group, so single documents are held out.")
        settings = {
            "folder": str(last),
            "held": {**vars(held), "units": sorted(held.units) if held.units is not None else None},
        }
        counts = {part: {"documents": 0, "bytes": 0} for part in ("train", "held_out")}
        names: set[str] = set()
        # which units are held out may be a long list: it travels in a file
        write_json(pipeline.folder / "split.json", settings)
        stage = {"settings": str(pipeline.folder / "split.json")}
        for result in work.runtime.map(split_shard, stage, [{"stem": path.stem} for path in shards]):
            for part, row in counts.items():
                for name in row:
                    row[name] += result[part][name]
            names.update(result["groups"])
            pipeline.done()
        share = counts["held_out"]["bytes"] / max(1, sum(row["bytes"] for row in counts.values()))
        if share > 2 * self.held_out.share > 0:
            work.log(
                f"{share:.0%} of the text is held out, where {self.held_out.share:.0%} was asked for: "
                f"{'whole groups are, and they are large' if held.by == 'group' else 'the documents are large'}. "
                + (
                    "`held_out: {by: document}` comes nearer."
                    if held.by == "group"
                    else "Smaller documents come nearer."
                )
            )
        return {"by": held.by, **counts, "held_out": {**counts["held_out"], "groups": sorted(names)[:200]}}

    def _audit(self, pipeline: Pipeline) -> dict[str, Any]:
        """What the audits say of the text as read, and of what stays."""
        before = pipeline.audit(sorted((pipeline.folder / "phase-0").glob("*.read.jsonl")))
        after = pipeline.audit(sorted(pipeline.last().glob("*[0-9].jsonl")))
        found = {}
        for audit in self.audits:
            first = audit.report(before[audit.kind])
            found[audit.kind] = {"before": first, "after": audit.report(after[audit.kind], first)}
        return found

    def _write(self, pipeline: Pipeline, out: Path) -> None:
        first, last = pipeline.folder / "phase-0", pipeline.last()
        stems = sorted(path.stem for path in last.glob("*[0-9].json"))
        if self.keep_read:
            join_files(out / "documents.jsonl", (first / f"{stem}.read.jsonl" for stem in stems))
        for part in ("train", "held_out"):
            join_files(out / f"{part}.jsonl", (last / f"{stem}.{part}.jsonl" for stem in stems))
        phases = [pipeline.folder / f"phase-{number}" for number in range(len(pipeline.phases()))]
        join_files(out / "dropped.jsonl", (phase / f"{stem}.dropped.jsonl" for phase in phases for stem in stems))


def split_shard(settings: dict[str, Any], shard: dict[str, Any]) -> dict[str, Any]:
    """Write the two sides of a shard of what stays: STEM.train.jsonl and STEM.held_out.jsonl."""
    told = json.loads(Path(settings["settings"]).read_text(encoding="utf-8"))
    units = told["held"]["units"]
    held = Held(**{**told["held"], "units": None if units is None else frozenset(units)})
    folder, stem = Path(told["folder"]), shard["stem"]
    result: dict[str, Any] = {"groups": []}
    for part in ("train", "held_out"):
        row = result[part] = {"documents": 0, "bytes": 0}
        groups: dict[str, None] = {}

        def chosen(part: str = part, row: dict[str, int] = row, groups: dict[str, None] = groups) -> Iterator[Any]:
            for doc in read_documents(folder / f"{stem}.jsonl"):
                if (doc in held) == (part == "held_out"):
                    row["documents"] += 1
                    row["bytes"] += size_of(doc.text)
                    if len(groups) < 200:
                        groups[doc.group or doc.id] = None
                    yield doc

        write_documents(folder / f"{stem}.{part}.jsonl", chosen())
        result["groups"] = list(groups)
    return result


def _stages(kind: str, read: dict[str, int], tallies: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for the source and one for each filter: what came out of it, and what it did."""
    sizes = ("documents", "bytes", "words", *(["tokens"] if "tokens" in read else []))
    rows: list[dict[str, Any]] = [{"stage": "source", "kind": kind, **{name: read[name] for name in sizes}}]
    for tally in tallies:
        numbers = tally["numbers"]
        if tally["kind"] == "empty" and not numbers.get("dropped"):
            continue  # the check for empty texts is worth a line only where it found some
        row = {"stage": "filter", "kind": tally["kind"]}
        row |= {name: numbers.get(name, 0) for name in (*sizes, "dropped", "changed", "added")}
        rows.append({**row, "counts": dict(sorted(tally["counts"].items()))})
    return rows


def _reasons(tallies: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = [
        {"filter": tally["kind"], "reason": reason, **entry}
        for tally in tallies
        for reason, entry in tally["reasons"].items()
    ]
    return sorted(rows, key=lambda row: (-row["count"], row["filter"], row["reason"]))


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
