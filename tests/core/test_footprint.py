"""The memory that work takes is seen while it is there, and what was there before is not counted.

python -m pytest tests/core/test_footprint.py
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from septet.core.footprint import watched

SIZE = 64_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is read from /proc")
def test_what_is_taken_and_given_back_is_seen_and_nothing_else(monkeypatch):
    before, read = bytearray(SIZE), Path.read_text
    looked = threading.Event()

    def look(path):
        found = read(path)
        if threading.current_thread() is not threading.main_thread():
            looked.set()
        return found

    monkeypatch.setattr(Path, "read_text", look)
    with watched() as most:
        taken = bytearray(SIZE)  # zeros that are written: the pages are there
        taken[::4096] = b"x" * len(taken[::4096])
        for _ in range(2):  # a look that had begun before may not have seen it
            looked.clear()
            assert looked.wait(60)
        del taken
    assert SIZE * 0.9 < most[0] < SIZE * 1.5
    del before
