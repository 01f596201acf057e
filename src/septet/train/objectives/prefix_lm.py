"""Prefix language modelling: read the beginning of a text with all its words at once, write the rest.

An encoder-decoder gets the beginning into its encoder and writes the rest; in a decoder the tokens of the beginning see each other,
and only the rest is learned (Raffel et al. 2020, https://arxiv.org/abs/1910.10683, sections 3.2.1 and 3.2.3). Where the text is cut
is drawn uniformly. Loss = mean over the rest of -log p(token | beginning, tokens before).

What it is not: causal language modelling, in which the beginning too is learned and read from left to right.

    septet pretrain --family t5 --objective prefix-lm ...          septet pretrain --family gpt2 --objective prefix-lm ...
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from septet.data.layout import pieces
from septet.data.packing import IGNORE, Row, separator_of
from septet.train.corruption import seq2seq_batch
from septet.train.objective import Batch, Figure, Objective, State, Term, generators

if TYPE_CHECKING:
    from numpy.random import Generator

    from septet.nn.model import Model
    from septet.train.runtime import Settled

__all__ = ["PrefixLM"]


class PrefixLM(Objective):
    """Mean negative log-likelihood of the rest of each text, in nats a token."""

    fits: ClassVar[frozenset[str]] = frozenset({"decoder", "encoder-decoder"})
    around: ClassVar[int] = 1

    architecture: Literal["decoder", "encoder-decoder"] = "decoder"
    """Who learns; a step sets what its family is."""

    def suited(self, architecture: str) -> Self:
        """Return the objective for this architecture."""
        return self.model_copy(update={"architecture": architecture})

    def prepare(self, rows: Sequence[Row], tokenizer: Any, rngs: Sequence[Generator]) -> Batch:
        """Cut each piece in two: for decoders the rows as packed, with `prefix` [B, T]; else rows for encoder and decoder."""
        if self.architecture == "decoder":
            return _for_decoder(rows, rngs)
        separator = separator_of(tokenizer)
        sources, targets = [], []
        for row, rng in zip(rows, rngs, strict=True):
            for text in pieces(row, separator):
                cut = int(rng.integers(len(text)))
                sources.append(np.append(text[:cut], separator))
                targets.append(np.append(text[cut:], separator))
        room = max(len(row.ids) for row in rows) + self.around
        return seq2seq_batch(sources, targets, room, tokenizer, objective=self.kind)

    def loss(self, batch: Batch, model: Model, state: State, **frozen: Model) -> dict[str, Term]:
        """Return {"nll": sum of -log p(token)} over what is written."""
        assert batch.labels is not None
        return {"nll": Term(model.nll_sum(batch.inputs, batch.labels), batch.weights["nll"])}

    def measure(
        self, model: Model, rows: Sequence[Row], last: Mapping[str, float], *, settled: Settled
    ) -> Figure | None:
        """Bits per byte of the rest of each text given its beginning, its end included; with the draws of `evaluate`."""
        batch = self.prepare(rows, model.tokenizer, generators(len(rows), 0))
        separator = separator_of(model.tokenizer)
        assert batch.labels is not None
        written = batch.labels[batch.labels != IGNORE]
        text = int((written != separator).sum())
        return Figure("continued_bits_per_byte", last["nll"] * len(written), text) if text else None


def _for_decoder(rows: Sequence[Row], rngs: Sequence[Generator]) -> Batch:
    import torch  # 1.5 s, and a recipe with an objective in it is parsed without

    length = max(row.used for row in rows)

    def stack(name: str) -> np.ndarray:
        return np.stack([getattr(row, name)[:length] for row in rows]).astype(np.int64)

    labels, prefix = stack("labels"), np.zeros((len(rows), length), bool)
    documents = np.zeros((len(rows), length), np.int64)
    for place, (row, rng) in enumerate(zip(rows, rngs, strict=True)):
        starts = np.flatnonzero(row.positions[: row.used] == 0)
        for number, (start, end) in enumerate(zip(starts, [*starts[1:], row.used], strict=True), 1):
            # the last token of the beginning already predicts the first of the rest
            cut = start + 1 + int(rng.integers(end - start))
            prefix[place, start:cut] = True
            labels[place, start : cut - 1] = IGNORE
            documents[place, start:end] = number
    arrays = {"input_ids": stack("ids"), "position_ids": stack("positions"), "documents": documents, "prefix": prefix}
    targets = torch.from_numpy(labels)
    return Batch(
        inputs={name: torch.from_numpy(array) for name, array in arrays.items()},
        labels=targets,
        weights={"nll": float((targets != IGNORE).sum())},
        tokens=sum(row.used for row in rows),
    )
