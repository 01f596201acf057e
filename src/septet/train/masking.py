"""Hide tokens of a text and lay texts out for an encoder: what the objectives of BERT's kind share.

Source: Devlin et al. 2019 (https://arxiv.org/abs/1810.04805), section 3.1 and appendix A.1; whole words as in their later release;
spans as in SpanBERT (Joshi et al. 2020, https://arxiv.org/abs/1907.10529, section 3.1).

What it is not: an objective; those are in `septet.train.objectives`.

    python -m pytest tests/train/test_masked_lm.py
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from septet.data.layout import lay
from septet.data.packing import IGNORE
from septet.data.surface import Surface
from septet.train.objective import Figure

if TYPE_CHECKING:
    import torch
    from numpy.random import Generator

    from septet.nn.model import Model
    from septet.train.runtime import Settled

__all__ = ["Unit", "choose", "encoder_inputs", "hide", "pseudo_likelihood", "static_generator"]

Unit = Literal["token", "word", "span"]
SPAN_P, SPAN_MOST = 0.2, 10
PSEUDO_TOKENS = 2000


def static_generator(ids: np.ndarray, seed: int) -> Generator:
    """Return a generator that depends on the text alone, so that its masks are the same in every epoch."""
    return np.random.default_rng([seed, zlib.crc32(np.ascontiguousarray(ids, np.int32).tobytes())])


def choose(ids: np.ndarray, share: float, unit: Unit, surface: Surface, rng: Generator) -> np.ndarray:
    """Return the number of the group in which each token is hidden, -1 where it stays: int64 [T].

    round(share x T) tokens are hidden, at least one: `token` draws them one by one; `word` and `span` draw whole words, or spans of
    1 to 10 words (geometric, p = 0.2), and leave out what would exceed the number, so that they hide somewhat fewer; a first word
    that is longer than that is hidden all the same. Tokens of one span have one group number; others have one each.
    """
    size = len(ids)
    budget = max(1, round(share * size))
    groups = np.full(size, -1)
    if unit == "token":
        chosen = rng.permutation(size)[:budget]
        groups[chosen] = np.arange(len(chosen))
        return groups
    words = surface.words(ids)
    lengths = np.bincount(words)
    if unit == "word":
        order = rng.permutation(len(lengths))
        taken = _within(lengths[order], budget)
        hidden = np.isin(words, order[taken])
        groups[hidden] = np.arange(int(hidden.sum()))
        return groups
    starts = np.concatenate([[0], lengths.cumsum()])
    number = used = 0
    # a text that is nearly full of spans seldom has room for one more: after so many misses in a row it is full
    misses = 0
    while used < budget and misses < 20:
        length = min(int(rng.geometric(SPAN_P)), SPAN_MOST)
        first = int(rng.integers(len(lengths)))
        begin, end = starts[first], starts[min(first + length, len(lengths))]
        if (groups[begin:end] >= 0).any() or (used and used + end - begin > budget):
            misses += 1
            continue
        groups[begin:end] = number
        number, used, misses = number + 1, used + int(end - begin), 0
    return groups


def _within(sizes: np.ndarray, budget: int) -> np.ndarray:
    """Return which of the sizes, taken in order, fit in the budget: one that does not is passed over; the first is always taken."""
    taken, left = np.zeros(len(sizes), bool), budget
    for place, size in enumerate(sizes):
        if size <= left or place == 0:
            taken[place] = True
            left -= size
        if left <= 0:
            break
    return taken


def hide(
    ids: np.ndarray,
    groups: np.ndarray,
    replaced: tuple[float, float, float],
    *,
    mask: int,
    surface: Surface,
    rng: Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return (ids with tokens hidden, labels): each group becomes the mask, random tokens, or stays, with these probabilities."""
    chosen = groups >= 0
    how = rng.random(int(groups.max(initial=-1)) + 1)
    drawn = how[np.maximum(groups, 0)] if len(how) else np.zeros(len(ids))
    random = surface.ordinary[rng.integers(0, len(surface.ordinary), len(ids))]
    hidden = np.where(chosen & (drawn < replaced[0]), mask, ids)
    hidden = np.where(chosen & (drawn >= replaced[0]) & (drawn < replaced[0] + replaced[1]), random, hidden)
    return hidden, np.where(chosen, ids, IGNORE)


def encoder_inputs(
    sequences: Sequence[np.ndarray], room: int, *, pad: int, more: Sequence[tuple[Sequence[np.ndarray], int]] = ()
) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
    """Lay sequences out in rows of `room`; return the inputs [B, T], and each of `more` (sequences, filling) laid out alike."""
    import torch  # 1.5 s, and a recipe with an objective in it is parsed without

    places = lay([len(sequence) for sequence in sequences], room)
    ids, positions, documents = places.fill(sequences, empty=pad)
    inputs = {"input_ids": ids, "position_ids": positions, "documents": documents}
    return (
        {name: torch.from_numpy(value) for name, value in inputs.items()},
        [torch.from_numpy(places.fill(values, empty=empty)[0]) for values, empty in more],
    )


def pseudo_likelihood(model: Model, texts: Sequence[np.ndarray], *, mask: int, settled: Settled) -> Figure:
    """Return the pseudo-log-likelihood of texts: the sum of -log p(token | all others), each token masked in turn.

    Salazar et al. 2020 (https://arxiv.org/abs/1910.14659), equation 1. It takes a pass for each token, so the texts are thinned out
    evenly to about 2,000 tokens.
    """
    import torch

    tokenizer = model.tokenizer
    whole = sum(len(text) for text in texts)
    step = max(1, round(whole / PSEUDO_TOKENS))
    nats, tokens = 0.0, 0
    for text in texts[::step]:
        line = torch.tensor([tokenizer.cls_token_id, *text.tolist(), tokenizer.sep_token_id], device=settled.device)
        for start in range(1, len(line) - 1, 32):
            at = torch.arange(start, min(start + 32, len(line) - 1), device=settled.device)
            ids = line.repeat(len(at), 1)
            labels = torch.full_like(ids, IGNORE)
            rows = torch.arange(len(at), device=settled.device)
            labels[rows, at] = line[at]
            ids[rows, at] = mask
            with settled.autocast():
                nats += float(model.nll_sum({"input_ids": ids}, labels))
        tokens += len(text)
    return Figure("pseudo_bits_per_byte", nats, tokens)
