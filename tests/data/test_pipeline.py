"""The pipeline: shards, processes and interruptions leave no trace in the bytes.

python -m pytest tests/data/test_pipeline.py
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from septet.core.artifact import digest_folder
from septet.core.errors import DataError
from septet.core.protocols import Mapper
from septet.core.step import Runtime, Step, Work
from septet.data import pipeline
from septet.launch.processes import Processes

WORDS = [f"word{n}" for n in range(200)]
FILTERS = ["normalise", {"kind": "length", "min_words": 4}, "exact-dedup", "pii", "minhash-dedup",
           {"kind": "exact-dedup", "of": "line", "min_words": 3}]  # fmt: skip


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight files of rows: own texts, exact copies, near copies, lines that repeat, short ones."""
    folder = tmp_path_factory.mktemp("texts")
    drawn = random.Random(0)
    said: list[str] = []
    for number in range(8):
        rows = []
        for _ in range(30):
            text = " ".join(drawn.choices(WORDS, k=drawn.randint(2, 120)))
            if said and drawn.random() < 0.3:
                words = drawn.choice(said).split(" ")
                words[drawn.randrange(len(words))] = drawn.choice(["other", words[0]])
                text = " ".join(words)
            if said and drawn.random() < 0.2:
                text = drawn.choice(said).upper()
            said.append(text)
            rows.append({"text": f"{text}\nThis line is everywhere.\nme@example.org wrote"})
        (folder / f"{number}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


class Counting:
    """Runs here, counts the calls, and stops after so many."""

    def __init__(self, most: int = 10**9) -> None:
        self.calls, self.most = 0, most

    def map(self, stage: Any, settings: dict[str, Any], shards: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for shard in shards:
            if self.calls == self.most:
                raise KeyboardInterrupt
            self.calls += 1
            yield stage(settings, shard)


def make(texts: Path, folder: Path, where: Mapper | None = None, **fields: Any) -> dict[str, str]:
    given = {"kind": "corpus", "source": {"kind": "jsonl", "path": str(texts)}, "filters": FILTERS, **fields}
    for part in ("out", "state"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    Step.parse(given).run(Work(out=folder / "out", state=folder / "state", runtime=Runtime(mapper=where)))
    return digest_folder(folder / "out")


def test_shards_and_processes_leave_no_trace(texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = make(texts, tmp_path / "whole")
    report = json.loads((tmp_path / "whole" / "out" / "report.json").read_text())
    dropped = {row["filter"]: row["count"] for row in report["dropped"]}
    assert dropped["exact-dedup"] > 20
    assert dropped["minhash-dedup"] > 5
    assert report["stages"][-1]["counts"]["lines"] > 50
    monkeypatch.setattr(pipeline, "SHARD", 1)
    assert make(texts, tmp_path / "pieces") == whole
    monkeypatch.setattr(pipeline, "RANGE", 50)
    assert make(texts, tmp_path / "two", Processes(2)) == whole


def test_the_survivors_are_those_of_the_filters_alone(texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from septet.data.documents import read_documents
    from septet.data.filter import Filter
    from septet.data.source import Source

    monkeypatch.setattr(pipeline, "SHARD", 1)
    make(texts, tmp_path, held_out={"share": 0})
    docs: Any = Source.parse({"kind": "jsonl", "path": str(texts)}).read()
    for spec in FILTERS:
        docs = Filter.parse(spec).apply(docs, lambda doc, reason: None)
    assert list(read_documents(tmp_path / "out" / "train.jsonl")) == list(docs)


@pytest.mark.parametrize("most", [0, 1, 5, 13, 22, 30])
def test_an_interrupted_run_goes_on(texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int):
    monkeypatch.setattr(pipeline, "SHARD", 1)
    counting = Counting()
    whole = make(texts, tmp_path / "whole", counting)
    stopped, rest = Counting(most), Counting()
    with pytest.raises(KeyboardInterrupt):
        make(texts, tmp_path / "stopped", stopped)
    (tmp_path / "stopped" / "out").rename(tmp_path / "gone")  # the store empties it
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "stopped" / "state").rglob("phase-*/*[0-9].json")}
    assert make(texts, tmp_path / "stopped", rest) == whole
    assert {path: path.stat().st_mtime_ns for path in before} == before, "finished shards were made again"


def test_ids_must_be_unique_over_all_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pipeline, "SHARD", 1)
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text('{"text": "x y", "id": "one"}\n')
    # the source itself sees one file at a time when shards are read apart
    source = {"kind": "jsonl", "path": str(tmp_path), "id_field": "id"}
    with pytest.raises(DataError, match=r"'one'.*ids must be unique"):
        make(tmp_path, tmp_path / "work", source=source)


def test_work_left_by_another_cut_of_the_source_is_done_again(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = make(texts, tmp_path / "whole")
    monkeypatch.setattr(pipeline, "SHARD", 1)
    with pytest.raises(KeyboardInterrupt):
        make(texts, tmp_path / "left", Counting(13))
    monkeypatch.undo()
    assert make(texts, tmp_path / "left") == whole
