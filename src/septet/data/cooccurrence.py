"""Words that stand beside others: counts in bounded memory that add up in any order, and the words that set one group apart.

Counts are exact until `limit` entries (group, word) are held; then only documents whose hash has one more trailing zero bit go on
being counted, half of them, and the counts of the others are forgotten: counts are kept apart by the number of those zero bits
(the level). The level that remains is the lowest at which all documents' entries fit. It is the same however the documents were
cut into pieces, because a piece never has more entries than the whole. (A sketch would also add up, but loses the words; a
pruned counter keeps the words, but depends on the order.)

    Monroe, Colaresi and Quinn (2008), "Fightin' Words", with a prior a_w, a_0 = sum_w a_w, counts y of n words:
    d_w   = log((y1 + a_w) / (n1 + a_0 - y1 - a_w)) - log((y2 + a_w) / (n2 + a_0 - y2 - a_w))       (eq. 16)
    var_w = 1 / (y1 + a_w) + 1 / (y2 + a_w)                                                        (eq. 20)
    z_w   = d_w / sqrt(var_w)                                                                      (eq. 22)

    python -m pytest tests/data/test_cooccurrence.py
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

__all__ = ["LogOdds", "WordCounts", "level_of", "log_odds"]

Table = defaultdict[str, Counter[str]]


def _table() -> Table:
    return defaultdict(Counter)


def level_of(doc_id: str) -> int:
    """Return the number of trailing zero bits of the id's hash: 0 for half of all ids, 1 for a quarter, and so on; 63 at most."""
    digest = hashlib.blake2b(doc_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    value = int.from_bytes(digest, "big") | 1 << 63
    return (value & -value).bit_length() - 1


class WordCounts:
    """How often each word stood beside each group.

    limit: the most entries that are held. level: documents below it are not counted (any more); 2^-level of them remain.
    """

    def __init__(self, limit: int) -> None:
        assert limit > 0, limit
        self.limit = limit
        self.level = 0
        self.size = 0
        self._levels: defaultdict[int, Table] = defaultdict(_table)

    def add(self, level: int, group: str, words: Collection[str], times: int = 1) -> None:
        """Count each of the words beside the group. level: of the document, from `level_of`."""
        if level < self.level:
            return
        counts = self._levels[level][group]
        before = len(counts)
        if times == 1:
            counts.update(words)
        else:
            counts.update(dict.fromkeys(words, times))
        self.size += len(counts) - before
        self._shrink()

    def _shrink(self) -> None:
        while self.size > self.limit:
            self.size -= sum(map(len, self._levels.pop(self.level, _table()).values()))
            self.level += 1

    def merge(self, tally: Mapping[str, Any]) -> None:
        """Add what another one's `to_json` gave."""
        self.level = max(self.level, tally["level"])
        for level in [level for level in self._levels if level < self.level]:
            self.size -= sum(map(len, self._levels.pop(level).values()))
        for level, table in tally["counts"].items():
            for group, counts in table.items():
                if int(level) >= self.level:
                    mine = self._levels[int(level)][group]
                    self.size -= len(mine)
                    mine.update(counts)
                    self.size += len(mine)
        self._shrink()

    def to_json(self) -> dict[str, Any]:
        """Return the level and the counts, in an order of their own, so that equal counts are equal bytes."""
        return {
            "level": self.level,
            "counts": {
                str(level): {group: dict(sorted(table[group].items())) for group in sorted(table)}
                for level, table in sorted(self._levels.items())
            },
        }

    def total(self) -> Table:
        """Return group -> word -> count over all levels."""
        found = _table()
        for _, table in sorted(self._levels.items()):
            for group, counts in table.items():
                found[group].update(counts)
        return found


class LogOdds(NamedTuple):
    """count: beside the group; others: beside the groups it is compared with. value, error: of the log-odds difference."""

    word: str
    count: int
    others: int
    value: float
    error: float

    @property
    def z(self) -> float:
        return self.value / self.error


def log_odds(
    counts: Mapping[str, int],
    others: Mapping[str, int],
    background: Mapping[str, int],
    *,
    words: Iterable[str],
    prior: float,
) -> list[LogOdds]:
    """Return the log-odds difference of each of `words` between two sets of counts, in the order of `words`.

    background: counts that the prior is made of, a_w = prior * background_w / sum(background); a word that it lacks has half
    of one count there. prior: a_0, in words. Needs words on both sides, and two different words in the background.
    """
    n1, n2, whole = sum(counts.values()), sum(others.values()), sum(background.values())
    found = []
    for word in words:
        y1, y2 = counts.get(word, 0), others.get(word, 0)
        a = prior * (background.get(word, 0) or 0.5) / whole
        first = math.log((y1 + a) / (n1 + prior - y1 - a))
        second = math.log((y2 + a) / (n2 + prior - y2 - a))
        found.append(LogOdds(word, y1, y2, first - second, math.sqrt(1 / (y1 + a) + 1 / (y2 + a))))
    return found
