"""Denoising: a text is damaged in one or several ways, and the decoder writes it whole; BART's objective.

By default the sentences change places, and 30 % of the words are hidden in spans of 3 on average (Poisson), each behind one mask,
spans of no word being a mask too many (Lewis et al. 2020, https://arxiv.org/abs/1910.13461, sections 2.2 and 4, BART large).
Deleting tokens and rotating the text can be switched on. Loss = mean over the whole text of -log p(token | damaged, tokens before).

What it is not: a likelihood of the text by itself.

    septet pretrain --family bart --objective denoising ...
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from septet.data.layout import pieces
from septet.data.packing import Row, separator_of
from septet.data.surface import Surface, special, surface
from septet.train.corruption import seq2seq_batch
from septet.train.objective import Batch, Figure, Objective, State, Term

if TYPE_CHECKING:
    from numpy.random import Generator

    from septet.nn.model import Model
    from septet.train.runtime import Settled

__all__ = ["Denoising"]


class Denoising(Objective):
    """Mean negative log-likelihood of the whole text, in nats a token."""

    fits: ClassVar[frozenset[str]] = frozenset({"encoder-decoder"})
    around: ClassVar[int] = 3  # <s> and </s>, and a mask too many in a text that is otherwise whole

    mask: float = Field(default=0.3, ge=0, lt=1)
    """The share of the words that are hidden in spans, each behind one mask."""
    mean_length: float = Field(default=3.0, gt=0)
    """Words in a span, on average (Poisson; a span of none is a mask too many)."""
    random: float = Field(default=0.1, ge=0, le=1)
    """The share of the spans that become a random token in place of the mask."""
    permute_sentences: float = Field(default=1.0, ge=0, le=1)
    """The share of the sentences that change places."""
    delete: float = Field(default=0.0, ge=0, lt=1)
    """The share of the tokens that are deleted."""
    rotate: float = Field(default=0.0, ge=0, le=1)
    """The share of the texts that begin at a token drawn at random and go round."""

    def prepare(self, rows: Sequence[Row], tokenizer: Any, rngs: Sequence[Generator]) -> Batch:
        """Damage each piece; the encoder's rows [B, T] and the decoder's [B, T'] hold the same pieces."""
        separator, table = separator_of(tokenizer), surface(tokenizer)
        bos, eos, mask = (
            special(tokenizer, role, families="bart", objective=self.kind) for role in ("bos", "eos", "mask")
        )
        sources, targets = [], []
        for row, rng in zip(rows, rngs, strict=True):
            for text in pieces(row, separator):
                damaged = self.damage(text, table, mask, rng)
                sources.append(np.concatenate([[bos], damaged, [eos]]))
                targets.append(np.concatenate([[bos], text, [eos]]))
        room = max(len(row.ids) for row in rows) + self.around
        return seq2seq_batch(sources, targets, room, tokenizer, objective=self.kind)

    def damage(self, text: np.ndarray, table: Surface, mask: int, rng: Generator) -> np.ndarray:
        """Return the damaged text: sentences permuted, tokens deleted, spans hidden, text rotated, in this order.

        It is longer than the text by one token at most.
        """
        damaged = text
        if self.permute_sentences:
            damaged = permuted(damaged, table, self.permute_sentences, rng)
        if self.delete:
            kept = rng.random(len(damaged)) >= self.delete
            kept[rng.integers(len(damaged))] = True  # something is left to read
            damaged = damaged[kept]
        if self.mask:
            damaged = infilled(damaged, self.mask, self.mean_length, self.random, table, mask, rng)[: len(text) + 1]
        if self.rotate and rng.random() < self.rotate:
            damaged = np.roll(damaged, -int(rng.integers(len(damaged))))
        return damaged

    def loss(self, batch: Batch, model: Model, state: State, **frozen: Model) -> dict[str, Term]:
        """Return {"nll": sum of -log p(token)} over the whole texts."""
        assert batch.labels is not None
        return {"nll": Term(model.nll_sum(batch.inputs, batch.labels), batch.weights["nll"])}

    def measure(
        self, model: Model, rows: Sequence[Row], last: Mapping[str, float], *, settled: Settled
    ) -> Figure | None:
        """Bits per byte of the whole text given its damaged form, with the draws of `evaluate`."""
        separator = separator_of(model.tokenizer)
        texts = [text for row in rows for text in pieces(row, separator)]
        tokens = sum(len(text) for text in texts)
        return Figure("denoised_bits_per_byte", last["nll"] * (tokens + 2 * len(texts)), tokens)


def permuted(text: np.ndarray, table: Surface, share: float, rng: Generator) -> np.ndarray:
    """Return the text with `share` of its sentences, drawn at random, in each other's places."""
    sentences = np.split(text, table.sentences(text))
    moved = rng.permutation(len(sentences))[: math.ceil(share * len(sentences))]
    order = np.arange(len(sentences))
    order[np.sort(moved)] = moved
    return np.concatenate([sentences[number] for number in order])


def infilled(
    text: np.ndarray, share: float, mean: float, random: float, table: Surface, mask: int, rng: Generator
) -> np.ndarray:
    """Return the text with ceil(share x words) words hidden in spans of Poisson(mean) words, each span one mask.

    The spans are placed uniformly; a span of no word puts a mask between two words. `random` of the masks become random tokens.
    """
    words = table.words(text)
    count = int(words[-1]) + 1
    budget = math.ceil(share * count)
    lengths: list[int] = []
    while sum(lengths) < budget:
        lengths.append(min(int(rng.poisson(mean)), budget - sum(lengths)))
    free = count - budget
    # where each span lies among the words that stay: every arrangement of spans and words is as likely as any other
    places = np.sort(rng.permutation(free + len(lengths))[: len(lengths)]) - np.arange(len(lengths))
    starts = np.concatenate([[0], np.bincount(words).cumsum()])
    masks = np.where(
        rng.random(len(lengths)) < random, table.ordinary[rng.integers(0, len(table.ordinary), len(lengths))], mask
    )
    made, word, hidden = [], 0, 0
    for place, length, token in zip(places, lengths, masks, strict=True):
        begin = place + hidden
        made += [text[starts[word] : starts[begin]], [token]]
        word, hidden = begin + length, hidden + length
    return np.concatenate([*made, text[starts[word] :]]).astype(np.int64)
