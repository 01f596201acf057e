"""Masked language modelling: fill in words that were hidden, from all the words around them.

Loss = sum over the hidden positions of -log p(token | the whole text with its hidden positions), divided by their number. Of the
chosen tokens 80 % become the mask, 10 % a random token, 10 % stay (Devlin et al. 2019, https://arxiv.org/abs/1810.04805, section
3.1; the masks drawn anew each time as in RoBERTa, Liu et al. 2019, https://arxiv.org/abs/1907.11692, section 4.1).

What it is not: a likelihood of the text; `measure` gives its stand-in.

    septet pretrain --family roberta --objective '{kind: masked-lm, unit: word}' ...
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from septet.data.layout import pieces
from septet.data.packing import IGNORE, Row, separator_of
from septet.data.surface import special, surface
from septet.train.masking import Unit, choose, encoder_inputs, hide, pseudo_likelihood, static_generator
from septet.train.objective import Batch, Figure, Objective, State, Term

if TYPE_CHECKING:
    from numpy.random import Generator

    from septet.nn.model import Model
    from septet.train.runtime import Settled

__all__ = ["MaskedLM"]

FAMILIES = "bert or roberta"


class MaskedLM(Objective):
    """Mean negative log-likelihood of the hidden tokens, in nats a token."""

    fits: ClassVar[frozenset[str]] = frozenset({"encoder"})
    around: ClassVar[int] = 2

    share: float = Field(default=0.15, gt=0, lt=1)
    """The share of the tokens that are hidden."""
    unit: Unit = "token"
    """What is hidden together: single tokens, whole words, or spans of words (SpanBERT)."""
    masking: Literal["dynamic", "static"] = "dynamic"
    """dynamic: other tokens each time a text is seen; static: always the same of a text, as BERT's data were made once."""
    replaced: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """What a hidden token becomes: the mask, a random token, itself; the shares add up to 1."""

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if min(self.replaced) < 0 or abs(sum(self.replaced) - 1) > 1e-6:
            raise ValueError(f"replaced: three shares from 0 to 1 that add up to 1 are expected, got {self.replaced}.")
        return self

    def prepare(self, rows: Sequence[Row], tokenizer: Any, rngs: Sequence[Generator]) -> Batch:
        """Put [CLS] and [SEP] around each piece, hide tokens, and lay the pieces out in rows [B, T]."""
        separator, table = separator_of(tokenizer), surface(tokenizer)
        cls, sep, mask = (
            special(tokenizer, role, families=FAMILIES, objective=self.kind) for role in ("cls", "sep", "mask")
        )
        ids, labels = [], []
        for row, rng in zip(rows, rngs, strict=True):
            for text in pieces(row, separator):
                draws = static_generator(text, 0) if self.masking == "static" else rng
                groups = choose(text, self.share, self.unit, table, draws)
                hidden, label = hide(text, groups, self.replaced, mask=mask, surface=table, rng=draws)
                ids.append(np.concatenate([[cls], hidden, [sep]]))
                labels.append(np.concatenate([[IGNORE], label, [IGNORE]]))
        room = max(len(row.ids) for row in rows) + self.around
        inputs, (targets,) = encoder_inputs(ids, room, pad=tokenizer.pad_token_id, more=[(labels, IGNORE)])
        return Batch(
            inputs=inputs,
            labels=targets,
            weights={"nll": float((targets != IGNORE).sum())},
            tokens=sum(len(line) for line in ids),
        )

    def loss(self, batch: Batch, model: Model, state: State, **frozen: Model) -> dict[str, Term]:
        """Return {"nll": sum of -log p(token)} over the hidden positions of the batch."""
        assert batch.labels is not None
        return {"nll": Term(model.nll_sum(batch.inputs, batch.labels), batch.weights["nll"])}

    def measure(
        self, model: Model, rows: Sequence[Row], last: Mapping[str, float], *, settled: Settled
    ) -> Figure | None:
        """Pseudo bits per byte: each token given all others, over about 2,000 tokens (Salazar et al. 2020)."""
        separator = separator_of(model.tokenizer)
        texts = [text for row in rows for text in pieces(row, separator)]
        return pseudo_likelihood(model, texts, mask=model.tokenizer.mask_token_id, settled=settled)
