"""The learning rate over time, by hand and beside torch's and transformers' own schedules.

python -m pytest tests/train/test_plan.py
"""

from __future__ import annotations

import doctest
import json

import pytest
import torch
import transformers
from torch import nn

from septet.core import registry
from septet.core.errors import ComponentError
from septet.train import schedule as module
from septet.train.plan import Plan
from septet.train.schedule import Schedule
from septet.train.schedules.cosine import Cosine
from septet.train.schedules.inverse_sqrt import InverseSqrt
from septet.train.schedules.linear import Linear

KINDS = registry.names(Schedule.drawer)


def test_the_example_in_the_docstring():
    assert doctest.testmod(module).failed == 0


def test_cosine_by_hand():
    plan = Plan(steps=10, learning_rate=2.0, schedule=Cosine(warmup=2, floor=0.1))
    assert plan.rate(0) == pytest.approx(1.0)
    assert plan.rate(2) == pytest.approx(2.0)
    # half of the way down: 0.1 + 0.9 * 0.5
    assert plan.rate(6) == pytest.approx(2.0 * 0.55)


def test_linear_and_inverse_root_by_hand():
    assert [Linear(warmup=2).share(step, 6) for step in range(6)] == [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    # the root of 4 / (step + 1) from the end of the warm-up on
    assert [InverseSqrt(warmup=4).share(step, 99) for step in (3, 4, 15, 63)] == pytest.approx(
        [1, (4 / 5) ** 0.5, 0.5, 0.25]
    )


@pytest.mark.parametrize(
    ("schedule", "reference"),
    [
        (Cosine(warmup=5), transformers.get_cosine_schedule_with_warmup),
        (Linear(warmup=5), transformers.get_linear_schedule_with_warmup),
    ],
)
def test_after_the_warmup_they_are_transformers_own(schedule, reference):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = reference(optimizer, num_warmup_steps=5, num_training_steps=40)
    for step in range(40):
        if step >= 5:  # its first step has a rate of zero, and learns nothing
            assert schedule.share(step, 40) == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize("kind", KINDS)
def test_it_rises_then_never_rises_again_and_stays_positive(kind):
    plan = Plan(steps=50, learning_rate=1.0, schedule=Schedule.parse({"kind": kind, "warmup": 5}))
    rates = [plan.rate(step) for step in range(50)]
    assert rates[:5] == sorted(rates[:5])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert min(rates) > 0
    assert max(rates) == 1.0


def test_warmup_is_steps_or_a_share():
    assert Cosine(warmup=0.05).warm(200) == 10
    assert Cosine(warmup=7).warm(200) == 7
    with pytest.raises(ComponentError, match="whole number of steps"):
        Schedule.parse({"kind": "cosine", "warmup": 1.5})


def test_what_decides_the_result_is_in_the_facts_and_what_does_not_is_not():
    facts = Plan(steps=3, learning_rate=1.0, keep=5, checkpoint_every=7).facts()
    json.dumps(facts)
    assert facts["optimizer"]["kind"] == "adamw"
    assert not {"keep", "checkpoint_every", "checkpoint_seconds"} & set(facts)
