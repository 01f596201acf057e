"""Runs a stage over shards on a Ray cluster, through Ray Data; with the same bytes as on one machine.

Shards and results travel as JSON; the files that a stage reads and writes lie in the store, so the store's folder and the source's
must be on a file system that all nodes see, under the same path. A shard that is lost with its node is done again by Ray.

What it is not: a way to start a cluster; `ray start --head` is. Training over several machines is `septet.launch.ray_train`.

    septet run recipe.yaml --on ray                     # a Ray on this machine, started for the run
    septet run recipe.yaml --on ray://head:10001        # a cluster that is running, through its client port
"""

from __future__ import annotations

import logging
import os
import secrets
import sys
import time
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
        self.connect()
        import ray  # a second or two; only those who ask for a cluster pay

        tasks = [task(stage, settings, shard) for shard in shards]
        if not self.address.startswith("ray://"):
            yield from map(value_of, _answers(tasks))
            return
        # Ray Data does not iterate through the client's port: a task in the cluster does it, some shards at a time
        some = max(8, 2 * int(ray.cluster_resources().get("CPU", 1)))
        there = ray.remote(num_cpus=0)(_listed)
        for start in range(0, len(tasks), some):
            yield from map(value_of, ray.get(there.remote(tasks[start : start + some])))

    def connect(self) -> None:
        """Connect this process to the cluster, or start one on this machine. Errors: SeptetError where none answers."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
        if self.address == "ray" and "ray" not in sys.modules:
            # a token for this run alone, without which Ray would leave one in the home folder
            os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
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
            # no address beyond loopback (Ray turns 127.0.0.1 into the one of the machine); workers find what we find
            path = {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}}
            loopback = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"
            ray.init(
                "local",
                num_cpus=self.cpus,
                include_dashboard=False,
                runtime_env=path,
                _node_ip_address=loopback,
                **quiet,
            )
            return
        for seconds in (2, 10, None):
            try:
                ray.init(self.address, **quiet)
                return
            except (ConnectionError, ValueError, RuntimeError) as error:
                said = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
                if "Initialization failure" in said[0] and seconds is not None:
                    # the cluster is there, but was too slow to start this client's server: it is given a moment
                    ray.shutdown()
                    time.sleep(seconds)
                    continue
                what = said[0] if len(said) == 1 else f"{said[0].rstrip(':')}: {said[-1]}"
                raise SeptetError(
                    f"No Ray cluster answers at {self.address} ({what}). Start one with `ray start --head`; where it wants a "
                    "token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN; or use `--on ray` for one on this machine."
                ) from None


def _answers(tasks: Sequence[str]) -> Iterator[str]:
    """Have every task done, each as a block of its own: a block of several would wait for its slowest, and be lost together."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    rows = ray.data.from_items([{"task": line} for line in tasks], override_num_blocks=len(tasks))
    for row in rows.map(_run).iter_rows():
        yield row["answer"]


def _listed(tasks: Sequence[str]) -> list[str]:
    return list(_answers(tasks))


def _run(row: dict[str, str]) -> dict[str, str]:
    """On a node."""
    return {"answer": answer(row["task"])}
