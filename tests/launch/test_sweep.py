"""Sweeps: grids and searches of real runs, failures, stops, going on.

python -m pytest tests/launch/test_sweep.py
"""

from __future__ import annotations

import doctest
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.conftest import child_environment
from toys.steps.toy_count import ToyCount

from septet.cli.main import main
from septet.core.errors import ComponentError, RecipeError, SeptetError, Stopped, StoreError
from septet.launch import sweep as module
from septet.launch.local import run_recipe
from septet.launch.sweep import axes, begin, run_sweep
from septet.ops import sweeps
from septet.ops.sweeps import Sweep

RECIPE = """\
name: toys
steps:
  text: {kind: toy-text}
  count: {kind: toy-count, corpus: $text, to: 4}
  apart: {kind: toy-text, text: nobody needs this}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path / "recipe.yaml"


def sweeping(path, store, *over, metric="count.numbers", trials=20, **more) -> Sweep:
    fields = axes(over)
    found = begin(path, store, fields, metric=metric, **more)
    run_sweep(
        found, store, fields, lambda recipe, step: run_recipe(recipe, store, only=step, report=False).artifacts[step],
        trials=trials,
    )  # fmt: skip
    return found


@pytest.mark.parametrize("inside", [module, sweeps])
def test_examples_in_docstrings(inside):
    assert doctest.testmod(inside).failed == 0


def test_a_grid_runs_every_combination_and_ranks_them(path, store):
    found = sweeping(path, store, "count.to=5,2", "text.text=a,'b, c'", fixed=["count.seed=3"])
    assert [trial.settings for trial in found.trials] == [
        {"count.to": to, "text.text": text} for to in ("5", "2") for text in ("a", "'b, c'")
    ]
    assert [trial.value for trial in found.ranked()] == [2, 2, 5, 5]
    best = found.best()
    assert best is not None
    assert best.name == "toys-003"
    assert found.command(best) == f"septet run {path} --set count.seed=3 --set count.to=2 --set text.text=a"
    # each trial is a run of its own in the store, and what they have in common is there once
    assert store.resolve("toys-002/text").facts["characters"] == 4
    assert store.resolve("toys-001/text").id == store.resolve("toys-003/text").id
    assert store.resolve("toys-001/count").step["seed"] == 3
    assert not any(name.name.endswith("/apart") for name in store.names())
    assert [name for name, _ in found.artifacts(store)] == [f"toys-00{n}/count" for n in (1, 2, 3, 4)]
    page = (store.home / "sweeps" / "toys" / "sweep.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 2
    assert "http" not in page.replace("http://www.w3.org", "")
    assert Sweep.load(store, "toys") == found
    assert sweeping(path, store, "count.to=5,2", name="more", maximize=True).ranked()[0].value == 5


def test_a_trial_that_fails_is_recorded_and_tried_again(path, store, monkeypatch):
    original = ToyCount.run

    def broken(self, work, **inputs):
        if self.to == 3:
            raise RuntimeError("the third is broken")
        return original(self, work, **inputs)

    monkeypatch.setattr(ToyCount, "run", broken)
    found = sweeping(path, store, "count.to=2,3,4")
    assert [(trial.value, trial.reason) for trial in found.trials] == [
        (2, None),
        (None, "the third is broken"),
        (4, None),
    ]
    assert found.ranked()[-1].name == "toys-002"
    monkeypatch.undo()
    found = sweeping(path, store, "count.to=2,3,4")
    assert [trial.value for trial in found.trials] == [2, 3, 4]


def test_optuna_goes_on_with_the_trial_that_was_stopped(path, store, monkeypatch):
    pytest.importorskip("optuna")
    over = ("count.to=int:1..40", "text.text=a,b")
    whole = sweeping(path, store, *over, search="optuna", trials=14, seed=1, name="whole")
    original, runs = ToyCount.run, []

    def stopping(self, work, **inputs):
        runs.append(self.to)
        if len(runs) == 4:
            raise Stopped("by a test")
        return original(self, work, **inputs)

    store.home.joinpath("artifacts").rename(store.home / "put-aside")
    monkeypatch.setattr(ToyCount, "run", stopping)
    with pytest.raises(Stopped):
        sweeping(path, store, *over, search="optuna", trials=14, seed=1, name="parts")
    done = len(Sweep.load(store, "parts").trials)
    assert 3 <= done < 14
    found = sweeping(path, store, *over, search="optuna", trials=14, seed=1, name="parts")
    assert [t.settings for t in found.trials] == [t.settings for t in whole.trials]
    assert [t.value for t in found.trials] == [t.value for t in whole.trials]
    assert len({t.settings["count.to"] for t in found.trials}) > 3
    # the search learns: what it tries after its random beginning is better than that
    values = [t.value or 0 for t in found.trials]
    assert sum(values[10:]) / 4 < sum(values[:10]) / 10
    more = sweeping(path, store, *over, search="optuna", trials=16, seed=1, name="parts")
    assert len(more.trials) == 16
    with sqlite3.connect(store.home / "sweeps" / "parts" / "study.db") as database:
        assert database.execute("SELECT COUNT(*) FROM trials").fetchone() == (16,)


def test_what_no_trial_could_use_is_told_before_anything_runs(path, store):
    for over, message in (
        (["count.too=1,2"], "unknown field 'too'. Did you mean 'to'"),
        (["count.to=1,0"], "greater than or equal to 1"),
        (["cuont.to=1"], "no step 'cuont'. Did you mean 'count'"),
        (["apart.text=a,b"], "does not depend on 'apart'"),
        (["count.to=int:1..3"], "a grid needs values"),
        (["count.to=log:0..3"], "from above 0"),
        (["count.to=int:1.5..3"], "whole numbers"),
        (["count.to=1,,2"], "between two commas"),
        (["count.to"], "step.field=value"),
        (["count.to=1", "count.to=2"], "given twice"),
        ([], "--over is missing"),
    ):
        with pytest.raises(SeptetError) as raised:
            sweeping(path, store, *over)
        assert message in str(raised.value)
    with pytest.raises(ComponentError, match="--metric takes"):
        sweeping(path, store, "count.to=1", metric="count")
    assert not list(store)
    with pytest.raises(ComponentError, match=r"no such number. Did you mean 'count\.numbers'"):
        sweeping(path, store, "count.to=1,2", metric="count.numbres")
    with pytest.raises(StoreError, match="There is no sweep 'x'"):
        Sweep.load(store, "x")


def test_another_sweep_of_the_same_name_is_refused(path, store):
    sweeping(path, store, "count.to=1,2")
    with pytest.raises(RecipeError, match=r"over .*1,2.*--name toys-2"):
        sweeping(path, store, "count.to=1,3")
    path.write_text(RECIPE.replace("toy-text}", "toy-text, text: changed}", 1))
    with pytest.raises(RecipeError, match="the recipe or its text"):
        sweeping(path, store, "count.to=1,2")


def test_many_values_are_drawn_in_groups_of_neighbours(path, store):
    found = sweeping(path, store, f"count.to={','.join(map(str, range(1, 21)))}")
    rows = sweeps._spans(found, "count.to")
    assert len(rows) == 8
    assert rows[0].name == "1 to 2"
    assert (rows[-1].value, rows[-1].low, rows[-1].high) == (19, 19, 20)  # twenty in eight groups: the last holds two


def test_ctrl_c_stops_the_command_and_the_same_one_goes_on(path, tmp_path):
    command = [
        sys.executable, "-m", "septet.cli", "sweep", "recipe.yaml", "--over", "count.seed=0,1,2", "--metric",
        "count.numbers", "--set", "count.to=60", "--set", "count.work_per_number=1500000",
    ]  # fmt: skip
    environment = child_environment(tmp_path)
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "[count] makes" in line:
            break
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert list((tmp_path / "home" / "work").glob("*/state/numbers.json"))
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "goes on" in done.stdout
    content = json.loads((tmp_path / "home" / "sweeps" / "toys" / "sweep.json").read_text())
    assert [trial["value"] for trial in content["trials"]] == [60, 60, 60]
    assert "The best: septet run recipe.yaml --set count.to=60" in done.stdout


def test_options_that_could_not_take_effect_are_refused(path, septet):
    done = septet("sweep", path, "--over", "count.to=1,2", "--metric", "count.numbers", "--trials", "3")
    assert done.returncode == 2
    assert "--trials and --seed are for --search optuna" in done.stderr


def test_where_no_trial_was_finished_the_command_fails(path, store, monkeypatch, capsys):
    def broken(self, work, **inputs):
        raise RuntimeError(f"{self.to} is broken\nLook at {self.to} again.")

    monkeypatch.setattr(ToyCount, "run", broken)
    arguments = ["sweep", str(path), "--over", "count.to=1,2", "--metric", "count.numbers"]
    with pytest.raises(SystemExit) as ended:
        main(["--home", str(store.home), *arguments])
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert "No trial of the sweep 'toys' was finished. The first failed: 1 is broken" in told.err
    assert "toys-002 failed: 2 is broken" in told.out
    assert "Look at 1 again." in told.err  # the whole of it, which nobody else tells
    assert "Look at 2 again." in told.out
