"""Runs a stage over shards on a Ray cluster, through Ray Data; with the same bytes as on one machine.

Shards and results travel as JSON; the files that a stage reads and writes lie in the store, so the store's folder and the source's
must be on a file system that all nodes see, under the same path. A shard that is lost with its node is done again by Ray.

What it is not: a way to start a cluster; `ray start --head` is. Training over several machines is elsewhere.

    septet run recipe.yaml --on ray                     # a Ray on this machine, started for the run
    septet run recipe.yaml --on ray://head:10001        # a cluster that is running, through its client port
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from septet.core.errors import SeptetError
from septet.core.protocols import Stage
from septet.launch.worker import answer, task, value_of

__all__ = ["Ray"]


@dataclass(frozen=True, slots=True)
class Ray:
    """A cluster by its address: "ray" (this machine), "ray://host:port" (a client), "auto" or "host:port" (from a node of it)."""

    address: str
    cpus: int | None = None

    def map(self, stage: Stage, settings: dict[str, Any], shards: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield the results in the order of the shards."""
        if not shards:
            return
        self._connect()
        import ray.data  # a second or two; only those who ask for a cluster pay

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = True
        rows = [{"task": task(stage, settings, shard)} for shard in shards]
        # one shard a block: a block of several would wait for its slowest, and be lost together
        found = ray.data.from_items(rows, override_num_blocks=len(rows)).map(_run)
        for row in found.iter_rows():
            yield value_of(row["answer"])

    def _connect(self) -> None:
        try:
            import ray
        except ImportError:
            raise SeptetError(
                "Ray is not installed here; --on ray needs it. Run: pip install 'septet[ray]' (the same Ray and Python versions as "
                "on the cluster)."
            ) from None
        if ray.is_initialized():
            return
        logging.getLogger("ray").setLevel(logging.ERROR)
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self.address == "ray":
            ray.init(num_cpus=self.cpus, include_dashboard=False, **quiet)
            return
        try:
            ray.init(self.address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise SeptetError(
                f"No Ray cluster answers at {self.address} ({str(error).splitlines()[0]}). Start one with `ray start --head`, or "
                "use `--on ray` for one on this machine alone."
            ) from None


def _run(row: dict[str, str]) -> dict[str, str]:
    """On a node."""
    return {"answer": answer(row["task"])}
