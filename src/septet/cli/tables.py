"""Tables and bars for a terminal, in plain text, so that they can be piped.

>>> print(table(["a", "n"], [["x", "10"]], right={1}))
  a   n
  x  10
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

__all__ = ["bar", "size", "table"]


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


def size(count: float) -> str:
    """Return bytes for people.

    >>> size(2_500_000)
    '2.5 MB'
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError
