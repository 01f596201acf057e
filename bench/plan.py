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
from septet.train.estimate import standin
from septet.train.estimate.dry import peak_rss, rss, warmed
job = json.load(sys.stdin)
inputs = {role: Artifact.read(Path(folder)) for role, folder in job["inputs"].items()}
step = Step.parse(job["step"])
threads = job["threads"]
base = warmed(step, inputs, Runtime(device="cpu", threads=threads))
out = Path(job["out"])
(out / "made").mkdir(parents=True), (out / "state").mkdir()
facts = step.run(Work(out=out / "made", state=out / "state", runtime=Runtime(device="cpu", threads=threads)), **inputs)
facts = {name: facts[name] for name in ("parameters", "tokens", "training_seconds")}
print(json.dumps({**facts, "base": base, "peak": peak_rss()}))
"""


def recipe(folder: Path, shape: dict[str, Any]) -> Path:
    family = shape.get("family", "llama")
    tokens_like = {"roberta": "roberta", "t5": "t5"}.get(family, "none")
    path = folder / "plan.yaml"
    tree = {
        "name": "bench-plan",
        "steps": {
            "text": {"kind": "corpus", "source": {"kind": "folder", "path": str(GUIDES)}, "held_out": {"by": "document", "share": 0.1}},
            "vocab": {"kind": "tokenizer", "corpus": "$text", "size": 4096, "family": tokens_like},
            "base": {"kind": "pretrain", "corpus": "$text", "tokenizer": "$vocab", "context": 256, **shape},
        },
    }
    path.write_text(json.dumps(tree), encoding="utf-8")
    return path
