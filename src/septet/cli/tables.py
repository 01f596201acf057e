"""Tables and bars for a terminal, in plain text, so that they can be piped.

>>> print(table(["a", "n"], [["x", "10"]], right={1}))
  a   n
  x  10
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

__all__ = ["bar", "table"]


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> str:
    """Return the rows under their heads, columns as wide as they must be; `right` are the columns of numbers."""
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return f"  {'  '.join(cells)}".rstrip()

    return "\n".join(map(line, (head, *rows)))


def bar(share: float, width: int = 24) -> str:
    """Return a bar of up to `width` characters; something is always seen of what is more than nothing."""
    full = round(share * width)
    return "█" * full if full or share <= 0 else "▏"
