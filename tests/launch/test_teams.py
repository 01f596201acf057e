"""A step on several real processes: events, facts, errors, restarts, stopping; under our torchrun and under a user's.

python -m pytest tests/launch/test_teams.py
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.conftest import child_environment

from septet.core import events
from septet.core.errors import ComponentError, DataError, SeptetError
from septet.core.recipe import Recipe
from septet.core.step import Runtime
from septet.launch.local import run_recipe
from septet.launch.ray_train import RayTrain
from septet.launch.team import team
from septet.launch.torchrun import Torchrun
from septet.ops.sink import Sink

RECIPE = """\
name: ring
steps:
  text: {{kind: toy-text}}
  ring: {{kind: toy-ring, corpus: $text, to: 12{more}}}
"""


class Listen(Sink):
    """Keeps the events it is given."""

    heard: list = []  # noqa: RUF012 - a field, copied by pydantic

    def on(self, event):
        self.heard.append(event)

    def texts(self) -> list[str]:
        return [event.text for event in self.heard if isinstance(event, events.Message)]


def recipe(folder: Path, more: str = "") -> Recipe:
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(more=more))
    return Recipe.load(path)


def started(store) -> list[dict]:
    lines = [
        json.loads(line)
        for path in store.home.glob("work/*/ranks/rank-*.jsonl")
        for line in path.read_text().splitlines()
    ]
    return [line["started"] for line in lines if "started" in line]


def gone(process: int) -> bool:
    for _ in range(100):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_events_and_facts_come_back(tmp_path, store):
    listen = Listen()
    run = run_recipe(recipe(tmp_path), store, runtime=Runtime(device="cpu", team=Torchrun(2)), sinks=[listen])
    found = run.artifacts["ring"]
    assert json.loads((found.path / "numbers.json").read_text())["numbers"] == [3.0] * 12  # ranks 0 and 1 bring 1 and 2
    assert (found.facts["numbers"], found.facts["ranks"]) == (12, 2)
    assert found.facts["threads"] == max(1, len(os.sched_getaffinity(0)) // 2)
    assert gone(found.facts["processes"])
    progress = [event for event in listen.heard if isinstance(event, events.Progress)]
    assert [event.done for event in progress] == list(range(1, 13)), "each step is told once, by rank 0"
    assert progress[0].metrics == {"last": 3.0}
    assert listen.texts() == ["2 ranks train together."]


@pytest.mark.slow
def test_a_rank_that_dies_takes_all_back_to_the_checkpoint(tmp_path, store):
    listen = Listen()
    more = ", at: 7, how: dies"
    run = run_recipe(recipe(tmp_path, more), store, runtime=Runtime(device="cpu", team=Torchrun(2)), sinks=[listen])
    assert run.artifacts["ring"].facts["numbers"] == 12
    again = "A rank was lost; all 2 begin again from the last checkpoint (restart 1 of 3)."
    assert listen.texts() == ["2 ranks train together.", again]
    done = [event.done for event in listen.heard if isinstance(event, events.Progress)]
    assert done == list(range(1, 13)), "it went on at the eighth number"


@pytest.mark.slow
def test_restarts_have_an_end(tmp_path, store):
    more = ", at: 2, how: bug, times: 9"
    words = "(?s)lost 2 times while making 'ring'.*--restarts 1.*rank 1 on .*our own mistake.*ranks.log"
    with pytest.raises(SeptetError, match=words):
        run_recipe(recipe(tmp_path, more), store, runtime=Runtime(device="cpu", team=Torchrun(2, restarts=1)))
    assert "our own mistake" in next(store.home.glob("work/*/ranks/ranks.log")).read_text()
    assert all(gone(who["process"]) for who in started(store))


def test_an_error_for_people_is_not_tried_again(tmp_path, store):
    with pytest.raises(DataError, match=r"^the row is bad$"):
        run_recipe(recipe(tmp_path, ", at: 2, how: fails"), store, runtime=Runtime(device="cpu", team=Torchrun(2)))
    assert sorted(who["rank"] for who in started(store)) == [0, 1]
    assert all(gone(who["process"]) for who in started(store))


SLOW = ", work_per_number: 3000000"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_stopped_at_a_safe_point_or_killed(tmp_path, store, how):
    """Ctrl-C of the run: the ranks stop together, after saving; and a killed run leaves no rank behind."""
    recipe(tmp_path, SLOW)
    code = (
        "import sys\nfrom septet.launch.local import run_recipe\nfrom septet.launch.torchrun import Torchrun\n"
        "from septet.core.recipe import Recipe\nfrom septet.core.step import Runtime\nfrom septet.core.store import Store\n"
        "run_recipe(Recipe.load(sys.argv[1]), Store(sys.argv[2]), runtime=Runtime(device='cpu', team=Torchrun(2)))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "recipe.yaml"), str(store.home)]
    environment = {**child_environment(tmp_path), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as child:
        try:
            deadline = time.monotonic() + 60
            while not list(store.home.glob("work/*/state/numbers.json")) and time.monotonic() < deadline:
                time.sleep(0.05)
            child.send_signal(signal.SIGINT if how == "stop" else signal.SIGKILL)
            _, told = child.communicate(timeout=60)
        finally:
            child.kill()
    processes = [who["process"] for who in started(store)]
    assert len(processes) == 2
    assert all(gone(process) for process in processes)
    if how == "stop":
        assert "Stopped while making 'ring'; the same command goes on from here." in told
    before = len(json.loads(next(store.home.glob("work/*/state/numbers.json")).read_text()))
    assert 0 < before < 12
    run = run_recipe(recipe(tmp_path, SLOW), store, runtime=Runtime(device="cpu", team=Torchrun(2)))
    assert run.artifacts["ring"].facts["numbers"] == 12


def test_what_a_user_says():
    assert team(None, 1) is team("ray", 1) is None
    assert team("processes", 2) == Torchrun(2, 3)
    assert team("ray://head:10001", 4, restarts=0) == RayTrain("ray://head:10001", 4, 0)
    with pytest.raises(ComponentError, match="'rey' is no place to run on"):
        team("rey", 1)


def torchrun(*command: str, folder: Path, timeout: float = 90) -> subprocess.CompletedProcess[str]:
    """A user's own torchrun over two processes; it and what it started is ended when it takes too long."""
    start = ["--nproc-per-node=2", "--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1"]
    environment = child_environment(folder, OMP_NUM_THREADS="1", TORCHELASTIC_ERROR_FILE="")
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *start, *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.mark.slow
def test_a_run_under_the_users_own_torchrun(tmp_path, store):
    recipe(tmp_path)
    arguments = ["-m", "septet.cli", "--home", str(store.home), "run", str(tmp_path / "recipe.yaml"), "--device", "cpu"]
    done = torchrun(*arguments, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("[ring] makes") == 1, "only rank 0 runs the recipe"
    found = next(artifact for artifact in store if artifact.kind == "report")
    assert (found.facts["numbers"], found.facts["ranks"]) == (12, 2)
    refused = torchrun(*arguments, "--ranks", "2", folder=tmp_path)
    assert refused.returncode != 0
    assert "--ranks 2: this run was started by torchrun, which says how many ranks there are" in refused.stderr


@pytest.mark.slow
def test_ray_tells_errors_and_does_not_try_them_again(tmp_path, store):
    try:
        with pytest.raises(DataError, match=r"^the row is bad$"):
            run_recipe(
                recipe(tmp_path, ", at: 2, how: fails"), store, runtime=Runtime(device="cpu", team=RayTrain("ray", 2))
            )
        assert sorted(who["rank"] for who in started(store)) == [0, 1]
        with pytest.raises(SeptetError, match="3 ranks need 3 CPUs and the cluster has"):
            RayTrain("ray", 3)._gpu("cpu", {"CPU": 2.0})
    finally:
        import ray  # imported by what is tested, after it has set up its environment

        ray.shutdown()
