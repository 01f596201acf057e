"""Parallel steps on the workers of a Ray cluster, through Ray Train: it places them, connects them and starts them again.

The workers write the same checkpoints as one process would, into the store; a restart goes on from the last of them. So the store's
folder must be on a file system that all nodes see, under the same path.

What it is not: a way to start a cluster; `ray start --head` is.

    septet run recipe.yaml --on ray --ranks 2                     # a Ray on this machine, started for the run
    septet run recipe.yaml --on ray://head:10001 --ranks 16       # a cluster that is running
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from septet.core.artifact import Artifact
from septet.core.errors import SeptetError
from septet.core.step import Step, Work
from septet.launch.ray import Ray
from septet.launch.team import Board, attend

__all__ = ["RayTrain"]

GRACE = 30.0
"""Seconds that workers get to end by themselves."""


@dataclass(frozen=True, slots=True)
class RayTrain:
    """So many workers of a cluster, by its address as in `septet.launch.ray.Ray`."""

    address: str
    ranks: int
    restarts: int = 3

    def run(self, step: Step, work: Work, inputs: Mapping[str, Artifact]) -> dict[str, Any]:
        """Return the step's facts."""
        Ray(self.address).connect()
        import ray  # a second or two; only those who ask for a cluster pay

        board = Board.post(step, work, inputs, self.ranks, self.restarts)
        gpu = self._gpu(work.runtime.device, ray.cluster_resources())
        failed: list[Exception] = []

        def fit() -> None:
            try:
                _trainer(board, gpu=gpu).fit()
            except Exception as error:  # told below, where the run is
                failed.append(error)

        # in a thread: what the ranks tell is passed on meanwhile, and Ctrl-C stays ours
        thread = threading.Thread(target=fit, name="ray-train", daemon=True)
        thread.start()
        try:
            facts = board.watch(thread.is_alive)
        finally:
            (board.folder / "stop").touch()  # for ranks that still work, should this have been cut short
            thread.join(GRACE)
        if facts is None:
            first = str(failed[0]).strip().splitlines()[-1] if failed else ""
            board.lost = board.lost or first
            raise board.gave_up(str(board.folder))
        return facts

    def _gpu(self, device: str, resources: Mapping[str, float]) -> bool:
        """Whether each rank gets a GPU. Errors: SeptetError where the cluster has too little for them all."""
        gpu = device.startswith("cuda") or (device == "auto" and resources.get("GPU", 0) >= self.ranks)
        what = "GPU" if gpu else "CPU"
        if resources.get(what, 0) < self.ranks:
            raise SeptetError(
                f"{self.ranks} ranks need {self.ranks} {what}s and the cluster has {resources.get(what, 0):g}. Use fewer --ranks."
            )
        return gpu


def _trainer(board: Board, *, gpu: bool) -> Any:
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    # its own counters would want a port of the metrics agent, and it would move into a folder of its own
    os.environ.setdefault("RAY_TRAIN_METRICS_ENABLED", "0")
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    return TorchTrainer(
        _attend,
        train_loop_config={"folder": str(board.folder)},
        # what the ranks agree on goes through Gloo even where the gradients go through NCCL
        torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if gpu else "gloo"),
        scaling_config=ScalingConfig(num_workers=board.ranks, use_gpu=gpu),
        run_config=RunConfig(
            name="train",
            storage_path=str(board.folder / "ray"),
            failure_config=FailureConfig(max_failures=board.restarts),
        ),
    )


def _attend(config: dict[str, str]) -> None:
    """On a worker. What it raises ends the others; Ray starts them again, and they see whether that is of use."""
    attend(Path(config["folder"]))
