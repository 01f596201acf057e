"""An artifact: a folder of bytes with a manifest beside them, and the id that its making determines.

The id is the SHA-256 of the step's identity (fields, versions, fingerprints) with references replaced by the ids they stand
for; so the lineage is in the ids, and equal ids mean equal making. The git commit, library versions and times are facts,
kept in the manifest and not in the id.

What it is not: a cache keyed by file names or times.

    septet show ask-python/text
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

__all__ = ["MANIFEST", "Artifact", "Fact", "digest_folder", "make_id", "write_json"]

Fact = Any
"""A JSON value: a number, a text, a list or a mapping of them."""

MANIFEST = "manifest.json"
VOLATILE = frozenset({MANIFEST, "events.jsonl"})
"""Files that hold times; they stay out of the digest, so that two equal makings have equal digests."""


def make_id(identity: Mapping[str, Any]) -> str:
    """Return the artifact id for an identity: the first 32 hexadecimal digits of the SHA-256 of its canonical JSON."""
    text = json.dumps(identity, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Artifact:
    """One finished artifact.

    id: 32 hexadecimal digits. kind: one of `septet.core.step.KINDS`. inputs: role -> id. step: the dump that made it, which can
    be run again. facts: what was measured. path: its folder (not in the manifest).
    """

    id: str
    kind: str
    inputs: dict[str, str]
    step: dict[str, Any]
    facts: dict[str, Fact] = field(default_factory=dict)
    path: Path = Path()

    @property
    def short(self) -> str:
        """The id's first 12 digits, enough to name it on a screen."""
        return self.id[:12]

    def manifest(self) -> dict[str, Any]:
        content = asdict(self)
        del content["path"]
        return content

    @classmethod
    def load(cls, folder: Path) -> Artifact:
        """Read the manifest of a folder; raises FileNotFoundError where there is none (the artifact is not finished)."""
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return cls(**content, path=folder)

    def with_facts(self, **facts: Fact) -> Artifact:
        return replace(self, facts={**self.facts, **facts})


def _files(folder: Path) -> Iterator[Path]:
    return (p for p in sorted(folder.rglob("*")) if p.is_file())


def digest_folder(folder: Path) -> dict[str, str]:
    """Return relative name -> SHA-256 for every file of a folder but its manifest and its log of events."""
    found = {}
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        if name not in VOLATILE:
            with path.open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that a reader, or a kill, never sees half of it: a temporary file, fsync, then a rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
