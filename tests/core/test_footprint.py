"""The memory that work takes is seen while it is there, and what was there before is not counted.

python -m pytest tests/core/test_footprint.py
"""

from __future__ import annotations

import sys
import time

import pytest

from septet.core.footprint import EVERY, watched

SIZE = 64_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is read from /proc")
def test_what_is_taken_and_given_back_is_seen_and_nothing_else():
    before = bytearray(SIZE)
    with watched() as most:
        taken = bytearray(SIZE)  # zeros that are written: the pages are there
        taken[::4096] = b"x" * len(taken[::4096])
        time.sleep(3 * EVERY)
        del taken
    assert SIZE * 0.9 < most[0] < SIZE * 1.5
    del before
