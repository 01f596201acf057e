"""Texts as a head reads them: with their special tokens, one or two segments, and padded to a batch.

[CLS] text [SEP] for an encoder, and for a pair [CLS] text [SEP] other [SEP] (with </s></s> between the two for RoBERTa); text [SEP]
[CLS] for XLNet, whose head reads the last position (its batches are padded on the left); text and the token that ends a text for a
decoder and an encoder-decoder, the same token between two texts.

What it is not: for generation; conversations are `septet.infer.chat`.

    python -m pytest tests/train/test_classification.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from septet.data.packing import IGNORE

if TYPE_CHECKING:
    import torch

    from septet.nn.model import Model

__all__ = ["Encoded", "Pair", "collate", "dressed", "frame", "labels_at"]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A text with its special tokens. ids: int64 [T]. types: int64 [T], the segment of each token, where the model tells two
    apart. target: what the objective learns: a number, a vector, or int64 [T] with -100 where nothing is learned."""

    ids: np.ndarray
    target: Any = None
    types: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Pair:
    """A text and what an encoder-decoder shall write of it, with their special tokens: int64 [T] and [T']."""

    source: np.ndarray
    target: np.ndarray


def frame(tokenizer: Any, architecture: str, *, pair: bool = False) -> tuple[list[int], list[int], list[int]]:
    """Return the special tokens before a text, between two, and after."""

    def token(role: str) -> list[int]:
        found = getattr(tokenizer, f"{role}_token_id")
        return [] if found is None else [int(found)]

    if architecture == "encoder":
        # RoBERTa's separator is its end of text, and stands twice between two texts
        between = token("sep") * (2 if token("sep") == token("eos") else 1)
        return token("cls"), between if pair else [], token("sep")
    if architecture == "permuted":
        return [], token("sep") if pair else [], token("sep") + token("cls")
    return [], token("eos") if pair else [], token("eos")


def dressed(
    ids: Sequence[int],
    tokenizer: Any,
    architecture: str,
    *,
    most: int,
    other: Sequence[int] | None = None,
    segments: bool = False,
) -> Encoded:
    """Return a text, or a pair, with the special tokens of the architecture, at most `most` tokens in all.

    What is too long is cut at its end, of two texts the longer one first. segments: number the tokens of the second text 1.
    """
    before, between, after = frame(tokenizer, architecture, pair=other is not None)
    room = most - len(before) - len(between) - len(after)
    first, second = list(ids), list(other or ())
    over = len(first) + len(second) - max(0, room)
    if over > 0:
        # as "longest first" does: the longer one is shortened to the other's length, then both in turn
        spare = min(over, abs(len(first) - len(second)))
        longer = first if len(first) >= len(second) else second
        del longer[len(longer) - spare :]
        rest = over - spare
        del first[len(first) - (rest + 1) // 2 : len(first)]
        del second[len(second) - rest // 2 : len(second)]
    found = np.array([*before, *first, *between, *second, *after], dtype=np.int64)
    types = None
    if segments:
        types = np.zeros(len(found), dtype=np.int64)
        if other is not None:
            types[len(before) + len(first) + len(between) :] = 1
    return Encoded(found, types=types)


def collate(rows: Sequence[Encoded], model_or_tokenizer: Any, *, left: bool = False) -> dict[str, torch.Tensor]:
    """Return input_ids, attention_mask and, where rows have them, token_type_ids, int64 [B, T]; padded on the right, or left."""
    import torch  # a recipe with an objective in it is parsed without

    pad = model_or_tokenizer.pad_token_id
    assert pad is not None, "septet.nn.heads gives a tokenizer without padding one"
    length = max(len(row) for row in rows)
    found = {"input_ids": np.full((len(rows), length), pad, dtype=np.int64)}
    found["attention_mask"] = np.zeros((len(rows), length), dtype=np.int64)
    if rows[0].types is not None:
        found["token_type_ids"] = np.zeros((len(rows), length), dtype=np.int64)
    for place, row in enumerate(rows):
        at = place_of(row, length, left)
        found["input_ids"][place, at], found["attention_mask"][place, at] = row.ids, 1
        if row.types is not None:
            found["token_type_ids"][place, at] = row.types
    return {name: torch.from_numpy(values) for name, values in found.items()}


def labels_at(rows: Sequence[Encoded], *, left: bool = False) -> torch.Tensor:
    """Return the targets of tokens, int64 [B, T], -100 on padding."""
    import torch

    length = max(len(row) for row in rows)
    found = np.full((len(rows), length), IGNORE, dtype=np.int64)
    for place, row in enumerate(rows):
        found[place, place_of(row, length, left)] = row.target
    return torch.from_numpy(found)


def place_of(row: Encoded, length: int, left: bool) -> slice:
    """Return where a row's tokens are in a batch of this length."""
    return slice(length - len(row), length) if left else slice(0, len(row))


def has_segments(model: Model) -> bool:
    """Whether the model tells the tokens of two texts apart (BERT does, RoBERTa has but one kind)."""
    return model.architecture == "encoder" and int(getattr(model.config, "type_vocab_size", 0) or 0) > 1
