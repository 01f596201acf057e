"""Any number of labels for each text: subjects of an article, kinds of abuse in a comment.

Rows: {"text", "labels": [...]}, the list may be empty. A label is predicted where its probability is at least `threshold`.
What it is not: a ranking; the labels are judged one by one.

    septet finetune --model base --data comments
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from septet.core.errors import DataError
from septet.infer.labelling import TextTask
from septet.infer.task import Gives, Predicted, Row
from septet.infer.tasks.classification import number_of

if TYPE_CHECKING:
    from septet.nn.heads import Head
    from septet.nn.model import Model

__all__ = ["MultiLabel"]


class MultiLabel(TextTask):
    """Any number of labels for each text."""

    objective: ClassVar[str] = "multi-label"
    gives: ClassVar[Gives] = "labels"
    head: ClassVar[Head] = "multi-label"

    threshold: float = Field(default=0.5, gt=0, lt=1)
    """The least probability of a label that is predicted."""

    def target(self, row: Row, model: Model, *, file: object, number: int) -> np.ndarray:
        labels = row.get("labels")
        if not isinstance(labels, list):
            raise DataError(
                f"the field 'labels' holds {type(labels).__name__}; a list is expected.", file=file, row=number
            )
        found = np.zeros(len(model.labels), dtype=np.float32)
        for label in labels:
            found[number_of(label, model, file=file, number=number)] = 1
        return found

    def first_logits(self, targets_NC: np.ndarray) -> np.ndarray:
        with_C = targets_NC.sum(axis=0)
        return np.log((with_C + 1) / (len(targets_NC) - with_C + 1))

    def verdict(self, logits: Any, model: Model) -> Predicted:
        shares = dict(zip(model.labels, logits.sigmoid().tolist(), strict=True))
        return Predicted([label for label, share in shares.items() if share >= self.threshold], shares)

    def expected(self, row: Row) -> list[str]:
        return list(row["labels"])
