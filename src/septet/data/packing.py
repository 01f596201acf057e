"""Pack tokenised documents into rows of one length: best fit, no document mixed with another, nothing lost.

A sample is a pair of equally long sequences: input ids, and for each the label that follows it (-100 where none is to be
learned). A row is several samples one after the other; `positions` restarts at 0 where a sample begins, which is how the
model keeps them apart. A sample longer than the row is cut into pieces: every label is still learned once, the later pieces
without the text before the cut. Padding is at the end of a row, with label -100 and positions of its own.

What it is not: a mixer of corpora. Order is decided later, by `septet.data.batches`.

    python -m pytest tests/data/test_packing.py
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from septet.core.errors import DataError

__all__ = ["IGNORE", "PackReport", "Row", "Sample", "best_fit", "pack", "separator_of", "text_sample", "text_samples"]

IGNORE = -100


@dataclass(frozen=True, slots=True)
class Sample:
    """One document or conversation: `ids[i]` predicts `labels[i]`, or nothing where that is -100. int32, equally long."""

    ids: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, slots=True)
class Row:
    """One packed row: ids, labels and positions, int32 [T]; `used` positions hold text, the rest is padding."""

    ids: np.ndarray
    labels: np.ndarray
    positions: np.ndarray
    used: int


@dataclass(frozen=True, slots=True)
class PackReport:
    """What packing did. waste: the share of positions that are padding. cut: samples cut into `pieces` pieces in all."""

    samples: int
    rows: int
    positions: int
    targets: int
    waste: float
    cut: int
    pieces: int

    def facts(self) -> dict[str, float | int]:
        return asdict(self)


def text_sample(tokens: Sequence[int], *, separator: int) -> Sample:
    """Return the sample of a document: separator, tokens, separator, every token predicted from those before it."""
    line = np.concatenate([[separator], np.asarray(tokens, dtype=np.int32), [separator]]).astype(np.int32)
    return Sample(line[:-1], line[1:])


def separator_of(tokenizer: Any) -> int:
    """Return the token that stands between documents: the one that ends a text, or in BERT's tokenizers the separator."""
    found = tokenizer.eos_token_id
    if found is None:
        found = getattr(tokenizer, "sep_token_id", None)
    if found is None:
        raise DataError(
            "the tokenizer has no token that ends a text (eos) and none that separates texts (sep), one of which stands between "
            "documents; make one with `family: none` or a model's family."
        )
    return int(found)


def best_fit(sizes: Sequence[int], room: int) -> list[list[int]]:
    """Return the numbers of the pieces in each row: longest first, each into the fullest row that still has room.

    Best-fit decreasing (Johnson 1973; for language models Ding et al. 2024, arXiv:2404.10830) wastes little and is
    deterministic: equally long pieces keep their order. No size may be above `room`.
    """
    bins: list[list[int]] = []
    # rooms: (room left, bin), sorted; the first entry with enough room is the fullest row that fits
    rooms: list[tuple[int, int]] = []
    for number in sorted(range(len(sizes)), key=lambda number: -sizes[number]):
        size = sizes[number]
        place = bisect.bisect_left(rooms, (size, -1))
        if place == len(rooms):
            bins.append([number])
            left, which = room - size, len(bins) - 1
        else:
            left, which = rooms.pop(place)
            bins[which].append(number)
            left -= size
        if left:
            bisect.insort(rooms, (left, which))
    return bins


def pack(samples: Iterable[Sample], context: int, *, pad: int) -> tuple[list[Row], PackReport]:
    """Pack samples into rows of `context` positions by best fit, longest first."""
    pieces: list[Sample] = []
    count = cut = made = 0
    for sample in samples:
        assert len(sample.ids) == len(sample.labels), "ids and labels of a sample must be equally long"
        count += 1
        parts = [
            Sample(sample.ids[start : start + context], sample.labels[start : start + context])
            for start in range(0, len(sample.ids), context)
        ]
        if len(parts) > 1:
            cut, made = cut + 1, made + len(parts)
        pieces += parts

    bins = best_fit([len(piece.ids) for piece in pieces], context)
    rows = [_row([pieces[number] for number in bin_], context, pad) for bin_ in bins]
    used = sum(row.used for row in rows)
    positions = len(rows) * context
    targets = sum(int((row.labels != IGNORE).sum()) for row in rows)
    waste = 1 - used / positions if positions else 0.0
    return rows, PackReport(count, len(rows), positions, targets, round(waste, 6), cut, made)


def _row(samples: list[Sample], context: int, pad: int) -> Row:
    ids = np.full(context, pad, dtype=np.int32)
    labels = np.full(context, IGNORE, dtype=np.int32)
    positions = np.empty(context, dtype=np.int32)
    start = 0
    for sample in samples:
        end = start + len(sample.ids)
        ids[start:end], labels[start:end] = sample.ids, sample.labels
        positions[start:end] = np.arange(end - start)
        start = end
    positions[start:] = np.arange(context - start)
    return Row(ids, labels, positions, start)


def text_samples(texts: Iterable[str], tokenizer: Any) -> Iterator[Sample]:
    """Yield one sample a document. Text that looks like a special token stays text."""
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == 256:
            yield from _samples(batch, tokenizer)
            batch = []
    if batch:
        yield from _samples(batch, tokenizer)


def _samples(texts: list[str], tokenizer: Any) -> Iterator[Sample]:
    # long documents are cut later, so the tokenizer's warning about its longest sequence would mislead
    found = tokenizer(texts, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
    separator = separator_of(tokenizer)
    return (text_sample(tokens, separator=separator) for tokens in found)
