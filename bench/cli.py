"""Start-up time of the command line, beside the interpreter alone and beside command lines of the same kind.

Every command runs in a new process, in turn with the others, in an order that is drawn anew each round, so that a busy moment
hits all of them alike. Reported: medians, and the median of each round's ratio to `septet --help`, with a bootstrap interval of
95 %. One round runs before the count begins. What it is not: a timed test; nothing fails when it is slow.

    make bench BENCH=cli            python bench/cli.py --rounds 15
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
OURS = "septet --help"


def commands() -> dict[str, list[str]]:
    """Return name -> arguments for each command that is there."""
    python, septet = sys.executable, [sys.executable, "-m", "septet.cli"]
    found = {
        "python -c pass": [python, "-c", "pass"],
        OURS: [*septet, "--help"],
        "septet --version": [*septet, "--version"],
        "septet ls": [*septet, "ls"],
        "septet run --help": [*septet, "run", "--help"],
        "septet corpus --help": [*septet, "corpus", "--help"],
    }
    peers = {
        "import click": [python, "-c", "import click"],
        "import pydantic": [python, "-c", "import pydantic"],
        "hf --help": _console_script("hf"),
        "transformers --help": _console_script("transformers"),
    }
    return found | {name: arguments for name, arguments in peers.items() if arguments}


def _console_script(name: str) -> list[str] | None:
    path = Path(sys.executable).parent / name
    return [str(path), "--help"] if path.is_file() else None


def measure(rounds: int, *, seed: int = 0) -> dict[str, list[float]]:
    """Return seconds by command, one for each round."""
    known, rng = commands(), random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "SEPTET_HOME": str(Path(folder, "store")),
            "HF_HUB_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "DO_NOT_TRACK": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        }
        for name, arguments in list(known.items()):  # the first round fills caches, and finds what does not work here
            status = subprocess.run(arguments, env=environment, cwd=folder, capture_output=True, check=False).returncode
            if status and name.startswith("septet"):
                raise SystemExit(f"`{name}` ended with status {status}; mend it before measuring it.")
            if status:
                print(f"left out: `{name}` ended with status {status} here", file=sys.stderr)
                del known[name]
        seconds: dict[str, list[float]] = {name: [] for name in known}
        for number in range(rounds):
            for name in rng.sample(list(known), len(known)):
                began = time.perf_counter()
                subprocess.run(known[name], env=environment, cwd=folder, capture_output=True, check=True)
                seconds[name].append(time.perf_counter() - began)
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
    return seconds


def interval(values: list[float], *, seed: int = 0, draws: int = 4000) -> tuple[float, float]:
    """Return a 95 % bootstrap interval of the median (percentile method, draws with replacement)."""
    rng = random.Random(seed)
    medians = sorted(statistics.median(rng.choices(values, k=len(values))) for _ in range(draws))
    return medians[round(0.025 * (draws - 1))], medians[round(0.975 * (draws - 1))]


def summary(seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Return medians, and ratios to our own --help taken within each round."""
    rows = []
    for name, values in seconds.items():
        low, high = interval(values)
        row = {"command": name, "n": len(values), "median": statistics.median(values), "low": low, "high": high}
        ratios = [value / ours for value, ours in zip(values, seconds[OURS], strict=True)]
        if name != OURS:
            row["ratio"] = statistics.median(ratios)
            row["ratio_low"], row["ratio_high"] = interval(ratios)
        rows.append({key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()})
    return {
        "bench": "cli",
        "at": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": versions("click", "pydantic", "huggingface-hub", "transformers"),
        "command": "make bench BENCH=cli",
        "rows": rows,
        "seconds": {name: [round(value, 4) for value in values] for name, values in seconds.items()},
    }


def machine() -> dict[str, Any]:
    """Return what a reader needs to judge the figures, and nothing that names the machine."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_before": None if load is None else round(load, 1),
    }


def versions(*packages: str) -> dict[str, str]:
    found = {}
    for package in ("septet", *packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Start-up time of the command line.")
    parser.add_argument("--rounds", type=int, default=15, help="how often each command runs (default 15, at least 3)")
    parser.add_argument("--out", type=Path, help="where to write the result (default bench/results/cli-DATE.json)")
    given = parser.parse_args()
    if given.rounds < 3:
        parser.error("--rounds: at least 3, or there is no interval")
    before = machine()
    result = summary(measure(given.rounds)) | {"machine": before}
    path = given.out or RESULTS / f"cli-{result['at']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    width = min(max(len(row["command"]) for row in result["rows"]), shutil.get_terminal_size().columns - 40)
    for row in result["rows"]:
        ratio = f"  {row['ratio']:.2f} x [{row['ratio_low']:.2f}, {row['ratio_high']:.2f}]" if "ratio" in row else ""
        print(f"{row['command']:{width}}  {row['median']:.3f} s [{row['low']:.3f}, {row['high']:.3f}]{ratio}")
    print(f"written to {path.name}; python bench/report.py writes the page")


if __name__ == "__main__":
    main()
