"""Two real processes over Gloo: figures summed, values agreed on, gradients and weights of a split model those of a whole one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.team import on_ranks
from tests.train.tiny import tiny_model, tiny_module, tiny_rows
from torch import nn

from septet.core.protocols import Ranks
from septet.train.evaluation import batches_of
from septet.train.objective import generators
from septet.train.objectives.causal_lm import CausalLM
from septet.train.ranks import Alone, blocks, gather, shard, split, whole

HERE = "tests.train.test_ranks"


def talk(ranks: Ranks, settings: dict[str, Any]) -> Any:
    values = {"loss": 0.1 + ranks.rank, "tokens": 2.0**40 + ranks.rank}
    told = ranks.agree({"from": ranks.rank, "ö": [1, None, 2.5]})
    nothing = ranks.agree(None)
    ranks.barrier()
    return {"rank": ranks.rank, "first": ranks.is_first, "sum": ranks.sum(values), "told": told, "nothing": nothing}


def test_two_processes_sum_and_agree(tmp_path: Path):
    first, second = on_ranks(2, f"{HERE}:talk", tmp_path)
    assert (first["rank"], first["first"], second["rank"], second["first"]) == (0, True, 1, False)
    # 0.1 + 1.1 and 2 * 2**40 + 1, which float32 would not hold
    assert first["sum"] == second["sum"] == {"loss": pytest.approx(1.2, abs=1e-12), "tokens": 2.0**41 + 1}
    assert first["told"] == second["told"] == {"from": 0, "ö": [1, None, 2.5]}
    assert first["nothing"] is second["nothing"] is None


def disagree(ranks: Ranks, settings: dict[str, Any]) -> Any:
    try:
        ranks.sum({"nll" if ranks.rank else "loss": 1.0})
    except AssertionError as error:
        return str(error)
    return "summed"


def test_figures_of_other_names_are_not_summed(tmp_path: Path):
    assert all("the ranks sum different figures" in text for text in on_ranks(2, f"{HERE}:disagree", tmp_path))


def test_alone_is_the_trivial_case():
    ranks = Alone()
    assert ranks.sum({"a": 1.5}) == {"a": 1.5}
    assert ranks.agree([1]) == [1]
    model = tiny_model()
    shard(model, ranks)
    gather(model, ranks)
    tensor = torch.ones(3)
    assert whole(tensor) is tensor
    assert split(tensor, tensor) is tensor


def test_rows_are_dealt_out():
    rows, model = tiny_rows(14)[:8], tiny_model()
    rngs = generators(len(rows), 0)

    def tokens(rank: int, count: int) -> list[int]:
        """The tokens of each batch of two rows of this rank, out of three."""
        found = batches_of(rows[:count], CausalLM(), model, rngs[:count], 2, Alone(rank=rank, size=3))
        assert all(batch.counts == (batch.tokens > 0) for batch in found)
        assert all(batch.weights["nll"] == 0 for batch in found if not batch.counts)
        return [batch.tokens for batch in found]

    used = [row.used for row in rows]
    assert tokens(1, 8) == [used[1] + used[4], used[7]]
    assert tokens(2, 8) == [used[2] + used[5], 0], "where rows run out, a batch that does not count"
    assert tokens(0, 1) == [used[0]]
    assert tokens(1, 1) == [0]


def gradients(ranks: Ranks, settings: dict[str, Any]) -> Any:
    """Differences from one process that has all rows: loss, each gradient and the norm; then the weights that come back."""
    rows, objective = tiny_rows(14), CausalLM()
    single, several = (tiny_model(tie_word_embeddings=settings["tied"]) for _ in range(2))
    shard(several, ranks)

    def loss(model, own) -> torch.Tensor:
        batch = objective.prepare(own, None, [])
        return model.within(lambda: objective.loss(batch, model, {})["nll"].sum / total)

    total = objective.prepare(rows, None, []).weights["nll"]
    loss(single, rows).backward()
    expected = {name: p.grad for name, p in single.trainable().items()}
    with torch.no_grad():
        watched = float(loss(several, rows[:3]))  # an evaluation before must leave nothing behind
    mine = loss(several, rows[ranks.rank :: ranks.size])
    mine.backward()
    found = {name: p.grad for name, p in several.trainable().items()}
    apart = max(float((whole(found[name]) - expected[name]).abs().max()) for name in expected)
    norm = whole(nn.utils.clip_grad_norm_(several.trainable().values(), math.inf))
    parts = {name: list(p.to_local().shape) for name, p in several.trainable().items()}
    gather(several, ranks)
    pairs = zip(single.module.parameters(), several.module.parameters(), strict=True)
    back = ranks.is_first and all(torch.equal(p, q) for p, q in pairs)
    tied = several.module.lm_head.weight is several.module.model.embed_tokens.weight
    return {
        "apart": apart,
        "norm": float(norm) - float(nn.utils.clip_grad_norm_(single.trainable().values(), math.inf)),
        "loss": ranks.sum({"loss": float(mine)})["loss"] - float(loss(single, rows)),
        "watched": watched - float(loss(single, rows[:3])),
        "parts": parts,
        "back": back,
        "tied": tied,
    }


@pytest.mark.parametrize("tied", [True, False])
def test_summed_gradients_are_those_of_one_process(tmp_path: Path, tied: bool):
    first, second = on_ranks(2, f"{HERE}:gradients", tmp_path, tied=tied)
    for told in (first, second):
        # gradients here are of the order of 0.01: float32 sums in another order
        assert told["apart"] < 1e-7
        assert abs(told["norm"]) < 1e-6
        assert abs(told["loss"]) < 1e-6
        assert abs(told["watched"]) < 1e-6
    assert first["back"], "rank 0 did not get the weights back as they were"
    assert first["tied"] is tied
    # each holds half of the rows of every matrix
    assert first["parts"]["model.layers.1.mlp.up_proj.weight"] == [32, 32]
    assert first["parts"]["model.embed_tokens.weight"] == second["parts"]["model.embed_tokens.weight"] == [32, 32]


def test_blocks_are_found_without_their_names():
    found = blocks(tiny_module(layers=3))
    assert [type(block).__name__ for block in found] == ["LlamaDecoderLayer"] * 3
    shared = nn.Linear(4, 4)
    module = nn.Module()
    module.first = nn.ModuleList([nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.ModuleList([nn.Linear(4, 4)]))])])
    module.second = nn.ModuleList([nn.Sequential(shared, nn.Linear(4, 4)), nn.ReLU(), nn.Linear(4, 4)])
    module.head = nn.Sequential(shared)
    assert blocks(module) == [module.first[0][0], module.second[2]], "shared or empty members were taken for blocks"
