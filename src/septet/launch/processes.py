"""Runs a stage over shards in several processes of this machine.

Results come in the order of the shards, whoever did them; only a few shards wait in line. Workers end with their parent,
also when it is killed. What a stage raises is raised here.

What it is not: a cluster; that is `septet.launch.ray`.

    septet run recipe.yaml --processes 2
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from septet.core.errors import DataError
from septet.core.protocols import Stage
from septet.launch.worker import task, value_of

__all__ = ["Processes"]

AHEAD = 2
"""Shards in line for each process."""
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Processes:
    """So many processes of one thread each."""

    count: int

    def map(self, stage: Stage, settings: dict[str, Any], shards: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield the results in order. One shard, or one process, is done here: a process takes a while to start."""
        count = min(self.count, len(shards))
        if count < 2:
            for shard in shards:
                yield stage(settings, shard)
            return
        own = threading.local()
        workers: list[_Worker] = []

        def ask(line: str) -> str:
            # each thread has a process of its own and waits for its answers
            if not hasattr(own, "worker"):
                own.worker = _Worker()
                workers.append(own.worker)
            return own.worker.ask(line, stage.__name__)

        waiting: deque[Future[str]] = deque()
        threads = ThreadPoolExecutor(count, thread_name_prefix="worker")
        try:
            for shard in shards:
                waiting.append(threads.submit(ask, task(stage, settings, shard)))
                if len(waiting) >= AHEAD * count:
                    yield value_of(waiting.popleft().result())
            while waiting:
                yield value_of(waiting.popleft().result())
        finally:
            # a stop or an error: what is running ends by itself and is kept, what waits is dropped
            threads.shutdown(wait=True, cancel_futures=True)
            for worker in workers:
                worker.close()


class _Worker:
    """A process that answers tasks."""

    def __init__(self) -> None:
        environment = {**os.environ, **dict.fromkeys(ONE_THREAD, "1"), "TOKENIZERS_PARALLELISM": "false"}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "septet.launch.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            encoding="utf-8",
        )

    def ask(self, line: str, what: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            print(line, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            found = ""
        else:
            found = self.process.stdout.readline()
        if found:
            return found
        raise DataError(
            f"A worker process of {what} ended before its time (status {self.process.wait()}; the system may have ended it for "
            "want of memory). What was finished is kept: run the same command again, with fewer --processes if it was memory."
        )

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended already
            self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
