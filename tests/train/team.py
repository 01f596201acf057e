"""Starts a function of a test module in several processes that know each other, as torchrun would; and ends them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

SECONDS = 120


def on_ranks(size: int, target: str, told: Path, **settings: Any) -> list[Any]:
    """Return what `target` ("module:function") returns on each rank; it takes (ranks, settings) and returns JSON."""
    told.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        **os.environ,
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    paths = [told / f"rank-{rank}.json" for rank in range(size)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.train.team", target, json.dumps(settings), str(path)],
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=(told / f"rank-{rank}.err").open("wb"),
        )
        for rank, path in enumerate(paths)
    ]
    try:
        for process in processes:
            process.wait(SECONDS)
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
    text = "\n".join((told / f"rank-{rank}.err").read_text()[-3000:] for rank in range(size))
    assert all(process.returncode == 0 for process in processes), text
    return [json.loads(path.read_text()) for path in paths]


def main() -> None:
    import torch

    from septet.train.ranks import join

    torch.set_num_threads(1)
    module, _, name = sys.argv[1].partition(":")
    settings = json.loads(sys.argv[2])
    found = getattr(import_module(module), name)(join(settings.get("device", "cpu")), settings)
    Path(sys.argv[3]).write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
