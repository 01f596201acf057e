"""The pipeline of a corpus: shards of documents go through phases of filters, in this process or in many.

A shard is one or several parts of the source. A phase is a chain of filters that judge documents one by one; a survey (a filter
that must see everything) ends one phase and begins the next. For each phase and shard there is one call of `filter_shard`, which
writes files below the state folder and, last, a JSON file of what it did; a call whose JSON file is there is not repeated,
so that an interrupted run goes on. The number of processes, and which of them did what, leave no trace in the bytes.

What it is not: a scheduler; `Runtime.map` runs the calls.

    python -m pytest tests/data/test_pipeline.py
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from septet.core.artifact import write_json
from septet.core.errors import DataError
from septet.core.step import Work
from septet.data.audit import Audit
from septet.data.documents import Document, document_of, document_row, json_line, write_documents, write_rows
from septet.data.filter import Filter
from septet.data.source import Part, Source
from septet.data.survey import (
    Survey,
    Verdicts,
    as_keys,
    hashed,
    key_table,
    smallest_stays,
    sorted_keys,
    twins,
)

__all__ = ["EXAMPLES", "Pipeline", "Tally", "join_files", "size_of"]

SHARD = 8 << 20
"""Bytes of the source in a shard: small enough that a lost one is soon repeated, and that all cores have work."""
PACKED = (".gz", ".zst", ".zstd", ".zip", ".parquet", ".arrow")
UNPACKS = 3
"""How much larger text usually is when it is unpacked."""
SHIFT = 40
"""Units are numbered shard * 2^SHIFT + unit in the shard."""
RANGE = 2_000_000
"""Keys that are sorted at a time while twins are sought."""
EXAMPLES = 5
"""Documents shown for each reason in the report."""
SHOWN = 240
"""Characters of such a document that are shown."""
NAMED = 1000
"""Records that could not be read are named up to this many for each shard, and counted beyond."""


def size_of(text: str) -> int:
    """Bytes of UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


class Sizes:
    """Bytes, words and perhaps tokens of the documents on their way through a chain of filters, counted once for each text."""

    def __init__(self, tokenizer: str | None = None) -> None:
        """tokenizer: the folder of the one that counts tokens; without it they are not counted."""
        self._known: dict[str, tuple[str, dict[str, int]]] = {}
        self._tokens = _counter(tokenizer) if tokenizer else None

    def of(self, doc: Document) -> dict[str, int]:
        """Return bytes, words and, with a tokenizer, tokens."""
        known = self._known.get(doc.id)
        if known is None or known[0] is not doc.text:
            found = {"bytes": size_of(doc.text), "words": len(doc.text.split())}
            if self._tokens is not None:
                found["tokens"] = self._tokens(doc.text)
            known = self._known[doc.id] = (doc.text, found)
        return known[1]

    def forget(self, doc: Document) -> None:
        self._known.pop(doc.id, None)


@cache
def _counter(folder: str) -> Callable[[str], int]:
    from septet.data.encode import Encoder  # 0.1 s, and a second to open one; only who counts tokens pays

    encoder = Encoder(folder)

    def count(text: str) -> int:
        if not text.isascii():
            text = text.encode("utf-8", "replace").decode("utf-8")  # text as read may hold lone surrogates
        return len(encoder.encode(text))

    return count


class Tally:
    """What a filter did to the documents of a shard; called with (document, reason) for each that it drops."""

    def __init__(self, kind: str, dropped: list[dict[str, Any]], sizes: Sizes) -> None:
        self.kind, self.dropped, self.sizes = kind, dropped, sizes
        self.numbers: Counter[str] = Counter()
        self.reasons: dict[str, dict[str, Any]] = {}
        self.counts: Counter[str] = Counter()
        self._flying: dict[str, str] = {}

    def __call__(self, doc: Document, reason: str) -> None:
        self._flying.pop(doc.id, None)
        self.sizes.forget(doc)
        self.numbers["dropped"] += 1
        general = _general(reason)
        entry = self.reasons.setdefault(general, {"count": 0, "examples": []})
        entry["count"] += 1
        if len(entry["examples"]) < EXAMPLES:
            entry["examples"].append({"name": doc.name or doc.id, "text": doc.text[:SHOWN]})
        self.dropped.append({"id": doc.id, "name": doc.name, "filter": self.kind, "reason": reason})

    def watch(
        self, docs: Iterable[Document], run: Callable[[Iterable[Document]], Iterator[Document]]
    ) -> Iterator[Document]:
        """Yield what `run` makes of the documents, and count what goes in, comes out, is changed and is added."""
        for doc in run(self._enter(docs)):
            before = self._flying.pop(doc.id, None)
            if before is None:
                self.numbers["added"] += 1
            elif before != doc.text:
                self.numbers["changed"] += 1
            self.numbers["documents"] += 1
            for name, count in self.sizes.of(doc).items():
                self.numbers[name] += count
            yield doc

    def _enter(self, docs: Iterable[Document]) -> Iterator[Document]:
        for doc in docs:
            self._flying[doc.id] = doc.text
            yield doc

    def content(self) -> dict[str, Any]:
        return {"numbers": dict(self.numbers), "reasons": self.reasons, "counts": dict(self.counts)}


def _general(reason: str) -> str:
    """The reason without the particular document it names."""
    for words in ("same text as ", "nearly the same text as "):
        if reason.startswith(words):
            return f"{words}another"
    return reason


def add_tally(total: dict[str, Any], part: Mapping[str, Any]) -> None:
    """Add a tally's content to a sum of them; examples of the earlier shards come first."""
    for name in ("numbers", "counts"):
        mine = total.setdefault(name, {})
        for key, value in part[name].items():
            mine[key] = mine.get(key, 0) + value
    for reason, entry in part["reasons"].items():
        mine = total.setdefault("reasons", {}).setdefault(reason, {"count": 0, "examples": []})
        mine["count"] += entry["count"]
        mine["examples"] = (mine["examples"] + entry["examples"])[:EXAMPLES]


# -- one shard in one phase: what a worker runs -----------------------------------------------------------------------------


def filter_shard(settings: dict[str, Any], shard: dict[str, Any]) -> dict[str, Any]:
    """Read a shard, let the phase's filters choose, and write what stays.

    settings: folder (the state's), phase, source, before (the survey that begins the phase, or null), filters, after (the survey
    that ends it, or null), folders (of referenced artifacts), tokenizer (the folder of one that counts, or null), keep_read,
    on_error. shard: number, parts.
    Writes, below `phase-N/`: SHARD.jsonl (what stays), SHARD.dropped.jsonl, SHARD.keys.npy and SHARD.ids.* for the next survey,
    and SHARD.json, which is also the result.
    """
    folder = Path(settings["folder"], f"phase-{settings['phase']}")
    stem = f"{shard['number']:06d}"
    done = folder / f"{stem}.json"
    if done.is_file():
        return json.loads(done.read_text(encoding="utf-8"))
    folders = {name: Path(path) for name, path in settings["folders"].items()}
    filters = [Filter.parse(dump) for dump in settings["filters"]]
    for one in filters:
        one.given(folders)
    dropped: list[dict[str, Any]] = []
    result: dict[str, Any] = {"shard": shard["number"]}
    sizes = Sizes(settings["tokenizer"])
    if settings["phase"] == 0:
        docs = _read_shard(settings, shard, folder, result, sizes)
    else:
        docs = _trusted(Path(settings["folder"], f"phase-{settings['phase'] - 1}", f"{stem}.jsonl"))
    tallies: list[Tally] = []
    if settings["before"] is not None:
        began = _survey(settings["before"], folders)
        tally = Tally(began.kind, dropped, sizes)
        tallies.append(tally)
        verdicts = _verdicts(Path(settings["folder"], f"phase-{settings['phase'] - 1}"))
        first = shard["number"] << SHIFT
        docs = tally.watch(docs, lambda taken, tally=tally: began.settle(taken, verdicts, tally, first))
    for one in filters:
        tally = Tally(one.kind, dropped, sizes)
        tallies.append(tally)
        docs = tally.watch(docs, lambda taken, one=one, tally=tally: one.apply(taken, tally))
    if settings["after"] is None:
        # nothing follows: what is left without text goes, and the rest is measured
        tally = Tally("empty", dropped, sizes)
        tallies.append(tally)
        docs = tally.watch(docs, lambda taken, tally=tally: _with_text(taken, tally))
        docs = _measured(docs, result, folder / f"{stem}.groups.jsonl", sizes)
        write_documents(folder / f"{stem}.jsonl", _leaving(docs, sizes))
    else:
        looked = _looked(docs, _survey(settings["after"], folders), folder / stem, shard["number"] << SHIFT)
        write_documents(folder / f"{stem}.jsonl", _leaving(looked, sizes))
    write_rows(folder / f"{stem}.dropped.jsonl", dropped)
    result["tallies"] = [tally.content() for tally in tallies]
    write_json(done, result)
    return result


def _survey(dump: dict[str, Any], folders: Mapping[str, Path]) -> Survey:
    survey = Filter.parse(dump)
    assert isinstance(survey, Survey)
    survey.given(folders)
    return survey


def _leaving(docs: Iterable[Document], sizes: Sizes) -> Iterator[Document]:
    for doc in docs:
        sizes.forget(doc)
        yield doc


def _read_shard(
    settings: dict[str, Any], shard: dict[str, Any], folder: Path, result: dict[str, Any], sizes: Sizes
) -> Iterator[Document]:
    """The documents of a shard as the source gives them, also written to SHARD.read.jsonl; ids are noted for the check."""
    source = Source.parse(settings["source"])
    result.update(bad=[], bad_count=0, read={"documents": 0, "public": 0, "bytes": 0, "words": 0})

    def bad(place: str, reason: str) -> None:
        if settings["on_error"] == "stop":
            raise DataError(f"{reason} (on_error is 'stop'; 'skip' would leave it out and go on).", file=place)
        result["bad_count"] += 1
        if len(result["bad"]) < NAMED:
            result["bad"].append({"file": place, "reason": reason})

    ids: list[bytes] = []
    read = Counter({"documents": 0, "public": 0, "bytes": 0, "words": 0})
    sources: Counter[str] = Counter()

    def docs() -> Iterator[Document]:
        for part in shard["parts"]:
            for doc in source.read(part, bad=bad):
                read.update(documents=1, public=doc.public, **sizes.of(doc))
                sources[doc.source] += 1
                ids.append(hashed(doc.id))
                yield doc

    stem = f"{shard['number']:06d}"
    if settings["keep_read"]:
        yield from _teed(docs(), folder / f"{stem}.read.jsonl")
    else:
        yield from docs()
    keys = key_table(as_keys(ids), np.arange(len(ids)), shard["number"] << SHIFT)
    _save(folder / f"{stem}.id-keys.npy", sorted_keys([keys]))
    result["read"] = dict(read)
    result["sources"] = dict(sources)


def _teed(docs: Iterable[Document], path: Path) -> Iterator[Document]:
    """Yield the documents and write each to a file on its way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "w", encoding="utf-8", newline="\n") as file:
            for doc in docs:
                file.write(json_line(document_row(doc)))
                yield doc
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _trusted(path: Path) -> Iterator[Document]:
    """Documents of a file that this pipeline wrote itself: no checks."""
    with open(path, encoding="utf-8") as file:
        for line in file:
            yield document_of(json.loads(line))


def _with_text(docs: Iterable[Document], tally: Tally) -> Iterator[Document]:
    for doc in docs:
        if doc.text.strip():
            yield doc
        else:
            tally(doc, "no text")


def _measured(docs: Iterable[Document], result: dict[str, Any], groups: Path, sizes: Sizes) -> Iterator[Document]:
    """Count lengths, languages, kinds and sources of what stays, and the bytes of each group."""
    lengths: Counter[int] = Counter()
    types: Counter[str] = Counter()
    table: dict[str, dict[str, Counter[str]]] = {"language": {}, "source": {}, "licence": {}}
    grouped: Counter[str] = Counter()
    for doc in docs:
        found = sizes.of(doc)
        lengths[found["words"].bit_length()] += 1
        types[str(doc.meta.get("type", ""))] += 1
        for name, rows in table.items():
            rows.setdefault(getattr(doc, name), Counter()).update(documents=1, **found)
        grouped[doc.group or doc.id] += found["bytes"]
        yield doc
    write_rows(groups, ({"group": group, "bytes": size} for group, size in grouped.items()))
    result.update(
        lengths={str(key): value for key, value in sorted(lengths.items())},
        types=dict(types),
        tables={name: {key: dict(value) for key, value in rows.items()} for name, rows in table.items()},
    )


def audit_shard(settings: dict[str, Any], shard: dict[str, Any]) -> dict[str, Any]:
    """Return what the audits of settings find in the documents of a file: kind -> tally."""
    done = Path(shard["file"]).with_suffix(".audits.json")
    if done.is_file():
        return json.loads(done.read_text(encoding="utf-8"))
    found = {}
    for dump in settings["audits"]:
        audit = Audit.parse(dump)
        audit.given({name: Path(path) for name, path in settings["folders"].items()})
        found[audit.kind] = audit.look(_trusted(Path(shard["file"])))
    write_json(done, found)
    return found


def _looked(docs: Iterable[Document], survey: Survey, stem: Path, first: int) -> Iterator[Document]:
    """Yield the documents and leave their keys and ids beside them."""
    parts = []
    ids = bytearray()
    ends: list[int] = []
    for batch, keys in survey.look(docs, first):
        parts.append(keys)
        for doc in batch:
            ids += doc.id.encode("utf-8", "surrogatepass")
            ends.append(len(ids))
        yield from batch
    _save(stem.with_suffix(".keys.npy"), sorted_keys(parts))
    _save(stem.with_suffix(".ids.npy"), np.frombuffer(bytes(ids), np.uint8))
    _save(stem.with_suffix(".ends.npy"), np.array([0, *ends], np.int64))


def _save(path: Path, array: np.ndarray) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            np.save(file, array)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _load(path: Path) -> np.ndarray:
    # an empty file cannot be mapped
    return np.load(path, mmap_mode="r" if path.stat().st_size > 200 else None, allow_pickle=False)


class _Names:
    """Ids of documents by their unit number, looked up in the files of a phase."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __call__(self, unit: int) -> str:
        shard, place = unit >> SHIFT, unit & ((1 << SHIFT) - 1)
        if shard not in self.files:
            stem = self.folder / f"{shard:06d}"
            self.files[shard] = _load(stem.with_suffix(".ids.npy")), _load(stem.with_suffix(".ends.npy"))
        ids, ends = self.files[shard]
        return bytes(ids[ends[place] : ends[place + 1]]).decode("utf-8", "surrogatepass")


def _verdicts(folder: Path) -> Verdicts:
    pairs = _load(folder / "verdicts.npy")
    return Verdicts(pairs[0], pairs[1], _Names(folder))


# -- all shards in all phases -----------------------------------------------------------------------------------------------


@dataclass
class Pipeline:
    """A source, the filters, and where the work is. `run` gives the sums over all shards."""

    source: Source
    filters: Sequence[Filter]
    work: Work
    audits: Sequence[Audit] = ()
    folders: Mapping[str, Path] = field(default_factory=dict)
    keep_read: bool = True
    on_error: str = "skip"
    tokenizer: Path | None = None
    done: Callable[[], None] = lambda: None
    """Called after each shard of each phase and audit."""

    def phases(self) -> list[tuple[Survey | None, list[Filter], Survey | None]]:
        """(the survey that begins it, filters, the survey that ends it) for each phase."""
        found: list[tuple[Survey | None, list[Filter]]] = [(None, [])]
        for one in self.filters:
            if isinstance(one, Survey):
                found.append((one, []))
            else:
                found[-1][1].append(one)
        ends = [survey for survey, _ in found[1:]] + [None]
        return [(before, filters, after) for (before, filters), after in zip(found, ends, strict=True)]

    @cached_property
    def shards(self) -> list[dict[str, Any]]:
        """Parts side by side until they hold SHARD bytes; a part of unknown size stands alone."""
        groups: list[list[Part]] = []
        size = SHARD
        for part in self.source.parts():
            own = part.size * (UNPACKS if part.name.endswith(PACKED) else 1)
            if size + own > SHARD or not own:
                groups.append([])
                size = 0
            groups[-1].append(part)
            size += own or SHARD
        return [{"number": number, "parts": [part.name for part in group]} for number, group in enumerate(groups)]

    @property
    def folder(self) -> Path:
        return self.work.state

    def last(self) -> Path:
        """The folder of the last phase: SHARD.jsonl is what stays."""
        return self.folder / f"phase-{len(self.phases()) - 1}"

    def run(self) -> dict[str, Any]:
        """Run every phase over every shard."""
        shards = self.shards
        self._begin_or_go_on(shards)
        total: dict[str, Any] = {"shards": len(shards), "stages": [], "bad": [], "bad_count": 0, "read": {}}
        phases = self.phases()
        for number, (before, filters, after) in enumerate(phases):
            kinds = [one.kind for one in (before, *filters) if one is not None] + (["empty"] if after is None else [])
            sums: list[dict[str, Any]] = [{"kind": kind, "numbers": {}, "counts": {}, "reasons": {}} for kind in kinds]
            settings = {
                "folder": str(self.folder),
                "phase": number,
                "source": self.source.dump(),
                "before": before.dump() if before else None,
                "filters": [one.dump() for one in filters],
                "after": after.dump() if after else None,
                "folders": {name: str(path) for name, path in self.folders.items()},
                "tokenizer": str(self.tokenizer) if self.tokenizer else None,
                "keep_read": self.keep_read or bool(self.audits),
                "on_error": self.on_error,
            }
            (self.folder / f"phase-{number}").mkdir(parents=True, exist_ok=True)
            for result in self.work.runtime.map(filter_shard, settings, shards):
                for tally, part in zip(sums, result["tallies"], strict=True):
                    add_tally(tally, part)
                self._add(total, result)
                self.done()
            total["stages"] += sums
            if number == 0:
                self._require_unique(len(shards))
            if after is not None:
                self._decide(after, number, len(shards))
            if number:
                for path in (self.folder / f"phase-{number - 1}").glob("*[0-9].jsonl"):
                    path.unlink()  # what the next phase has read is not needed again
        return total

    def _begin_or_go_on(self, shards: list[dict[str, Any]]) -> None:
        """Drop what was done with another cut of the source (by another version of this program): its numbers mean other parts."""
        path = self.folder / "shards.json"
        if path.is_file() and json.loads(path.read_text(encoding="utf-8")) == shards:
            return
        for phase in self.folder.glob("phase-*"):
            shutil.rmtree(phase)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(path, shards)

    def _add(self, total: dict[str, Any], result: dict[str, Any]) -> None:
        for row in result.get("bad", ()):
            if len(total["bad"]) < NAMED:
                total["bad"].append(row)
        total["bad_count"] += result.get("bad_count", 0)
        for name in ("read", "sources", "lengths", "types"):
            for key, value in result.get(name, {}).items():
                mine = total.setdefault(name, {})
                mine[key] = mine.get(key, 0) + value
        for name, rows in result.get("tables", {}).items():
            for key, values in rows.items():
                mine = total.setdefault("tables", {}).setdefault(name, {}).setdefault(key, {})
                for what, value in values.items():
                    mine[what] = mine.get(what, 0) + value

    def audit(self, files: Sequence[Path]) -> dict[str, Any]:
        """Return kind -> the tally of all files together."""
        settings = {
            "audits": [audit.dump() for audit in self.audits],
            "folders": {name: str(path) for name, path in self.folders.items()},
        }
        total: dict[str, Any] = {}
        for found in self.work.runtime.map(audit_shard, settings, [{"file": str(path)} for path in files]):
            for audit in self.audits:
                parts = [part[audit.kind] for part in (total, found) if audit.kind in part]
                total[audit.kind] = audit.merge(parts)
            self.done()
        return total

    def _require_unique(self, shards: int) -> None:
        parts = [_load(self.folder / "phase-0" / f"{number:06d}.id-keys.npy") for number in range(shards)]
        for low, high in _ranges(sum(part.shape[1] for part in parts)):
            pairs = twins(parts, low, high)
            if pairs.size:
                name = self._id_of(int(pairs[0, 0]))
                raise DataError(
                    f"The source gives {pairs.shape[1]} ids more than once, such as {name!r}; ids must be unique. "
                    "Name another id_field, or none: then file and row make the id."
                )

    def _id_of(self, unit: int) -> str:
        """The id of a document of the source, found by reading its shard again: only for a message."""
        shard = self.shards[unit >> SHIFT]
        place = unit & ((1 << SHIFT) - 1)
        docs = (doc for part in shard["parts"] for doc in self.source.read(part, bad=lambda place, reason: None))
        return next(doc.id for number, doc in enumerate(docs) if number == place)

    def _decide(self, survey: Survey, number: int, shards: int) -> None:
        """Find the twins among the keys of a phase and write which unit stays for which: verdicts.npy."""
        folder = self.folder / f"phase-{number}"
        if (folder / "verdicts.npy").is_file():
            return
        parts = [_load(folder / f"{shard:06d}.keys.npy") for shard in range(shards)]
        found = [twins(parts, low, high) for low, high in _ranges(sum(part.shape[1] for part in parts))]
        pairs = np.concatenate(found, axis=1)
        if survey.pieces:
            # a piece has one key, so that each stands in one range
            pairs = pairs[:, np.argsort(pairs[0], kind="stable")]
        else:
            pairs = smallest_stays(pairs, _Names(folder))
        _save(folder / "verdicts.npy", pairs)
        for shard in range(shards):
            (folder / f"{shard:06d}.keys.npy").unlink()


def _ranges(keys: int) -> list[tuple[int, int]]:
    """Cut the key space so that each range holds about RANGE of so many keys."""
    parts = max(1, -(-keys // RANGE))
    step = 2**64 // parts
    return [(place * step, 2**64 if place == parts - 1 else (place + 1) * step) for place in range(parts)]


def join_files(out: Path, parts: Iterable[Path]) -> None:
    """Write the files one after the other to `out`, atomically."""
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            for part in parts:
                with open(part, "rb") as read:
                    shutil.copyfileobj(read, file, 1 << 20)
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)
