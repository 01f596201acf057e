"""Attention within documents, forward and backward, by attention.c; what it computes is said there.

Shapes: B rows, T positions, H heads, D width of a head.

What it is not: for GPUs, for float16, or where there is no compiler: `available` says whether it can be taken.

    python -m pytest tests/nn/test_packed_attention.py
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from septet.nn.kernels.build import computes, run, share_dropped

__all__ = ["available", "backward", "forward", "where"]

TENSORS = ("q", "k", "v", "out", "grad", "dq", "dk", "dv")  # in the order of the C file


class _Job(ctypes.Structure):
    """The `job` of the C file."""

    _fields_ = (
        ("tensors", ctypes.c_void_p * len(TENSORS)),
        ("steps", (ctypes.c_int64 * 3) * len(TENSORS)),
        ("logs", ctypes.c_void_p),
        ("documents", ctypes.c_void_p),
        ("number", ctypes.c_int64),
        ("heads", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("places", ctypes.c_int64),
        ("half", ctypes.c_int32),
        ("causal", ctypes.c_int32),
        ("backward", ctypes.c_int32),
        ("threads", ctypes.c_int32),
        ("scale", ctypes.c_float),
        ("kept", ctypes.c_float),
        ("seed", ctypes.c_uint64),
        ("drop", ctypes.c_uint32),
        ("next", ctypes.c_int64),
        ("failed", ctypes.c_int64),
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """Where the documents of a batch are, the longest first; whether they fill it."""

    documents_BT: Tensor
    parts: np.ndarray
    full: bool


_LAST: list[_Found] = []
"""The batch before: all layers of a model have the same."""


def available(x: Tensor) -> bool:
    """Whether tensors like this one can be computed here."""
    return computes("attention", x)


def where(documents_BT: Tensor) -> np.ndarray:
    """Return row, place and length of each document, int64 [n, 3]; what has number 0 is none."""
    documents = documents_BT.numpy()
    begins = np.ones(documents.shape, dtype=bool)
    begins[:, 1:] = documents[:, 1:] != documents[:, :-1]
    rows, places = np.nonzero(begins)
    lengths = np.diff(np.append(np.flatnonzero(begins), documents.size))
    return np.stack([rows, places, lengths], axis=1)[documents[rows, places] != 0]


def _find(documents_BT: Tensor) -> _Found:
    for last in _LAST:
        if torch.equal(last.documents_BT, documents_BT):
            return last
    parts = where(documents_BT)
    parts = np.ascontiguousarray(parts[np.argsort(-parts[:, 2], kind="stable")])
    found = _Found(documents_BT.clone(), parts, int(parts[:, 2].sum()) == documents_BT.numel())
    _LAST[:] = [found]
    return found


def _run(
    tensors: dict[str, Tensor],
    logs_BTH: Tensor,
    found: _Found,
    *,
    causal: bool,
    scale: float,
    dropout: float,
    seed: int,
) -> None:
    v = tensors["v"]
    job = _Job(
        logs=logs_BTH.data_ptr(),
        documents=found.parts.ctypes.data,
        number=len(found.parts),
        heads=v.shape[2],
        width=v.shape[3],
        places=v.shape[1],
        half=v.dtype == torch.bfloat16,
        causal=causal,
        backward="grad" in tensors,
        threads=torch.get_num_threads(),
        scale=scale,
        kept=1.0 / (1.0 - dropout),
        seed=seed,
        drop=share_dropped(dropout),
    )
    kept = []  # until it has been computed
    for number, name in enumerate(TENSORS):
        if name in tensors:
            x = tensors[name]
            x = x if x.stride(3) == 1 or x.shape[3] == 1 else x.contiguous()
            kept.append(x)
            job.tensors[number] = x.data_ptr()
            job.steps[number][:] = x.stride()[:3]
    run("attention", job)


def _empty(like: Tensor, found: _Found) -> Tensor:
    """Return memory for what is computed, [B, T, H, D]; 0 where there is no document."""
    shape = like.shape
    return like.new_empty(shape) if found.full else like.new_zeros(shape)


def forward(
    q: Tensor, k: Tensor, v: Tensor, documents_BT: Tensor, *, causal: bool, scale: float, dropout: float, seed: int
) -> tuple[Tensor, Tensor]:
    """q, k, v [B, T, H, D] of one type. Return (attention [B, T, H, D], base-2 logarithms of the sums float32 [B, T, H]).

    dropout: the share of probabilities that drop out, below 1; seed: which.
    """
    found = _find(documents_BT)
    make = torch.empty if found.full else torch.zeros
    out, logs = _empty(v, found), make(v.shape[:3])
    given = {"q": q, "k": k, "v": v, "out": out}
    _run(given, logs, found, causal=causal, scale=scale, dropout=dropout, seed=seed)
    return out, logs


def backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    logs: Tensor,
    documents_BT: Tensor,
    *,
    causal: bool,
    scale: float,
    dropout: float,
    seed: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of q, k and v; all [B, T, H, D], and logs [B, T, H]. dropout, seed: as in `forward`."""
    found = _find(documents_BT)
    into = {name: _empty(v, found) for name in ("dq", "dk", "dv")}
    given = {"q": q, "k": k, "v": v, "out": out, "grad": grad.to(v.dtype)}
    _run({**given, **into}, logs.contiguous(), found, causal=causal, scale=scale, dropout=dropout, seed=seed)
    return into["dq"], into["dk"], into["dv"]
