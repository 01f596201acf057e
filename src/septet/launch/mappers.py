"""Where stages run, from what a user says: `--on` and `--processes`.

septet run recipe.yaml --processes 1
"""

from __future__ import annotations

import os

from septet.core.errors import ComponentError
from septet.core.protocols import Mapper

__all__ = ["mapper"]


def mapper(on: str | None = None, processes: int | None = None) -> Mapper:
    """Return what runs stages: processes of this machine (all cores by default), or a Ray cluster.

    on: None or "processes"; "ray", "ray://host:port", "auto". Errors: ComponentError for anything else.
    """
    if on in (None, "processes"):
        from septet.launch.processes import Processes

        return Processes(processes or _cores())
    if on in ("ray", "auto") or on.startswith("ray://") or on.rpartition(":")[2].isdigit():
        from septet.launch.ray import Ray

        return Ray(on, processes)
    raise ComponentError(
        f"'{on}' is no place to run on; expected: processes, ray (on this machine), ray://HOST:PORT (a cluster)."
    )


def _cores() -> int:
    # the cores that this process may use, which a container may have fewer of than the machine
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
