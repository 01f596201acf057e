"""The learning rate over time, by hand.

python -m pytest tests/train/test_plan.py
"""

from __future__ import annotations

import doctest

import pytest

from septet.train import plan as module
from septet.train.plan import Plan


def test_the_example_in_the_docstring():
    assert doctest.testmod(module).failed == 0


def test_cosine_by_hand():
    plan = Plan(steps=10, learning_rate=2.0, warmup=2, floor=0.1)
    assert plan.rate(0) == pytest.approx(1.0)
    assert plan.rate(2) == pytest.approx(2.0)
    # half of the way down: 0.1 + 0.9 * 0.5
    assert plan.rate(6) == pytest.approx(2.0 * 0.55)


@pytest.mark.parametrize("schedule", ["cosine", "wsd", "constant"])
def test_it_rises_then_never_rises_again_and_stays_positive(schedule):
    plan = Plan(steps=50, learning_rate=1.0, warmup=5, schedule=schedule)
    rates = [plan.rate(step) for step in range(50)]
    assert rates[:5] == sorted(rates[:5])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert min(rates) > 0
    assert max(rates) == 1.0
