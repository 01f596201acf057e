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
