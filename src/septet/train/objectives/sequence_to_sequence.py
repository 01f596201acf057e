"""Sequence to sequence: an encoder-decoder reads one text and learns to write another.

Loss = sum over the tokens of the targets, each with the token that ends it, of -log p(token | source, tokens before it), divided by
their number (Sutskever et al. 2014, https://arxiv.org/abs/1409.3215, equation 1). With smoothing e, the token's probability is to
be 1 - e + e / V and every other's e / V (Szegedy et al. 2015, https://arxiv.org/abs/1512.00567, section 7): the loss of a token is
(1 - e) (-log p(token)) + e mean over the vocabulary of -log p.

What it is not: for decoders; those learn from the source and the target in one text (`supervised`).

    septet finetune --model t5-base --data translations
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from septet.data.packing import IGNORE
from septet.infer.inputs import Pair
from septet.train.corruption import seq2seq_batch
from septet.train.objective import Batch, Objective, State, Term

if TYPE_CHECKING:  # torch takes 1.5 s to import, and a recipe with an objective in it is parsed without
    from numpy.random import Generator

    from septet.nn.model import Model

__all__ = ["SequenceToSequence"]

ROWS = 2
"""A packed row is so many times as long as the longest pair of its batch, so that what is left over at the ends is little."""


class SequenceToSequence(Objective):
    """Mean negative log-likelihood of the targets' tokens, in nats a token."""

    fits: ClassVar[frozenset[str]] = frozenset({"encoder-decoder"})
    learns_from: ClassVar[Literal["text", "conversations", "pairs", "labels"]] = "labels"
    ragged: ClassVar[bool] = True

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """The share of the probability that is spread over the vocabulary; 0.1 is usual in translation."""
    packed: bool = True
    """Whether a row may hold several pairs; what is learned is the same, only slower where each has its own."""
    row: int = Field(default=256, ge=1)
    """The most tokens of a packed row, at most the positions that the model has; a longer pair has a row of its own."""
    decoder_start: int | None = Field(default=None, ge=0)
    """The token that the decoder reads first; none: the padding, or for tokenizers that begin a text with a token the end."""

    def prepare(self, rows: Sequence[Pair], tokenizer: Any, rngs: Sequence[Generator]) -> Batch:
        """Lay the pairs out in int64 [B, T] for the encoder and [B, T'] for the decoder; those of one row do not see each other."""
        sources, targets = [row.source for row in rows], [row.target for row in rows]
        # attention costs a row's square: captions of 20 tokens learn in rows of 64 to 128 in two thirds of the time that 256 take
        longest = max(max(len(row.source), len(row.target)) for row in rows)
        room = min(self.row, ROWS * longest) if self.packed else None
        batch = seq2seq_batch(sources, targets, room, tokenizer, objective=self.kind, start=self.decoder_start)
        return replace(batch, weights={"smoothed": batch.weights["nll"]}) if self.label_smoothing else batch

    def loss(self, batch: Batch, model: Model, state: State, **frozen: Model) -> dict[str, Term]:
        """Return {"nll": sum of -log p(token)}; with smoothing {"smoothed": what is minimised, "nll": only watched}."""
        assert batch.labels is not None
        if not self.label_smoothing:
            return {"nll": Term(model.nll_sum(batch.inputs, batch.labels), batch.weights["nll"])}
        taken = batch.labels != IGNORE
        logps_NV = model.outputs(batch.inputs, taken).logits.log_softmax(-1)
        nll = -logps_NV.gather(-1, batch.labels[taken][:, None]).sum()
        smoothed = (1 - self.label_smoothing) * nll - self.label_smoothing * logps_NV.mean(-1).sum()
        weight = batch.weights["smoothed"]
        return {"smoothed": Term(smoothed, weight), "nll": Term(nll.detach(), weight, minimised=False)}
