"""Tables as HTML, and sizes in words, for the pages of the report.

    python -m pytest tests/ops/test_report.py
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from septet.ops.report.charts import number
from septet.ops.report.html import Markup, tag

__all__ = ["size_text", "table"]


def table(
    head: Sequence[str], rows: Sequence[Sequence[Any]], caption: str, *, numbers: Collection[int] = ()
) -> Markup:
    """Return a table; the first cell of a row is its name, the columns in `numbers` are set right."""

    def style(column: int) -> str | None:
        return "n" if column in numbers else None

    top = tag("tr", *(tag("th", text, scope="col", class_=style(i)) for i, text in enumerate(head)))
    body = [
        tag(
            "tr",
            tag("th", row[0], scope="row"),
            *(tag("td", cell, class_=style(i)) for i, cell in enumerate(row[1:], 1)),
        )
        for row in rows
    ]
    return tag("table", tag("caption", caption), tag("thead", top), tag("tbody", *body))


def size_text(size: float) -> str:
    """Return bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{number(size)} {unit}"
        size /= 1000
    raise AssertionError
