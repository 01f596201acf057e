"""Masked language modelling and sentence order: say which of two neighbouring segments comes first.

The segments always follow each other in one document, and are swapped half of the time, so that topic alone tells nothing (Lan et
al. 2020, https://arxiv.org/abs/1909.11942, section 3.1). A text of one token has no order and is only masked.

What it is not: next-sentence prediction, whose other text comes from elsewhere.

    septet pretrain --family bert --objective sentence-order ...
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from septet.data.layout import pieces
from septet.data.packing import IGNORE, Row, separator_of
from septet.data.surface import surface
from septet.train.masking import Unit, pseudo_likelihood
from septet.train.objective import Batch, Figure, Objective, State, Term
from septet.train.segments import Segments, judged_loss, segment_batch, split

if TYPE_CHECKING:
    from numpy.random import Generator

    from septet.nn.model import Model
    from septet.train.runtime import Settled

__all__ = ["SentenceOrder"]

TERM = "sentence_order"
IN_ORDER, SWAPPED = 0, 1


class SentenceOrder(Objective):
    """Mean negative log-likelihood of the hidden tokens and of the judgements, in nats."""

    fits: ClassVar[frozenset[str]] = frozenset({"encoder"})
    pairs: ClassVar[bool] = True
    around: ClassVar[int] = 3

    share: float = Field(default=0.15, gt=0, lt=1)
    """The share of the tokens that are hidden."""
    unit: Unit = "span"
    """What is hidden together: single tokens, whole words, or spans of words, as ALBERT does."""

    def prepare(self, rows: Sequence[Row], tokenizer: Any, rngs: Sequence[Generator]) -> Batch:
        """Cut each piece in two at a sentence, and swap the two half of the time."""
        separator, table = separator_of(tokenizer), surface(tokenizer)
        made = []
        for row, rng in zip(rows, rngs, strict=True):
            for text in pieces(row, separator):
                cut = split(text, table, rng)
                swapped = rng.random() < 0.5
                if not cut:
                    made.append(Segments(text, text[:0], IGNORE, rng))
                elif swapped:
                    made.append(Segments(text[cut:], text[:cut], SWAPPED, rng))
                else:
                    made.append(Segments(text[:cut], text[cut:], IN_ORDER, rng))
        room = max(len(row.ids) for row in rows) + self.around
        return segment_batch(made, room, tokenizer, share=self.share, unit=self.unit, term=TERM, objective=self.kind)

    def loss(self, batch: Batch, model: Model, state: State, **frozen: Model) -> dict[str, Term]:
        """Return "nll" and "sentence_order", and the watched "sentence_order_accuracy"."""
        return judged_loss(batch, model, TERM)

    def measure(
        self, model: Model, rows: Sequence[Row], last: Mapping[str, float], *, settled: Settled
    ) -> Figure | None:
        """Pseudo bits per byte: each token given all others, over about 2,000 tokens (Salazar et al. 2020)."""
        separator = separator_of(model.tokenizer)
        texts = [text for row in rows for text in pieces(row, separator)]
        return pseudo_likelihood(model, texts, mask=model.tokenizer.mask_token_id, settled=settled)
