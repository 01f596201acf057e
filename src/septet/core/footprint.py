"""The memory that a piece of work takes: the most that this process held during it, above what it held before.

    with watched() as most: ...
    most[0]

What it is not: a profiler, nor for the memory of a GPU. Memory that the process had kept free is
not seen to be taken again.

    python -m pytest tests/core/test_footprint.py
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

__all__ = ["watched"]

EVERY = 0.05
"""Seconds between two looks."""


@contextlib.contextmanager
def watched() -> Iterator[list[int]]:
    """Within, watch the memory of this process; afterwards the list holds the bytes, and is empty elsewhere than on Linux."""
    found: list[int] = []
    path = Path("/proc/self/statm")
    if sys.platform != "linux" or not path.is_file():
        yield found
        return
    import resource

    page = resource.getpagesize()

    def now() -> int:
        return int(path.read_text().split()[1]) * page

    before, ended = now(), threading.Event()
    most = before

    def watch() -> None:
        nonlocal most
        while not ended.wait(EVERY):
            most = max(most, now())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()
        found.append(max(most, now()) - before)
