"""Parallel steps on several processes of this machine, started and restarted by torchrun; and runs that a torchrun has started.

`Torchrun` starts the processes for one step. Several machines need a torchrun on each of them, and then the whole run is under it:
rank 0 runs the recipe, the others wait in `follow` for the steps that they share.

What it is not: a rendezvous of our own; that, the watch over processes and the restarts are torch.distributed.run's.

    septet run recipe.yaml --ranks 2
    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29500 -m septet.cli run recipe.yaml
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from septet.core.artifact import Artifact
from septet.core.errors import ComponentError, SeptetError
from septet.core.protocols import Team
from septet.core.step import Step, Work
from septet.launch.team import Board, assignment_of, perform, team

if TYPE_CHECKING:
    from septet.train.ranks import Together

__all__ = ["Joined", "Torchrun", "follow", "gathered", "started_by_torchrun"]

GRACE = 20.0
"""Seconds that processes get to end by themselves."""


@dataclass(frozen=True, slots=True)
class Torchrun:
    """So many processes of this machine; all are started again, up to `restarts` times, when one of them dies."""

    ranks: int
    restarts: int = 3

    def run(self, step: Step, work: Work, inputs: Mapping[str, Artifact]) -> dict[str, Any]:
        """Return the step's facts."""
        board = Board.post(step, work, inputs, self.ranks, self.restarts)
        log = board.folder / "ranks.log"
        with log.open("wb") as file, _launched(self._command(board.folder), board, file) as process:
            facts = board.watch(lambda: process.poll() is None)
        if facts is None:
            raise board.gave_up(str(log))
        return facts

    def _command(self, folder: Path) -> list[str]:
        return [
            *(sys.executable, "-m", "torch.distributed.run"),
            # no name is looked up, and nothing listens beyond this machine
            *("--nnodes=1", f"--nproc-per-node={self.ranks}", "--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0"),
            *("--local-addr=127.0.0.1", f"--max-restarts={self.restarts}", "--monitor-interval=0.1"),
            *("--shutdown-timeout=5", "-m", "septet.launch.rank", str(folder)),
        ]


@contextlib.contextmanager
def _launched(command: list[str], board: Board, log: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Yield torchrun's process; whatever happens, it and its workers are gone afterwards."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(board.threads), "TOKENIZERS_PARALLELISM": "false"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    if sys.platform == "linux":
        environment.setdefault("GLOO_SOCKET_IFNAME", "lo")
    # a session of its own: Ctrl-C is for us, and we ask the ranks to stop when they have saved
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment, start_new_session=True
    )
    try:
        yield process
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    finally:
        assert process.stdin is not None
        process.terminate()
        process.stdin.close()  # the workers end at the end of their input, should torchrun not end them
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# -- under a user's own torchrun ----------------------------------------------------------------------------------------


def started_by_torchrun() -> bool:
    """Whether this process is one of several that a torchrun has started."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


@dataclass(frozen=True, slots=True)
class Joined:
    """The processes that were started together with this one, which is rank 0."""

    ranks: Together
    waiting: Any
    """The group in which the others wait: for as long as other steps take."""

    def run(self, step: Step, work: Work, inputs: Mapping[str, Artifact]) -> dict[str, Any]:
        """Return the step's facts. The others have the same error, if there is one, and wait for the next step."""
        assignment = assignment_of(step, work, inputs)
        self.ranks.agree(assignment, group=self.waiting)
        return perform(assignment, self.ranks, emit=work.emit, asked=work.stopping)

    def dismiss(self) -> None:
        """Let the others end."""
        self.ranks.agree(None, group=self.waiting)


@contextlib.contextmanager
def gathered(on: str | None, ranks: int, *, restarts: int, device: str) -> Iterator[Team | None]:
    """Yield the team of a run: the processes that a user's torchrun has started with this one, or those that options ask for.

    Under torchrun only rank 0 comes out of here; the others take part in its parallel steps, and end (SystemExit).
    """
    if not started_by_torchrun():
        yield team(on, ranks, restarts=restarts)
        return
    if ranks > 1:
        raise ComponentError(
            f"--ranks {ranks}: this run was started by torchrun, which says how many ranks there are; leave it out."
        )
    import torch.distributed as dist  # 1.5 s; only under torchrun

    from septet.train.ranks import join

    joined = Joined(join(device), dist.new_group(backend="gloo", timeout=timedelta(days=30)))
    if not joined.ranks.is_first:
        follow(joined)
        raise SystemExit(0)
    try:
        yield joined
    except SeptetError:
        joined.dismiss()  # the others have the same error, or wait
        raise
    joined.dismiss()


def follow(joined: Joined) -> None:
    """On every rank but the first: take part in each step that rank 0 shares, until it has no more."""
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    while (assignment := joined.ranks.agree(None, group=joined.waiting)) is not None:
        with contextlib.suppress(SeptetError):  # rank 0 tells it
            perform(assignment, joined.ranks, emit=lambda event: None, asked=asked.is_set)
