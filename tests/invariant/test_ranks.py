"""Two ranks train as one process does; checkpoints do not know how many there were; a rank that dies is replaced.

Tolerances: float32 sums in another order differ in the last bits, and an optimizer step enlarges that where a gradient is near 0.
Losses agree within 2e-5 of themselves, weights within 5e-4 (weights are of the order of 0.02 to 1, and move by about 0.1). With an
average over Muon's steps it is 1e-3: it makes all directions of a gradient equally long, which enlarges rounding (.00055 was seen).

    python -m pytest tests/invariant/test_ranks.py
"""

from __future__ import annotations

import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.train.families import FAMILIES, cases, rows_for, tiny
from tests.train.team import on_ranks
from tests.train.tiny import tiny_model, tiny_rows, work_in

from septet.core.errors import ComponentError, Stopped
from septet.core.events import Progress
from septet.core.protocols import Ranks
from septet.core.recipe import Recipe
from septet.core.step import Runtime
from septet.core.store import Store
from septet.data.batches import Batches
from septet.launch.local import run_recipe
from septet.launch.ray_train import RayTrain
from septet.launch.torchrun import Torchrun
from septet.ops.sink import Sink
from septet.train.checkpoint import Keeper
from septet.train.evaluation import evaluate
from septet.train.loop import fit
from septet.train.objectives.causal_lm import CausalLM
from septet.train.optimizer import Optimizer
from septet.train.optimizers.muon import Muon
from septet.train.plan import Plan
from septet.train.ranks import Alone, gather
from septet.train.runtime import settle

HERE = "tests.invariant.test_ranks"
STEPS = 10
LOSS, WEIGHT, MUON_AVERAGE = 2e-5, 5e-4, 1e-3


def train(ranks: Ranks, settings: dict[str, Any]) -> dict[str, Any]:
    """Train a tiny model in settings["folder"], as one rank of several or alone; tell the curve, and leave the weights there."""
    folder, seen = Path(settings["folder"]), 0

    def stopping() -> bool:
        nonlocal seen
        seen += 1
        return ranks.sum({"stop": float(seen == settings.get("stop_after"))})["stop"] > 0

    model = tiny_model(attention_dropout=settings.get("dropout", 0.0), tie_word_embeddings=settings.get("tied", True))
    logged: list[str] = []
    runtime = Runtime(device=settings.get("device", "cpu"), threads=1, ranks=ranks)
    work = work_in(
        folder,
        runtime=runtime,
        stopping=stopping,
        emit=lambda event: logged.append(getattr(event, "text", "")),
    )
    plan = Plan(
        steps=STEPS,
        learning_rate=1e-2,
        optimizer=Optimizer.parse(settings.get("optimizer", "adamw")),
        micro_rows=settings.get("micro_rows", 3),
        average=settings.get("average"),
        weight_decay=0.1,
        clip=0.5,
        eval_every=4,
        eval_rows=2,
        checkpoint_every=3,
        recompute=settings.get("recompute", False),
        precision=settings.get("precision", "float32"),
        seed=5,
    )
    rows = tiny_rows()
    # one row has no label at all, and the rows are not a multiple of the ranks
    rows[3].labels[:] = -100
    try:
        done = fit(
            model, CausalLM(), Batches(rows, settings.get("rows", 7), seed=5), plan, work=work, held_out=rows[:5]
        )
    except Stopped:
        return {"stopped": True, "log": logged}
    after = evaluate(model, CausalLM(), rows[:9], settled=settle(runtime, precision=plan.precision), rows_at_once=2)
    gather(model, ranks)
    if ranks.is_first:
        save_file({n: p.contiguous() for n, p in weights(model).items()}, folder / "weights.safetensors")
    return {"curve": done.curve, "resumed": done.resumed_at, "after": after, "log": logged, "facts": done.facts}


def weights(model) -> dict[str, torch.Tensor]:
    return {name: p.detach() for name, p in model.module.named_parameters()}


def together(size: int, folder: Path, **settings: Any) -> dict[str, Any]:
    """Train with so many ranks; all of them must tell the same."""
    if size == 1:
        return train(Alone(), {**settings, "folder": str(folder)})
    first, *others = on_ranks(size, f"{HERE}:train", folder / "told", folder=str(folder), **settings)
    for other in others:
        assert {**other, "log": []} == {**first, "log": []}, "the ranks decided or summed differently"
    return first


def assert_same(
    folders: tuple[Path, Path], results: tuple[dict, dict], *, loss: float = LOSS, weight: float | None = WEIGHT
):
    one, two = results
    assert len(one["curve"]) == len(two["curve"]) == STEPS
    for a, b in zip(one["curve"], two["curve"], strict=True):
        assert a["tokens"] == b["tokens"]
        assert a["learning_rate"] == b["learning_rate"]
        assert math.isclose(a["loss"], b["loss"], rel_tol=loss), (a["step"], a["loss"], b["loss"])
        assert math.isclose(a["grad_norm"], b["grad_norm"], rel_tol=20 * loss)
        assert ("held_out" in a) == ("held_out" in b)
        if "held_out" in a:
            assert math.isclose(a["held_out"]["nll"], b["held_out"]["nll"], rel_tol=loss)
    assert math.isclose(one["after"]["nll"], two["after"]["nll"], rel_tol=loss)
    if weight is None:
        return
    first, second = (load_file(folder / "weights.safetensors") for folder in folders)
    for name, value in first.items():
        torch.testing.assert_close(
            second[name], value, rtol=0, atol=weight, msg=lambda text, name=name: f"{name}: {text}"
        )
    begun = weights(tiny_model())
    moved = max(float((value - begun[name]).abs().max()) for name, value in first.items() if name in begun)
    assert moved > 20 * weight, "the training moved the weights too little for the comparison to mean anything"


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "adamw"},
        {"optimizer": "muon", "average": 0.9},
        {"optimizer": "muon", "tied": False, "micro_rows": None},
        # 5 rows in micro-batches of 1: one rank has 3 and the other 2, and must still come along
        {"optimizer": "adamw", "rows": 5, "micro_rows": 1, "recompute": True},
        {"optimizer": "lion"},
    ],
    ids=["adamw", "muon-average", "muon-untied", "adamw-uneven", "lion"],
)
@pytest.mark.slow
def test_two_ranks_train_as_one_process(tmp_path, settings):
    one = together(1, tmp_path / "one", **settings)
    two = together(2, tmp_path / "two", **settings)
    assert two["facts"]["ranks"] == 2
    # Lion steps by a sign, which the last bit of a gradient near zero decides
    loose = {"weight": None, "loss": 1e-3} if settings["optimizer"] == "lion" else {}
    loose |= {"weight": MUON_AVERAGE} if "average" in settings else {}
    assert_same((tmp_path / "one", tmp_path / "two"), (one, two), **loose)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_train_as_one(tmp_path):
    one = together(1, tmp_path / "one", optimizer="muon", device="cuda")
    two = together(2, tmp_path / "two", optimizer="muon", device="cuda")
    assert_same((tmp_path / "one", tmp_path / "two"), (one, two), loss=1e-4, weight=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_checkpoint_goes_on_with_another_number_of_ranks(tmp_path, before, after):
    whole = together(1, tmp_path / "whole", optimizer="muon", average=0.9)
    folder = tmp_path / "changed"
    assert together(before, folder, optimizer="muon", average=0.9, stop_after=4)["stopped"]
    done = together(after, folder, optimizer="muon", average=0.9)
    assert done["resumed"] == 4
    assert any(f"made by {before} ranks and {after} go on" in text for text in done["log"])
    assert_same((tmp_path / "whole", folder), (whole, done), weight=MUON_AVERAGE)


@pytest.mark.slow
def test_two_ranks_resume_bit_for_bit_with_dropout(tmp_path):
    whole = together(2, tmp_path / "whole", dropout=0.1)
    folder = tmp_path / "stopped"
    assert together(2, folder, dropout=0.1, stop_after=4)["stopped"]
    done = together(2, folder, dropout=0.1)
    assert done["resumed"] == 4
    assert json.dumps(done["curve"]) == json.dumps(whole["curve"])
    first, second = (load_file(path / "weights.safetensors") for path in (tmp_path / "whole", folder))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_only_rank_0_writes_and_its_file_has_whole_tensors(tmp_path):
    together(1, tmp_path / "one")
    together(2, tmp_path / "two")
    one, two = (Keeper(tmp_path / name / "state").read() for name in ("one", "two"))
    assert one is not None
    assert two is not None
    assert len(list((tmp_path / "two" / "state").glob("fit-*"))) == len(
        list((tmp_path / "one" / "state").glob("fit-*"))
    )
    assert {n: t.shape for n, t in one.tensors.items()} == {
        n: t.shape for n, t in two.tensors.items() if not n.startswith("ranks/")
    }
    assert one.values["run"]["identity"] == two.values["run"]["identity"], "the number of ranks is not what a run is"


@pytest.mark.parametrize("optimizer", ["adafactor", "adamw-8bit"])
def test_what_ranks_cannot_do_is_said_before_anything_is_computed(tmp_path, optimizer):
    with pytest.raises(ComponentError, match=f"'{optimizer}' needs whole matrices.*adamw, muon or lion"):
        train(Alone(rank=0, size=2), {"folder": str(tmp_path), "optimizer": optimizer})


def train_every_family(ranks: Ranks, settings: dict[str, Any]) -> dict[str, Any]:
    """Train each family with each of its objectives for three steps, alone and together; tell how far the two are apart."""
    found = {}
    for family, objective in cases():
        name, losses, ends = f"{family}-{objective.kind}", [], []
        for who in (Alone(), ranks):
            model, rows = tiny(family, objective=objective), rows_for(objective)
            folder = Path(settings["folder"]) / name / f"{who.size}-{ranks.rank if who is not ranks else ''}"
            plan = Plan(steps=3, learning_rate=5e-3, optimizer=Muon(), micro_rows=2, precision="float32", seed=3)
            work = work_in(folder, runtime=Runtime(device="cpu", threads=1, ranks=who))
            done = fit(model, objective, Batches(rows, 5, seed=3), plan, work=work, held_out=rows[:3])
            losses.append([record["loss"] for record in done.curve] + list(done.held_out.values()))
            gather(model, who)
            ends.append(weights(model))
        alone, together = losses
        apart = max(abs(a - b) / abs(a) for a, b in zip(alone, together, strict=True))
        farthest = 0.0
        if ranks.is_first:
            farthest = max(float((ends[0][key] - ends[1][key]).abs().max()) for key in ends[0])
        found[name] = {"loss": apart, "weights": farthest}
    return found


@pytest.mark.slow
def test_every_family_trains_on_two_ranks(tmp_path):
    first, _ = on_ranks(2, f"{HERE}:train_every_family", tmp_path / "told", folder=str(tmp_path))
    assert {name.split("-")[0] for name in first} == set(FAMILIES)
    far = {name: told for name, told in first.items() if told["loss"] > 1e-4 or told["weights"] > 2e-3}
    assert not far


# -- whole runs, through torchrun and Ray -------------------------------------------------------------------------------

RECIPE = """\
name: ranks
steps:
  text: {{kind: corpus, source: {{kind: folder, path: {guides}}}, held_out: {{by: document, share: 0.1}}}}
  vocab: {{kind: tokenizer, corpus: $text, model: bpe, size: 512}}
  base:
    {{kind: pretrain, corpus: $text, tokenizer: $vocab, depth: 2, width: 32, heads: 2, context: 64, batch_tokens: 512,
     tokens: 66560, precision: float32}}
"""


class Killer(Sink):
    """Ends a rank's process when a step has been told; keeps what is said."""

    home: Path
    at: int = 0
    said: list = []  # noqa: RUF012 - a field, copied by pydantic

    def on(self, event):
        self.said.append(getattr(event, "text", ""))
        if isinstance(event, Progress) and event.step == "base" and self.at and event.done >= self.at:
            object.__setattr__(self, "at", 0)
            lines = next(self.home.glob("work/*/ranks/rank-1.jsonl")).read_text().splitlines()
            os.kill(json.loads(lines[0])["started"]["process"], signal.SIGKILL)


def recipe(folder: Path) -> Recipe:
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(guides=Path(__file__).parents[2] / "docs" / "guides"))
    return Recipe.load(path)


@pytest.fixture(scope="module")
def one_process(tmp_path_factory) -> tuple[list[dict], Any]:
    folder = tmp_path_factory.mktemp("alone")
    runtime = Runtime(device="cpu", threads=1)
    run = run_recipe(recipe(folder), Store(folder / "home"), runtime=runtime, report=False)
    return curve(run), run.artifacts["base"]


def curve(run) -> list[dict]:
    return [json.loads(line) for line in (run.artifacts["base"].path / "curve.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("team", [Torchrun(2), RayTrain("ray", 2)], ids=["torchrun", "ray"])
def test_a_run_whose_rank_is_killed_gives_the_curve_of_one_process(tmp_path, one_process, team):
    # on a slow machine there are checkpoints by time; in any case there is one at step 100 of 130
    killer = Killer(home=tmp_path / "home", at=110)
    runtime = Runtime(device="cpu", threads=1, team=team)
    try:
        run = run_recipe(recipe(tmp_path), Store(tmp_path / "home"), runtime=runtime, sinks=[killer], report=False)
    finally:
        if isinstance(team, RayTrain):
            import ray  # imported by what is tested, after it has set up its environment

            ray.shutdown()
    assert killer.at == 0, "nothing was killed"
    assert "A rank was lost; all 2 begin again from the last checkpoint (restart 1 of 3)." in killer.said
    assert any(text.startswith("Going on from the checkpoint at step 1") for text in killer.said)  # 100, or later
    expected, alone = one_process
    found, base = curve(run), run.artifacts["base"]
    assert base.id == alone.id, "where a step runs is not what it makes"
    assert [row["tokens"] for row in found] == [row["tokens"] for row in expected]
    # 130 steps of Muon enlarge what the last bits differ
    for mine, theirs in zip(found, expected, strict=True):
        assert math.isclose(mine["loss"], theirs["loss"], rel_tol=1e-3), (mine, theirs)
    assert math.isclose(base.facts["bits_per_byte"], alone.facts["bits_per_byte"], rel_tol=1e-3)
    assert base.facts["ranks"] == 2
    saved, other = (load_file(artifact.path / "model.safetensors") for artifact in (base, alone))
    assert {name: value.shape for name, value in saved.items()} == {name: value.shape for name, value in other.items()}
