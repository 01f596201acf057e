"""Packed rows on disk: token files that are mapped into memory, with a way back from every token to its document.

    index.json              sources, shards, sizes, the type of the tokens, SHA-256 of every file
    train/NNNNN.tokens.npy  uint16 or uint32 [rows, context]: documents one after the other, padding at the end of a row
    train/NNNNN.spans.npy   int64 [6, spans]: row, start in the row, length, document, offset in the document's tokens, next token
    train/NNNNN.docs.npy    int64 [documents]: where each document's line begins in the corpus's train.jsonl, in bytes
    held_out/...            the same

A span is a document, or a piece of a long one, in a row; documents in a row do not see each other (positions restart at each span).
"Next token" is what follows a span's last token in the document: the label of its last position.

What it is not: an order. `septet.data.mixture` says which row comes when.

    septet pack --corpus text --tokenizer vocab --context 512
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from septet.core.artifact import Artifact
from septet.core.errors import DataError
from septet.data.documents import Document, document_of
from septet.data.mixture import Mixture, Order, Sizes
from septet.data.packing import IGNORE, PackReport, Row, best_fit

__all__ = ["Mixed", "Packed", "Ready", "Span", "Writer", "document_at"]

INDEX = "index.json"
ROW, START, LENGTH, DOCUMENT, OFFSET, NEXT = range(6)


def token_type(vocabulary: int) -> np.dtype[Any]:
    """uint16 where every id fits, else uint32."""
    return np.dtype(np.uint16 if vocabulary <= 1 << 16 else np.uint32)


class Writer:
    """Packs the documents of one shard, all of one source, and writes its three files."""

    def __init__(self, *, context: int, separator: int, pad: int, vocabulary: int) -> None:
        self.context, self.separator, self.pad = context, separator, pad
        self.type = token_type(vocabulary)
        self.lines: list[np.ndarray] = []
        self.places: list[int] = []
        self.repeats: list[int] = []

    def add(self, tokens: np.ndarray, place: int, times: int = 1) -> None:
        """Add a document's tokens [T]; place: the byte at which its line begins; times: how often it is packed."""
        line = np.empty(len(tokens) + 2, self.type)
        line[0] = line[-1] = self.separator
        line[1:-1] = tokens
        self.lines.append(line)
        self.places.append(place)
        self.repeats.append(times)

    def write(self, stem: Path) -> dict[str, Any]:
        """Write STEM.tokens.npy, STEM.spans.npy and STEM.docs.npy; return sizes and hashes."""
        context = self.context
        pieces: list[
            tuple[int, int, int]
        ] = []  # (document, offset, length): every token of the line but the last is an input
        for number, (line, times) in enumerate(zip(self.lines, self.repeats, strict=True)):
            cut = [
                (number, offset, min(context, len(line) - 1 - offset)) for offset in range(0, len(line) - 1, context)
            ]
            pieces += cut * times
        bins = best_fit([length for _, _, length in pieces], context)
        tokens = np.full((len(bins), context), self.pad, self.type)
        spans = np.empty((6, len(pieces)), np.int64)
        place = 0
        for row, bin_ in enumerate(bins):
            start = 0
            for piece in bin_:
                number, offset, length = pieces[piece]
                line = self.lines[number]
                tokens[row, start : start + length] = line[offset : offset + length]
                spans[:, place] = row, start, length, number, offset, line[offset + length]
                start += length
                place += 1
        files = {"tokens": tokens, "spans": spans, "docs": np.array(self.places, np.int64)}
        learned = int(spans[LENGTH].sum())
        return {
            "rows": len(bins),
            "tokens": learned,
            "documents": len(self.lines),
            "cut": sum(len(line) - 1 > context for line in self.lines),
            "pieces": len(pieces),
            "sha256": {name: _save(stem.with_name(f"{stem.name}.{name}.npy"), array) for name, array in files.items()},
        }


def _save(path: Path, array: np.ndarray) -> str:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            np.save(file, array)
        with open(partial, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return digest


@dataclass(frozen=True, slots=True)
class Span:
    """Where a stretch of a row comes from. start, length: in the row; offset: of its first token in the document's tokens, the
    separator before the document being number 0; place: the byte in the corpus's file at which the document's line begins."""

    start: int
    length: int
    offset: int
    place: int


class Packed:
    """One side ("train", "held_out") of a packed artifact, opened: rows by source and number."""

    def __init__(self, folder: Path, part: str = "train") -> None:
        """Errors: DataError where files are missing, or of another size than the index says."""
        self.folder, self.part = folder, part
        try:
            self.index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError(
                f"there is no {INDEX}; a folder made by the step 'pack' is expected.", file=folder
            ) from None
        self.context = int(self.index["context"])
        self.shards: dict[str, list[dict[str, Any]]] = self.index["parts"][part]
        self.names = tuple(sorted(self.shards))
        self._starts = {
            name: np.concatenate([[0], np.cumsum([shard["rows"] for shard in shards])])
            for name, shards in self.shards.items()
        }
        self._open: dict[tuple[str, str], np.ndarray] = {}

    def sizes(self) -> dict[str, Sizes]:
        """Rows, tokens and documents of each source."""
        return {
            name: Sizes(*(sum(shard[what] for shard in shards) for what in ("rows", "tokens", "documents")))
            for name, shards in self.shards.items()
        }

    def __len__(self) -> int:
        return sum(size.rows for size in self.sizes().values())

    def row(self, source: str, number: int) -> Row:
        """Return a row: ids, labels and positions, int32 [context]."""
        shard, place = self._find(source, number)
        tokens = self._array(shard, "tokens")[place].astype(np.int32)
        labels = np.full(self.context, IGNORE, np.int32)
        positions = np.empty(self.context, np.int32)
        used = 0
        for _, start, length, _, _, following in self._spans(shard, place).T:
            end = start + length
            labels[start : end - 1] = tokens[start + 1 : end]
            labels[end - 1] = following
            positions[start:end] = np.arange(length)
            used = int(end)
        positions[used:] = np.arange(self.context - used)
        return Row(tokens, labels, positions, used)

    def rows(self) -> Iterator[Row]:
        """Every row of every source, in the order of the files."""
        for name in self.names:
            for number in range(int(self._starts[name][-1])):
                yield self.row(name, number)

    def origin(self, source: str, number: int) -> list[Span]:
        """Return where the stretches of a row come from, in the order of the row."""
        shard, place = self._find(source, number)
        docs = self._array(shard, "docs")
        return [
            Span(int(start), int(length), int(offset), int(docs[document]))
            for _, start, length, document, offset, _ in self._spans(shard, place).T
        ]

    def report(self) -> PackReport:
        """What packing did, over all sources."""
        total = {
            what: sum(int(shard[what]) for shards in self.shards.values() for shard in shards)
            for what in ("documents", "rows", "tokens", "cut", "pieces")
        }
        positions = total["rows"] * self.context
        waste = round(1 - total["tokens"] / positions, 6) if positions else 0.0
        return PackReport(
            total["documents"], total["rows"], positions, total["tokens"], waste, total["cut"], total["pieces"]
        )

    def verify(self) -> list[str]:
        """Return the names of the files whose bytes are not those that were written."""
        wrong = []
        for shards in self.shards.values():
            for shard in shards:
                for what, expected in shard["sha256"].items():
                    path = self._path(shard["stem"], what)
                    with open(path, "rb") as file:
                        if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                            wrong.append(f"{self.part}/{path.name}")
        return wrong

    def _find(self, source: str, number: int) -> tuple[str, int]:
        starts = self._starts[source]
        assert 0 <= number < starts[-1], f"{source} has {starts[-1]} rows, not {number}"
        place = int(np.searchsorted(starts, number, side="right")) - 1
        return self.shards[source][place]["stem"], number - int(starts[place])

    def _spans(self, stem: str, row: int) -> np.ndarray:
        spans = self._array(stem, "spans")
        low, high = np.searchsorted(spans[ROW], [row, row + 1])
        return spans[:, low:high]

    def _path(self, stem: str, what: str) -> Path:
        return self.folder / self.part / f"{stem}.{what}.npy"

    def _array(self, stem: str, what: str) -> np.ndarray:
        key = (stem, what)
        if key not in self._open:
            path = self._path(stem, what)
            try:
                self._open[key] = np.load(path, mmap_mode="r", allow_pickle=False)
            except (FileNotFoundError, ValueError, EOFError) as error:
                raise DataError(f"the packed file cannot be read ({error}); make it again.", file=path) from None
        return self._open[key]


def document_at(corpus: Path, part: str, place: int) -> Document:
    """Return the document whose line begins at this byte of a corpus's train.jsonl or held_out.jsonl."""
    with open(corpus / f"{part}.jsonl", "rb") as file:
        file.seek(place)
        return document_of(json.loads(file.readline()))


class Mixed:
    """Batches of packed rows in a mixture's order: what the training loop reads. `state()` is JSON; `restore` takes it back."""

    def __init__(self, packed: Packed, order: Order, size: int) -> None:
        assert size > 0, "a batch has at least one row"
        self.packed, self.order, self.size, self.place = packed, order, size, 0

    def next(self) -> list[Row]:
        """Return the next `size` rows."""
        sources, numbers = self.order.at(self.place, self.place + self.size)
        self.place += self.size
        names = self.order.names
        return [self.packed.row(names[source], int(number)) for source, number in zip(sources, numbers, strict=True)]

    def state(self) -> dict[str, Any]:
        return {"place": self.place}

    def restore(self, state: dict[str, Any]) -> None:
        self.place = int(state["place"])


@dataclass(frozen=True)
class Ready:
    """A packed artifact as training takes it: both sides, and the order of its mixture."""

    packed: Packed
    held_out: Packed
    order: Order

    @classmethod
    def open(cls, artifact: Artifact) -> Ready:
        packed = Packed(artifact.path)
        mixture = Mixture.model_validate(artifact.step["mixture"])
        return cls(packed, Packed(artifact.path, "held_out"), mixture.order(packed.sizes()))

    def batches(self, size: int, *, turn: int = 0) -> Mixed:
        """Batches of `size` rows, from the first place of the mixture on; another `turn` gives another order."""
        return Mixed(self.packed, replace(self.order, seed=self.order.seed + turn), size)
