"""What the objectives share whose model has a head for a task: padded batches of `septet.infer.inputs.Encoded`.

What it is not: an objective; those are classification, multi-label, regression, tagging and spans.

    python -m pytest tests/train/test_classification.py tests/train/test_headed.py
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from septet.infer.inputs import Encoded, collate
from septet.train.objective import Batch, Objective

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor

__all__ = ["HeadObjective"]


class HeadObjective(Objective):
    """An objective over a head's logits; each row is a text that is padded to the longest of its batch."""

    fits: ClassVar[frozenset[str]] = frozenset({"decoder", "encoder", "permuted", "encoder-decoder"})
    learns_from: ClassVar[Literal["text", "conversations", "pairs", "labels"]] = "labels"
    compiles: ClassVar[bool] = False

    pad_side: Literal["right", "left"] = "right"
    """Where short texts are filled up; the left for XLNet, whose head reads the last position."""

    def suited(self, architecture: str) -> Self:
        return self.model_copy(update={"pad_side": "left"}) if architecture == "permuted" else self

    def prepare(self, rows: Sequence[Encoded], tokenizer: Any, rngs: Sequence[Generator]) -> Batch:
        """Stack texts to int64 [B, T] with their mask; labels as the objective has them."""
        inputs = collate(rows, tokenizer, left=self.pad_side == "left")
        labels, weights = self.targets(rows)
        return Batch(inputs=inputs, labels=labels, weights=weights, tokens=int(inputs["attention_mask"].sum()))

    @abstractmethod
    def targets(self, rows: Sequence[Encoded]) -> tuple[Tensor, dict[str, float]]:
        """Return the labels of rows, and the weight of each term."""
