"""Checkpoint files: whole or not there, and everything comes back.

python -m pytest tests/train/test_checkpoint.py
"""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from septet.train.checkpoint import Checkpoint, Keeper
from septet.train.runtime import random_state, restore_random, seed_all


def test_everything_comes_back(tmp_path):
    path = tmp_path / "fit.safetensors"
    kept = Checkpoint()
    kept.put("weights", {"a.b": torch.arange(6.0).reshape(2, 3).T}, {"step": 3})
    kept.put("state", {"scale": torch.tensor(2.0)}, {"curve": [{"loss": 0.1}]})
    kept.write(path)
    found = Checkpoint.read(path)
    assert torch.equal(found.take("weights")[0]["a.b"], torch.arange(6.0).reshape(2, 3).T)
    assert found.take("weights")[1] == {"step": 3}
    assert found.take("state")[1] == {"curve": [{"loss": 0.1}]}
    assert [p.name for p in tmp_path.iterdir()] == ["fit.safetensors"]


def test_none_where_there_is_none_or_half_of_one(tmp_path):
    path = tmp_path / "fit.safetensors"
    assert Checkpoint.read(path) is None
    kept = Checkpoint()
    kept.put("weights", {"a": torch.ones(100)})
    kept.write(path)
    path.write_bytes(path.read_bytes()[:-40])
    assert Checkpoint.read(path) is None


def test_a_failed_write_leaves_the_one_before(tmp_path, monkeypatch):
    path = tmp_path / "fit.safetensors"
    kept = Checkpoint()
    kept.put("weights", {"a": torch.ones(3)})
    kept.write(path)

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("septet.train.checkpoint.os.fsync", full)
    kept.put("weights", {"a": torch.zeros(3)})
    with pytest.raises(OSError, match="No space"):
        kept.write(path)
    assert torch.equal(Checkpoint.read(path).take("weights")[0]["a"], torch.ones(3))


def test_random_generators_go_on(tmp_path):
    def draw():
        return random.random(), float(np.random.rand()), float(torch.rand(())), random.gauss(0, 1), np.random.randn()

    seed_all(4)
    draw()
    kept = Checkpoint()
    kept.put("random", *random_state())
    kept.write(tmp_path / "fit.safetensors")
    expected = draw()
    seed_all(0)
    restore_random(*Checkpoint.read(tmp_path / "fit.safetensors").take("random"))
    assert draw() == expected


def checkpoint(value: float) -> Checkpoint:
    kept = Checkpoint()
    kept.put("weights", {"a": torch.full((50,), value)})
    return kept


def test_a_flipped_bit_is_found_and_the_one_before_taken(tmp_path):
    told = []
    keeper = Keeper(tmp_path, keep=2, tell=told.append)
    for value in (1.0, 2.0, 3.0):
        keeper.write(checkpoint(value))
    keeper.wait()
    assert [path.name for path in keeper.paths()] == ["fit-000002.safetensors", "fit-000003.safetensors"]
    newest = keeper.paths()[-1]
    content = bytearray(newest.read_bytes())
    content[-7] ^= 1
    newest.write_bytes(content)
    assert float(keeper.read().take("weights")[0]["a"][0]) == 2.0
    assert "fit-000003.safetensors is damaged" in told[0]
    keeper.paths()[-1].write_bytes(b"half")
    assert keeper.read() is None


def test_a_full_disk_is_told_and_the_last_good_one_stays(tmp_path, monkeypatch):
    told = []
    keeper = Keeper(tmp_path, tell=told.append)
    keeper.write(checkpoint(1.0), now=True)

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("septet.train.checkpoint.os.fsync", full)
    keeper.write(checkpoint(2.0))
    assert keeper.wait() is False
    assert "No space left on device" in told[0]
    assert "fit-000001.safetensors" in told[0]
    with pytest.raises(OSError, match="No space"):
        keeper.write(checkpoint(3.0), now=True)
    assert float(keeper.read().take("weights")[0]["a"][0]) == 1.0
    assert [path.name for path in tmp_path.iterdir()] == ["fit-000001.safetensors"]


def test_what_is_being_written_does_not_change_with_the_training(tmp_path):
    weights = torch.ones(100_000)
    kept = Checkpoint()
    kept.put("weights", {"a": weights})
    keeper = Keeper(tmp_path)
    keeper.write(kept, anchor=True)
    weights.zero_()
    keeper.wait()
    assert keeper.read().take("weights")[0]["a"].eq(1).all()
    assert Checkpoint.read(keeper.anchor).take("weights")[0]["a"].eq(1).all()
