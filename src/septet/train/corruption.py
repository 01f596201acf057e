"""Damage a text and lay it out for an encoder-decoder: what the objectives of T5 and BART share.

What it is not: an objective; those are in `septet.train.objectives`.

    python -m pytest tests/train/test_corruption.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from septet.data.layout import Places, lay
from septet.data.packing import IGNORE
from septet.data.surface import special
from septet.train.objective import Batch

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["decoder_start", "parts", "seq2seq_batch", "span_mask"]


def parts(total: int, count: int, rng: Generator) -> np.ndarray:
    """Return `count` lengths of at least 1 that add up to `total`, every such split as likely as any other; int64 [count]."""
    assert 1 <= count <= total, f"{total} cannot be split into {count} parts of at least one"
    cuts = np.sort(rng.permutation(total - 1)[: count - 1]) + 1
    return np.diff(np.concatenate([[0], cuts, [total]]))


def span_mask(length: int, density: float, mean_length: float, rng: Generator) -> np.ndarray:
    """Return the number of the span that each token of a text belongs to, -1 for those that stay: int64 [length].

    The tokens to cut are round(length x density), at least one and not all; the spans round(tokens / mean_length), at least one.
    Text and spans alternate, the text first, with lengths drawn uniformly (Raffel et al. 2020, https://arxiv.org/abs/1910.10683,
    section 3.1.4, as in its code). A text of one token is one span.
    """
    if length == 1:
        return np.zeros(1, np.int64)
    cut = min(max(round(length * density), 1), length - 1)
    count = min(max(round(cut / mean_length), 1), cut, length - cut)
    lengths = np.stack([parts(length - cut, count, rng), parts(cut, count, rng)], axis=1).ravel()
    numbers = np.stack([np.full(count, -1), np.arange(count)], axis=1).ravel()
    return np.repeat(numbers, lengths)


def decoder_start(tokenizer: Any) -> int:
    """Return the token with which a decoder begins: T5's, which has no token that begins a text, is the padding; BART's the end."""
    role = "pad" if tokenizer.bos_token_id is None else "eos"
    return int(getattr(tokenizer, f"{role}_token_id"))


def seq2seq_batch(
    sources: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    room: int | None,
    tokenizer: Any,
    *,
    objective: str,
    start: int | None = None,
) -> Batch:
    """Lay pairs of sequences out in rows of `room` tokens: a pair has the same row, and the same number in it, on both sides.

    room None: a row for each pair, without position ids; an architecture that numbers positions in its own way can read it.
    Each decoder reads its start token (none: the one of T5's and BART's tokenizers) and the target without its last token, and
    learns the target.
    """
    import torch  # 1.5 s, and a recipe with an objective in it is parsed without

    pad = special(tokenizer, "pad", families="t5 or bart", objective=objective)
    start = decoder_start(tokenizer) if start is None else start
    sizes = [max(len(source), len(target)) for source, target in zip(sources, targets, strict=True)]
    places = Places(np.arange(len(sizes)), np.ones_like(sizes), len(sizes)) if room is None else lay(sizes, room)
    ids, positions, documents = places.fill(sources, empty=pad)
    read, read_positions, read_documents = places.fill(
        [np.concatenate([[start], target[:-1]]) for target in targets], empty=pad
    )
    labels = torch.from_numpy(places.fill(targets, empty=IGNORE)[0])
    arrays = {
        "input_ids": ids,
        "documents": documents,
        "decoder_input_ids": read,
        "decoder_documents": read_documents,
    }
    if room is not None:
        arrays |= {"position_ids": positions, "decoder_position_ids": read_positions}
    return Batch(
        inputs={name: torch.from_numpy(array) for name, array in arrays.items()},
        labels=labels,
        weights={"nll": float((labels != IGNORE).sum())},
        tokens=sum(len(source) + len(target) for source, target in zip(sources, targets, strict=True)),
    )
