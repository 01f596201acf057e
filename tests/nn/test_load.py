"""Opening folders: what is saved opens again as it was; what cannot be opened says why.

python -m pytest tests/nn/test_load.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tests.train.tiny import tiny_module
from transformers import AutoModelForCausalLM

from septet.core.errors import DataError
from septet.nn.load import open_model, open_tokenizer
from septet.nn.model import Model
from septet.steps.tokenizer import save, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model")
    save(train(["def join(a, *p): Join two or more pathname components."] * 3, size=300), path)
    tokenizer = open_tokenizer(path)
    Model(tiny_module(), tokenizer).save(path)
    return path


def test_what_is_saved_opens_again(folder):
    model = open_model(folder, device="cpu")
    for ours, saved in zip(model.module.parameters(), tiny_module().parameters(), strict=True):
        assert torch.equal(ours, saved)
    assert model.tokenizer.eos_token == "<|endoftext|>"
    assert model.context == 32
    assert not model.module.training


def test_transformers_opens_it(folder):
    found = AutoModelForCausalLM.from_pretrained(folder)
    assert found.num_parameters() == tiny_module().num_parameters()
    assert (folder / "generation_config.json").is_file()


def broken(folder: Path, tmp_path: Path, *, without: tuple[str, ...] = (), **changes) -> Path:
    for path in folder.iterdir():
        if path.name not in without:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    if changes:
        config = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**config, **changes}))
    return tmp_path


@pytest.mark.parametrize(
    ("without", "message"),
    [
        (("config.json",), "no config.json"),
        (("model.safetensors",), "no weights in safetensors"),
        (("tokenizer.json",), "no tokenizer"),
    ],
)
def test_what_is_missing_is_named(folder, tmp_path, without, message):
    with pytest.raises(DataError, match=message):
        open_model(broken(folder, tmp_path, without=without))


def test_a_pickle_is_never_loaded(folder, tmp_path):
    path = broken(folder, tmp_path, without=("model.safetensors",))
    (path / "pytorch_model.bin").write_bytes(b"not even a pickle")
    with pytest.raises(DataError, match=r"pytorch_model.bin, a pickle, which is never loaded"):
        open_model(path)


def test_code_in_the_folder_is_never_run(folder, tmp_path):
    path = broken(folder, tmp_path, auto_map={"AutoModelForCausalLM": "evil.Evil"})
    (path / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(DataError, match="auto_map"):
        open_model(path)


def test_an_encoder_is_not_a_causal_model(folder, tmp_path):
    with pytest.raises(DataError, match=r"'encoder-decoder'.* 'decoder' is needed"):
        open_model(broken(folder, tmp_path, model_type="t5"))


def test_broken_json_and_no_folder(folder, tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        open_model(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        open_model(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DataError, match="model_type"):
        open_model(tmp_path)


def test_damaged_weights_say_so(folder, tmp_path):
    path = broken(folder, tmp_path)
    (path / "model.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(DataError, match="does not open"):
        open_model(path)
