"""Aligning a tiny model: the first loss is ln 2, it learns the preferences, resuming changes no bit."""

import math

import pytest
import torch
from tiny_chat import artifact, contents, pair_rows, save_model, work_at, write_rows
from transformers import AutoModelForCausalLM

from septet.core.errors import ComponentError, DataError, Stopped
from septet.core.step import Step
from septet.steps.align import Align

FIELDS = {"model": "$chat", "pairs": "$pairs", "epochs": 4, "batch_size": 8, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_rows(folder / "pairs" / "train.jsonl", pair_rows(24))
    write_rows(folder / "pairs" / "held_out.jsonl", pair_rows(12))
    return {"model": artifact(save_model(folder / "chat"), "model"), "pairs": artifact(folder / "pairs", "pairs")}


@pytest.fixture(scope="module")
def aligned(inputs, tmp_path_factory):
    work = work_at(tmp_path_factory.mktemp("aligned"))
    return Align(**FIELDS).run(work, **inputs), work.out


def test_first_loss_is_ln_2_and_preferences_are_learned(aligned):
    facts, _ = aligned
    assert facts["first_loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert facts["first_loss_is_ln2"]
    assert facts["loss"] < 0.5
    held_out = facts["held_out"]
    assert set(held_out) == {"all", "neighbour", "weaker"}
    assert (held_out["all"]["n"], held_out["weaker"]["n"]) == (12, 6)
    assert held_out["all"]["accuracy"] > 0.9
    assert held_out["all"]["margin"] > 0.5
    assert held_out["all"]["likelier_after"] >= held_out["all"]["likelier_before"]


def test_the_result_opens_with_merged_weights(aligned, inputs):
    _, out = aligned
    ids = torch.arange(6, 30)[None]
    new, old = (AutoModelForCausalLM.from_pretrained(p) for p in (out, inputs["model"].path))
    assert not torch.allclose(new(ids).logits, old(ids).logits, atol=1e-2)
    assert (out / "adapter" / "adapter_model.safetensors").is_file()
    assert (out / "chat_template.jinja").is_file()


def test_stopped_and_resumed_equals_uninterrupted(aligned, inputs, tmp_path):
    step = Align(**FIELDS)
    with pytest.raises(Stopped):
        step.run(work_at(tmp_path, stop_after=5), **inputs)
    step.run(work_at(tmp_path), **inputs)
    assert contents(tmp_path / "out") == contents(aligned[1])


def test_without_an_adapter_the_reference_is_computed_beforehand(inputs, tmp_path):
    facts = Align(**{**FIELDS, "adapter": "full", "learning_rate": 3e-3, "epochs": 2}).run(work_at(tmp_path), **inputs)
    assert facts["first_loss"] == pytest.approx(math.log(2), abs=1e-3)
    assert facts["held_out"]["all"]["margin"] > 0


def test_what_cannot_be_aligned_is_said(inputs, tmp_path):
    with pytest.raises(ComponentError, match="objective: 'supervised' does not learn from pairs"):
        Step.parse({"kind": "align", "model": "$chat", "pairs": "$pairs", "objective": "supervised"})
    bad = write_rows(tmp_path / "bad" / "train.jsonl", [{"prompt": [], "chosen": "a", "rejected": "b"}]).parent
    with pytest.raises(DataError, match=r"train.jsonl, row 1: .*prompt"):
        Align(**FIELDS).run(work_at(tmp_path), model=inputs["model"], pairs=artifact(bad, "pairs"))
    empty = write_rows(tmp_path / "empty" / "train.jsonl", []).parent
    with pytest.raises(DataError, match="no pairs"):
        Align(**FIELDS).run(work_at(tmp_path), model=inputs["model"], pairs=artifact(empty, "pairs"))
