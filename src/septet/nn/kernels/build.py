"""Compile a piece of C for this processor, keep it, and load it.

The library lies under $XDG_CACHE_HOME/septet (or ~/.cache/septet), under a name made of its source, the compiler and the processor,
so that machines which share a home do not share it. It is made in a few seconds, whole or not at all, by $CC or cc. Without a
compiler, or with SEPTET_KERNELS=0, there is none, and the caller does it in torch.

What it is not: for C++ or torch's own extensions.

    python -c "from septet.nn.kernels.build import library; print(library('attention'))"
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # torch takes 1.5 s to import
    from torch import Tensor

__all__ = ["absent", "computes", "library", "run", "share_dropped"]

FLAGS = ("-O3", "-ffp-contract=fast", "-fno-math-errno", "-shared", "-fPIC")
FOR_THIS = ("-march=native", "-mcpu=native")
"""What has a compiler use all instructions of this processor; each knows one or both, or neither."""
PATIENCE = 120.0

_log = logging.getLogger(__name__)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "septet" / "kernels"


def _processor() -> str:
    """What decides which instructions the compiler may use."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return "".join(sorted({line for line in file if line.startswith(("model name", "flags", "Features"))}))
    except OSError:
        return f"{platform.machine()} {platform.processor()}"


def _compile(source: Path, compiler: str, target: Path) -> None:
    """Raises OSError or subprocess.SubprocessError where it cannot be compiled or kept."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / target.name
        for flag in FOR_THIS:
            if _run(compiler, [*FLAGS, flag], source, made).returncode == 0:
                break
        else:
            _run(compiler, FLAGS, source, made).check_returncode()
        made.replace(target)


def _run(compiler: str, flags: Sequence[str], source: Path, made: Path) -> subprocess.CompletedProcess[str]:
    command = [compiler, *flags, str(source), "-o", str(made), "-lm"]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE)


def absent() -> str | None:
    """Return why there are none, for the user of a training; None where there are, or where they are not wanted."""
    if os.environ.get("SEPTET_KERNELS") == "0" or library("attention") is not None:
        return None
    compiler = os.environ.get("CC") or "cc"
    reason = "could not compile them" if shutil.which(compiler) else "is not there"
    return (
        f"Attention, dropout and the loss are computed by torch, which is slower on a processor: the C compiler '{compiler}' "
        f"{reason}. Install one (gcc or clang), or name it in CC; SEPTET_KERNELS=0 silences this."
    )


@functools.cache
def library(name: str) -> ctypes.CDLL | None:
    """Return the library made of `name`.c, or None where there is none; the reason is logged."""
    if os.environ.get("SEPTET_KERNELS") == "0":
        return None
    compiler = shutil.which(os.environ.get("CC") or "cc")
    if compiler is None:
        _log.info("no C compiler: %s is computed by torch", name)
        return None
    source = Path(__file__).with_name(f"{name}.c")
    try:
        texts = [path.read_text(encoding="utf-8") for path in (source, source.with_name("vectors.h"))]
        facts = (*texts, compiler, str(os.stat(compiler).st_mtime_ns), " ".join((*FLAGS, *FOR_THIS)))
        mark = hashlib.sha256("\0".join((*facts, _processor())).encode()).hexdigest()[:16]
        target = _cache() / f"{name}-{mark}.so"
        if not target.exists():
            _compile(source, compiler, target)
        return ctypes.CDLL(str(target))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:  # RuntimeError: there is no home
        told = getattr(error, "stderr", None) or str(error)
        _log.warning("%s is computed by torch, since it could not be compiled: %s", name, told.strip()[:300])
        return None


def computes(name: str, x: Tensor) -> bool:
    """Whether tensors like this one can be given to the library made of `name`.c."""
    return x.device.type == "cpu" and str(x.dtype) in ("torch.float32", "torch.bfloat16") and library(name) is not None


def share_dropped(dropout: float) -> int:
    """Return the share of numbers that drop out, 0 <= dropout < 1, in the units of vectors.h: 2^-32."""
    assert 0 <= dropout < 1
    return min(round(dropout * 2**32), 2**32 - 1)


def run(name: str, job: ctypes.Structure) -> None:
    """Call the function of this name in the library of this name. Raises MemoryError."""
    found = library(name)
    assert found is not None, "ask `computes` first"
    if getattr(found, name)(ctypes.byref(job), _team()):
        raise MemoryError(f"not enough memory for {name}; make batches smaller")


@functools.cache
def _team() -> ctypes.c_void_p | None:
    """Return the address of GOMP_parallel in the OpenMP library that torch has loaded, so that its threads are shared, or None."""
    import torch  # loads it

    assert torch.get_num_threads() > 0
    try:
        return ctypes.cast(ctypes.CDLL(None).GOMP_parallel, ctypes.c_void_p)
    except (OSError, AttributeError, TypeError):
        return None
