"""The corpus step.

python -m pytest tests/steps/test_corpus.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from septet.core.component import Component
from septet.core.errors import DataError
from septet.core.events import Message
from septet.core.step import Step, Work
from septet.data.documents import read_documents
from septet.steps.corpus import EmptyCorpus


def work(folder: Path, events: list | None = None) -> Work:
    (folder / "out").mkdir(parents=True, exist_ok=True)
    return Work(out=folder / "out", state=folder / "state", emit=(events if events is not None else []).append)


def texts(tmp_path: Path, **files: str) -> Path:
    root = tmp_path / "docs"
    root.mkdir()
    for name, text in files.items():
        (root / f"{name}.md").write_text(text, encoding="utf-8")
    return root


def corpus(root: Path, **fields) -> Component:
    return Step.parse({"kind": "corpus", "source": {"kind": "folder", "path": str(root)}, **fields})


def test_a_corpus_and_its_report(tmp_path: Path):
    files = {f"f{i}": f"# F{i}\nText number {i} by a{i}@example.org.\n" for i in range(20)}
    root = texts(tmp_path, **files, same="# F0\nText number 0 by a0@example.org.\n", signs="# S\n=+= 1 + 2 == 3 |\n")
    (root / "bad.txt").write_bytes(b"\xff")
    events: list = []
    spec = {"filters": ["normalise", "docstrings", "exact-dedup", "pii"], "held_out": {"by": "group", "share": 0.2}}
    step = corpus(root, **spec)
    facts = step.run(work(tmp_path, events))
    out = tmp_path / "out"
    documents = list(read_documents(out / "documents.jsonl"))
    train, held_out = (list(read_documents(out / f"{part}.jsonl")) for part in ("train", "held_out"))
    assert len(documents) == 22
    assert "a0@example.org" in documents[0].text
    assert len(train) + len(held_out) == 20
    assert len(held_out) == 4
    assert not any("@" in json.dumps([doc.text, doc.meta]) for doc in (*train, *held_out))
    dropped = [json.loads(line) for line in (out / "dropped.jsonl").read_text().splitlines()]
    assert [(row["id"], row["filter"]) for row in dropped] == [
        ("signs.md#s", "docstrings"),
        ("same.md#f0", "exact-dedup"),
    ]
    report = json.loads((out / "report.json").read_text())
    assert [(stage["kind"], stage["documents"]) for stage in report["stages"]] == [
        ("folder", 22), ("normalise", 22), ("docstrings", 21), ("exact-dedup", 20), ("pii", 20),
    ]  # fmt: skip
    assert report["stages"][-1]["changed"] == 20
    row = next(row for row in report["dropped"] if row["filter"] == "exact-dedup")
    assert (row["reason"], row["count"]) == ("same text as another", 1)
    assert row["examples"] == [{"name": "F0", "text": "F0\n\nText number 0 by a0@example.org."}]
    assert report["skipped_files"][0]["file"] == "bad.txt"
    assert facts["pii"] == {"email": 20}
    assert facts["documents"] == 22
    assert facts["dropped"] == 2
    assert facts["skipped_files"] == 1
    assert any(isinstance(event, Message) and "bad.txt" in event.text for event in events)


def test_more_held_out_than_was_asked_for_is_said(tmp_path: Path):
    # two files of many sections: a group is a file, and one of them is half of the text
    sections = "".join(f"# S{number}\n\nSome words of section {number}.\n\n" for number in range(20))
    root = texts(tmp_path, one=sections, two=sections.replace("Some", "Other"))
    events: list = []
    corpus(root, held_out={"by": "group", "share": 0.05}).run(work(tmp_path, events))
    said = [event.text for event in events if isinstance(event, Message)]
    assert any(
        "49% of the text is held out, where 5% was asked for" in text and "by: document" in text for text in said
    )


def test_the_same_twice(tmp_path: Path):
    root = texts(tmp_path, **{f"f{i}": f"# F\nText {i} here.\n" for i in range(30)})
    folders = []
    for name in ("one", "two"):
        corpus(root, filters=["exact-dedup"]).run(work(tmp_path / name))
        folders.append({path.name: path.read_bytes() for path in (tmp_path / name / "out").iterdir()})
    assert folders[0] == folders[1]
    assert set(folders[0]) == {"documents.jsonl", "train.jsonl", "held_out.jsonl", "dropped.jsonl", "report.json"}


def test_nothing_left(tmp_path: Path):
    root = texts(tmp_path, a="# A\nToo short.\n")
    with pytest.raises(EmptyCorpus, match=r"left nothing of 1 documents \(1 fewer than 50 words\)"):
        corpus(root, filters=[{"kind": "length", "min_words": 50}]).run(work(tmp_path))
    assert issubclass(EmptyCorpus, DataError)


def test_rows_without_text_are_dropped_and_counted(tmp_path: Path):
    (tmp_path / "r.jsonl").write_text('{"text": "Some words."}\n{"text": " "}\n{"text": "More words."}\n')
    step = Step.parse({"kind": "corpus", "source": {"kind": "jsonl", "path": str(tmp_path / "r.jsonl")}})
    facts = step.run(work(tmp_path))
    assert facts["dropped"] == 1
    assert (facts["train_documents"], facts["held_out_documents"]) == (1, 1)


def test_the_id_follows_every_nested_field(tmp_path: Path):
    root = texts(tmp_path, a="# A\nText.\n")
    first = corpus(root, filters=["pii"]).identity()
    assert corpus(root, filters=["pii"]).identity() == first
    for change in (
        {"filters": [{"kind": "pii", "on_match": "drop"}]},
        {"filters": []},
        {"filters": ["pii"], "held_out": {"seed": 1}},
        {"filters": ["pii"], "held_out": {"share": 0.2}},
    ):
        assert corpus(root, **change).identity() != first
    (root / "a.md").write_text("# A\nOther text.\n")
    assert corpus(root, filters=["pii"]).identity() != first


def test_real_web_text(real_data: Path, tmp_path: Path):
    path = real_data / "pretraining" / "c4_and_wiki_samples" / "c4_demo.jsonl.gz"
    spec = {
        "kind": "corpus",
        "source": {"kind": "jsonl", "path": str(path)},
        "filters": ["normalise", "exact-dedup", "pii"],
    }
    facts = Step.parse(spec).run(work(tmp_path))
    assert facts["documents"] == 300
    assert 0.08 < facts["held_out_share"] < 0.12
    assert facts["pii"]["email"] > 0


def test_what_cannot_be_read_is_left_out_or_stops_the_run(tmp_path: Path):
    root = texts(tmp_path, a="# A\nSome words to keep.\n")
    (root / "bad.txt").write_bytes(b"good until \xff here")
    (root / "rows.jsonl").write_text('{"text": "A row."}\n{"text": \n{"text": "Another row."}\n')
    facts = corpus(root).run(work(tmp_path / "skip"))
    assert (facts["documents"], facts["skipped_files"]) == (3, 2)
    report = json.loads((tmp_path / "skip" / "out" / "report.json").read_text())
    assert [row["file"] for row in report["skipped_files"]] == ["bad.txt", "rows.jsonl, row 2"]
    with pytest.raises(DataError, match=r"bad.txt: .*not UTF-8.*on_error is 'stop'"):
        corpus(root, on_error="stop").run(work(tmp_path / "stop"))


def test_the_text_as_read_can_be_left_out(tmp_path: Path):
    root = texts(tmp_path, **{f"f{n}": f"# F\nText number {n}.\n" for n in range(9)})
    corpus(root, keep_read=False, audits=["identity"]).run(work(tmp_path / "a"))
    names = {path.name for path in (tmp_path / "a" / "out").iterdir()}
    assert names == {"audits.json", "dropped.jsonl", "held_out.jsonl", "report.json", "train.jsonl"}


def test_ids_follow_what_is_given_to_filters(tmp_path: Path):
    root = texts(tmp_path, a="# A\nText.\n")
    first = corpus(root, on_error="skip").identity()
    assert corpus(root).identity() == first, "a field at its default stays out"
    assert corpus(root, on_error="stop").identity() != first
    assert corpus(root, audits=["identity"]).identity() != first


def test_tokens_are_counted_at_each_stage_with_a_tokenizer(tmp_path: Path):
    from septet.core.artifact import Artifact
    from septet.data.encode import Encoder
    from septet.steps.tokenizer import save, train

    root = texts(tmp_path, **{f"f{n}": f"# F{n}\nText number {n}, with e{n}@example.org in it.\n" for n in range(8)})
    save(train(["Text number, with in it."] * 3, size=280), tmp_path / "vocab")
    step = corpus(root, filters=["pii"], tokenizer="vocab", held_out={"share": 0})
    step.run(work(tmp_path), tokenizer=Artifact("t" * 32, "tokenizer", {}, {}, path=tmp_path / "vocab"))
    stages = json.loads((tmp_path / "out" / "report.json").read_text())["stages"]
    encoder = Encoder(tmp_path / "vocab")
    for stage, name in zip(stages, ("documents", "train"), strict=True):
        docs = read_documents(tmp_path / "out" / f"{name}.jsonl")
        assert stage["tokens"] == sum(len(encoder.encode(doc.text)) for doc in docs)
    assert stages[1]["tokens"] < stages[0]["tokens"]
