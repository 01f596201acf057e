"""How the C library keeps memory that tensors on a processor gave back.

glibc hands large blocks back to the system as soon as they are free and asks for them again: in training, which makes and drops
the same activations in every step, 30,000 page faults and 55 of 700 ms in a step of bench/train.py. Told not to, it keeps them
until `give_back`. A block that is still in use is not touched by either.

What it is not: for GPUs, whose memory torch keeps by itself; nor for other C libraries, where nothing is done.

    python -c "from septet.nn.memory import keep_freed; print(keep_freed())"
"""

from __future__ import annotations

import ctypes
import sys

__all__ = ["give_back", "keep_freed"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGE = 1 << 30


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None


def keep_freed() -> bool:
    """Have freed memory stay with the process, for the next tensor; say whether that was possible."""
    library = _glibc()
    return library is not None and bool(
        library.mallopt(M_MMAP_THRESHOLD, LARGE) and library.mallopt(M_TRIM_THRESHOLD, LARGE)
    )


def give_back() -> None:
    """Return to the system what is free."""
    if (library := _glibc()) is not None:
        library.malloc_trim(0)
