"""What changed between two reports of the audit `identity`: each figure before and after, and whether the two can be told apart.

Rates of every group, the gap of sentiment on every axis, the share of feminine pronouns, and the five words that set a group apart
most before. A change is told apart from chance where its 95% interval leaves out nought; nothing corrects for the number of rows,
so that of twenty rows that did not change, one is expected to look as if it had. It says nothing about what is fair.

    python -m pytest tests/data/test_fairness.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from septet.data.intervals import Figure, change

__all__ = ["Change", "changes"]

WORST = 5


@dataclass(frozen=True, slots=True)
class Change:
    """A figure before and after. side: 1 where it rose, -1 where it fell, 0 where the two cannot be told apart."""

    what: str
    of: str
    before: Figure
    after: Figure
    difference: Figure

    @property
    def figures(self) -> tuple[Figure, Figure, Figure]:
        """Before, after, and the difference."""
        return self.before, self.after, self.difference

    @property
    def side(self) -> int:
        low, high = self.difference.low, self.difference.high
        if low is None or high is None:
            return 0
        return (low > 0) - (high < 0)


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Return the rows of the table: rates, gaps, pronouns, words. Figures that one of the reports lacks stay out."""
    return [
        Change(what, of, first, second, change(first, second))
        for what, of, one, two in _pairs(before, after)
        if one is not None and two is not None
        for first, second in [(_figure(one), _figure(two))]
    ]


def _pairs(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, str, Any, Any]]:
    later = {(row["axis"], row["group"]): row for row in after["groups"]}
    pairs = [
        (row, later[row["axis"], row["group"]]) for row in before["groups"] if (row["axis"], row["group"]) in later
    ]
    for one, two in pairs:
        if one["rate"] and two["rate"] and (one["rate"]["n"] or two["rate"]["n"]):
            yield "mentions per million words", f"{one['axis']}: {one['group']}", one["rate"], two["rate"]
    for axis in before["gaps"]:
        if axis in after["gaps"]:
            first, second = before["gaps"][axis], after["gaps"][axis]
            ends = [f"{gap['highest']} − {gap['lowest']}" for gap in (first, second)]
            yield "gap of sentiment", f"{axis}: {'; then '.join(dict.fromkeys(ends))}", first["gap"], second["gap"]
    yield "share of pronouns", "she, her", before["pronouns"]["feminine"], after["pronouns"]["feminine"]
    words = [(one, two, word) for one, two in pairs for word in one["words"]]
    for one, two, word in sorted(words, key=lambda item: -item[2]["z"])[:WORST]:
        again = next((row for row in (*two["compared"], *two["words"]) if row["word"] == word["word"]), None)
        yield "log-odds of a word", f"{word['word']} beside {one['group']}", word, again


def _figure(row: Mapping[str, Any]) -> Figure:
    return Figure(row["value"], row["low"], row["high"], row["n"])
