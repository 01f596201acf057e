"""One of some labels for each text, or for each pair of texts: sentiment, kinds of questions, entailment.

Rows: {"text", "label"} and, for pairs, "pair". What it is not: a choice by writing the label's name (in-context learning).

    septet finetune --model base --data reviews
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from septet.core.errors import DataError, nearest
from septet.infer.labelling import TextTask
from septet.infer.task import Gives, Predicted, Row

if TYPE_CHECKING:
    from septet.nn.heads import Head
    from septet.nn.model import Model

__all__ = ["Classification", "number_of"]


class Classification(TextTask):
    """One of some labels for each text."""

    objective: ClassVar[str] = "classification"
    gives: ClassVar[Gives] = "label"
    head: ClassVar[Head] = "classes"

    def target(self, row: Row, model: Model, *, file: object, number: int) -> int:
        return number_of(row.get("label"), model, file=file, number=number)

    def verdict(self, logits: Any, model: Model) -> Predicted:
        shares = dict(zip(model.labels, logits.softmax(-1).tolist(), strict=True))
        return Predicted(max(shares, key=shares.__getitem__), shares)

    def expected(self, row: Row) -> str:
        return str(row["label"])


def number_of(label: Any, model: Model, *, file: object, number: int) -> int:
    """Return a label's number. Raises DataError with file and row for one that the model does not have."""
    known = model.config.label2id
    if label not in known:
        raise DataError(
            f"the label {label!r} is not one of the model's {len(known)}: {', '.join(list(known)[:20])}."
            f"{nearest(str(label), known)} A label that is in this part must be in the training part too.",
            file=file,
            row=number,
        )
    return int(known[label])
