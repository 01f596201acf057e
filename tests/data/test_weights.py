"""How often a document counts.

python -m pytest tests/data/test_weights.py
"""

from __future__ import annotations

import pytest

from septet.core.errors import DataError
from septet.data.documents import Document
from septet.data.weights import chance, repetitions


def test_a_weight_is_the_mean_of_the_repetitions():
    found = [repetitions(Document(id=str(i), text="a", meta={"weight": 1.25})) for i in range(4000)]
    assert set(found) == {1, 2}
    assert sum(found) / 4000 == pytest.approx(1.25, abs=0.03)


def test_no_weight_is_one_and_whole_weights_are_exact():
    assert repetitions(Document(id="a", text="a")) == 1
    assert [repetitions(Document(id="a", text="a", meta={"weight": w})) for w in (0, 1, 3, 2.0)] == [0, 1, 3, 2]


def test_the_choice_depends_on_seed_and_id_alone():
    assert chance(0, "a") == chance(0, "a")
    assert len({chance(0, "a"), chance(1, "a"), chance(0, "b")}) == 3
    assert all(0 <= chance(0, str(i)) < 1 for i in range(100))


@pytest.mark.parametrize("weight", [-1, "2", None, True, 1e9, float("nan")])
def test_what_is_no_weight_is_told(weight: object):
    with pytest.raises(DataError, match="'a' has the weight"):
        repetitions(Document(id="a", text="a", meta={"weight": weight}))
