"""Preference pairs: both kinds, what is dropped, the same after a kill, neighbours by hand."""

import json

import pytest
from tiny_chat import artifact, chat_rows, contents, save_model, work_at, write_rows

from septet.core.errors import DataError, Stopped
from septet.steps.pairs import Pairs, neighbours

FIELDS = {"data": "$rows", "weak": "$base", "strong": "$base", "max_tokens": 6}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_rows(folder / "rows" / "train.jsonl", chat_rows(150))
    write_rows(folder / "rows" / "held_out.jsonl", chat_rows(20))
    base = artifact(save_model(folder / "base"), "model")
    return {"data": artifact(folder / "rows", "dataset"), "weak": base, "strong": base}


@pytest.fixture(scope="module")
def made(inputs, tmp_path_factory):
    work = work_at(tmp_path_factory.mktemp("made"))
    return Pairs(**FIELDS).run(work, **inputs), work.out


def rows_of(folder, part="train"):
    return [json.loads(line) for line in (folder / f"{part}.jsonl").read_text().splitlines()]


def test_two_kinds_with_the_right_answer_preferred(made):
    facts, out = made
    rows = rows_of(out)
    assert list(rows[0]) == ["prompt", "chosen", "rejected", "kind", "document"]
    kinds = [row["kind"] for row in rows]
    assert facts["train_kinds"] == {kind: kinds.count(kind) for kind in ("neighbour", "weaker")}
    assert len(rows) + sum(facts["train_dropped"].values()) == 150
    assert kinds.count("neighbour") == 75
    right = {row["messages"][0]["content"]: row["messages"][1]["content"] for row in chat_rows()}
    for row in rows:
        assert row["chosen"] == right[row["prompt"][0]["content"]]
        assert row["rejected"] != row["chosen"]
        if row["kind"] == "neighbour":
            assert row["rejected"] in right.values()
    assert set(facts["strong_prefers_right"]) == {"neighbour", "weaker"}
    assert len({row["rejected"] for row in rows if row["kind"] == "weaker"}) > 20


def test_stopped_between_blocks_and_resumed_equals_uninterrupted(made, inputs, tmp_path):
    step = Pairs(**FIELDS)
    with pytest.raises(Stopped):
        step.run(work_at(tmp_path, stop_after=2), **inputs)
    kept = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "state").glob("weaker-*.json")}
    assert len(kept) == 2
    step.run(work_at(tmp_path), **inputs)
    assert contents(tmp_path / "out") == contents(made[1])
    assert {name: (tmp_path / "state" / name).stat().st_mtime_ns for name in kept} == kept, "finished blocks are kept"


def test_answers_of_another_world_are_written_again(made, inputs, tmp_path):
    work = work_at(tmp_path)
    (work.state / "world.json").write_text('{"torch": "0.1"}')
    (work.state / "weaker-00000.json").write_text(json.dumps(["forged"] * 32))
    Pairs(**FIELDS).run(work, **inputs)
    assert contents(work.out) == contents(made[1])


def test_the_seed_changes_the_pairs(made, inputs, tmp_path):
    Pairs(**{**FIELDS, "seed": 1}).run(work_at(tmp_path), **inputs)
    assert contents(tmp_path / "out") != contents(made[1])


def test_neighbours_alone_need_no_generation(inputs, tmp_path):
    work = work_at(tmp_path)
    facts = Pairs(**{**FIELDS, "share": 0.0, "limit": 30}).run(work, **inputs)
    assert facts["train_kinds"] == {"neighbour": 30}
    assert facts["held_out_kinds"] == {"neighbour": 6}
    assert not list(work.state.iterdir())


def ask(document, question, answer, asks="what"):
    return {"prompt": [{"role": "user", "content": question}], "chosen": answer, "document": document, "asks": asks}


def test_neighbours_by_hand():
    rows = [
        ask("os.path.join", "What does os.path.join do?", "Join paths."),
        ask("os.path.split", "What does os.path.split do?", "Split a path."),
        ask("json.loads", "What does json.loads do?", "Read JSON."),
        ask("json.load", "What does json.load do?", "Read JSON from a file."),
        ask("os.path.join", "Explain os.path.join.", "Join paths."),
        ask("os.path.join", "Which one joins?", "os.path.join", asks="which"),
    ]
    assert neighbours(rows) == [
        "Split a path.", "Join paths.", "Read JSON from a file.", "Read JSON.", "Split a path.", "",
    ]  # fmt: skip


def test_an_equal_answer_of_another_document_is_no_neighbour():
    rows = [
        ask("posixpath.join", "What does posixpath.join do?", "Join paths."),
        ask("ntpath.join", "What does ntpath.join do?", "Join  paths."),
        ask("posixpath.split", "What does posixpath.split do?", "Split a path."),
    ]
    assert neighbours(rows)[0] == "Split a path."


def test_rows_without_an_answer_are_named(inputs, tmp_path):
    bad = write_rows(
        tmp_path / "bad" / "train.jsonl", [*chat_rows(1), {"messages": [{"role": "user", "content": "x"}]}]
    )
    with pytest.raises(DataError, match=r"train.jsonl, row 2: a pair needs a question with its answer"):
        Pairs(**FIELDS).run(work_at(tmp_path), **{**inputs, "data": artifact(bad.parent, "dataset")})
