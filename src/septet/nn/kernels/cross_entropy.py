"""Logits to losses and to their own gradients, in place, by cross_entropy.c; what it computes is said there.

Shapes: N positions, V vocabulary.

What it is not: for GPUs, for float16, or where there is no compiler: `available` says whether it can be taken.

    python -m pytest tests/nn/test_cross_entropy.py
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from septet.nn.kernels.build import computes, run

__all__ = ["available", "nll_"]


class _Job(ctypes.Structure):
    """The `job` of the C file."""

    _fields_ = (
        ("logits", ctypes.c_void_p),
        ("labels", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("weights", ctypes.c_void_p),
        ("nll", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("size", ctypes.c_int64),
        ("step", ctypes.c_int64),
        ("half", ctypes.c_int32),
        ("slopes", ctypes.c_int32),
        ("threads", ctypes.c_int32),
        ("next", ctypes.c_int64),
        ("failed", ctypes.c_int64),
    )


def available(x: Tensor) -> bool:
    """Whether logits like this tensor can be computed here."""
    return computes("cross_entropy", x)


def nll_(
    logits_NV: Tensor, labels_N: Tensor, bias_V: Tensor | None, weights_N: Tensor | None, *, slopes: bool
) -> Tensor:
    """Return -log softmax(logits + bias)[label], float32 [N]; with `slopes`, logits become the gradient of weights * nll."""
    assert logits_NV.stride(1) == 1
    assert labels_N.dtype == torch.int64
    labels = labels_N.contiguous()
    bias = None if bias_V is None else bias_V.detach().float().contiguous()
    weights = None if weights_N is None else weights_N.detach().float().contiguous()
    nll = torch.empty(len(labels), dtype=torch.float32)
    job = _Job(
        logits=logits_NV.data_ptr(),
        labels=labels.data_ptr(),
        bias=None if bias is None else bias.data_ptr(),
        weights=None if weights is None else weights.data_ptr(),
        nll=nll.data_ptr(),
        rows=len(labels),
        size=logits_NV.shape[1],
        step=logits_NV.stride(0),
        half=logits_NV.dtype == torch.bfloat16,
        slopes=slopes,
        threads=torch.get_num_threads(),
    )
    run("cross_entropy", job)
    return nll
