"""Which builder reads which file, and what is said where nothing tells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from septet.core.errors import DataError, RecipeError, StoreError
from septet.core.store import Store
from septet.ops.given import builder_for, rows_meant

REVIEWS = "".join(f"{number % 2} this is the review of film number {number}\n" for number in range(40))
NEWS = "".join(f"Anna NNP I-PER\nsaw VBD O\nnumber{number} CD O\n\n" for number in range(30))
TABLE = "text,label\n" + "".join(f"the film number {number} was seen,{'ab'[number % 2]}\n" for number in range(40))
SQUAD = {"data": [{"title": "t", "paragraphs": [{"context": "Rome is old.", "qas": [
    {"id": str(number), "question": f"What is old, number {number}?", "answers": [{"text": "Rome", "answer_start": 0}]}
    for number in range(20)]}]}]}  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "reviews").write_text(REVIEWS, encoding="utf-8")
    (tmp_path / "news.conll").write_text(NEWS, encoding="utf-8")
    (tmp_path / "table.csv").write_text(TABLE, encoding="utf-8")
    (tmp_path / "squad.json").write_text(json.dumps(SQUAD), encoding="utf-8")
    for language, text in (("en", "a dog runs"), ("de", "ein Hund rennt")):
        (tmp_path / f"train.{language}").write_text("".join(f"{text} {n}\n" for n in range(30)), encoding="utf-8")
    for label in ("good", "bad"):
        (tmp_path / "films" / label).mkdir(parents=True)
        for number in range(12):
            (tmp_path / "films" / label / f"{number}.txt").write_text(f"a {label} film {number}", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("names", "kind", "task"),
    [
        (["reviews"], "lines", "classification"),
        (["news.conll"], "conll", "tagging"),
        (["table.csv"], "table", "classification"),
        (["squad.json"], "squad", "question-answering"),
        (["train.en", "train.de"], "parallel", "text-to-text"),
        (["films"], "folders", "classification"),
    ],
)
def test_files_tell_their_kind(names: list[str], kind: str, task: str, files: Path, store: Store):
    paths = [files / name for name in names]
    assert builder_for(paths)["kind"] == kind
    meant = rows_meant([str(path) for path in paths], store)
    assert meant.task.kind == task
    assert meant.parts["train"]


def test_what_cannot_be_told_is_asked_for(files: Path, store: Store):
    (files / "prose.txt").write_text(
        "It was a dark night.\nThe rain fell.\nNobody slept.\nDawn came.\n", encoding="utf-8"
    )
    with pytest.raises(DataError, match="--builder"):
        rows_meant([str(files / "prose.txt")], store)
    with pytest.raises(DataError, match=r"Did you mean 'table.csv'"):
        rows_meant([str(files / "tabel.csv")], store)
    with pytest.raises(StoreError, match="There is no file 'nothing'"):
        rows_meant(["nothing"], store)


def test_a_recipe_gives_the_rows_that_it_would_make(files: Path, store: Store):
    path = files / "small.yaml"
    step = "{kind: dataset, builder: {kind: table, train: table.csv}}"
    path.write_text(f"name: small\nsteps:\n  rows: {step}\n  more: {step[:-1]}, seed: 1}}\n", encoding="utf-8")
    meant = rows_meant([str(path)], store)
    assert (meant.name, meant.data, meant.task.kind) == ("small/rows", "small/rows", "classification")
    assert "--step" in meant.remarks[0]
    assert rows_meant([str(path)], store, step="more").name == "small/more"
    with pytest.raises(RecipeError, match=r"no step 'mroe'.*Did you mean 'more'"):
        rows_meant([str(path)], store, step="mroe")
    path.write_text("name: none\nsteps:\n  m: {kind: checkpoint, packaged: minilm}\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="no step of it makes a data set"):
        rows_meant([str(path)], store)
