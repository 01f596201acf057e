"""What must hold for every family with every objective that fits it: splitting, packing, stopping, killing, saving change nothing.

python -m pytest tests/invariant/test_families.py
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.train.families import CONTEXT, FAMILIES, cases, objectives, rows_for, rows_of, texts, tiny
from tests.train.tiny import work_in

from septet.core.errors import Stopped
from septet.data.batches import Batches
from septet.nn.architecture import auto_class
from septet.train import checkpoint
from septet.train.loop import fit
from septet.train.objective import Objective, generators
from septet.train.optimizers.adamw import AdamW
from septet.train.optimizers.muon import Muon
from septet.train.plan import Plan

CASES = cases()
NAMES = [f"{family}-{objective.kind}" for family, objective in CASES]


def plan(**changes) -> Plan:
    settings = {
        "steps": 4,
        "learning_rate": 1e-2,
        "precision": "float32",
        "optimizer": AdamW(epsilon=1e-3),
        "seed": 3,
    }
    return Plan(**{**settings, **changes})


def train(folder: Path, family: str, objective: Objective, settings: Plan, *, stop_after=None, dropout=0.0):
    seen = 0

    def count(event) -> None:
        nonlocal seen
        seen += type(event).__name__ == "Progress"

    model = tiny(family, objective=objective, dropout=dropout)
    rows = rows_for(objective)
    work = work_in(folder, stopping=lambda: stop_after is not None and seen >= stop_after, emit=count)
    return model, fit(model, objective, Batches(rows, 4, seed=3), settings, work=work, held_out=rows[:3])


@pytest.mark.parametrize(("family", "objective"), CASES, ids=NAMES)
def test_splitting_a_window_changes_nothing(tmp_path, family, objective):
    whole, once = train(tmp_path / "once", family, objective, plan())
    split, parts = train(tmp_path / "parts", family, objective, plan(micro_rows=1))
    for ours, theirs in zip(parts.curve, once.curve, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=2e-6)
    for (name, ours), theirs in zip(split.module.named_parameters(), whole.module.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=5e-6, rtol=0, msg=name)


@pytest.mark.parametrize(("family", "objective"), CASES, ids=NAMES)
def test_stopped_equals_uninterrupted(tmp_path, family, objective):
    # dropout draws from torch's generator in every step, so its state must come back too
    settings = plan(steps=6, optimizer=Muon(), micro_rows=3, checkpoint_every=2)
    expected, done = train(tmp_path / "whole", family, objective, settings, dropout=0.1)
    for stop in (1, 3):
        with pytest.raises(Stopped):
            train(tmp_path / "stopped", family, objective, settings, stop_after=stop, dropout=0.1)
    model, again = train(tmp_path / "stopped", family, objective, settings, dropout=0.1)
    assert again.resumed_at is not None
    assert json.dumps(again.curve) == json.dumps(done.curve)
    for (name, ours), theirs in zip(model.module.named_parameters(), expected.module.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


@pytest.mark.parametrize(("family", "objective"), CASES, ids=NAMES)
def test_every_trainable_parameter_gets_a_gradient(family, objective):
    model = tiny(family, objective=objective)
    rows = rows_for(objective)
    batch = objective.prepare(rows, model.tokenizer, generators(len(rows), 0))
    terms = objective.loss(batch, model, {})
    assert all(np.isfinite(float(term.sum.detach())) and term.weight > 0 for term in terms.values())
    sum(term.sum / term.weight for term in terms.values() if term.minimised).backward()
    without = {name for name, p in model.module.named_parameters() if p.grad is None or not p.grad.abs().sum()}
    # XLNet's bias for segments is used only where there are segments; the pooler of BERT only where there are pairs
    assert {name for name in without if "seg_embed" not in name and "r_s_bias" not in name} == set()


def predicted(model, batch) -> torch.Tensor:
    """-log p of every label, in the order of the labels' values of `extra['piece']`."""
    return model.nll(batch.inputs, batch.labels)[batch.labels != -100].detach()


# where pairs are judged, what is drawn for one text depends on the others; masked-lm has the same layout and mask
SINGLE = [case for case in CASES if not case[1].pairs]


@pytest.mark.parametrize(("family", "objective"), SINGLE, ids=[f"{f}-{o.kind}" for f, o in SINGLE])
def test_packed_texts_do_not_see_each_other(family, objective):
    """The loss of a text is the same alone and in a row with others."""
    model = tiny(family, objective=objective)
    model.module.eval()
    documents = texts(6, seed=1, longest=7)
    together = rows_of(documents)
    assert len(together) == 1
    rng = np.random.default_rng(5)
    whole = objective.prepare(together, model.tokenizer, [rng])
    alone, rng = [], np.random.default_rng(5)
    for document in sorted(documents, key=lambda text: -len(text)):  # as best fit packs them: the longest first
        alone.append(objective.prepare(rows_of([document]), model.tokenizer, [rng]))
    found = torch.cat([predicted(model, batch) for batch in alone])
    torch.testing.assert_close(predicted(model, whole).sort().values, found.sort().values, atol=2e-5, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_model_is_the_same_in_plain_transformers(tmp_path, family):
    model = tiny(family)
    model.module.eval()
    model.module.save_pretrained(tmp_path)
    plain = auto_class(model.architecture).from_pretrained(tmp_path).eval()
    ids = torch.from_numpy(np.random.default_rng(0).integers(7, 48, (2, 12)))
    inputs = {"input_ids": ids}
    if model.architecture == "encoder-decoder":
        inputs["decoder_input_ids"] = ids.flip(1)
    with torch.no_grad():
        theirs = plain(**inputs).logits.float()
        torch.testing.assert_close(model.outputs(inputs).logits, theirs, atol=1e-5, rtol=0)
        labels = torch.from_numpy(np.random.default_rng(1).integers(0, 64, (2, 12)))
        expected = torch.nn.functional.cross_entropy(theirs.flatten(0, 1), labels.flatten(), reduction="sum")
        torch.testing.assert_close(model.nll_sum(inputs, labels), expected, atol=1e-3, rtol=1e-5)
    assert model.context == CONTEXT


def default(family: str) -> Objective:
    return objectives(family)[0]


MOMENTS = {
    "in a step": (torch.nn.utils, "get_total_norm", 9),
    "in a save": (checkpoint.os, "fsync", 4),  # a checkpoint syncs its file and its folder
    "before the rename": (checkpoint.os, "replace", 3),
}


def train_and_die(moment: str, *arguments) -> None:
    """Train in a process of its own, which kills itself at a moment."""
    module, name, at = MOMENTS[moment]
    kept, seen = getattr(module, name), []

    def counted(*args, **kwargs):
        seen.append(None)
        if len(seen) == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return kept(*args, **kwargs)

    setattr(module, name, counted)
    train(*arguments)


@pytest.mark.parametrize("family", FAMILIES)
def test_killed_equals_uninterrupted(tmp_path, family):
    """SIGKILL of a process: within a step, within a save, before a checkpoint is renamed, at a random moment."""
    settings = plan(steps=24, checkpoint_every=3)
    expected, _ = train(tmp_path / "whole", family, default(family), settings)
    fork = multiprocessing.get_context("fork")  # a process that begins anew takes five seconds to import torch
    for moment in (*MOMENTS, "at random"):
        folder = tmp_path / moment.replace(" ", "-")
        arguments = (folder, family, default(family), settings)
        if moment == "at random":
            child = fork.Process(target=train, args=arguments)
            child.start()
            while not list((folder / "state").glob("fit-*.safetensors")) and child.is_alive():
                pass
            for _ in range(random.SystemRandom().randrange(200_000)):
                pass
            child.kill()
        else:
            child = fork.Process(target=train_and_die, args=(moment, *arguments))
            child.start()
        child.join(60)
        assert child.exitcode == -signal.SIGKILL or (moment == "at random" and child.exitcode == 0), moment
        model, done = train(*arguments)
        assert done.resumed_at is not None, moment
        for (name, ours), theirs in zip(model.module.named_parameters(), expected.module.parameters(), strict=True):
            assert torch.equal(ours, theirs), (moment, name)
