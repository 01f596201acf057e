"""A few real steps on made-up or real rows, in a process of their own: how long a step takes, and how much memory.

    measure({"step": ..., "seconds": 5, ...}) -> Dry

The child trains with the loop that the run will use, and leaves nothing: no checkpoint, no file. Memory is the resident set's peak
above what it was with all libraries loaded (on a GPU: the allocator's peak). A step of more micro-batches than four is measured on
four, and the optimizer's own time counted once.

What it is not: a benchmark; a busy machine gives a slow answer.

    python -m pytest tests/train/test_estimate.py
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from septet.core.errors import SeptetError

__all__ = ["Dry", "measure", "peak_rss", "rss"]

_MICRO_BATCHES, _STEPS = 4, 24
_PATIENCE = 12
"""A child may take so many times the seconds that were given, plus its start; then it is stopped and nothing is known."""


@dataclass(frozen=True, slots=True)
class Dry:
    """seconds: of one whole optimizer step. base, peak: bytes of the process (or of the GPU) with libraries only, and at most.

    eval_seconds: of one held-out row. steps: how many were measured.
    """

    seconds: float
    base: float
    peak: float
    eval_seconds: float
    steps: int


def measure(job: dict[str, Any], *, seconds: float, threads: int | None) -> Dry | None:
    """Run a dry training in a child process; None where it took too long or was killed.

    job: step (the dump of a pretrain step), inputs (the folder of its tokenizer, or of the model that it continues), context, rows
    (of one optimizer step), device. Errors: SeptetError with the child's last words, where it failed.
    """
    command = [sys.executable, "-m", "septet.train.estimate.dry"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    content = json.dumps({**job, "seconds": seconds, "threads": threads})
    try:
        done = subprocess.run(
            command, input=content, capture_output=True, text=True, timeout=30 + _PATIENCE * seconds, env=environment
        )
    except subprocess.TimeoutExpired:
        return None
    if done.returncode < 0:  # killed, most likely for its memory
        return None
    if done.returncode:
        raise SeptetError(
            f"The dry run failed: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'no word'}"
        )
    return Dry(**json.loads(done.stdout.splitlines()[-1]))


def rss() -> float:
    """Return this process's resident set, in bytes; 0 where the system does not tell."""
    return _status("VmRSS")


def peak_rss() -> float:
    """Return the largest resident set since the last reset, in bytes."""
    found = _status("VmHWM")
    if found:
        return found
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if sys.platform == "darwin" else peak * 1024)


def _status(name: str) -> float:
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return next((float(line.split()[1]) * 1024 for line in file if line.startswith(f"{name}:")), 0.0)
    except OSError:
        return 0.0


def _reset_peak() -> None:
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")  # Linux: the peak starts from the present value
    except OSError:
        pass


class _EnoughError(Exception):
    """The steps have been measured."""


class _Same:
    """The same rows at every step."""

    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows

    def next(self) -> list[Any]:
        return self.rows

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        pass


def child(job: dict[str, Any]) -> Dry:
    """Measure in this process; see `measure`."""
    import torch
    import torch.optim.optimizer as hooks

    from septet.core.step import Runtime, Step, Work
    from septet.train.estimate import standin
    from septet.train.loop import evaluate, fit
    from septet.train.runtime import seed_all, settle

    step: Any = Step.parse(job["step"])
    settled = settle(Runtime(device=job["device"], threads=job["threads"]), precision=step.precision)
    seed_all(0)
    # the step begins with folders, as in its run
    start = step._start({role: SimpleNamespace(path=Path(folder)) for role, folder in job["inputs"].items()})
    dial = replace(start.dial, context=job["context"])
    plan = step.plan(dial)
    size = job["rows"]
    micro = min(plan.micro_rows or size, size)
    dry_rows = min(size, _MICRO_BATCHES * micro)
    room = dial.context - start.objective.around
    rows: list[Any] = standin.random_rows(dry_rows, room, start.tokenizer)
    if start.objective.partners:
        rows = list(zip(rows, rows[1:] + rows[:1], strict=True))
    on_gpu = settled.device.type == "cuda"

    def now() -> float:
        if on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter()

    marks: list[float] = []
    optimizing: list[float] = [0.0]
    began: list[float] = []

    def before(*args: Any) -> None:
        began.append(now())

    def after(*args: Any) -> None:
        optimizing[-1] += now() - began.pop()

    deadline = [float("inf")]

    def told(event: Any) -> None:
        if type(event).__name__ != "Progress":
            return
        marks.append(now())
        optimizing.append(0.0)
        if len(marks) >= _STEPS or (len(marks) >= 2 and marks[-1] + (marks[-1] - marks[-2]) > deadline[0]):
            raise _EnoughError

    def train(model: Any, plan: Any, rows: list[Any], folder: str) -> None:
        work = Work(out=Path(folder), state=Path(folder), runtime=Runtime(device=job["device"]), emit=told)
        marks.append(now())
        optimizing.append(0.0)
        with contextlib.suppress(_EnoughError):
            fit(model, start.objective, _Same(rows), plan, work=work)

    quiet: dict[str, Any] = {"steps": _STEPS + 2, "checkpoint_every": 10**9, "eval_every": None, "compile": False}
    handles = [hooks.register_optimizer_step_pre_hook(before), hooks.register_optimizer_step_post_hook(after)]
    with tempfile.TemporaryDirectory() as folder:
        # two steps of a model of one layer load every library and start every thread
        small = replace(dial, depth=1, width=64, heads=1, feed_forward=64)
        warm = replace(start, folder=None).model(small, settled.device)
        train(warm, replace(plan, **{**quiet, "steps": 2}), rows[:1], f"{folder}/warm")
        del warm
        base = float(torch.cuda.memory_allocated()) if on_gpu else rss()
        torch.cuda.reset_peak_memory_stats() if on_gpu else _reset_peak()
        marks.clear()
        optimizing[:] = [0.0]
        deadline[0] = time.perf_counter() + job["seconds"]
        model = start.model(dial, settled.device)
        train(model, replace(plan, **quiet), rows, f"{folder}/dry")
        peak = float(torch.cuda.max_memory_reserved()) if on_gpu else peak_rss()
        spans = [(b - a, o) for a, b, o in zip(marks, marks[1:], optimizing[1:], strict=False)]
        spans = spans[1:] or spans  # the first one makes the states
        middle = sorted(spans)[len(spans) // 2]
        share = size / dry_rows
        whole = (middle[0] - middle[1]) * share + middle[1]
        begin = now()
        evaluate(model, start.objective, rows[: plan.eval_rows], settled=settled, rows_at_once=plan.eval_rows)
        held = (now() - begin) / len(rows[: plan.eval_rows])
    for handle in handles:
        handle.remove()
    return Dry(whole, base, peak, held, len(spans))


if __name__ == "__main__":
    print(json.dumps(asdict(child(json.load(sys.stdin)))))
