"""What a training takes, before it begins: by hand, beside torch's own counter, and beside what then happens."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from septet.core.artifact import Artifact
from septet.core.errors import ComponentError
from septet.core.recipe import Recipe, plan
from septet.core.step import Runtime, Step
from septet.core.store import Store
from septet.data.batches import Batches
from septet.launch.local import run_recipe
from septet.nn.family import Family
from septet.nn.model import Model
from septet.train.estimate import memory, optimal, standin
from septet.train.estimate.counts import count, flops, saved_bytes
from septet.train.estimate.memory import STATES, Need, check_fits, state_bytes, ways_to_fit
from septet.train.objective import Objective, generators
from septet.train.optimizer import Optimizer
from septet.train.plan import Plan
from septet.train.runtime import settle

FAMILIES = ("gpt2", "llama", "falcon", "bert", "roberta", "xlnet", "t5", "bart")
VOCABULARY, CONTEXT = 512, 64
CPU = Runtime(device="cpu", threads=1)


def family_model(
    kind: str, *, device: str = "cpu", context: int = CONTEXT, attention: str | None = None
) -> tuple[Model, Objective]:
    """A model of two layers of width 64 with its family's own objective."""
    family = Family.parse(kind)
    tokenizer = standin.tokenizer(VOCABULARY, family.tokens_like)  # type: ignore[arg-type]
    objective = Objective.parse(family.objective).suited(family.architecture)
    dial = family.dial(2, vocabulary=len(tokenizer)).with_(context=context)
    tokenizer.model_max_length = context
    with torch.device(device):
        config = family.config(dial, tokenizer)
        config._attn_implementation = attention
        module = family.build(config, pairs=objective.pairs)
    return Model(module, tokenizer), objective


def batch_of(model: Model, objective: Objective, rows: int = 2, context: int = CONTEXT) -> Any:
    made: list[Any] = standin.random_rows(rows, context - objective.around, model.tokenizer)
    if objective.partners:
        made = list(zip(made, made[1:] + made[:1], strict=True))
    return objective.prepare(made, model.tokenizer, generators(rows, 0))


# -- counting -----------------------------------------------------------------------------------------------------------


def test_a_llama_is_counted_by_hand():
    # width 64, 1 head, feed-forward 192: a layer has 4 x 64 x 64 + 3 x 64 x 192 = 53,248 weights; the head 512 x 64 = 32,768
    model, objective = family_model("llama", device="meta")
    counts = count(model.module, model.architecture)
    assert (counts.matrices, counts.head) == (2 * 53_248, 32_768)
    # embeddings are the head's (tied), and five norms of 64
    assert counts.parameters == counts.trainable == 2 * 53_248 + 32_768 + 5 * 64
    # 2 rows of 64, every position with a label: 6 N + 12 L d T a token
    batch = batch_of(model, objective)
    assert flops(counts, model.config, batch, "decoder") == 128 * (6 * 139_264 + 12 * 2 * 64 * 64)


@pytest.mark.parametrize("kind", FAMILIES)
def test_operations_are_those_that_torch_counts(kind: str):
    """torch's own counter over a real forward and backward pass, with attention in plain products so that it sees them."""
    model, objective = family_model(kind, attention="eager")
    batch = batch_of(model, objective)
    model._head_is_plain()  # asked once, of a row of its own
    counter = FlopCounterMode(display=False)
    with counter:
        sum(term.sum for term in objective.loss(batch, model, {}).values() if term.minimised).backward()  # type: ignore[union-attr]
    ours = flops(count(model.module, model.architecture), model.config, batch, model.architecture)
    assert ours == pytest.approx(counter.get_total_flops(), rel=0.03)


@pytest.mark.parametrize("kind", FAMILIES)
def test_parameters_without_weights_are_those_with(kind: str):
    real, _ = family_model(kind)
    meta, _ = family_model(kind, device="meta")
    counted = count(meta.module, meta.architecture)
    assert counted.parameters == real.num_parameters()
    assert counted == count(real.module, real.architecture)


@pytest.mark.parametrize("kind", [kind for kind in FAMILIES if kind != "xlnet"])
def test_activations_without_weights_are_about_those_with(kind: str):
    from septet.train.estimate.forecast import _activations

    real, objective = family_model(kind)
    meta, _ = family_model(kind, device="meta")
    batch = batch_of(real, objective)
    real.module.train()
    notes: list[str] = []
    assert _activations(meta, batch.inputs, notes, device="cpu") == pytest.approx(
        saved_bytes(real, batch.inputs), rel=0.10
    )
    assert not notes


@pytest.mark.parametrize("kind", sorted(STATES))
@pytest.mark.parametrize("family", ["llama", "gpt2", "t5"])
def test_optimizer_states_are_those_of_the_table(kind: str, family: str):
    model, _ = family_model(family)
    made = Optimizer.parse(kind).make(model.trainable(), weight_decay=0.0)
    for p in model.trainable().values():
        p.grad = torch.ones_like(p)
    for part in made:
        part.step()
    held = sum(
        value.numel() * value.element_size()
        for part in made
        for slots in part.state.values()
        for value in slots.values()
        if isinstance(value, torch.Tensor) and value.ndim
    )
    assert state_bytes(model.module.named_parameters(), kind) == pytest.approx(held, rel=0.02)


def test_the_table_has_every_optimizer():
    from septet.core import registry

    assert set(STATES) == set(registry.names(Optimizer.drawer))


# -- the best model for a budget ----------------------------------------------------------------------------------------


def test_the_minimum_of_the_loss_is_a_minimum_and_chinchillas():
    budget = 5.76e23  # Chinchilla's and Gopher's, Hoffmann et al. 2022, section 4: 70 B parameters on 1.4 T tokens
    best = optimal.by_loss(budget)
    for share in (0.8, 1.25):
        assert optimal.loss(best.parameters * share, best.tokens / share) > best.loss
    assert 6 * best.parameters * best.tokens == pytest.approx(budget)
    # Besiroglu et al. 2024: about 20 tokens a parameter there, where the published constants say about 70
    assert 15 < best.tokens / best.parameters < 30
    rule = optimal.by_rule(budget)
    assert rule.parameters == pytest.approx(69.3e9, rel=1e-3)  # sqrt(5.76e23 / 120)
    assert rule.tokens == pytest.approx(1.386e12, rel=1e-3)


# -- what fits ----------------------------------------------------------------------------------------------------------

NEED = Need(weights=400, gradients=400, states=800, activations=1600, head=0, rows=8, context=64, depth=4, width=128)
"""Bytes by hand: 3,200 at most; a row takes 200."""


def test_ways_to_fit_by_hand():
    ways = ways_to_fit(NEED, 2800 / 0.95, {"adamw": 800, "lion": 400}, "adamw", ("micro_tokens", "recompute"))
    # 2,800 - 1,600 are 6 rows of 200; lion's states take 400 less; recomputing would keep 4 x 8 x 64 x 128 x 4 bytes: more
    assert ways[0] == "micro_tokens: 384 (2.8 kB)"
    assert ways[1] == "optimizer: lion (2.8 kB)"
    # width 64: a quarter of 1,600, half of 1,600
    assert ways[2] == "width: 64 (1.2 kB)"
    assert len(ways) == 3


def test_nothing_is_suggested_that_does_not_fit():
    assert ways_to_fit(NEED, 100, {"adamw": 800}, "adamw", ("micro_tokens", "recompute")) == ()


def test_a_run_that_does_not_fit_is_refused_with_settings_that_do(monkeypatch: pytest.MonkeyPatch):
    model, objective = family_model("llama")
    rows = standin.random_rows(8, CONTEXT, model.tokenizer)
    settled = settle(CPU, precision="float32")
    plan = Plan(steps=1, learning_rate=1e-3, optimizer=Optimizer.parse("adamw"))

    def check(plan: Plan) -> Need:
        return check_fits(("micro_tokens", "recompute", "optimizer"), model, objective, Batches(rows, 8), plan, settled)

    need = check(plan)
    assert need.gradients == 4 * model.num_parameters()
    assert need.states == 2 * need.gradients
    monkeypatch.setattr(memory, "available_memory", lambda: int(need.peak * 0.7))
    with pytest.raises(ComponentError, match=r"needs about .* are free\.\nWhat would fit:\n") as refused:
        check(plan)
    suggested = re.search(r"micro_tokens: (\d+)", str(refused.value))
    assert suggested is not None
    # what is suggested is taken
    check(replace(plan, micro_rows=int(suggested[1]) // CONTEXT))


# -- beside what then happens -------------------------------------------------------------------------------------------

TEXT = "The owl sat in the old oak and saw the fields under the moon; nothing moved but the mice. "


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plan")
    (folder / "texts").mkdir()
    for number in range(40):
        (folder / "texts" / f"{number}.txt").write_text(f"Story {number}. " + TEXT * (number % 9 + 2), encoding="utf-8")
    path = folder / "plan.yaml"
    path.write_text(
        "name: plan\nsteps:\n"
        "  text: {kind: corpus, source: {kind: folder, path: texts}, held_out: {by: document, share: 0.1}}\n"
        "  vocab: {kind: tokenizer, corpus: $text, size: 300}\n"
        "  base: {kind: pretrain, corpus: $text, tokenizer: $vocab, depth: 2, context: 64, batch_tokens: 256, tokens: 5000}\n",
        encoding="utf-8",
    )
    return path


def forecast_of(path: Path, store: Store, *overrides: str, seconds: float = 0.0) -> Any:
    planned = {p.name: p for p in plan(Recipe.load(path, overrides=overrides), store)}
    inputs: dict[str, Artifact | Step] = {
        role: planned[ref[1:]].kept or planned[ref[1:]].step for role, ref in planned["base"].step.refs().items()
    }
    return planned["base"].step.forecast(inputs, runtime=CPU, seconds=seconds)


def test_a_recipe_that_has_not_run_is_told_in_bounds(recipe: Path, store: Store):
    found = forecast_of(recipe, store)
    assert found.settings["vocabulary"] == 300
    assert found.tokens == 20 * 4 * 64  # steps of four rows of 64 positions
    assert any("300 tokens are assumed" in note for note in found.notes)
    assert found.seconds is None


def test_parameters_and_tokens_are_those_of_the_run(recipe: Path, tmp_path: Path):
    store = Store(tmp_path / "home")
    run_recipe(Recipe.load(recipe), store, runtime=CPU)
    made = store.resolve("plan/base")
    found = forecast_of(recipe, store)
    assert found.parameters == made.facts["parameters"]
    assert found.tokens == made.facts["tokens"]
    assert found.settings["steps"] == made.facts["steps"]
    assert found.notes == ()


def test_a_derived_length_is_bounded_by_the_passes_over_a_small_corpus(recipe: Path, tmp_path: Path):
    store = Store(tmp_path / "home")
    run_recipe(Recipe.load(recipe, changes={"base.depth": 1}), store, runtime=CPU)
    unbounded = Family.parse("llama").dial(2, vocabulary=300).tokens
    found = forecast_of(recipe, store, "base.tokens=null")
    assert 3.9 * 256 < found.tokens < unbounded / 2


def test_a_dry_run_measures_time_and_memory(recipe: Path, store: Store):
    found = forecast_of(recipe, store, seconds=1.0)
    assert found.settings["measured_steps"] >= 1
    assert found.seconds == pytest.approx(found.settings["step_seconds"] * found.settings["steps"])
    parts = found.memory
    assert parts["weights"] == parts["gradients"] == 4 * found.parameters
    assert parts["activations"] > 0
    assert parts["libraries and text"] > 1e8
    assert found.peak == pytest.approx(sum(parts.values()))
    assert found.flops_per_second > 1e6
