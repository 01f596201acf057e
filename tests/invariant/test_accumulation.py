"""Splitting a window changes nothing: eight micro-batches of one row equal one of eight, with ragged masks, in float32.

python -m pytest tests/invariant/test_accumulation.py
"""

from __future__ import annotations

import pytest
import torch
from tests.train.tiny import tiny_model, tiny_rows, work_in

from septet.data.batches import Batches
from septet.train.loop import fit
from septet.train.objectives.causal_lm import CausalLM
from septet.train.optimizer import Optimizer
from septet.train.plan import Plan


def train(folder, micro_rows, optimizer):
    model = tiny_model()
    # epsilon is large here: AdamW's first steps are the sign of the gradient, which turns rounding of a zero into a whole step
    plan = Plan(
        steps=4,
        learning_rate=1e-2,
        micro_rows=micro_rows,
        precision="float32",
        optimizer=Optimizer.parse({"kind": optimizer, "epsilon": 1e-3}),
    )
    done = fit(model, CausalLM(), Batches(tiny_rows(), 8, seed=0), plan, work=work_in(folder))
    return model, done


@pytest.mark.parametrize("micro_rows", [1, 3])
def test_accumulating_equals_one_batch(tmp_path, micro_rows):
    whole, once = train(tmp_path / "once", None, "adamw")
    split, parts = train(tmp_path / "parts", micro_rows, "adamw")
    for ours, theirs in zip(parts.curve, once.curve, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-6)
        assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], abs=1e-6)
        assert ours["tokens"] == theirs["tokens"]
    for ours, theirs in zip(split.module.parameters(), whole.module.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_a_mean_of_means_would_differ():
    # the masks are ragged enough for this test to mean something
    counts = [int((row.labels != -100).sum()) for row in tiny_rows()[:8]]
    assert max(counts) > 1.5 * min(counts)
