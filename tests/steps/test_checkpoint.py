"""Taking a checkpoint of the hub into the store, against a server on this machine that speaks the hub's protocol.

Folders of this machine are tested in tests/steps/test_pretrain.py.

python -m pytest tests/steps/test_checkpoint.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.hub import Hub, serving
from tests.steps.test_pretrain import work_in
from tests.train.families import tiny

from septet.core.errors import ComponentError, DataError
from septet.core.step import Step
from septet.data import hub as hub_module
from septet.nn.load import open_model
from septet.steps.checkpoint import Checkpoint


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path) -> Iterator[Hub]:
    with serving(monkeypatch, tmp_path / "home") as served:
        yield served


@pytest.fixture
def files(tmp_path) -> dict[str, bytes]:
    """A small BERT as its repository has it, with things beside it that nobody here needs."""
    model = tiny("bert")
    folder = tmp_path / "made"
    model.module.save_pretrained(str(folder))
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    vocabulary = {f"w{n}": n for n in range(model.config.vocab_size)}
    tokenizer = {
        "version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None, "decoder": None, "truncation": None, "padding": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "w0"},
    }  # fmt: skip
    found["tokenizer.json"] = json.dumps(tokenizer).encode()
    found["tokenizer_config.json"] = b'{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "w1"}'
    return {**found, "README.md": b"# x", "pytorch_model.bin": b"pickle", "onnx/model.onnx": b"x" * 100}


def step(**fields: object) -> Checkpoint:
    made = Step.parse({"kind": "checkpoint", "hub": "org/small", **fields})
    assert isinstance(made, Checkpoint)
    return made


def test_a_model_of_the_hub_is_the_model_of_its_files(hub: Hub, files, tmp_path):
    hub.files["org/small"] = files
    work = work_in(tmp_path)
    facts = step().run(work)
    assert (facts["architecture"], facts["hub"], facts["commit"]) == ("encoder", "org/small", hub.head)
    taken = load_file(work.out / "model.safetensors")
    (tmp_path / "sent.safetensors").write_bytes(files["model.safetensors"])
    for name, tensor in load_file(tmp_path / "sent.safetensors").items():
        assert torch.equal(taken[name], tensor), name
    assert not any("onnx" in path or ".bin" in path or "README" in path for path in hub.asked), (
        "nothing else is fetched"
    )
    # the commit is pinned: a later run is the same run, whatever the branch means by then
    before = step().identity()
    hub.head = "d" * 40
    assert step().identity() == before
    assert step(revision="v1").identity() != before


def test_a_download_that_was_cut_goes_on(hub: Hub, files, tmp_path, monkeypatch):
    monkeypatch.setattr(hub_module, "BLOCK", 4096)
    hub.files["org/small"] = files
    work = work_in(tmp_path)
    came = 0
    read = hub_module._Remote._get

    def cut(self, start, end):
        nonlocal came
        if "safetensors" in self._url:
            came += 1
            if came == 4:
                raise hub_module.Unreachable("The hub does not answer")
        return read(self, start, end)

    monkeypatch.setattr(hub_module._Remote, "_get", cut)
    with pytest.raises(DataError, match="hf download org/small"):
        step().run(work)
    part = next(work.state.rglob("*.part"))
    assert 0 < part.stat().st_size < len(files["model.safetensors"])
    starts: list[int] = []
    monkeypatch.setattr(hub_module._Remote, "_get", lambda self, a, b: (starts.append(a), read(self, a, b))[1])
    kept = part.stat().st_size
    step().run(work)
    assert kept in starts
    assert open_model(work.out, architectures=("encoder",)).num_parameters() > 0


def test_shards_are_brought_by_their_index(hub: Hub, files, tmp_path):
    (tmp_path / "one.safetensors").write_bytes(files.pop("model.safetensors"))
    tensors = load_file(tmp_path / "one.safetensors")
    names = sorted(tensors)
    where = {}
    for number, some in enumerate((names[::2], names[1::2]), 1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file({name: tensors[name] for name in some}, tmp_path / file, metadata={"format": "pt"})
        files[file] = (tmp_path / file).read_bytes()
        where |= dict.fromkeys(some, file)
    files["model.safetensors.index.json"] = json.dumps({"metadata": {}, "weight_map": where}).encode()
    hub.files["org/small"] = files
    work = work_in(tmp_path)
    step().run(work)
    taken = load_file(work.out / "model.safetensors")
    assert all(torch.equal(taken[name], tensor) for name, tensor in tensors.items())


def test_what_came_damaged_is_told_and_not_kept(hub: Hub, files, tmp_path, monkeypatch):
    hub.files["org/small"] = files
    monkeypatch.setattr(
        Hub, "lfs", staticmethod(lambda path, body: {"lfs": {"oid": "0" * 64, "size": len(body), "pointerSize": 1}})
    )
    work = work_in(tmp_path)
    with pytest.raises(DataError, match=r"What came is not what the hub has"):
        step().run(work)
    assert not list(work.state.rglob("*.safetensors*"))


def test_what_cannot_be_had_is_said(hub: Hub, files, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="no model of this name"):
        step().run(work_in(tmp_path))
    hub.files["org/small"] = {name: body for name, body in files.items() if "safetensors" not in name}
    with pytest.raises(
        DataError, match=r"no model\.safetensors; there is: pytorch_model\.bin\. Pickles are never loaded"
    ):
        step().run(work_in(tmp_path))
    with pytest.raises(DataError, match="no such revision"):
        step(revision="v9").run(work_in(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        DataError, match=r"Offline mode, and this step reads the model org/other at main.*hf download org/other"
    ):
        step(hub="org/other").identity()


def test_one_place_and_one_only():
    for fields in ({"folder": None, "hub": None}, {"folder": "/tmp", "hub": "org/small"}):
        with pytest.raises(ComponentError, match="give 'folder', 'hub' or 'packaged', one of the three"):
            Step.parse({"kind": "checkpoint", **{name: value for name, value in fields.items() if value}})
    with pytest.raises(ComponentError, match="no model of the hub"):
        step(hub="small")
    with pytest.raises(ComponentError, match="'revision' is of a model of the hub"):
        Step.parse({"kind": "checkpoint", "folder": "/tmp", "revision": "v1"})
