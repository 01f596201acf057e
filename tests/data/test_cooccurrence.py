"""Counts of words beside groups, and the log-odds of Monroe et al.

python -m pytest tests/data/test_cooccurrence.py
"""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest

from septet.data.cooccurrence import WordCounts, level_of, log_odds


def test_log_odds_of_four_words_by_hand():
    # group: tea 3, war 1; others: tea 1, war 3; background: the two together; a_0 = 2, so that a_tea = a_war = 1
    tea, war = log_odds(
        {"tea": 3, "war": 1}, {"tea": 1, "war": 3}, {"tea": 4, "war": 4}, words=["tea", "war"], prior=2.0
    )
    # log(4 / (4 + 2 - 3 - 1)) - log(2 / (4 + 2 - 1 - 1)) = log 2 - log 0.5 = log 4; variance 1/4 + 1/2
    assert tea.value == pytest.approx(math.log(4))
    assert tea.error == pytest.approx(math.sqrt(0.75))
    assert tea.z == pytest.approx(math.log(4) / math.sqrt(0.75))
    assert war.value == pytest.approx(-math.log(4))
    assert (tea.count, tea.others) == (3, 1)


def test_log_odds_against_a_plain_reference():
    rng = np.random.default_rng(1)
    words = [f"w{i}" for i in range(40)]
    y1, y2 = rng.integers(0, 60, 40), rng.integers(1, 90, 40)
    whole = y1 + y2
    prior = 500 * whole / whole.sum()
    odds = [np.log((y + prior) / (y.sum() + prior.sum() - y - prior)) for y in (y1, y2)]
    z = (odds[0] - odds[1]) / np.sqrt(1 / (y1 + prior) + 1 / (y2 + prior))
    counts = [dict(zip(words, map(int, y), strict=True)) for y in (y1, y2, whole)]
    found = log_odds(*counts, words=words, prior=500.0)
    assert [one.z for one in found] == pytest.approx(z.tolist())


def test_levels_are_the_trailing_zeros_of_a_hash():
    levels = [level_of(f"doc-{i}") for i in range(4000)]
    assert levels.count(0) == pytest.approx(2000, abs=150)
    assert levels.count(1) == pytest.approx(1000, abs=120)
    assert max(levels) < 64


def rows(seed: int, docs: int = 300) -> list[tuple[int, str, list[str]]]:
    rng = random.Random(seed)
    found = []
    for number in range(docs):
        for _ in range(3):
            words = {f"w{int(rng.paretovariate(0.7)) % 3000}" for _ in range(8)}
            found.append((level_of(f"d{number}"), rng.choice("abc"), sorted(words)))
    return found


@pytest.mark.parametrize("limit", [10**6, 700, 300])
@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_pieces_in_any_order_give_the_same_counts(limit: int, pieces: int):
    every = rows(3)
    whole = WordCounts(limit)
    for row in every:
        whole.add(*row)
    found = WordCounts(limit)
    parts = [every[place::pieces] for place in range(pieces)]  # a document's rows may lie in several pieces
    for part in reversed(parts):
        own = WordCounts(limit)
        for row in part:
            own.add(*row)
        found.merge(json.loads(json.dumps(own.to_json())))
    assert json.dumps(found.to_json()) == json.dumps(whole.to_json())
    assert found.size == whole.size <= limit
    assert (whole.level > 0) == (limit < 10**6)


def test_what_remains_is_counted_in_full():
    every, kept = rows(4), WordCounts(400)
    for row in every:
        kept.add(*row)
    exact = WordCounts(10**6)
    for row in every:
        if row[0] >= kept.level:
            exact.add(*row)
    assert kept.total() == exact.total()


def test_a_document_that_counts_twice():
    found = WordCounts(10)
    found.add(0, "a", ["x", "y"], 2)
    found.add(0, "a", ["x"])
    assert found.total() == {"a": {"x": 3, "y": 2}}
