"""The catalogue of open models: that every line has its source, and that its sizes come to the parameters that were published."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from septet.nn.architecture import ARCHITECTURES, architecture_of
from septet.nn.catalogue import Known, catalogue
from septet.nn.on_disk import in_cache, look
from septet.train.estimate.adapting import skeleton

MODELS = catalogue().models
TIED = {"google/flan-t5-base", "google/mt5-small"}
"""Published with a vocabulary's head of their own; transformers 5 opens T5 with one table for both."""


def test_every_model_says_where_its_facts_were_read():
    datetime.date.fromisoformat(catalogue().as_of)
    assert len({one.name for one in MODELS}) == len(MODELS)
    for one in MODELS:
        assert one.source, one.name
        assert all(page.startswith("https://") for page in one.source), one.name
        assert one.architecture in ARCHITECTURES
        assert one.languages is None or all(2 <= len(code) <= 3 for code in one.languages), one.name
        assert set(one.scores) <= {"MNLI", "XNLI"}
    assert {one.architecture for one in MODELS} == set(ARCHITECTURES)
    assert catalogue().named("FACEBOOKAI/roberta-base") is not None
    assert catalogue().named("FacebookAI/roberta-bass") is None


def counted(one: Known) -> float:
    model = skeleton(one.shape, one.architecture)  # type: ignore[arg-type]
    assert architecture_of(model.config) == one.architecture or one.shape["model_type"] in ("xlnet", "t5")
    return model.num_parameters() / one.parameters


@pytest.mark.parametrize("name", ["google-bert/bert-base-uncased", "openai-community/gpt2", "facebook/bart-base"])
def test_sizes_come_to_the_published_parameters(name: str):
    one = catalogue().named(name)
    assert one is not None
    assert counted(one) == pytest.approx(1, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("one", MODELS, ids=lambda one: one.name.rpartition("/")[2])
def test_all_sizes_come_to_the_published_parameters(one: Known):
    if one.name in TIED:
        assert 0.5 < counted(one) < 0.95
    else:
        assert counted(one) == pytest.approx(1, abs=0.03)


def test_models_in_the_hubs_cache_are_told_without_opening_them(tmp_path: Path):
    import torch
    from safetensors.torch import save_file

    folder = tmp_path / "models--org--small" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}), encoding="utf-8")
    assert look(folder) is None  # no weights
    save_file({"a": torch.zeros(3, 5), "b": torch.zeros(7)}, folder / "model.safetensors")
    (found,) = in_cache(tmp_path)
    assert (found.name, found.parameters, found.folder) == ("org/small", 3 * 5 + 7, folder)
    (folder / "model.safetensors").write_bytes(b"\xff" * 64)  # no safetensors at all
    assert in_cache(tmp_path) == []
