"""The benchmark of fine-tuning counts what lies between two clocks, takes TRL's best that is ours, and says what it lacks.

python -m pytest tests/bench/test_finetune.py
"""

from __future__ import annotations

import gzip
import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def finetune(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "bench"))
    return importlib.import_module("finetune")


def test_the_first_steps_are_timed_apart_and_all_is_counted(finetune: ModuleType):
    marks = [[10.0, 1.0, 0, 0], [20.0, 5.0, 100, 80], [22.0, 6.0, 200, 150], [25.0, 8.0, 310, 250]]
    run = finetune.figures("ours", marks, 1)
    assert (run.first_seconds, run.seconds, run.processor_seconds) == (10.0, 5.0, 3.0)
    assert (run.text, run.supervised, run.of_all) == (210, 170, (310, 250))
    assert run.speed == 34.0
    # with fewer steps than are to be left out, the last one is timed
    assert finetune.figures("ours", marks, 9).seconds == 3.0


def test_the_fastest_options_win_but_not_those_that_let_conversations_see_each_other(finetune: ModuleType):
    unlike = next(iter(finetune.UNLIKE))
    rows = [("padded, 32 at once", 5.0), (finetune.PADDED, 7.0), (unlike, 9.0)]
    tried = [{"options": name, "supervised tokens a second": value} for name, value in rows]
    assert finetune.best_of([*tried, {"options": "one at a time", "fails": "no"}]) == finetune.PADDED
    assert finetune.best_of([{"options": "one at a time", "fails": "no"}]) == finetune.BEST
    # a step of each holds as many conversations, or the twelve rows that hold them
    for name, given in finetune.OPTIONS.items():
        rows_of_a_step = given["per_device_train_batch_size"] * given["gradient_accumulation_steps"]
        assert rows_of_a_step == (12 if given.get("packing") else finetune.BATCH), name


def test_conversations_of_both_forms_are_read(finetune: ModuleType, tmp_path: Path):
    alpaca = [{"instruction": "Add.", "input": "1 and 2", "output": "3"}]
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(json.dumps(alpaca).encode()))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(json.dumps({"prompt": "Hi", "response": "Ho"}).encode()))
    found = [finetune.conversations(tmp_path / name)[0]["messages"] for name in ("a.json.gz", "b.jsonl.gz")]
    assert [message["content"] for messages in found for message in messages] == ["Add.\n\n1 and 2", "3", "Hi", "Ho"]


def test_a_missing_peer_is_told_with_what_to_install(finetune: ModuleType, tmp_path: Path):
    with pytest.raises(SystemExit, match="pip install --target FOLDER --no-deps trl datasets"):
        finetune.find_trl(None)
    (tmp_path / "trl").mkdir()
    (tmp_path / "trl" / "__init__.py").write_text("")
    with pytest.raises(SystemExit, match=r"^datasets not found in"):
        finetune.find_trl(str(tmp_path))
