"""A number for each text, or for each pair of texts: a rating, how alike two sentences are.

Rows: {"text", "value"} and, for pairs, "pair". The head learns the values as they are; what is far from 0 to 5 is better
scaled first. What it is not: an ordinal model of grades.

    septet finetune --model base --data ratings
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from septet.core.errors import DataError
from septet.infer.labelling import TextTask
from septet.infer.task import Gives, Predicted, Row

if TYPE_CHECKING:
    import numpy as np

    from septet.nn.heads import Head
    from septet.nn.model import Model

__all__ = ["Regression"]


class Regression(TextTask):
    """A number for each text."""

    objective: ClassVar[str] = "regression"
    gives: ClassVar[Gives] = "value"
    head: ClassVar[Head] = "value"

    def target(self, row: Row, model: Model, *, file: object, number: int) -> float:
        value = row.get("value")
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise DataError(f"the field 'value' is {value!r}; a finite number is expected.", file=file, row=number)
        return float(value)

    def first_logits(self, targets_NC: np.ndarray) -> np.ndarray:
        return targets_NC.mean(axis=0)

    def verdict(self, logits: Any, model: Model) -> Predicted:
        return Predicted(float(logits[0]))

    def expected(self, row: Row) -> float:
        return float(row["value"])
