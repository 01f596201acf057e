"""What `septet plan` says of a training beside what the training then takes: parameters, tokens, time and memory.

For each shape: a forecast with dry steps, then the same recipe step run in a process of its own. Time is that of the training loop
(`training_seconds`); memory is the peak of the process's resident set above what it was before the step began, with all libraries
loaded, on both sides. The target is 15 %.

What it is not: a benchmark of speed; on a busy machine both sides are slow, not always alike.

    OMP_NUM_THREADS=1 python bench/plan.py [--shapes small,wide,...] [--no-write]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import machine, versions, write

from septet.core.recipe import Recipe, plan
from septet.core.step import Runtime
from septet.core.store import Store
from septet.launch.local import run_recipe

GUIDES = Path(__file__).parent.parent / "docs" / "guides"

SHAPES: dict[str, dict[str, Any]] = {
    "small": {"depth": 4, "tokens": 262_144},
    "wide": {"depth": 4, "width": 384, "heads": 6, "tokens": 49_152, "batch_tokens": 2048},
    "adamw": {"depth": 6, "width": 256, "optimizer": "adamw", "tokens": 65_536, "batch_tokens": 2048},
    "recompute": {"depth": 6, "width": 256, "recompute": True, "tokens": 49_152, "batch_tokens": 4096},
    "micro": {"depth": 6, "width": 256, "micro_tokens": 512, "tokens": 65_536, "batch_tokens": 4096},
    "roberta": {"family": "roberta", "depth": 4, "width": 256, "tokens": 65_536, "batch_tokens": 4096},
    "t5": {"family": "t5", "depth": 3, "width": 192, "heads": 3, "tokens": 65_536, "batch_tokens": 4096},
}

CHILD = """
import json, sys
from pathlib import Path
from septet.core.artifact import Artifact
from septet.core.step import Runtime, Step, Work
from septet.train.estimate.dry import peak_rss, warm_up
job = json.load(sys.stdin)
inputs = {role: Artifact.load(Path(folder)) for role, folder in job["inputs"].items()}
step = Step.parse(job["step"])
runtime = Runtime(device="cpu", threads=job["threads"])
start = step._start(inputs)
base = warm_up(step, start, start.dial, runtime)
out = Path(job["out"])
(out / "made").mkdir(parents=True), (out / "state").mkdir()
facts = step.run(Work(out=out / "made", state=out / "state", runtime=runtime), **inputs)
facts = {name: facts[name] for name in ("parameters", "tokens", "training_seconds")}
print(json.dumps({**facts, "base": base, "peak": peak_rss()}))
"""


def recipe(folder: Path, shape: dict[str, Any]) -> Path:
    family = shape.get("family", "llama")
    tokens_like = {"roberta": "roberta", "t5": "t5"}.get(family, "none")
    path = folder / "plan.yaml"
    source = {"kind": "folder", "path": str(GUIDES)}
    steps = {
        "text": {"kind": "corpus", "source": source, "held_out": {"by": "document", "share": 0.1}},
        "vocab": {"kind": "tokenizer", "corpus": "$text", "size": 4096, "family": tokens_like},
        "base": {"kind": "pretrain", "corpus": "$text", "tokenizer": "$vocab", "context": 256, **shape},
    }
    tree = {"name": "bench-plan", "steps": steps}
    path.write_text(json.dumps(tree), encoding="utf-8")
    return path


def compare(name: str, shape: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Forecast one shape, run it, and return both with the errors of the forecast."""
    threads = int(os.environ.get("OMP_NUM_THREADS", "0")) or None
    runtime = Runtime(device="cpu", threads=threads)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        path, store = recipe(folder, shape), Store(folder / "home")
        run_recipe(Recipe.load(path, changes={"base": None}), store, report=False)
        planned = {p.name: p for p in plan(Recipe.load(path), store)}
        inputs: dict[str, Any] = {role: planned[ref[1:]].kept for role, ref in planned["base"].step.refs().items()}
        said = planned["base"].step.forecast(inputs, runtime=runtime, seconds=seconds)
        assert said is not None
        assert said.peak is not None
        assert said.seconds is not None
        job = {
            "step": planned["base"].step.dump(),
            "inputs": {role: str(artifact.path) for role, artifact in inputs.items()},
            "out": str(folder / "out"),
            "threads": threads,
        }
        done = subprocess.run([sys.executable, "-c", CHILD], input=json.dumps(job), capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        was = json.loads(done.stdout.splitlines()[-1])
    predicted = said.peak - said.settings["base"]
    measured = was["peak"] - was["base"]
    row = {
        "shape": name,
        "parameters": [said.parameters, was["parameters"]],
        "tokens": [said.tokens, was["tokens"]],
        "seconds": [round(said.seconds, 2), was["training_seconds"]],
        "memory_mb": [round(predicted / 1e6, 1), round(measured / 1e6, 1)],
        "time_error": round(said.seconds / was["training_seconds"] - 1, 3),
        "memory_error": round(predicted / measured - 1, 3),
        "parts_mb": {part: round(value / 1e6, 1) for part, value in said.memory.items()},
    }
    print(
        f"{name:10} parameters {row['parameters']}, tokens {row['tokens']}, seconds {row['seconds']} ({row['time_error']:+.0%}), "
        f"memory {row['memory_mb']} MB ({row['memory_error']:+.0%})",
        flush=True,
    )
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--shapes", default=",".join(SHAPES), help="which shapes, by name")
    parser.add_argument("--seconds", type=float, default=5.0, help="of dry steps for each forecast")
    parser.add_argument("--no-write", action="store_true", help="print only")
    options = parser.parse_args()
    rows = [compare(name, SHAPES[name], options.seconds) for name in options.shapes.split(",")]
    if not options.no_write:
        write("plan", {"machine": machine(), "versions": versions(), "rows": rows})


if __name__ == "__main__":
    main()
