"""Masked language modelling and next-sentence prediction: BERT's two tasks at once.

Half of the pairs are a text and what follows it in the same document, half a text and one from elsewhere (Devlin et al. 2019,
https://arxiv.org/abs/1810.04805, section 3.1, task 2). Loss = mean over the hidden tokens of -log p(token) + mean over the pairs of
-log p(is it the next?). A text of one token has nothing that follows; it always gets one from elsewhere.

What it is not: needed for good encoders; RoBERTa does better without (Liu et al. 2019, https://arxiv.org/abs/1907.11692, table 2).

    septet pretrain --family bert --objective next-sentence ...
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from septet.data.layout import pieces
from septet.data.packing import Row, separator_of
from septet.data.surface import surface
from septet.train.masking import Unit, pseudo_likelihood
from septet.train.objective import Batch, Figure, Objective, State, Term
from septet.train.segments import Segments, judged_loss, segment_batch, split, trimmed

if TYPE_CHECKING:
    from numpy.random import Generator

    from septet.nn.model import Model
    from septet.train.runtime import Settled

__all__ = ["NextSentence"]

TERM = "next_sentence"
IS_NEXT, NOT_NEXT = 0, 1


class NextSentence(Objective):
    """Mean negative log-likelihood of the hidden tokens and of the judgements, in nats."""

    fits: ClassVar[frozenset[str]] = frozenset({"encoder"})
    pairs: ClassVar[bool] = True
    partners: ClassVar[bool] = True
    around: ClassVar[int] = 3

    share: float = Field(default=0.15, gt=0, lt=1)
    """The share of the tokens that are hidden."""
    unit: Unit = "token"
    """What is hidden together: single tokens, whole words, or spans of words."""

    def prepare(self, rows: Sequence[tuple[Row, Row]], tokenizer: Any, rngs: Sequence[Generator]) -> Batch:
        """Make a pair of each piece of a row; its other text is its own rest, or a piece of the partner row."""
        separator, table = separator_of(tokenizer), surface(tokenizer)
        room = max(len(row.ids) for row, _ in rows)
        made = []
        for (row, other), rng in zip(rows, rngs, strict=True):
            elsewhere = pieces(other, separator)
            same = other is row or np.array_equal(other.ids, row.ids)
            for text in pieces(row, separator):
                cut = split(text, table, rng)
                follows = cut > 0 and (same or rng.random() < 0.5)
                if follows:
                    first, second = text[:cut], text[cut:]
                else:
                    stranger = elsewhere[rng.integers(len(elsewhere))]
                    first, second = text[: cut or 1], stranger[split(stranger, table, rng) :]
                first, second = trimmed(first, second, room, rng)
                made.append(Segments(first, second, IS_NEXT if follows else NOT_NEXT, rng))
        return segment_batch(
            made, room + self.around, tokenizer, share=self.share, unit=self.unit, term=TERM, objective=self.kind
        )

    def loss(self, batch: Batch, model: Model, state: State, **frozen: Model) -> dict[str, Term]:
        """Return "nll" and "next_sentence", and the watched "next_sentence_accuracy"."""
        return judged_loss(batch, model, TERM)

    def measure(
        self, model: Model, rows: Sequence[tuple[Row, Row]], last: Mapping[str, float], *, settled: Settled
    ) -> Figure | None:
        """Pseudo bits per byte: each token given all others, over about 2,000 tokens (Salazar et al. 2020)."""
        separator = separator_of(model.tokenizer)
        texts = [text for row, _ in rows for text in pieces(row, separator)]
        return pseudo_likelihood(model, texts, mask=model.tokenizer.mask_token_id, settled=settled)
