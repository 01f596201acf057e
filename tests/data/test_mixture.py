"""Mixtures: shares, passes, stages, and an order that any number of readers can go on with.

python -m pytest tests/data/test_mixture.py
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from septet.core.errors import ComponentError
from septet.data.mixture import Mixture, Sizes, permuted

SIZES = {"a": Sizes(100, 1000, 50), "b": Sizes(300, 3000, 10)}


@given(st.integers(1, 700), st.integers(0, 10))
def test_a_permutation_is_one(size: int, key: int):
    found = permuted(np.arange(size), size, (key, 1))
    assert sorted(found.tolist()) == list(range(size))


def test_permutations_do_not_resemble_each_other():
    first, second = (permuted(np.arange(20_000), 20_000, (key,)) for key in (0, 1))
    for found in (first, second):
        assert abs(np.corrcoef(np.arange(20_000), found)[0, 1]) < 0.03
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03
    # every tenth of the places gets every tenth of the rows about equally often
    table = np.histogram2d(np.arange(20_000), first, bins=10)[0]
    assert ((table - 200) ** 2 / 200).sum() < 150  # chi-square, 81 degrees of freedom


def counts(mixture: Mixture) -> list[list[int]]:
    return mixture.order(SIZES).counts.tolist()


def test_shares():
    assert counts(Mixture()) == [[100, 300]]
    assert counts(Mixture(weights={"a": 1, "b": 1})) == [[200, 200]]
    assert counts(Mixture(weights={"b": 5})) == [[0, 400]]
    assert counts(Mixture(weights={"a": 3, "b": 1}, rows=40)) == [[30, 10]]
    # a document of "a" fills 2 rows, one of "b" 30: as many documents of each is 1 to 15 in rows
    assert counts(Mixture(weights={"a": 1, "b": 1}, by="documents")) == [[25, 375]]
    # square roots: 10 to 17.32
    assert counts(Mixture(temperature=2)) == [[146, 254]]
    assert counts(Mixture(epochs={"a": 2.5})) == [[250, 300]]
    assert Mixture(epochs={"a": 2.5}).order(SIZES).epochs() == {"a": 2.5, "b": 1.0}
    stages = ({"share": 0.5, "weights": {"a": 1}}, {"share": 0.5, "weights": {"a": 1, "b": 3}})
    assert counts(Mixture.model_validate({"stages": stages})) == [[200, 0], [50, 150]]


def test_within_a_pass_every_row_comes_once():
    order = Mixture(epochs={"a": 2.5}).order(SIZES)
    source, row = order.at(0, len(order))
    times = np.bincount(row[source == 0])
    assert sorted(set(times.tolist())) == [2, 3]
    assert times.sum() == 250
    assert np.bincount(row[source == 1]).tolist() == [1] * 300
    stages = ({"share": 0.25, "weights": {"a": 1}}, {"share": 0.75, "weights": {"b": 1}})
    order = Mixture.model_validate({"stages": stages}).order(SIZES)
    source, row = order.at(0, len(order))
    assert set(source[:100].tolist()) == {0}
    assert set(source[100:].tolist()) == {1}
    assert sorted(row[:100].tolist()) == list(range(100))


@settings(deadline=None)
@given(st.integers(1, 50), st.integers(0, 399))
def test_it_goes_on_at_any_place(step: int, start: int):
    order = Mixture(weights={"a": 1, "b": 1}).order(SIZES)
    whole = np.stack(order.at(0, 500))
    pieces = [np.stack(order.at(place, place + step)) for place in range(0, 400, step)]
    assert np.array_equal(np.concatenate(pieces, axis=1)[:, :400], whole[:, :400])
    assert np.array_equal(np.stack(order.at(start, start + 100)), whole[:, start : start + 100])


def test_a_second_lap_and_another_seed_are_other_orders():
    order = Mixture().order(SIZES)
    first, second = np.stack(order.at(0, 400)), np.stack(order.at(400, 800))
    assert not np.array_equal(first, second)
    assert sorted(map(tuple, first.T.tolist())) == sorted(map(tuple, second.T.tolist()))
    assert not np.array_equal(first, np.stack(Mixture(seed=1).order(SIZES).at(0, 400)))


def test_what_does_not_fit():
    with pytest.raises(ComponentError, match=r"weighs 'aa', which is no source.*Did you mean 'a'"):
        Mixture(weights={"aa": 1}).order(SIZES)
    with pytest.raises(ComponentError, match="leave no rows"):
        Mixture(weights={"a": 0}).order(SIZES)
    with pytest.raises(ComponentError, match="no rows to mix"):
        Mixture().order({"a": Sizes(0, 0, 0)})
    for wrong, words in (
        ({"weights": {"a": 1}, "epochs": {"a": 1}}, "weights and epochs are given"),
        ({"stages": [{"share": 0.5}]}, "add up to 0.5"),
        ({"weights": {"a": -1}}, "the weight of 'a' is -1"),
    ):
        with pytest.raises(ValidationError, match=words):
            Mixture.model_validate(wrong)
