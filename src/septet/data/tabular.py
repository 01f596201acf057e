"""What the builders of rows with columns share: what the rows are for is inferred from names and values, told, or given.

What it is not: a reader of files; `table` and `hub` of `septet.data.builders` bring the rows.

    python -m pytest tests/data/test_own_builders.py tests/data/test_hub.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from pydantic import Field

from septet.data.documents import JsonValue
from septet.data.parts import Gathered, Problems, RowsBuilder, told
from septet.data.roles import Task, infer
from septet.data.shape import Columns, LabelNames, Shape, check_names, scheme_in, shaped

__all__ = ["Placed", "TabularBuilder"]

Placed = tuple[str, Mapping[str, JsonValue]]
"""A row's place, for people, and its fields."""


class TabularBuilder(RowsBuilder):
    """A builder of rows with columns."""

    task: Task | None = None
    """What the rows are for; without it, what their columns say."""
    columns: Columns = Field(default_factory=dict)
    """Role -> column, where the names do not say: {text: sentence, label: sentiment}; several columns of a text are joined. A path
    reaches into columns that hold objects, or lists of them: translation.de, spans[].type."""
    label_names: LabelNames = Field(default_factory=dict)
    """Value -> label, for labels that are written as numbers: {0: negative, 1: positive}."""
    separator: str = Field(default=",", min_length=1)
    """What stands between the labels in one field of several."""
    on_malformed: Literal["refuse", "repair"] = "refuse"
    """Tags that cannot stand where they stand: bad rows, or read as the beginning of an entity, and counted."""
    unanswerable: Literal["keep", "drop"] = "keep"
    """Questions that their passage does not answer: rows like others, as in SQuAD 2.0; or left out and counted."""

    def shape(
        self,
        rows: Mapping[str, Sequence[Placed]],
        problems: Problems,
        *,
        place: str,
        classes: Mapping[str, Sequence[str]],
    ) -> Gathered:
        """Map the columns of all parts to what the task needs.

        classes: names of numbered classes by column, taken where `label_names` says nothing. Errors: DataError where a named column
        is not there, or the columns do not say what the rows are for.
        """
        if not rows["train"]:
            return Gathered("chat", {})
        task, columns = infer([row for _, row in rows["train"]], task=self.task, columns=self.columns, file=place)
        numbered = (*columns.get("label", ()), *columns.get("labels", ()), *columns.get("tags", ()))
        known = next((classes[name] for name in numbered if name in classes), ())
        names = self.label_names or {str(number): name for number, name in enumerate(known)}
        shape = Shape(
            task,
            columns,
            names=names,
            separator=self.separator,
            opened=self.opened,
            repair=self.on_malformed == "repair",
        )
        remarks = [told(task, columns)]
        if task == "tagging":
            shape = replace(shape, scheme=scheme_in(shape, (row for _, row in rows["train"])))
            remarks.append(f"The tags are read as {shape.scheme} and written as BIO.")
        found = {part: shaped(shape, given, problems) for part, given in rows.items()}
        if task == "question-answering" and self.unanswerable == "drop":
            found = {part: [item for item in items if item.row["answers"]] for part, items in found.items()}
            remarks.append(f"{shape.notes['questions_without_an_answer']:,} questions without an answer are left out.")
        if task != "tagging":  # a tag of a scheme may be on no word
            check_names(self.label_names, (item for items in found.values() for item in items), place)
        return Gathered(
            task,
            found,
            columns={role: ", ".join(names) for role, names in columns.items()},
            notes=dict(shape.notes),
            remarks=remarks,
        )

    def opened(self, value: str) -> str | None:
        """Return the text of the file that a field names; None for a field that is text. Errors: Unfit."""
        return None
