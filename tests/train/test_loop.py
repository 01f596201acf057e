"""The loop: it learns, tells, evaluates without touching the training, stops at nonsense, and saves before it stops.

python -m pytest tests/train/test_loop.py
"""

from __future__ import annotations

import json

import pytest
import torch
from tests.train.tiny import TOKENIZER, tiny_model, tiny_rows, work_in

from septet.core.errors import Stopped
from septet.core.events import Progress
from septet.data.batches import Batches
from septet.data.packing import pack, text_sample
from septet.train.loop import DivergedError, evaluate, fit
from septet.train.objective import Objective, Term
from septet.train.objectives.causal_lm import CausalLM
from septet.train.plan import Plan
from septet.train.runtime import settle


def test_it_learns_a_pattern(tmp_path):
    # documents that count upwards can be predicted all but perfectly
    rows, _ = pack([text_sample(range(2 + n, 22 + n), separator=0) for n in range(40)], 32, pad=1)
    model = tiny_model()
    plan = Plan(steps=60, learning_rate=1e-2, warmup=5, optimizer="muon")
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
    plan = Plan(steps=1, learning_rate=1e-2, precision="float32", clip=0.1, epsilon=1e-3)
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
    """A loss that is not a number at its third step."""

    def start(self, model):
        return {"calls": 0}

    def loss(self, batch, model, state, **frozen):
        state["calls"] += 1
        (name, term), *_ = super().loss(batch, model, state).items()
        return {name: Term(term.sum * (float("nan") if state["calls"] == 3 else 1.0), term.weight)}


def test_a_loss_that_is_not_a_number_stops_with_advice(tmp_path):
    plan = Plan(steps=9, learning_rate=1e-3)
    with pytest.raises(DivergedError, match=r"At step 3 .* Lower the learning rate"):
        fit(tiny_model(), Exploding(), Batches(tiny_rows(), 4), plan, work=work_in(tmp_path))


def test_ctrl_c_saves_first(tmp_path):
    plan = Plan(steps=50, learning_rate=1e-3)
    with pytest.raises(Stopped):
        fit(tiny_model(), CausalLM(), Batches(tiny_rows(), 4), plan, work=work_in(tmp_path, stopping=lambda: True))
    assert (tmp_path / "state" / "fit.safetensors").is_file()


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
