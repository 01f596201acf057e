"""audit: looks at a corpus before and after its filters, and tells what changed.

Reads `documents.jsonl` (before: as the source gave it) and `train.jsonl` with `held_out.jsonl` (after: what the filters left) of a
corpus; writes `audits.json`, {kind: {"before": report, "after": report}}, and `audits.html`, the same for people. The two overlap,
so that the intervals of a change are on the safe side: wider than they had to be. It changes no corpus; filters do.

    septet audit --corpus text
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from septet.core.artifact import Artifact, Fact, write_json
from septet.core.component import CorpusRef
from septet.core.errors import DataError
from septet.core.step import Step, Work
from septet.data.audit import Audit as Kind
from septet.data.audits.identity import Identity
from septet.data.documents import Document

__all__ = ["Audit"]

PIECE = 8_000_000  # bytes that are looked at by one process at a time; the figures do not depend on it
SIDES = {"before": ("documents.jsonl",), "after": ("train.jsonl", "held_out.jsonl")}


class Audit(Step):
    """Look at a corpus as a whole: of whom it speaks, and how."""

    produces: ClassVar[str] = "report"

    corpus: CorpusRef
    """The corpus to look at."""
    audits: tuple[Kind, ...] = Field(default_factory=lambda: (Identity(),), min_length=1)
    """What to look at; each kind once."""

    def run(self, work: Work, **inputs: Artifact) -> dict[str, Fact]:
        """Errors: DataError where the corpus holds no documents, or a kind is given twice."""
        from septet.ops.report.audits import page  # an upper layer's page, needed at the end only

        kinds = [one.kind for one in self.audits]
        if len(set(kinds)) < len(kinds):
            raise DataError(f"Each kind of audit can be given once; got {', '.join(kinds)}.")
        folder = inputs["corpus"].path
        shards = [
            {"side": side, "path": str(folder / name), "start": start, "end": end}
            for side, names in SIDES.items()
            for name in names
            if (folder / name).is_file()
            for start, end in _pieces(folder / name)
        ]
        missing = [side for side in SIDES if not any(shard["side"] == side for shard in shards)]
        if missing:
            raise DataError(
                f"The corpus has no documents {missing[0]} its filters; at least one is expected.", file=folder
            )
        work.state.mkdir(parents=True, exist_ok=True)
        for number, shard in enumerate(shards):
            shard["out"] = str(work.state / f"tally-{number}.json")
        todo = [shard for shard in shards if not Path(shard["out"]).exists()]
        settings = {
            "audits": [one.dump() for one in self.audits],
            "folders": {ref: str(inputs[role].path) for role, ref in self.refs().items() if role in inputs},
        }
        for done, _ in enumerate(work.runtime.map(look, settings, todo), start=len(shards) - len(todo) + 1):
            work.progress(done, len(shards), unit="pieces")
        content: dict[str, Any] = {}
        for place, one in enumerate(self.audits):
            report = None
            for side in SIDES:
                tallies = (_load(shard["out"])[place] for shard in shards if shard["side"] == side)
                report = one.report(one.merge(tallies), report)
                content.setdefault(one.kind, {})[side] = report
        write_json(work.out / "audits.json", content)
        (work.out / "audits.html").write_text(page(content), encoding="utf-8")
        facts = {f"{kind}_{side}": _size(content[kind][side]) for kind in content for side in SIDES}
        return {"audits": kinds, "pieces": len(shards), **facts}


def look(settings: dict[str, Any], shard: dict[str, Any]) -> dict[str, Any]:
    """A stage: the tallies of one piece of a file, one for each audit, as a file of JSON."""
    folders = {ref: Path(folder) for ref, folder in settings["folders"].items()}
    tallies = []
    for spec in settings["audits"]:
        one = Kind.parse(spec)
        one.given(folders)
        tallies.append(one.look(_documents(Path(shard["path"]), shard["start"], shard["end"])))
    write_json(Path(shard["out"]), tallies)
    return {"out": shard["out"]}


def _pieces(path: Path) -> Iterator[tuple[int, int]]:
    size = path.stat().st_size
    return ((start, min(start + PIECE, size)) for start in range(0, size, PIECE))


def _documents(path: Path, start: int, end: int) -> Iterator[Document]:
    """The documents whose lines begin in [start, end) of a file that a corpus step wrote."""
    with path.open("rb") as file:
        if start:
            file.seek(start - 1)
            file.readline()  # the end of the line before
        while file.tell() < end and (line := file.readline()):
            row = json.loads(line)
            yield Document(**{**row, "aliases": tuple(row.get("aliases", ()))})


def _load(path: str) -> list[dict[str, Any]]:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def _size(report: dict[str, Any]) -> dict[str, Any]:
    return {key: report[key] for key in ("documents", "words") if key in report}
