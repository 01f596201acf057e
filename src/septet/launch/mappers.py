"""Where stages run, from what a user says: `--on` and `--processes`.

septet run recipe.yaml --processes 1
"""

from __future__ import annotations

import os

from septet.core.errors import ComponentError
from septet.core.protocols import Mapper

__all__ = ["cores", "is_cluster", "mapper"]


def mapper(on: str | None = None, processes: int | None = None) -> Mapper:
    """Return what runs stages: processes of this machine (all cores by default), or a Ray cluster.

    on: None or "processes"; "ray", "ray://host:port", "auto". Errors: ComponentError for anything else.
    """
    if is_cluster(on):
        from septet.launch.ray import Ray

        return Ray(str(on), processes)
    from septet.launch.processes import Processes

    return Processes(processes or cores())


def is_cluster(on: str | None) -> bool:
    """Whether a place is a Ray cluster and not this machine's processes. Errors: ComponentError for what is no place."""
    if on in (None, "processes"):
        return False
    if on in ("ray", "auto") or on.startswith("ray://") or on.rpartition(":")[2].isdigit():
        return True
    raise ComponentError(
        f"'{on}' is no place to run on; expected: processes, ray (on this machine), ray://HOST:PORT (a cluster)."
    )


def cores() -> int:
    """Return how many cores this process may use; a container may have fewer than the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
