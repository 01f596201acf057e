"""Classification: one of some labels for each text.

Loss = sum over texts of -log softmax(logits)[label], divided by the number of texts. The text gets the family's special tokens:
[CLS] text [SEP] for an encoder, text [SEP] [CLS] for XLNet (padded on the left: its head reads the last position), and an
end-of-text token for a decoder or an encoder-decoder.

What it is not: a choice of a class by generating its name.

    python -m pytest tests/train/test_classification.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from septet.train.objective import Batch, Objective, State, Term

if TYPE_CHECKING:
    from numpy.random import Generator

    from septet.nn.model import Model

__all__ = ["Classification", "Labelled", "dressed"]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text with its special tokens, int64 [T], and the number of its label."""

    ids: np.ndarray
    label: int


def dressed(ids: Sequence[int], tokenizer: Any, architecture: str, *, most: int) -> np.ndarray:
    """Return the text with the special tokens of the architecture, int64; cut at its end to `most` tokens in all."""

    def token(role: str) -> list[int]:
        found = getattr(tokenizer, f"{role}_token_id")
        return [] if found is None else [int(found)]

    before, after = {
        "encoder": (token("cls"), token("sep")),
        "permuted": ([], token("sep") + token("cls")),
        "encoder-decoder": ([], token("eos")),
    }.get(architecture, ([], token("eos")))
    room = most - len(before) - len(after)
    return np.array([*before, *ids[:room], *after], dtype=np.int64)


class Classification(Objective):
    """Mean negative log-likelihood of the labels, in nats a text."""

    fits: ClassVar[frozenset[str]] = frozenset({"decoder", "encoder", "permuted", "encoder-decoder"})
    learns_from: ClassVar[Literal["text", "conversations", "pairs", "labels"]] = "labels"

    pad_side: Literal["right", "left"] = "right"
    """Where short texts are filled up; the left for XLNet."""

    def suited(self, architecture: str) -> Self:
        return self.model_copy(update={"pad_side": "left"}) if architecture == "permuted" else self

    def prepare(self, rows: Sequence[Labelled], tokenizer: Any, rngs: Sequence[Generator]) -> Batch:
        """Stack texts to int64 [B, T] with their mask; labels [B]."""
        import torch  # 1.5 s, and a recipe with an objective in it is parsed without

        length = max(len(row.ids) for row in rows)
        assert tokenizer.pad_token_id is not None, "septet.nn.heads gives a tokenizer without padding one"
        ids = np.full((len(rows), length), tokenizer.pad_token_id, dtype=np.int64)
        mask = np.zeros((len(rows), length), dtype=np.int64)
        for place, row in enumerate(rows):
            at = slice(length - len(row.ids), None) if self.pad_side == "left" else slice(len(row.ids))
            ids[place, at], mask[place, at] = row.ids, 1
        return Batch(
            inputs={"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)},
            labels=torch.tensor([row.label for row in rows]),
            weights={"nll": float(len(rows))},
            tokens=int(mask.sum()),
        )

    def loss(self, batch: Batch, model: Model, state: State, **frozen: Model) -> dict[str, Term]:
        """Return {"nll": sum of -log p(label)}, and how many labels were the likeliest, which is only watched."""
        import torch

        logits = model.module(**batch.inputs).logits.float()
        assert batch.labels is not None
        nll = torch.nn.functional.cross_entropy(logits, batch.labels, reduction="sum")
        right = (logits.detach().argmax(dim=-1) == batch.labels).sum().float()
        weight = batch.weights["nll"]
        return {"nll": Term(nll, weight), "accuracy": Term(right, weight, minimised=False)}
