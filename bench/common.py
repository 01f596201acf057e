"""What the benchmarks share: facts about the machine, the median ratio of pairs with its interval, and the result's file.

What it is not: a timer of tests. A benchmark is run on a quiet machine, by hand or by `make bench`.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """Return what the figures depend on: processor, cores, threads, load. No host names, no paths."""
    import torch

    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    known = torch.cpu.get_capabilities()
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "bfloat16": ", ".join(name for name in ("avx512_bf16", "amx_bf16", "amx_tile") if known.get(name))
        or "emulated",
        "load_before": round(os.getloadavg()[0], 2),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def alone(function: Callable[..., T], *arguments: Any) -> tuple[T, float]:
    """Run a function in a fresh process, as one program; return its result, and the most memory that it held, in bytes.

    What one program sets up (memory, threads, compiled code) is not the next one's.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        result = pool.submit(function, *arguments).result()
        return result, pool.submit(_peak).result()


def _peak() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(used if sys.platform == "darwin" else 1024 * used)


def versions() -> dict[str, str]:
    """Return the versions of the libraries that do the work."""
    return {name: importlib.metadata.version(name) for name in ("torch", "transformers", "accelerate", "numpy")}


def median_ratio(ours: list[float], theirs: list[float], *, draws: int = 10_000, seed: int = 0) -> dict[str, float]:
    """Return the median of ours/theirs over pairs with its 95% bootstrap interval (percentile, pairs drawn together)."""
    ratios = np.asarray(ours) / np.asarray(theirs)
    rng = np.random.default_rng(seed)
    medians = np.median(rng.choice(ratios, size=(draws, len(ratios))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return {"ratio": float(np.median(ratios)), "low": float(low), "high": float(high), "pairs": len(ratios)}


def write(name: str, content: dict[str, Any]) -> Path:
    """Write a result to bench/results/<name>-<date>.json and return its path."""
    RESULTS.mkdir(exist_ok=True)
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    path = RESULTS / f"{name}-{day}.json"
    path.write_text(json.dumps({"bench": name, "at": day, **content}, indent=1) + "\n", encoding="utf-8")
    print(f"wrote bench/results/{path.name}", file=sys.stderr)
    return path
