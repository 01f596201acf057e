"""Batches: every row once an epoch, the same order for the same seed, and a cursor that goes on.

python -m pytest tests/data/test_batches.py
"""

from __future__ import annotations

import json

import pytest

from septet.core.errors import DataError
from septet.data.batches import Batches


def test_every_row_comes_once_an_epoch_and_orders_differ():
    batches = Batches(range(6), 3, seed=1)
    first = batches.next() + batches.next()
    second = batches.next() + batches.next()
    assert sorted(first) == sorted(second) == list(range(6))
    assert first != second


def test_a_batch_over_the_end_of_an_epoch_is_full():
    batches = Batches(range(5), 3, seed=1)
    found = [row for _ in range(5) for row in batches.next()]
    assert all(sorted(found[start : start + 5]) == list(range(5)) for start in (0, 5, 10))


def test_a_batch_larger_than_the_data():
    assert sorted(Batches([7, 8], 4).next()) == [7, 7, 8, 8]


@pytest.mark.parametrize("stop", range(8))
def test_restoring_goes_on(stop):
    whole, cut = Batches(range(10), 4, seed=3), Batches(range(10), 4, seed=3)
    expected = [whole.next() for _ in range(8)]
    for _ in range(stop):
        cut.next()
    fresh = Batches(range(10), 4, seed=3)
    fresh.restore(json.loads(json.dumps(cut.state())))
    assert [fresh.next() for _ in range(8 - stop)] == expected[stop:]


def test_the_seed_is_the_order():
    assert Batches(range(20), 20, seed=1).next() == Batches(range(20), 20, seed=1).next()
    assert Batches(range(20), 20, seed=1).next() != Batches(range(20), 20, seed=2).next()


def test_no_rows_is_an_error_for_people():
    with pytest.raises(DataError, match="no rows"):
        Batches([], 4)
