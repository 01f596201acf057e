"""Running recipes: keep, resume, stop, two runs at once, no space left.

python -m pytest tests/launch/test_local.py
"""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import child_environment
from toys.steps.toy_count import ToyCount

from septet.core import events
from septet.core.errors import SpaceError, Stopped, StoreError
from septet.core.recipe import Recipe, plan
from septet.core.step import Work
from septet.core.store import Store
from septet.launch.local import load_run, newest_run, run_recipe
from septet.ops.sink import Sink

RECIPE = """\
name: toys
steps:
  text: {kind: toy-text}
  count: {kind: toy-count, corpus: $text, to: 40, work_per_number: 200000}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return Recipe.load(tmp_path / "recipe.yaml")


class Listen(Sink):
    """Keeps the events it is given."""

    heard: list = []  # noqa: RUF012 - a field, copied by pydantic

    def on(self, event):
        self.heard.append(event)


def kinds(listen: Listen) -> list[str]:
    return [type(event).__name__ for event in listen.heard if not isinstance(event, events.Progress)]


def test_a_second_run_keeps_everything(recipe, store):
    first = run_recipe(recipe, store)
    listen = Listen()
    second = run_recipe(recipe, store, sinks=[listen])
    assert kinds(listen) == ["RunStarted", "StepKept", "StepKept", "RunFinished"]
    assert second.artifacts == first.artifacts
    assert [planned.action for planned in plan(recipe, store)] == ["keep", "keep"]
    assert load_run(store, "toys").artifacts == first.artifacts


def test_only_makes_a_step_and_what_it_needs(recipe, store):
    assert list(run_recipe(recipe, store, only="text").artifacts) == ["text"]


def test_runs_that_are_not_there_are_told(store):
    with pytest.raises(StoreError, match="septet quickstart"):
        newest_run(store)
    with pytest.raises(StoreError, match="No finished run of a recipe named 'x'"):
        load_run(store, "x")


def test_a_failed_step_leaves_nothing_visible_and_goes_on(recipe, store, monkeypatch):
    original = ToyCount.run

    def broken(self, work: Work, **inputs):
        original(self.model_copy(update={"to": 5}), work, **inputs)
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(ToyCount, "run", broken)
    with pytest.raises(RuntimeError):
        run_recipe(recipe, store)
    assert [artifact.kind for artifact in store] == ["corpus"]
    assert [planned.action for planned in plan(recipe, store)] == ["keep", "resume"]
    monkeypatch.setattr(ToyCount, "run", original)
    listen = Listen()
    run = run_recipe(recipe, store, sinks=[listen])
    assert [event.resumed for event in listen.heard if isinstance(event, events.StepStarted)] == [True]
    assert next(event.done for event in listen.heard if isinstance(event, events.Progress)) == 6
    assert run.artifacts["count"].facts["seconds"] > 0


def test_no_space_left_is_one_message_and_nothing_is_lost(recipe, store, monkeypatch):
    original = ToyCount.run

    def full(self, work: Work, **inputs):
        original(self.model_copy(update={"to": 7}), work, **inputs)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(ToyCount, "run", full)
    with pytest.raises(SpaceError, match="No space is left"):
        run_recipe(recipe, store)
    monkeypatch.setattr(ToyCount, "run", original)
    assert len(run_recipe(recipe, store).artifacts) == 2


def test_ctrl_c_stops_at_a_safe_point_and_the_next_run_goes_on(recipe, store):
    class Interrupt(Listen):
        """Sends Ctrl-C at the tenth number."""

        def on(self, event):
            super().on(event)
            if isinstance(event, events.Progress) and event.done == 10:
                os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)  # a shell may have it ignored in what it starts in the background
    with pytest.raises(Stopped, match="goes on from here"):
        run_recipe(recipe, store, sinks=[Interrupt()])
    assert signal.getsignal(signal.SIGINT) is before
    listen = Listen()
    run_recipe(recipe, store, sinks=[listen])
    done = [event.done for event in listen.heard if isinstance(event, events.Progress)]
    assert 10 < done[0] < 40


def start(tmp_path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "septet.cli", "--json", "run", str(tmp_path / "recipe.yaml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=child_environment(tmp_path),
    )


def result(store: Store) -> tuple[str, dict]:
    artifact = store.resolve("toys/count")
    return (artifact.path / "numbers.json").read_text(), artifact.facts["digest"]


def test_killed_at_any_moment_the_next_run_goes_on_to_the_same_bytes(recipe, store, tmp_path):
    run_recipe(recipe, Store(tmp_path / "quiet"))
    expected = result(Store(tmp_path / "quiet"))
    rng, kills = random.Random(0), 0
    for _ in range(40):
        process = start(tmp_path)
        assert process.stdout is not None
        for _ in range(rng.randint(1, 14)):  # a line is an event: kills fall before, in and after the steps
            process.stdout.readline()
        if process.poll() is None and kills < 6:
            process.send_signal(signal.SIGKILL)
            kills += 1
        _, errors = process.communicate(timeout=60)
        for artifact in store:  # whatever is visible is whole
            assert artifact.facts["digest"].keys() == {p.name for p in artifact.path.iterdir()} - {"manifest.json"}
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors
    assert kills >= 3
    assert result(store) == expected


def test_two_runs_on_one_store_share_the_work(recipe, store, tmp_path):
    first, second = start(tmp_path), start(tmp_path)
    outputs = [process.communicate(timeout=60)[0] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0)
    events_ = [json.loads(line) for output in outputs for line in output.splitlines()]
    finished = [event["step"] for event in events_ if event["event"] == "step_finished"]
    assert sorted(finished) == ["count", "text"]  # each was made once, by whichever came first


def test_a_terminated_run_stops_cleanly(recipe, tmp_path):
    process = start(tmp_path)
    assert process.stdout is not None
    while '"progress"' not in process.stdout.readline():
        assert process.poll() is None
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "goes on from here" in errors


def test_a_signal_in_the_middle_of_a_line_stops_the_run_all_the_same():
    from septet.core.errors import Stopped
    from septet.launch.local import _interrupts

    def emit(event: object) -> None:
        raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stdout>'>")  # what Python's streams say

    found = []

    def interrupted() -> None:
        with _interrupts(emit) as stopping:
            os.kill(os.getpid(), signal.SIGTERM)
            found.append(stopping())

    with pytest.raises(Stopped):
        interrupted()
    assert found == [True]
