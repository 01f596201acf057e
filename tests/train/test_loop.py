"""The loop: it learns, tells, evaluates without touching the training, stops at nonsense, and saves before it stops.

python -m pytest tests/train/test_loop.py
"""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.train.tiny import TOKENIZER, tiny_model, tiny_rows, work_in

from septet.core.errors import Stopped
from septet.core.events import Progress
from septet.core.step import Runtime
from septet.data.batches import Batches
from septet.data.packing import pack, text_sample
from septet.train.evaluation import evaluate
from septet.train.loop import DivergedError, fit
from septet.train.objective import Objective, Term
from septet.train.objectives.causal_lm import CausalLM
from septet.train.optimizers.adamw import AdamW
from septet.train.optimizers.muon import Muon
from septet.train.plan import Plan
from septet.train.runtime import settle
from septet.train.schedules.constant import Constant
from septet.train.schedules.cosine import Cosine


def test_it_learns_a_pattern(tmp_path):
    # documents that count upwards can be predicted all but perfectly
    rows, _ = pack([text_sample(range(2 + n, 22 + n), separator=0) for n in range(40)], 32, pad=1)
    model = tiny_model()
    plan = Plan(steps=60, learning_rate=1e-2, schedule=Cosine(warmup=5), optimizer=Muon())
    done = fit(model, CausalLM(), Batches(rows, 8), plan, work=work_in(tmp_path))
    assert done.curve[0]["loss"] > 3.5
    assert done.losses["nll"] < 1.0
    assert done.tokens == done.curve[-1]["tokens"]


def test_the_first_loss_is_transformers_own(tmp_path):
    rows = [row for row in tiny_rows(masked=False) if row.used == 32][:4]
    model, reference = tiny_model(), tiny_model()
    batch = CausalLM().prepare(rows, TOKENIZER, [])
    logits = reference.module(input_ids=batch.inputs["input_ids"], position_ids=batch.inputs["position_ids"]).logits
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.labels.flatten())
    plan = Plan(steps=1, learning_rate=1e-3, precision="float32")
    done = fit(model, CausalLM(), Batches(rows, 4), plan, work=work_in(tmp_path))
    assert done.losses["nll"] == pytest.approx(expected.item(), rel=1e-6)


def test_one_step_is_torchs_adamw_on_the_clipped_gradient(tmp_path):
    rows = tiny_rows()[:4]
    model, reference = tiny_model(), tiny_model()
    plan = Plan(steps=1, learning_rate=1e-2, precision="float32", clip=0.1, optimizer=AdamW(epsilon=1e-3))
    fit(model, CausalLM(), Batches(rows, 4, seed=0), plan, work=work_in(tmp_path))
    optimizer = torch.optim.AdamW(
        reference.module.parameters(), lr=1e-2, betas=(0.9, 0.95), eps=1e-3, weight_decay=0.0, foreach=False
    )
    batch = CausalLM().prepare(Batches(rows, 4, seed=0).next(), TOKENIZER, [])
    logits = reference.module(input_ids=batch.inputs["input_ids"], position_ids=batch.inputs["position_ids"]).logits
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.labels.flatten()).backward()
    torch.nn.utils.clip_grad_norm_(reference.module.parameters(), 0.1)
    optimizer.step()
    for ours, theirs in zip(model.module.parameters(), reference.module.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def test_progress_is_told_and_the_curve_has_no_clock(tmp_path):
    events = []
    model = tiny_model()
    plan = Plan(steps=6, learning_rate=1e-3, eval_every=2)
    done = fit(
        model,
        CausalLM(),
        Batches(tiny_rows(), 4),
        plan,
        work=work_in(tmp_path, emit=events.append),
        held_out=tiny_rows(seed=9),
    )
    told = [event for event in events if isinstance(event, Progress)]
    assert [event.done for event in told] == [1, 2, 3, 4, 5, 6]
    assert {"loss", "tokens_per_second"} <= set(told[-1].metrics)
    assert [record["step"] for record in done.curve if "held_out" in record] == [2, 4, 6]
    assert set(done.curve[0]) == {"step", "tokens", "loss", "terms", "learning_rate", "grad_norm"}
    json.dumps(done.curve, allow_nan=False)


def test_evaluation_changes_nothing(tmp_path):
    def train(name, **changes):
        model = tiny_model(attention_dropout=0.1)
        plan = Plan(steps=5, learning_rate=1e-2, **changes)
        fit(model, CausalLM(), Batches(tiny_rows(), 4), plan, work=work_in(tmp_path / name), held_out=tiny_rows(seed=9))
        return list(model.module.parameters())

    for often, once in zip(train("often", eval_every=1), train("once"), strict=True):
        assert torch.equal(often, once)


def test_evaluation_does_not_depend_on_how_many_rows_at_once(tmp_path):
    model, rows = tiny_model(), tiny_rows()
    settled = settle(work_in(tmp_path).runtime, precision="float32")
    found = [evaluate(model, CausalLM(), rows, settled=settled, rows_at_once=n)["nll"] for n in (1, 7, 100)]
    assert found[0] == pytest.approx(found[1], rel=1e-6) == pytest.approx(found[2], rel=1e-6)


class Exploding(CausalLM):
    """A loss that is not a number at some of its calls; `calls` is kept with the run."""

    at: tuple[int, ...] = (3,)
    value: float = 0.0

    def start(self, model):
        return {"calls": 0}

    def loss(self, batch, model, state, **frozen):
        state["calls"] += 1
        (name, term), *_ = super().loss(batch, model, state).items()
        factor = (self.value or float("nan")) if state["calls"] in self.at else 1.0
        return {name: Term(term.sum * factor, term.weight)}


def train(folder, objective, **changes):
    model, told = tiny_model(), []
    plan = Plan(**{"steps": 12, "learning_rate": 1e-2, "optimizer": AdamW(epsilon=1e-3), **changes})
    work = work_in(folder, emit=lambda event: told.append(getattr(event, "text", "")))
    done = fit(model, objective, Batches(tiny_rows(), 4), plan, work=work, held_out=tiny_rows(6, seed=9))
    return model, done, "\n".join(told)


def test_a_step_without_a_number_is_not_learned_from(tmp_path):
    _, done, told = train(tmp_path, Exploding(at=(3, 5)))
    assert [record["step"] for record in done.curve if record.get("skipped") == "non-finite"] == [3, 5]
    assert done.facts["skipped_steps"] == {"non-finite": 2}
    assert "Step 3 is not learned from: non-finite" in told
    assert math.isfinite(done.losses["nll"])


def test_a_skipped_step_moves_nothing(tmp_path):
    before = [p.detach().clone() for p in tiny_model().module.parameters()]
    model, *_ = train(tmp_path, Exploding(at=(2,)), steps=2, learning_rate=1e-2)
    once, *_ = train(tmp_path / "once", CausalLM(), steps=2, schedule=Constant(warmup=0))
    moved = [not torch.equal(a, b) for a, b in zip(before, model.module.parameters(), strict=True)]
    assert all(moved)
    assert any(not torch.equal(a, b) for a, b in zip(model.module.parameters(), once.module.parameters(), strict=True))


def test_a_loss_that_stays_no_number_stops_with_advice(tmp_path):
    with pytest.raises(DivergedError, match=r"At step 7 .*5 steps in a row .*Lower the learning rate"):
        train(tmp_path, Exploding(at=tuple(range(3, 99))))


BAD = 63


class Bad(Batches):
    """Windows 104 to 108 hold a token that no other window holds."""

    def next(self):
        number = self.epoch * len(self.rows) + self.place
        rows = super().next()
        if 104 <= number // 4 + 1 <= 108:
            rows[0] = replace(rows[0], ids=np.full_like(rows[0].ids, BAD))
        return rows


class Poisoned(CausalLM):
    def loss(self, batch, model, state, **frozen):
        (name, term), *_ = super().loss(batch, model, state).items()
        poisoned = bool((batch.inputs["input_ids"] == BAD).all(dim=1).any())
        return {name: Term(term.sum * (float("nan") if poisoned else 1.0), term.weight)}


def test_after_bad_data_it_goes_back_and_on_with_other_data(tmp_path):
    """Windows 104 to 108 give no numbers: back to the anchor of step 100, and on with window 109; stopped on the way or not."""

    def run(name, stop_after=None):
        seen, told = 0, []

        def emit(event):
            nonlocal seen
            seen += isinstance(event, Progress)
            told.append(getattr(event, "text", ""))

        model = tiny_model()
        plan = Plan(steps=112, learning_rate=1e-2, optimizer=AdamW(epsilon=1e-3))
        work = work_in(tmp_path / name, emit=emit, stopping=lambda: stop_after is not None and seen >= stop_after)
        return model, fit(model, Poisoned(), Bad(tiny_rows(), 4), plan, work=work), "\n".join(told)

    model, done, told = run("whole")
    assert done.facts["rewinds"] == 1
    assert "Going back from step 108 to step 100" in told
    assert [record["step"] for record in done.curve] == list(range(1, 113))
    assert not any("skipped" in record for record in done.curve)
    for stop in (106, 2, 3):
        with pytest.raises(Stopped):
            run("stopped", stop)
    again, redone, _ = run("stopped")
    assert json.dumps(redone.curve) == json.dumps(done.curve)
    assert all(torch.equal(a, b) for a, b in zip(again.module.parameters(), model.module.parameters(), strict=True))


def test_a_spike_is_not_learned_from(tmp_path):
    _, done, _ = train(tmp_path, Exploding(at=(40,), value=50.0), steps=44, spike=6.0)
    assert [(r["step"], r["skipped"]) for r in done.curve if "skipped" in r] == [(40, "spike")]


def test_early_stopping_keeps_the_best(tmp_path):
    model, done, _ = train(tmp_path, CausalLM(), steps=400, learning_rate=0.1, eval_every=4, stop_after=3)
    assert done.facts["stopped_early"] is True
    losses = [record["held_out"]["nll"] for record in done.curve if "held_out" in record]
    settled = settle(work_in(tmp_path / "x").runtime)
    found = evaluate(model, CausalLM(), tiny_rows(6, seed=9), settled=settled)["nll"]
    assert found == pytest.approx(min(losses), rel=1e-6)
    assert losses.index(min(losses)) == len(losses) - 4
    assert (done.held_out["nll"], done.facts["kept_step"]) == (min(losses), 4 * (len(losses) - 3))


def test_the_average_by_hand(tmp_path):
    kept = {}

    class Watch(CausalLM):
        def loss(self, batch, model, state, **frozen):
            kept.setdefault("weights", []).append(next(iter(model.trainable().values())).detach().clone())
            return super().loss(batch, model, state)

    model, *_ = train(tmp_path, Watch(), steps=3, average=0.5, precision="float32", eval_every=99)
    plain, *_ = train(tmp_path / "plain", CausalLM(), steps=3, precision="float32", eval_every=99)
    first, second, third = kept["weights"][:3]
    last = next(iter(plain.trainable().values())).detach()
    # decays 1/10, 2/11, 3/12 while the average is young
    expected = first
    for weights, decay in ((second, 1 / 10), (third, 2 / 11), (last, 3 / 12)):
        expected = decay * expected + (1 - decay) * weights
    torch.testing.assert_close(next(iter(model.trainable().values())).detach(), expected, atol=1e-7, rtol=1e-5)


def test_recomputing_changes_nothing(tmp_path):
    plain, *_ = train(tmp_path / "a", CausalLM(), steps=3, precision="float32")
    again, *_ = train(tmp_path / "b", CausalLM(), steps=3, precision="float32", recompute=True)
    for ours, theirs in zip(again.module.parameters(), plain.module.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_float16_scales_its_loss_and_learns(tmp_path):
    _, done, _ = train(tmp_path, CausalLM(), steps=30, precision="float16")
    assert done.facts["precision"] == "float16"
    assert set(done.facts.get("skipped_steps", {})) <= {"overflow"}
    assert done.curve[-1]["loss"] < done.curve[0]["loss"]


def test_ctrl_c_saves_first(tmp_path):
    plan = Plan(steps=50, learning_rate=1e-3)
    with pytest.raises(Stopped):
        fit(tiny_model(), CausalLM(), Batches(tiny_rows(), 4), plan, work=work_in(tmp_path, stopping=lambda: True))
    assert (tmp_path / "state" / "fit-000001.safetensors").is_file()


@pytest.mark.parametrize(
    ("threads", "precision", "same", "word"),
    [
        (None, "float32", True, "Number of threads: 1, as before"),
        (2, "float32", False, "with 1 threads and 2 go on, as asked"),
        (1, "bfloat16", False, "in float32 and goes on with"),
    ],
)
def test_another_machine_goes_on_and_says_what_differs(tmp_path, threads, precision, same, word, monkeypatch):
    def run(name, stop=None, threads=1, precision="float32"):
        seen, told = 0, []

        def emit(event):
            nonlocal seen
            seen += isinstance(event, Progress)
            told.append(getattr(event, "text", ""))

        # the type that `auto` finds is the machine's; a plan that names another one is another plan
        monkeypatch.setattr("septet.train.runtime.bfloat16_is_native", lambda device: precision == "bfloat16")
        runtime = Runtime(device="cpu", threads=threads)
        work = work_in(tmp_path / name, emit=emit, stopping=lambda: stop is not None and seen >= stop, runtime=runtime)
        model = tiny_model()
        plan = Plan(steps=6, learning_rate=1e-2, optimizer=AdamW(epsilon=1e-3))
        return model, fit(model, CausalLM(), Batches(tiny_rows(), 4), plan, work=work), "\n".join(told)

    model, done, _ = run("whole")
    with pytest.raises(Stopped):
        run("stopped", stop=3)
    torch.set_num_threads(2)  # what a machine with two processors begins with
    try:
        again, redone, told = run("stopped", threads=threads, precision=precision)
    finally:
        torch.set_num_threads(1)
    assert word in told
    assert "Going on from the checkpoint at step 3" in told
    assert json.dumps(redone.curve[:3]) == json.dumps(done.curve[:3])
    if same:
        assert json.dumps(redone.curve) == json.dumps(done.curve)
        assert all(torch.equal(a, b) for a, b in zip(again.module.parameters(), model.module.parameters(), strict=True))


def test_only_what_requires_a_gradient_moves(tmp_path):
    model = tiny_model()
    for name, p in model.module.named_parameters():
        p.requires_grad_("layers.1" in name)
    before = {name: p.detach().clone() for name, p in model.module.named_parameters()}
    fit(model, CausalLM(), Batches(tiny_rows(), 4), Plan(steps=2, learning_rate=1e-2), work=work_in(tmp_path))
    for name, p in model.module.named_parameters():
        assert torch.equal(p, before[name]) != ("layers.1" in name), name


class Two(Objective):
    """Two terms with different weights, a figure to watch, a state, and a helper."""

    needs = frozenset({"reference"})

    def prepare(self, rows, tokenizer, rngs):
        batch = CausalLM().prepare(rows, tokenizer, rngs)
        batch.weights["rows"] = float(len(rows))
        return batch

    def start(self, model):
        return {"seen": torch.zeros(())}

    def loss(self, batch, model, state, *, reference):
        nll = model.nll_sum(batch.inputs, batch.labels)
        with torch.no_grad():
            gap = nll.detach() - reference.nll_sum(batch.inputs, batch.labels)
        state["seen"] = state["seen"] + 1
        return {
            "nll": Term(nll, batch.weights["nll"]),
            "rows": Term(0.0 * nll + 3.0 * batch.weights["rows"], batch.weights["rows"]),
            "gap": Term(gap, batch.weights["nll"], minimised=False),
        }


def test_terms_add_up_and_figures_are_only_watched(tmp_path):
    model, reference = tiny_model(), tiny_model()
    plan = Plan(steps=3, learning_rate=1e-2, micro_rows=2, precision="float32")
    batches = Batches(tiny_rows(), 4)
    done = fit(model, Two(), batches, plan, frozen={"reference": reference}, work=work_in(tmp_path))
    first, last = done.curve[0], done.curve[-1]
    assert first["terms"]["gap"] == pytest.approx(0, abs=1e-6)
    assert last["terms"]["gap"] < 0
    assert first["terms"]["rows"] == pytest.approx(3.0)
    assert first["loss"] == pytest.approx(first["terms"]["nll"] + 3.0)
    assert all(p.grad is None for p in reference.module.parameters())


def test_a_missing_helper_is_our_own_mistake(tmp_path):
    with pytest.raises(AssertionError, match="needs"):
        fit(tiny_model(), Two(), Batches(tiny_rows(), 4), Plan(steps=1, learning_rate=1e-3), work=work_in(tmp_path))


class Coupled(CausalLM):
    """An objective whose examples see each other."""

    couples = True


def test_coupled_batches_are_never_split(tmp_path):
    sizes = []

    class Counting(Coupled):
        def prepare(self, rows, tokenizer, rngs):
            sizes.append(len(rows))
            return super().prepare(rows, tokenizer, rngs)

    plan = Plan(steps=2, learning_rate=1e-3, micro_rows=1)
    fit(tiny_model(), Counting(), Batches(tiny_rows(), 4), plan, work=work_in(tmp_path))
    assert sizes == [4, 4]


def test_a_trial_of_compiling_changes_nothing(tmp_path, monkeypatch):
    """The compiler is replaced by one that does nothing: whether it is tried, fails, or pays, the weights are the same bits."""
    plain, *_ = train(tmp_path / "plain", CausalLM(), steps=4)
    monkeypatch.setattr("septet.train.loop.TOO_SHORT", 0.0)

    def broken(*args, **kwargs):
        raise RuntimeError("no C++ compiler")

    for name, fake, says in (
        ("same", lambda module, **options: module, "compiling takes"),
        ("broken", broken, "torch.compile failed"),
    ):
        monkeypatch.setattr(torch, "compile", fake)
        model, done, told = train(tmp_path / name, CausalLM(), steps=4, compile="auto")
        assert says in told
        assert all(torch.equal(a, b) for a, b in zip(model.module.parameters(), plain.module.parameters(), strict=True))
        if name == "broken":
            assert "compiled" not in done.facts
    monkeypatch.setattr("septet.train.loop.TOO_SHORT", 1e9)
    _, _, told = train(tmp_path / "short", CausalLM(), steps=4, compile="auto")
    assert "too short for compiling to pay" in told
