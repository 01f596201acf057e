"""Where stages run: here, in other processes, on a Ray cluster; results in order, errors as they were raised.

python -m pytest tests/launch/test_mappers.py
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from toys import stages

from septet.core.errors import ComponentError, DataError
from septet.core.protocols import Mapper
from septet.core.step import Runtime
from septet.launch.mappers import mapper
from septet.launch.processes import Processes
from septet.launch.ray import Ray

SHARDS = [{"n": n, "noisy": n == 3} for n in range(9)]


def values(where: Mapper | None) -> list[dict[str, Any]]:
    return list(Runtime(mapper=where).map(stages.square, {"power": 2}, SHARDS))


def test_here_and_in_processes():
    here, two = values(None), values(Processes(2))
    assert [row["value"] for row in here] == [row["value"] for row in two] == [n * n for n in range(9)]
    assert {row["process"] for row in here} == {os.getpid()}
    assert len({row["process"] for row in two} - {os.getpid()}) == 2
    assert values(Processes(1)) == here


@pytest.mark.parametrize("how", ["data", "system", "dies", "bug"])
def test_errors_arrive_as_they_were_raised(how: str, tmp_path: Path):
    settings = {"at": 4, "how": how, "folder": str(tmp_path)}
    kind, words = {
        "data": (DataError, r"^x.jsonl, row 3: the row is bad$"),
        "system": (OSError, "No space left"),
        "dies": (DataError, r"worker process of fail ended before its time \(status 9.*run the same command again"),
        "bug": (RuntimeError, "(?s)a stage failed in a worker:.*our own mistake"),
    }[how]
    found = []
    results = Processes(2).map(stages.fail, settings, [{"n": n} for n in range(40)])
    with pytest.raises(kind, match=words):
        found.extend(row["n"] for row in results)
    assert found == [0, 1, 2, 3]
    assert len(list(tmp_path.iterdir())) < 20, "what waited in line was not dropped"


def test_stopping_early_leaves_no_process():
    found = Processes(2).map(stages.square, {"power": 1}, SHARDS)
    process = next(found)["process"]
    found.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_what_a_user_says():
    assert mapper(None, 3) == Processes(3)
    assert mapper("processes").count >= 1
    assert mapper("ray") == Ray("ray")
    assert mapper("ray://head:10001", 4) == Ray("ray://head:10001", 4)
    with pytest.raises(ComponentError, match="'rey' is no place to run on; expected: processes, ray"):
        mapper("rey")


@pytest.mark.slow
def test_on_ray():
    try:
        assert [row["value"] for row in values(Ray("ray", 2))] == [n * n for n in range(9)]
        with pytest.raises(DataError, match=r"^x.jsonl, row 3: the row is bad$"):
            list(Ray("ray").map(stages.fail, {"at": 0, "how": "data", "folder": "/"}, [{"n": 0}]))
    finally:
        import ray  # imported by what is tested, after it has set up its environment

        ray.shutdown()
