"""Dropout by dropout.c; what it computes is said there.

What it is not: for GPUs, for float16, or where there is no compiler: `available` says whether it can be taken.

    python -m pytest tests/nn/test_dropout.py
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from septet.nn.kernels.build import computes, run, share_dropped

__all__ = ["available", "dropped"]


class _Job(ctypes.Structure):
    """The `job` of the C file."""

    _fields_ = (
        ("source", ctypes.c_void_p),
        ("target", ctypes.c_void_p),
        ("number", ctypes.c_int64),
        ("seed", ctypes.c_uint64),
        ("drop", ctypes.c_uint32),
        ("kept", ctypes.c_float),
        ("half", ctypes.c_int32),
        ("threads", ctypes.c_int32),
        ("next", ctypes.c_int64),
    )


def available(x: Tensor) -> bool:
    """Whether tensors like this one can be computed here."""
    return computes("dropout", x)


def dropped(x: Tensor, dropout: float, seed: int) -> Tensor:
    """Return x with the share `dropout` of its numbers 0, the others divided by 1 - dropout; which ones is in the seed."""
    # places are counted in memory, and the gradient need not lie there as its tensor does
    x = x.contiguous()
    found = torch.empty_like(x)
    job = _Job(
        source=x.data_ptr(),
        target=found.data_ptr(),
        number=x.numel(),
        seed=seed,
        drop=share_dropped(dropout),
        kept=1.0 / (1.0 - dropout),
        half=x.dtype == torch.bfloat16,
        threads=torch.get_num_threads(),
    )
    run("dropout", job)
    return found
