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
from septet.core.events import Event, Progress
from septet.core.step import Runtime, Step, Work
from septet.nn.device import pick_device

__all__ = ["Dry", "measure", "peak_rss", "rss", "warm_up"]

_MICRO_BATCHES, _STEPS, _EVALUATE = 4, 24, 4
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


QUIET: dict[str, Any] = {"checkpoint_every": 10**9, "eval_every": None, "compile": False}


def _rows(start: Any, context: int, count: int) -> list[Any]:
    from septet.train.estimate import standin

    rows: list[Any] = standin.random_rows(count, context - start.objective.around, start.tokenizer)
    return list(zip(rows, rows[1:] + rows[:1], strict=True)) if start.objective.partners else rows


def warm_up(step: Any, start: Any, dial: Any, runtime: Runtime) -> float:
    """Load every library and start every thread by two steps of a model of one layer; return the bytes that are held after it.

    The peak is counted from here. step: a pretrain step; start: what it begins with.
    """
    import torch

    from septet.train.loop import fit

    small = replace(dial, depth=1, width=64, heads=1, feed_forward=64)
    device = pick_device(runtime.device)
    plan = replace(step.plan(small), steps=2, **QUIET)
    with tempfile.TemporaryDirectory() as folder:
        work = Work(out=Path(folder), state=Path(folder), runtime=runtime)
        model = replace(start, folder=None).model(small, device)
        fit(model, start.objective, _Same(_rows(start, dial.context, 2)), plan, work=work)
    del model
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return float(torch.cuda.memory_allocated())
    _reset_peak()
    return rss()


class _Clock:
    """Marks the end of every step, and how much of it the optimizer took; ends the run where enough was seen."""

    def __init__(self, device: Any, deadline: float) -> None:
        self.device, self.deadline = device, deadline
        self.marks: list[float] = []
        self.optimizing: list[float] = [0.0]
        self.evaluated: set[int] = set()
        self.began = 0.0

    def now(self) -> float:
        if self.device.type == "cuda":
            import torch

            torch.cuda.synchronize()
        return time.perf_counter()

    def before(self, *args: Any) -> None:
        self.began = self.now()

    def after(self, *args: Any) -> None:
        self.optimizing[-1] += self.now() - self.began

    def told(self, event: Event) -> None:
        if not isinstance(event, Progress):
            return
        if any(name.startswith("held_out_") for name in event.metrics):
            self.evaluated.add(len(self.marks))
        self.marks.append(self.now())
        self.optimizing.append(0.0)
        last = self.marks[-1] - self.marks[-2] if len(self.marks) > 1 else 0.0
        if len(self.marks) > _STEPS or (len(self.marks) > 1 and self.marks[-1] + last > self.deadline):
            raise _EnoughError

    def steps(self) -> list[tuple[float, float]]:
        """(seconds, of which the optimizer's) of every step but the first, which makes the states, and those with an evaluation."""
        return [
            (self.marks[place] - self.marks[place - 1], self.optimizing[place])
            for place in range(1, len(self.marks))
            if place not in self.evaluated
        ]


def child(job: dict[str, Any]) -> Dry:
    """Measure in this process; see `measure`."""
    import torch
    import torch.optim.optimizer as hooks

    from septet.train.evaluation import evaluate
    from septet.train.loop import fit
    from septet.train.runtime import seed_all, settle

    step: Any = Step.parse(job["step"])
    runtime = Runtime(device=job["device"], threads=job["threads"])
    settled = settle(runtime, precision=step.precision)
    seed_all(0)
    # the step begins with folders, as in its run
    start = step._start({role: SimpleNamespace(path=Path(folder)) for role, folder in job["inputs"].items()})
    dial = replace(start.dial, context=job["context"])
    # evaluations between steps, as in the run: the allocator's holes come from both
    plan = replace(step.plan(dial), steps=_STEPS + 2, **{**QUIET, "eval_every": _EVALUATE})
    size = job["rows"]
    count = min(size, _MICRO_BATCHES * min(plan.micro_rows or size, size))
    rows = _rows(start, dial.context, count)
    base = warm_up(step, start, dial, runtime)
    clock = _Clock(settled.device, time.perf_counter() + job["seconds"])
    handles = [
        hooks.register_optimizer_step_pre_hook(clock.before),
        hooks.register_optimizer_step_post_hook(clock.after),
    ]
    model = start.model(dial, settled.device)
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(_EnoughError):
        work = Work(out=Path(folder), state=Path(folder), runtime=runtime, emit=clock.told)
        fit(model, start.objective, _Same(rows), plan, work=work, held_out=rows[: plan.eval_rows])
    for handle in handles:
        handle.remove()
    peak = float(torch.cuda.max_memory_reserved()) if settled.device.type == "cuda" else peak_rss()
    spans = sorted(clock.steps())
    whole, optimizing = spans[len(spans) // 2]
    seconds = (whole - optimizing) * size / count + optimizing
    some = rows[: plan.eval_rows]
    begin = clock.now()
    evaluate(model, start.objective, some, settled=settled, rows_at_once=plan.eval_rows)
    return Dry(seconds, base, peak, (clock.now() - begin) / len(some), len(spans))


if __name__ == "__main__":
    print(json.dumps(asdict(child(json.load(sys.stdin)))))
