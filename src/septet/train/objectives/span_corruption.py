"""Span corruption: spans are cut out of a text, and the decoder writes what was there; T5's objective.

Thank you <0> me to your party <1> week   ->   <0> for inviting <1> last

15 % of the tokens are cut, in spans of 3 on average; each leaves a sentinel, and the target is each sentinel with what it stands
for (Raffel et al. 2020, https://arxiv.org/abs/1910.10683, section 3.1.4). As in its code a text begins with what stays and ends
with what was cut, and both sides end with </s>: 568 tokens give 512 to read and 114 to write. Loss = mean over the target of
-log p(token).

What it is not: a likelihood of the text.

    septet pretrain --family t5 --objective span-corruption ...
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from septet.core.errors import DataError
from septet.data.layout import pieces
from septet.data.packing import Row, separator_of
from septet.data.surface import special
from septet.train.corruption import seq2seq_batch, span_mask
from septet.train.objective import Batch, Figure, Objective, State, Term, generators

if TYPE_CHECKING:
    from numpy.random import Generator

    from septet.nn.model import Model
    from septet.train.runtime import Settled

__all__ = ["SpanCorruption"]


class SpanCorruption(Objective):
    """Mean negative log-likelihood of the sentinels and of what they stand for, in nats a token."""

    fits: ClassVar[frozenset[str]] = frozenset({"encoder-decoder"})
    around: ClassVar[int] = 2

    density: float = Field(default=0.15, gt=0, lt=1)
    """The share of the tokens that are cut."""
    mean_length: float = Field(default=3.0, ge=1)
    """Tokens in a span, on average."""

    def prepare(self, rows: Sequence[Row], tokenizer: Any, rngs: Sequence[Generator]) -> Batch:
        """Corrupt each piece; the encoder's rows [B, T] and the decoder's [B, T'] hold the same pieces."""
        separator = separator_of(tokenizer)
        eos = special(tokenizer, "eos", families="t5", objective=self.kind)
        sentinels = _sentinels(tokenizer)
        sources, targets = [], []
        for row, rng in zip(rows, rngs, strict=True):
            for text in pieces(row, separator):
                spans = span_mask(len(text), self.density, self.mean_length, rng)
                source, target = corrupted(text, spans, sentinels)
                sources.append(np.append(source, eos))
                targets.append(np.append(target, eos))
        room = max(len(row.ids) for row in rows) + self.around
        return seq2seq_batch(sources, targets, room, tokenizer, objective=self.kind)

    def loss(self, batch: Batch, model: Model, state: State, **frozen: Model) -> dict[str, Term]:
        """Return {"nll": sum of -log p(token)} over the targets."""
        assert batch.labels is not None
        return {"nll": Term(model.nll_sum(batch.inputs, batch.labels), batch.weights["nll"])}

    def measure(
        self, model: Model, rows: Sequence[Row], last: Mapping[str, float], *, settled: Settled
    ) -> Figure | None:
        """Bits per byte of the text that was cut, given the rest; the sentinels are paid for. With the draws of `evaluate`."""
        separator = separator_of(model.tokenizer)
        cut = written = 0
        for row, rng in zip(rows, generators(len(rows), 0), strict=True):
            for text in pieces(row, separator):
                spans = span_mask(len(text), self.density, self.mean_length, rng)
                cut += int((spans >= 0).sum())
                written += int((spans >= 0).sum() + spans.max() + 2)
        return Figure("infilled_bits_per_byte", last["nll"] * written, cut)


def corrupted(text: np.ndarray, spans: np.ndarray, sentinels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (source, target) of a text [T] whose token t is in the span spans[t], or stays where that is -1."""
    count = int(spans.max()) + 1
    if count > len(sentinels):
        raise DataError(
            f"a text of {len(text)} tokens has {count} spans, and the tokenizer has {len(sentinels)} sentinels (<extra_id_0>, "
            "...). Take a shorter context, a longer mean_length, or a tokenizer with more sentinels."
        )
    cut = spans >= 0
    first = cut & (np.concatenate([[-1], spans[:-1]]) != spans)
    source = np.where(cut, sentinels[np.maximum(spans, 0)], text)[~cut | first]
    # each span's sentinel goes before its first token
    target = np.insert(text[cut], np.flatnonzero(first[cut]), sentinels[:count])
    return source, target


def _sentinels(tokenizer: Any) -> np.ndarray:
    """Return the ids of <extra_id_0>, <extra_id_1>, ... int64."""
    vocabulary = tokenizer.get_vocab()
    found = []
    while (id := vocabulary.get(f"<extra_id_{len(found)}>")) is not None:
        found.append(id)
    if not found:
        raise DataError(
            "the objective 'span-corruption' needs a tokenizer with sentinels (<extra_id_0>, ...), and this one has none. Make one "
            "with `family: t5`."
        )
    return np.array(found, np.int64)
