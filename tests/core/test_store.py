"""The store: names, locks, removal; nothing half-made is ever seen.

python -m pytest tests/core/test_store.py
"""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from septet.core.artifact import MANIFEST, Artifact, write_json
from septet.core.errors import SpaceError, Stopped, StoreError
from septet.core.store import Store, space_errors


def put(
    store: Store, id: str, *, inputs: dict[str, str] | None = None, name: str = "", kind: str = "corpus"
) -> Artifact:
    with store.making(id) as work:
        (work / "out" / "text.txt").write_text(id)
        artifact = store.commit(work, Artifact(id, kind, inputs or {}, {"kind": "toy"}, {"seconds": 1.0}))
    if name:
        store.point(*name.split("/"), id)
    return artifact


A, B, C = "a" * 32, "b" * 32, "c" * 32


def test_commit_makes_visible_and_cleans_up(store):
    with store.making(A) as work:
        (work / "out" / "text.txt").write_text("x")
        assert list(store) == []
        made = store.commit(work, Artifact(A, "corpus", {}, {}))
    assert store.get(A) == made
    assert not (store.home / "work" / A).exists()
    assert set(made.facts["digest"]) == {"text.txt"}


def test_an_artifact_without_a_manifest_does_not_exist(store):
    put(store, A)
    (store.artifacts / A / MANIFEST).unlink()
    assert store.get(A) is None
    assert list(store) == []


def test_what_a_killed_run_left_in_out_is_gone_and_its_state_stays(store):
    with store.making(A) as work:
        (work / "out" / "half").write_text("x")
        (work / "state" / "checkpoint").write_text("y")
    with store.making(A) as work:
        assert list((work / "out").iterdir()) == []
        assert (work / "state" / "checkpoint").read_text() == "y"


def test_names_resolve_to_the_newest_run(store):
    put(store, A, name="one/text")
    put(store, B, name="two/text")
    assert store.resolve("text").id == B
    assert store.resolve("one/text").id == A
    assert store.resolve("aaaa").id == A
    with pytest.raises(StoreError, match=r"no artifact named 'txet'.* Did you mean 'text'"):
        store.resolve("txet")
    with pytest.raises(StoreError, match="'text' is a corpus, and a model is needed here"):
        store.resolve("text", kinds=("model",))


def test_an_empty_store_says_how_to_begin(store):
    with pytest.raises(StoreError, match="septet quickstart"):
        store.resolve("liked")


def test_remove_refuses_while_others_were_made_from_it(store):
    first, second = put(store, A, name="r/text"), put(store, B, inputs={"corpus": A}, name="r/vocab")
    with pytest.raises(StoreError, match="is an input of"):
        store.remove(first)
    store.remove(second)
    store.remove(first)
    assert list(store) == []
    assert store.names() == []


def test_collect_keeps_what_names_reach_through_lineage(store):
    put(store, A)
    put(store, B, inputs={"corpus": A}, name="r/vocab")
    put(store, C)
    assert [what for what, _ in store.collect(dry_run=True)] == [f"artifacts/{C}"]
    assert len(list(store)) == 3
    store.collect()
    assert {artifact.id for artifact in store} == {A, B}


def test_collect_refuses_while_a_run_uses_the_store(store):
    with store.using(), pytest.raises(StoreError, match="A run is using"):
        Store(store.home).collect()


def test_one_maker_at_a_time(store):
    order, waiting = [], threading.Event()

    def second() -> None:
        with Store(store.home).making(A, waiting=waiting.set):
            order.append("second")

    thread = threading.Thread(target=second)
    with store.making(A):
        thread.start()
        assert waiting.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_who_waits_can_be_stopped(store):
    asked: list[str] = []
    other = Store(store.home)
    with (
        store.making(A),
        pytest.raises(Stopped, match="while it waited for another run"),
        other.making(A, waiting=lambda: asked.append("stop"), stopping=lambda: bool(asked)),
    ):
        raise AssertionError("two at once")
    assert asked == ["stop"], "told once"
    with other.making(A):
        pass


def test_write_json_leaves_the_old_file_when_writing_fails(tmp_path: Path):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert '"a": 1' in path.read_text()


def test_no_space_left_is_a_message(tmp_path: Path):
    with pytest.raises(SpaceError, match=r"No space is left .* run the same command again"), space_errors(tmp_path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
