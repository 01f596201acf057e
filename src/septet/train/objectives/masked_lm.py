"""Masked language modelling: fill in words that were hidden, from all the words around them.

Loss = sum over the hidden positions of -log p(token | the whole text with its hidden positions), divided by their number. Of the
chosen positions 80 % are replaced by the mask, 10 % by a random token, 10 % stay (Devlin et al. 2019, section 3.1).

What it is not: a likelihood of the text; `measure` gives its stand-in.

    septet pretrain --family roberta --objective masked-lm ...
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from septet.data.layout import lay, pieces
from septet.data.packing import IGNORE, Row, separator_of
from septet.train.objective import Batch, Objective, State, Term

if TYPE_CHECKING:
    from numpy.random import Generator

    from septet.nn.model import Model

__all__ = ["MaskedLM"]


class MaskedLM(Objective):
    """Mean negative log-likelihood of the hidden tokens, in nats a token."""

    fits: ClassVar[frozenset[str]] = frozenset({"encoder"})
    around: ClassVar[int] = 2

    share: float = Field(default=0.15, gt=0, lt=1)
    """The share of the tokens that are predicted."""

    def prepare(self, rows: Sequence[Row], tokenizer: Any, rngs: Sequence[Generator]) -> Batch:
        """Put [CLS] and [SEP] around each piece, hide tokens, and lay the pieces out in rows [B, T]."""
        import torch  # 1.5 s, and a recipe with an objective in it is parsed without

        separator = separator_of(tokenizer)
        ids, labels = [], []
        for row, rng in zip(rows, rngs, strict=True):
            for text in pieces(row, separator):
                hidden, label = self._hide(text, tokenizer, rng)
                ids.append(np.concatenate([[tokenizer.cls_token_id], hidden, [tokenizer.sep_token_id]]))
                labels.append(np.concatenate([[IGNORE], label, [IGNORE]]))
        places = lay([len(line) for line in ids], max(row.used for row in rows))
        values, positions, documents = places.fill(ids, empty=tokenizer.pad_token_id)
        targets = torch.from_numpy(places.fill(labels, empty=IGNORE)[0])
        return Batch(
            inputs={
                "input_ids": torch.from_numpy(values),
                "position_ids": torch.from_numpy(positions),
                "documents": torch.from_numpy(documents),
            },
            labels=targets,
            weights={"nll": float((targets != IGNORE).sum())},
            tokens=int((documents > 0).sum()),
        )

    def _hide(self, text: np.ndarray, tokenizer: Any, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
        chosen = rng.random(len(text)) < self.share
        if not chosen.any():
            chosen[rng.integers(len(text))] = True
        how = rng.random(len(text))
        labels = np.where(chosen, text, IGNORE)
        hidden = np.where(chosen & (how < 0.8), tokenizer.mask_token_id, text)
        random = rng.integers(0, len(tokenizer), len(text))
        return np.where(chosen & (how >= 0.9), random, hidden), labels

    def loss(self, batch: Batch, model: Model, state: State, **frozen: Model) -> dict[str, Term]:
        """Return {"nll": sum of -log p(token)} over the hidden positions of the batch."""
        assert batch.labels is not None
        return {"nll": Term(model.nll_sum(batch.inputs, batch.labels), batch.weights["nll"])}
