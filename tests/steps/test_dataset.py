"""The dataset step.

python -m pytest tests/steps/test_dataset.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from septet.core.artifact import Artifact
from septet.core.errors import ComponentError, DataError
from septet.core.step import Step, Work
from septet.data.documents import Document, write_documents


def corpus(folder: Path, count: int = 40) -> Artifact:
    docs = [
        Document(
            id=f"m.f{i}", name=f"m.f{i}", text="",
            meta={"type": "function", "signature": f"f{i}(x, n={i})", "doc": f"Return the value number {i} of them all."},
        )
        for i in range(count)
    ]  # fmt: skip
    write_documents(folder / "train.jsonl", docs[:-5])
    write_documents(folder / "held_out.jsonl", docs[-5:])
    return Artifact(id="0" * 32, kind="corpus", inputs={}, step={}, path=folder)


def run(tmp_path: Path, spec: dict, **inputs: Artifact) -> tuple[dict, list[dict], list[dict]]:
    out = tmp_path / "out"
    facts = Step.parse({"kind": "dataset", **spec}).run(Work(out=out, state=tmp_path / "state"), **inputs)
    parts = (
        [json.loads(line) for line in (out / f"{part}.jsonl").read_text().splitlines()]
        for part in ("train", "held_out")
    )
    return facts, *parts


def test_questions_about_a_corpus(tmp_path: Path):
    spec = {"corpus": "text", "builder": "docs-questions"}
    facts, train, held_out = run(tmp_path, spec, corpus=corpus(tmp_path / "corpus"))
    assert facts["train_rows"] == len(train) == 105
    assert facts["held_out_rows"] == len(held_out) == 15
    assert facts["kinds"] == {"parameters": 35, "what": 35, "which": 35}
    assert set(train[0]) == {"messages", "document", "kind"}
    assert {row["document"] for row in held_out} == {f"m.f{i}" for i in range(35, 40)}
    assert not {row["document"] for row in held_out} & {row["document"] for row in train}
    again = run(tmp_path, spec, corpus=corpus(tmp_path / "corpus"))
    assert again == (facts, train, held_out)
    assert run(tmp_path, {**spec, "seed": 1}, corpus=corpus(tmp_path / "corpus"))[1] != train


def test_a_limit(tmp_path: Path):
    spec = {"corpus": "text", "builder": "docs-questions", "limit": 20}
    _, train, held_out = run(tmp_path, spec, corpus=corpus(tmp_path / "corpus"))
    assert (len(train), len(held_out)) == (20, 2)


def test_ones_own_rows_need_no_corpus(tmp_path: Path):
    path = tmp_path / "r.jsonl"
    path.write_text("".join(json.dumps({"question": f"q{i}", "answer": "a"}) + "\n" for i in range(50)))
    builder = {"kind": "jsonl", "path": str(path)}
    facts, train, held_out = run(tmp_path, {"builder": builder})
    assert len(train) + len(held_out) == 50
    assert facts["kinds"] == {"given": len(train)}
    with pytest.raises(ComponentError, match="reads its own file"):
        Step.parse({"kind": "dataset", "builder": builder, "corpus": "text"})


def test_errors(tmp_path: Path):
    with pytest.raises(ComponentError, match="asks about a corpus"):
        Step.parse({"kind": "dataset", "builder": "docs-questions"})
    with pytest.raises(ComponentError, match="Did you mean 'docs-questions'"):
        Step.parse({"kind": "dataset", "builder": "doc-question", "corpus": "text"})
    folder = tmp_path / "corpus"
    for part in ("train", "held_out"):
        write_documents(folder / f"{part}.jsonl", [Document(id="a", text="12")])
    with pytest.raises(DataError, match="no training row from 1 documents"):
        run(tmp_path, {"builder": "docs-questions", "corpus": "c"}, corpus=Artifact("0", "corpus", {}, {}, path=folder))


def test_what_the_rows_of_a_corpus_are_is_told_beside_them(tmp_path: Path):
    run(tmp_path, {"corpus": "text", "builder": "docs-questions"}, corpus=corpus(tmp_path / "corpus"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "dataset.json",
        "held_out.jsonl",
        "train.jsonl",
    ]
    told = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert told["task"] == "chat"
    assert "labels" not in told
    assert told["review"]["rows"] == {"train": 105, "held_out": 15}


def test_ones_own_parts_for_any_task(tmp_path: Path):
    def rows(name: str, start: int, count: int) -> str:
        path = tmp_path / f"{name}.csv"
        lines = [f"text number {n},{'good' if n % 2 else 'bad'}" for n in range(start, start + count)]
        path.write_text("\n".join(["review,verdict", *lines]) + "\n")
        return str(path)

    builder = {
        "kind": "table", "train": rows("train", 0, 40), "validation": rows("validation", 100, 10), "test": rows("test", 0, 10),
        "columns": {"label": "verdict"},
    }  # fmt: skip
    said = []
    out = tmp_path / "out"
    work = Work(out=out, state=tmp_path / "state", emit=said.append)
    facts = Step.parse({"kind": "dataset", "builder": builder, "limit": 20}).run(work)
    assert (facts["task"], facts["labels"], facts["train_rows"], facts["held_out_rows"], facts["test_rows"]) == (
        "classification", 2, 20, 2, 10,
    )  # fmt: skip
    told = json.loads((out / "dataset.json").read_text())
    assert (told["task"], told["labels"]) == ("classification", ["bad", "good"])
    assert told["columns"] == {"text": "review", "label": "verdict"}
    test = [json.loads(line) for line in (out / "test.jsonl").read_text().splitlines()]
    assert test[0] == {"text": "text number 0", "label": "bad"}
    # the test rows are training rows too, as far as the limit left them
    train = {json.loads(line)["text"] for line in (out / "train.jsonl").read_text().splitlines()}
    shared = len(train & {row["text"] for row in test})
    assert facts["rows_shared_with_training"] == shared > 0
    logged = [event.text for event in said if hasattr(event, "text")]
    assert logged[0] == "The rows are for classification: label is verdict, text is review."
    assert any(line.startswith(f"{shared} of 10 test rows are given a text of the training rows") for line in logged)
