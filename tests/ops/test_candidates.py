"""Which models could be taken: what is here first, each once."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from septet.core.store import Store
from septet.nn.catalogue import catalogue
from septet.ops.candidates import candidates
from septet.retrieval.encoders.minilm import installed_version


def test_a_model_in_the_hubs_cache_has_the_languages_of_the_catalogue_and_comes_once(tmp_path: Path):
    folder = tmp_path / "models--FacebookAI--roberta-base" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    config = {"model_type": "roberta", "architectures": ["RobertaForMaskedLM"], "max_position_embeddings": 514}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file({"a": torch.zeros(10)}, folder / "model.safetensors")
    found = candidates(Store(tmp_path / "home"), cache=tmp_path)
    (own,) = [one for one in found if one.name == "FacebookAI/roberta-base"]
    assert (own.where, own.architecture, own.parameters) == ("cache", "encoder", 10)
    assert own.languages == ("en",)
    assert own.take == f"septet checkpoint --folder {folder} --name base"
    assert len(found) == len(catalogue().models)


def test_the_packaged_encoder_is_here_where_its_package_is(tmp_path: Path):
    found = {one.name: one for one in candidates(Store(tmp_path / "home"), cache=tmp_path)}
    mini = found["sentence-transformers/all-MiniLM-L6-v2"]
    assert mini.where == ("package" if installed_version() else "catalogue")
    assert found["openai-community/gpt2"].take == "septet checkpoint --hub openai-community/gpt2 --name base"
