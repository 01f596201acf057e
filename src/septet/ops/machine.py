"""The machine that a training is advised for: this one, tried out for a few seconds, or a GPU of the table.

Speed is what `septet plan` measures: operations a second of real training steps, of a small model of the architecture in
question on rows as long as those in question. Larger models are somewhat faster a second, on a GPU much, so times are rather
too long.

What it is not: a benchmark.

    python -c "from septet.ops.machine import this_machine; print(this_machine())"
"""

from __future__ import annotations

import os
from typing import Any

from septet.core.quantities import flops, size
from septet.core.step import Runtime, Step
from septet.nn.device import pick_device
from septet.ops.advice import Machine
from septet.train.estimate.memory import available
from septet.train.scale import RESERVED, gpu_named

__all__ = ["on_paper", "this_machine"]

FAMILIES = {"encoder": "bert", "permuted": "bert", "decoder": "llama", "encoder-decoder": "t5"}
WIDTH, DEPTH, ROWS = 384, 2, 8
"""Of the model that is tried out, and the rows of a step: those of the smallest encoders in use."""
CORE = 20e9
"""Operations a second that are assumed for a core of a processor where nothing was measured; those of servers reach 15 to 60."""
LONGEST = 256
"""Tokens of a row that is tried out, at most."""


def this_machine(
    *,
    device: str = "auto",
    threads: int | None = None,
    memory: float | None = None,
    seconds: float = 0.0,
    architecture: str = "encoder",
    tokens: int = 64,
) -> Machine:
    """Return this machine. memory: bytes in place of those that are free. seconds: how long it may be tried out; 0: not at all."""
    import torch

    kind = pick_device(device)
    cores = (
        threads or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else threads or os.cpu_count() or 1
    )
    name = torch.cuda.get_device_name(kind) if kind.type == "cuda" else "processor" if kind.type == "cpu" else kind.type
    room = memory if memory is not None else available(kind)
    speed = None
    if seconds:
        speed = _speed(Runtime(device=device, threads=threads), FAMILIES[architecture], tokens, seconds)
    told = f"{flops(speed)}/s measured" if speed else "speed not known"
    if speed is None and kind.type == "cpu":
        speed = CORE * cores
        told = f"{flops(speed)}/s assumed"
    return Machine(name=name, cores=cores, room=room, speed=speed, measured=told)


def on_paper(name: str, *, memory: float | None = None) -> Machine:
    """Return a GPU of the table of `septet plan --scale`. Errors: ComponentError with the nearest known name."""
    gpu = gpu_named(name)
    speed = gpu.flops * gpu.efficiency
    told = f"{flops(speed)}/s, {gpu.efficiency:.0%} of its peak, on paper"
    room = memory if memory is not None else gpu.memory - RESERVED
    return Machine(name=f"{gpu.name} ({size(gpu.memory)})", cores=0, room=room, speed=speed, measured=told)


def _speed(runtime: Runtime, family: str, tokens: int, seconds: float) -> float | None:
    """Return the operations a second of training steps, or None where nothing could be measured."""
    context = min(LONGEST, max(32, -(-tokens // 32) * 32))
    step: Any = Step.parse({
        "kind": "pretrain",
        "corpus": "$text",
        "tokenizer": "$vocab",
        "family": family,
        "depth": DEPTH,
        "width": WIDTH,
        "context": context,
        "batch_tokens": ROWS * context,
        "tokens": 100 * ROWS * context,
        "optimizer": "adamw",
    })  # fmt: skip
    vocabulary = Step.parse({"kind": "tokenizer", "corpus": "$text", "size": 2048, "family": _like(family)})
    forecast = step.forecast({"tokenizer": vocabulary}, runtime=runtime, seconds=seconds)
    return None if forecast is None else forecast.flops_per_second


def _like(family: str) -> str:
    from septet.nn.family import Family  # torch: 1.5 s

    return Family.parse(family).tokens_like
