"""A run that was stopped or killed ends with the same bits as one that was not.

python -m pytest tests/invariant/test_resume.py
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.train.tiny import tiny_model, tiny_rows, work_in

from septet.core import registry
from septet.core.errors import Stopped
from septet.data.batches import Batches
from septet.train.loop import fit
from septet.train.objectives.causal_lm import CausalLM
from septet.train.optimizer import Optimizer
from septet.train.plan import Plan
from septet.train.schedules.cosine import Cosine

STEPS = 12


def run(folder: Path, *, optimizer: str = "adamw", stop_after: int | None = None, dropout: float = 0.1):
    """Train in `folder`, from its checkpoint if it has one; stop as if by Ctrl-C after some steps of this process."""
    seen = 0

    def stopping() -> bool:
        return stop_after is not None and seen >= stop_after

    def count(event) -> None:
        nonlocal seen
        seen += type(event).__name__ == "Progress"

    # dropout draws from torch's generator in every step, so its state must come back too
    model = tiny_model(attention_dropout=dropout)
    plan = Plan(
        steps=STEPS,
        learning_rate=1e-2,
        schedule=Cosine(warmup=2),
        optimizer=Optimizer.parse(optimizer),
        eval_every=4,
        checkpoint_every=3,
        micro_rows=3,
        seed=5,
    )
    rows = tiny_rows()
    work = work_in(folder, stopping=stopping, emit=count)
    done = fit(model, CausalLM(), Batches(rows, 7, seed=5), plan, work=work, held_out=rows[:5])
    return model, done


def weights(model) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.module.named_parameters()}


@pytest.fixture(scope="module", params=registry.names(Optimizer.drawer))
def whole(request, tmp_path_factory):
    model, done = run(tmp_path_factory.mktemp("whole"), optimizer=request.param)
    return request.param, weights(model), done.curve


@pytest.mark.parametrize("stops", [[1], [4], [7, 2], [2, 2, 2, 2, 2]])
def test_stopped_equals_uninterrupted(tmp_path, whole, stops):
    optimizer, expected, curve = whole
    for stop in stops:
        with pytest.raises(Stopped):
            run(tmp_path, optimizer=optimizer, stop_after=stop)
    model, done = run(tmp_path, optimizer=optimizer)
    assert done.resumed_at is not None
    assert json.dumps(done.curve) == json.dumps(curve)
    for name, value in weights(model).items():
        assert torch.equal(value, expected[name]), name


def test_a_finished_run_is_not_run_again(tmp_path):
    first, done = run(tmp_path)
    again, redone = run(tmp_path)
    assert redone.resumed_at == STEPS
    assert redone.curve == done.curve
    assert redone.held_out == done.held_out
    assert all(torch.equal(a, b) for a, b in zip(first.module.parameters(), again.module.parameters(), strict=True))


def test_a_checkpoint_of_another_run_is_not_used(tmp_path):
    with pytest.raises(Stopped):
        run(tmp_path, stop_after=3)
    _, done = run(tmp_path, optimizer="muon")
    assert done.resumed_at is None


CHILD = """
import sys
from pathlib import Path
from safetensors.torch import save_file
sys.path[:0] = {path!r}
from tests.invariant.test_resume import run, weights
model, done = run(Path(sys.argv[1]))
save_file({{name: value.contiguous() for name, value in weights(model).items()}}, sys.argv[2])
"""


def test_killed_equals_uninterrupted(tmp_path):
    """SIGKILL of a real process: after some steps, at a moment that differs from run to run."""
    expected, _ = run(tmp_path / "whole")
    code = CHILD.format(path=sys.path)
    command = [sys.executable, "-c", code, str(tmp_path / "killed"), str(tmp_path / "weights.safetensors")]
    state = tmp_path / "killed" / "state"
    with subprocess.Popen(command) as child:
        while not list(state.glob("fit-*.safetensors")) and child.poll() is None:
            pass
        # somewhere within the remaining steps, which take some hundredths of a second
        for _ in range(random.SystemRandom().randrange(200_000)):
            pass
        child.send_signal(signal.SIGKILL)
    model, done = run(tmp_path / "killed")
    assert done.resumed_at is not None
    saved = tmp_path / "weights.safetensors"
    if not saved.exists():  # killed in time; else the child had finished, and its weights are checked as well
        save_file({name: value.contiguous() for name, value in weights(model).items()}, saved)
    found = load_file(saved)
    for name, value in weights(expected).items():
        assert torch.equal(found[name], value), name
        assert torch.equal(weights(model)[name], value), name
