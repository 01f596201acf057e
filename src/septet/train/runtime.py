"""Where a training run computes: device, threads, precision, and the state of the random number generators.

What it is not: many devices; each process of several has one (`septet.train.ranks`).

    python -m pytest tests/train/test_runtime.py
"""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from septet.core.errors import ComponentError
from septet.core.protocols import Ranks
from septet.core.step import Runtime
from septet.nn.device import bfloat16_is_native, pick_device
from septet.nn.memory import keep_freed
from septet.train.ranks import Alone

__all__ = ["Settled", "random_state", "restore_random", "seed_all", "settle"]


@dataclass(frozen=True, slots=True)
class Settled:
    """The choices of a run: device, number of threads, computing type; and the processes that share it."""

    device: torch.device
    threads: int
    dtype: torch.dtype
    ranks: Ranks = Alone()  # noqa: RUF009 -- frozen, and without content

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context for a forward pass: autocast to bfloat16 or float16, or nothing."""
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)


def settle(runtime: Runtime, *, precision: str = "auto") -> Settled:
    """Choose the device and the computing type, and set torch's threads and how memory is kept."""
    ranks = runtime.ranks or Alone()
    device = pick_device(runtime.device)
    if ranks.size > 1 and device.type == "mps":
        device = torch.device("cpu")  # Gloo and NCCL know nothing of Apple GPUs
    if runtime.threads:
        torch.set_num_threads(runtime.threads)
    if device.type == "cpu":
        keep_freed()
    native = bfloat16_is_native(device)
    if precision in ("bfloat16", "float16") and device.type == "mps":
        raise ComponentError(f"precision '{precision}' is not supported on Apple GPUs here; use 'auto' or 'float32'.")
    if precision == "auto":
        precision = "bfloat16" if native else "float32"
    return Settled(device, torch.get_num_threads(), getattr(torch, precision), ranks)


def seed_all(seed: int) -> None:
    """Seed the generators of Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_state() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return (tensors, JSON values) from which `restore_random` goes on."""
    tensors = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        tensors["cuda"] = torch.cuda.get_rng_state()
    name, keys, place, has_gauss, gauss = np.random.get_state()  # type: ignore[misc]
    version, inner, normal = random.getstate()
    values = {
        "numpy": [name, [int(key) for key in keys], int(place), int(has_gauss), float(gauss)],
        "python": [version, list(inner), normal],
    }
    return tensors, values


def restore_random(tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Put the generators back where `random_state` saw them."""
    torch.set_rng_state(tensors["torch"])
    if "cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["cuda"])
    name, keys, place, has_gauss, gauss = values["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), place, has_gauss, gauss))
    version, inner, normal = values["python"]
    random.setstate((version, tuple(inner), normal))
