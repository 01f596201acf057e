"""Which device computes, and whether it has bfloat16 in its silicon.

`auto` takes a CUDA GPU, then Apple's, then the processor. On a processor bfloat16 is used only where it is native (AVX512-BF16,
AMX, Arm BF16): elsewhere torch emulates it, several times slower than float32.

What it is not: a memory planner.

    python -c "from septet.nn.device import describe; print(describe('auto'))"
"""

from __future__ import annotations

import functools
import platform
import sys

import torch

from septet.core.errors import ComponentError

__all__ = ["DEVICES", "bfloat16_is_native", "describe", "pick_device"]

DEVICES = ("auto", "cuda", "mps", "cpu")


def pick_device(name: str = "auto") -> torch.device:
    """Return the device for a name; raises ComponentError for one that this machine does not have."""
    kind = name.partition(":")[0]
    if kind not in DEVICES:
        raise ComponentError(f"There is no device '{name}'. Known: {', '.join(DEVICES)}.")
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if kind == "auto":
        return torch.device(next(device for device in ("cuda", "mps", "cpu") if has[device]))
    if not has[kind]:
        raise ComponentError(f"The device '{name}' was asked for and this machine has none. Use 'auto' or 'cpu'.")
    return torch.device(name)


@functools.cache
def _processor_has_bfloat16() -> bool:
    known = torch.cpu.get_capabilities()
    if any(known.get(flag) for flag in ("avx512_bf16", "amx_bf16", "amx_tile", "arm_bf16")):
        return True
    # on Arm, torch names the instruction set only in newer versions; Linux tells it by itself
    if sys.platform == "linux" and platform.machine() in {"aarch64", "arm64"}:
        try:
            with open("/proc/cpuinfo", encoding="utf-8") as file:
                return any(line.startswith("Features") and " bf16" in line for line in file)
        except OSError:
            return False
    return False


def bfloat16_is_native(device: torch.device) -> bool:
    """Say whether matrix products in bfloat16 run on the device's own instructions."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return _processor_has_bfloat16()
    return False  # on Apple GPUs float32 is the safe choice


def describe(name: str = "auto") -> dict[str, str | int | bool]:
    """Return the facts about the device that a run should keep: kind, name, threads, bfloat16."""
    device = pick_device(name)
    label = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "device": device.type,
        "name": label,
        "threads": torch.get_num_threads(),
        "bfloat16": bfloat16_is_native(device),
        "torch": torch.__version__,
    }
