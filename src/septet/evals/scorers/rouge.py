"""ROUGE: how many words, pairs of words and common subsequences a summary shares with its reference, as F1.

    rouge1, rouge2    n-grams that both have, as often as both have them
    rougeL            the longest common subsequence of words of the whole texts
    rougeLsum         for each sentence (line) of the reference, the union of its longest common subsequences with the lines of the
                      summary; without line breaks the same as rougeL

Words are runs of a-z and 0-9 in lower case, so texts in other scripts have none and score 0. Of several references, the best one
counts, for each figure apart. Shares of 1, means over the samples. The values are those of Google's rouge-score, with and without
its stemmer.

What it is not: a judgement of truth or style, and not comparable with figures of ROUGE-1.5.5 to the last digit.

Source: Lin 2004 (W04-1013), sections 2 to 3; `rouge_score.rouge_scorer`.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import ClassVar

from septet.evals.porter import stem
from septet.evals.sample import Output, Sample, Score
from septet.evals.scorer import Reads, Scorer

__all__ = ["Rouge"]

_WORD = re.compile(r"[a-z0-9]+")

Table = list[list[int]]


class Rouge(Scorer):
    """F-measures of rouge-score."""

    reads: ClassVar[Reads] = "text"

    stemmer: bool = False
    """Compare the stems of words longer than three letters (Porter; English)."""

    def score(self, sample: Sample, output: Output) -> Score:
        each = [self._values(output.text, reference) for reference in sample.references]
        return Score(sample, {name: max(values[name] for values in each) for name in each[0]})

    def _values(self, said: str, right: str) -> dict[str, float]:
        a, b = self._words(said), self._words(right)
        return {
            "rouge1": _overlap(a, b, 1),
            "rouge2": _overlap(a, b, 2),
            "rougeL": _f1(_table(b, a)[-1][-1], len(a), len(b)),
            "rougeLsum": _by_lines(
                *([self._words(line) for line in text.split("\n") if line] for text in (said, right))
            ),
        }

    def _words(self, text: str) -> list[str]:
        words = _WORD.findall(text.lower())
        return [stem(word) if len(word) > 3 else word for word in words] if self.stemmer else words

    def signature(self) -> str:
        return f"as rouge-score: F-measure, {'Porter stemmer' if self.stemmer else 'no stemmer'}, lines are sentences"


def _f1(same: float, num_said: int, num_right: int) -> float:
    # 2PR/(P+R) with P = same/said and R = same/right
    return 2 * same / (num_said + num_right) if same else 0.0


def _overlap(said: list[str], right: list[str], order: int) -> float:
    a, b = (Counter(zip(*(words[start:] for start in range(order)), strict=False)) for words in (said, right))
    return _f1((a & b).total(), a.total(), b.total())


def _table(right: list[str], said: list[str]) -> Table:
    """Return the lengths of the longest common subsequences of all beginnings, [words + 1, words + 1]."""
    table = [[0] * (len(said) + 1)]
    for word in right:
        above, row = table[-1], [0]
        for place, other in enumerate(said):
            row.append(above[place] + 1 if word == other else max(row[place], above[place + 1]))
        table.append(row)
    return table


def _common(right: list[str], said: list[str]) -> set[int]:
    """Return the places in `right` of one longest common subsequence, the one that rouge-score finds."""
    table, i, j = _table(right, said), len(right), len(said)
    found = set()
    while i and j:
        if right[i - 1] == said[j - 1]:
            i, j = i - 1, j - 1
            found.add(i)
        elif table[i][j - 1] > table[i - 1][j]:
            j -= 1
        else:
            i -= 1
    return found


def _by_lines(said: list[list[str]], right: list[list[str]]) -> float:
    """Lin 2004, section 3.2; each word counts at most as often as both texts have it, as in ROUGE-1.5.5."""
    left = Counter(word for line in said for word in line) & Counter(word for line in right for word in line)
    hits = 0
    for line in right:
        for place in sorted(set[int]().union(*(_common(line, other) for other in said))):
            if left[line[place]] > 0:
                left[line[place]] -= 1
                hits += 1
    return _f1(hits, sum(map(len, said)), sum(map(len, right)))
