"""Packed rows on disk: the same rows as in memory, every token traced to its document, mixed, resumed, checked.

python -m pytest tests/data/test_packed.py
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from septet.core.artifact import Artifact, digest_folder
from septet.core.errors import ComponentError, DataError
from septet.core.step import Runtime, Step, Work
from septet.data.documents import Document, write_documents
from septet.data.packed import Mixed, Packed, Ready, Writer, document_at
from septet.data.packing import IGNORE, Sample, best_fit, pack, text_sample
from septet.launch.processes import Processes
from septet.steps import pack as pack_step
from septet.steps.pack import open_encoder
from septet.steps.tokenizer import save, train


@given(st.lists(st.integers(1, 20), max_size=40))
def test_best_fit_fills_no_row_above_its_room(sizes: list[int]):
    bins = best_fit(sizes, 20)
    assert sorted(number for bin_ in bins for number in bin_) == list(range(len(sizes)))
    loads = [sum(sizes[number] for number in bin_) for bin_ in bins]
    assert all(load <= 20 for load in loads)
    # best fit leaves at most one row half empty
    assert sum(load <= 10 for load in loads) <= 1


def test_best_fit_by_hand():
    # 7 opens a row, 6 another; 4 fits beside 6 exactly (3 would not be worth it), 3 beside 7
    assert best_fit([3, 6, 7, 4], 10) == [[2, 0], [1, 3]]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=20), st.integers(0, 3))
def test_the_rows_are_those_of_packing_in_memory(lengths: list[int], seed: int):
    import tempfile

    drawn = np.random.default_rng(seed)
    lines = [drawn.integers(2, 60, length).astype(np.uint16) for length in lengths]
    samples: list[Sample] = [text_sample(line.tolist(), separator=0) for line in lines]
    expected, report = pack(samples, 8, pad=1)
    with tempfile.TemporaryDirectory() as folder:
        writer = Writer(context=8, separator=0, pad=1, vocabulary=60)
        for place, line in enumerate(lines):
            writer.add(line, place)
        Path(folder, "train").mkdir()
        entry = {"stem": "x", **writer.write(Path(folder, "train", "x"))}
        index = {"context": 8, "vocabulary": 60, "parts": {"train": {"": [entry]}, "held_out": {}}}
        Path(folder, "index.json").write_text(json.dumps(index))
        packed = Packed(Path(folder))
        found = list(packed.rows())
        # the pieces of a long document stand in another order, so that rows are compared as sets
        key = lambda row: (row.ids.tolist(), row.labels.tolist(), row.positions.tolist(), row.used)  # noqa: E731
        assert sorted(map(key, found)) == sorted(map(key, expected))
        assert replace(packed.report(), cut=0, pieces=0) == replace(report, cut=0, pieces=0)


TEXTS = ["The first document says a little. ", "Another one is longer than the first. ", "And a third. "]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """A corpus of two sources and a tokenizer, as artifacts."""
    root = tmp_path_factory.mktemp("made")
    docs = [
        Document(
            id=f"{source}/{n}",
            text=TEXTS[n % 3] * (n % 7) + f"Number {n} of {source}, <|endoftext|> or not.",
            file=f"{source}.txt",
            line=n + 1,
            source=source,
        )
        for source, count in (("novels", 60), ("web", 20))
        for n in range(count)
    ]
    write_documents(root / "corpus" / "train.jsonl", docs)
    write_documents(root / "corpus" / "held_out.jsonl", docs[:5])
    save(train((doc.text for doc in docs), size=300), root / "vocab")
    return {
        "corpus": Artifact("c" * 32, "corpus", {}, {}, path=root / "corpus"),
        "tokenizer": Artifact("d" * 32, "tokenizer", {}, {}, path=root / "vocab"),
    }


def run(made: dict[str, Artifact], folder: Path, runtime: Runtime | None = None, **fields: object) -> Artifact:
    step = Step.parse({"kind": "pack", "corpus": "c", "tokenizer": "t", "context": 64, **fields})
    for part in ("out", "state"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    facts = step.run(Work(out=folder / "out", state=folder / "state", runtime=runtime or Runtime()), **made)
    inputs = {role: artifact.id for role, artifact in made.items()}
    return Artifact("e" * 32, "packed", inputs, step.dump(), facts, folder / "out")


def test_every_token_leads_back_to_its_document(made: dict[str, Artifact], tmp_path: Path):
    artifact = run(made, tmp_path)
    packed = Packed(artifact.path)
    encoder, separator, _ = open_encoder(str(made["tokenizer"].path))
    assert encoder.backend == "tiktoken"
    assert packed.names == ("novels", "web")
    assert artifact.facts["waste"] < 0.1
    seen: dict[str, int] = {}
    for name in packed.names:
        for number in range(packed.sizes()[name].rows):
            row = packed.row(name, number)
            for span in packed.origin(name, number):
                doc = document_at(made["corpus"].path, "train", span.place)
                assert doc.source == name
                line = [separator, *encoder.encode_batch([doc.text])[0], separator]
                ids = row.ids[span.start : span.start + span.length]
                assert ids.tolist() == line[span.offset : span.offset + span.length]
                labels = row.labels[span.start : span.start + span.length]
                assert labels.tolist() == line[span.offset + 1 : span.offset + span.length + 1]
                assert row.positions[span.start] == 0
                seen[doc.id] = seen.get(doc.id, 0) + span.length
            assert (row.labels[row.used :] == IGNORE).all()
    assert len(seen) == 80
    assert sum(seen.values()) == artifact.facts["tokens"]
    assert packed.verify() == []
    assert len(Packed(artifact.path, "held_out")) == artifact.facts["held_out_rows"] > 0
    assert packed._array("00000-0", "tokens").dtype == np.uint16


def test_ranges_and_processes(made: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pack_step, "RANGE", 4000)
    one, two = run(made, tmp_path / "one"), run(made, tmp_path / "two", Runtime(mapper=Processes(2)))
    assert digest_folder(one.path) == digest_folder(two.path)
    assert len(Packed(one.path).shards["novels"]) > 2
    assert one.facts["tokens"] == run(made, tmp_path / "whole").facts["tokens"]


def test_a_mixture_is_read_in_its_order_and_resumed_at_any_batch(made: dict[str, Artifact], tmp_path: Path):
    artifact = run(made, tmp_path, mixture={"weights": {"novels": 1, "web": 1}})
    ready = Ready.open(artifact)
    assert artifact.facts["mixed_rows"] == len(ready.order)
    batches = ready.batches(3)
    whole = [[row.ids.tobytes() for row in batches.next()] for _ in range(9)]
    again = ready.batches(3)
    for _ in range(4):
        again.next()
    resumed = Mixed(ready.packed, ready.order, 3)
    resumed.restore(json.loads(json.dumps(again.state())))
    assert [[row.ids.tobytes() for row in resumed.next()] for _ in range(5)] == whole[4:]
    with pytest.raises(ComponentError, match=r"no source of the corpus.*novels"):
        run(made, tmp_path / "wrong", mixture={"weights": {"novel": 1}})


def test_damage_is_noticed(made: dict[str, Artifact], tmp_path: Path):
    artifact = run(made, tmp_path)
    path = artifact.path / "train" / "00000-0.tokens.npy"
    path.write_bytes(path.read_bytes()[:-2] + b"\x07\x07")
    assert Packed(artifact.path).verify() == ["train/00000-0.tokens.npy"]
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"cannot be read.*make it again"):
        Packed(artifact.path).row("novels", 0)
    with pytest.raises(DataError, match=r"no index.json"):
        Packed(tmp_path)


def test_weights_are_repetitions_of_training_documents_alone(made: dict[str, Artifact], tmp_path: Path):
    docs = [
        Document(id=f"{n}", text=f"Document number {n}, said once.", source="s", meta={"weight": weight})
        for n, weight in enumerate((0, 1, 3, 2.5, 0.5, 1))
    ]
    for part in ("train", "held_out"):
        write_documents(tmp_path / "c" / f"{part}.jsonl", docs)
    weighted = {**made, "corpus": Artifact("c" * 32, "corpus", {}, {}, path=tmp_path / "c")}
    packed = Packed(run(weighted, tmp_path / "w").path)
    found: dict[str, int] = {}
    for number in range(packed.sizes()["s"].rows):
        for span in packed.origin("s", number):
            doc = document_at(tmp_path / "c", "train", span.place)
            found[doc.id] = found.get(doc.id, 0) + (span.offset == 0)
    assert {name: found.get(name, 0) for name in "0125"} == {"0": 0, "1": 1, "2": 3, "5": 1}
    assert found["3"] in (2, 3)
    assert found.get("4", 0) in (0, 1)
    assert Packed(tmp_path / "w" / "out", "held_out").sizes()["s"].documents == 6


def test_an_empty_corpus(made: dict[str, Artifact], tmp_path: Path):
    for part in ("train", "held_out"):
        write_documents(tmp_path / "c" / f"{part}.jsonl", [])
    empty = {**made, "corpus": Artifact("c" * 32, "corpus", {}, {}, path=tmp_path / "c")}
    with pytest.raises(DataError, match="no training text"):
        run(empty, tmp_path / "w")
