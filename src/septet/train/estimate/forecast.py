"""The forecast of a training run: sizes from a model without weights, arithmetic from one prepared batch, time from a dry run.

What it is not: a measurement of learning; it says what a run takes, not what comes out.

    septet plan recipes/tiny.yaml
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from septet.core.step import Forecast, Runtime
from septet.nn.cross_entropy import CHUNK
from septet.nn.device import pick_device
from septet.nn.family import Dial
from septet.train.estimate import standin
from septet.train.estimate.counts import attention_width, count, flops, saved_bytes
from septet.train.estimate.dry import Dry, measure
from septet.train.estimate.memory import (
    STATES,
    Need,
    available,
    head_bytes,
    parts_of,
    state_bytes,
    ways_to_fit,
)
from septet.train.objective import Objective, generators
from septet.train.plan import Plan

if TYPE_CHECKING:
    from septet.nn.model import Model
from septet.nn.packed_attention import takes_documents

__all__ = ["LIBRARIES", "Known", "forecast_training"]

LIBRARIES = 6.0e8
"""Bytes of a process with Python, torch and transformers loaded, where none was measured."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the rows. used: of each of them the positions that hold text, in the order of training; None before the
    corpus or the tokenizer is made. text: bytes of the corpus. held_out: rows that are evaluated while training."""

    used: Sequence[int] | None
    text: float = 0.0
    held_out: int = 0


def forecast_training(
    step: Any,
    model: Model,
    objective: Objective,
    dial: Dial,
    plan: Plan,
    known: Known,
    *,
    inputs: dict[str, Path],
    runtime: Runtime,
    seconds: float,
    notes: Sequence[str],
) -> Forecast:
    """Return what a training takes. model: on the device "meta". inputs: folders that exist, by role. seconds: of the dry run."""
    notes = list(notes)
    module, config, device = model.module, model.config, pick_device(runtime.device)
    size = max(1, round(dial.batch_tokens / dial.context))
    micro = min(plan.micro_rows or size, size)
    rows: list[Any] = standin.random_rows(min(micro, 8), dial.context - objective.around, model.tokenizer)
    sample = len(rows)
    if objective.partners:
        rows = list(zip(rows, rows[1:] + rows[:1], strict=True))
    batch = objective.prepare(rows, model.tokenizer, generators(sample, 0))
    counts = count(module, model.architecture)
    per_row = flops(counts, config, batch, model.architecture) / sample
    total_flops = per_row * size * plan.steps
    positions = plan.steps * size * dial.context
    tokens = positions
    if known.used is not None:
        tokens = sum(known.used)
    parameters = list(module.named_parameters())
    kind = plan.optimizer.kind
    if kind not in STATES:
        notes.append(f"the states of the optimizer '{kind}' are taken for AdamW's.")
    states = state_bytes(parameters, kind)
    assert batch.labels is not None
    labels = int((batch.labels != -100).sum()) * micro / sample
    need = Need(
        weights=4.0 * counts.parameters,
        gradients=4.0 * counts.trainable,
        states=states,
        activations=_activations(model, batch.inputs, notes, device=device.type) * micro / sample,
        head=head_bytes(labels, int(config.vocab_size), int(config.hidden_size), CHUNK),
        rows=micro,
        context=dial.context,
        depth=dial.depth,
        width=dial.width,
        # the texts, their tokens and labels (int32), and positions
        fixed=LIBRARIES + 2.0 * known.text + 12.0 * (0 if known.used is None else positions / max(1, plan.steps)),
        copies=2.0 * (4.0 * counts.trainable + states),
        together=micro < size,
    )
    if plan.recompute:
        need = need.recomputed()
    room = available(device)
    dry = None
    if seconds and (room is None or need.peak - need.copies < room):
        dry = _dry(step, model, dial, size, inputs, runtime, seconds)
        if dry is None:
            notes.append(
                "the dry run took too long or was stopped, so time is not known and memory is counted, not measured."
            )
    elif seconds:
        notes.append("it does not fit, so nothing was measured.")
    if dry is not None:
        need = _measured(need, dry)
        if device.type == "cpu":
            notes.append(
                "memory is that of the trial; in a long run the allocator's holes come on top (docs/guides/plan.md)."
            )
        if plan.compile:
            notes.append("the time is that of a run that is not compiled.")
    took = None if dry is None else _seconds(dry, plan, known, notes)
    background = plan.steps >= 100 or took is None or took > 15
    if not background:
        # a short run is written at its end only, when gradients and activations are gone
        beyond = need.copies - need.gradients - need.activations - need.head
        need = replace(need, copies=max(0.0, beyond))
    ways = ()
    if room is not None and need.peak > room:
        ways = ways_to_fit(need, room, {k: state_bytes(parameters, k) for k in STATES}, kind, type(step).model_fields)
    return Forecast(
        parameters=counts.parameters,
        trainable=counts.trainable,
        tokens=tokens,
        flops=total_flops,
        memory=parts_of(need),
        peak=need.peak,
        available=room,
        seconds=took,
        flops_per_second=None if dry is None else per_row * size / dry.seconds,
        settings={
            **dial.facts(),
            "steps": plan.steps,
            "rows": size,
            "micro_rows": micro,
            "optimizer": kind,
            "objective": objective.kind,
            "architecture": model.architecture,
            "multiplied": counts.multiplied,
            "tied": bool(getattr(config, "tie_word_embeddings", False)),
            "attention_width": attention_width(config),
            "step_seconds": None if dry is None else dry.seconds,
            "measured_steps": 0 if dry is None else dry.steps,
            "base": LIBRARIES if dry is None else dry.base,
            "device": device.type,
        },
        fits_with=ways,
        notes=tuple(notes),
    )


def _activations(model: Model, inputs: dict[str, torch.Tensor], notes: list[str], *, device: str) -> float:
    """Return the bytes that a forward pass keeps, asked of the model without weights; 0 with a note where it cannot be asked.

    device: the kind that will compute, "cpu" or another.
    """
    model.module.train()
    moved = {name: tensor.to("meta") for name, tensor in inputs.items()}
    if model.architecture == "decoder":
        # whether rows hold several documents is asked of the values, and there are none: with an explicit mask nothing is asked
        rows, length = moved["input_ids"].shape
        if device == "cpu" and takes_documents(model.config):
            mask = torch.ones(rows, 1, 1, length, dtype=torch.int64, device="meta")
        else:
            mask = torch.zeros(rows, 1, length, length, device="meta")
        moved = {"input_ids": moved["input_ids"], "attention_mask": mask}
    try:
        return float(saved_bytes(model, moved))
    except (RuntimeError, NotImplementedError):
        notes.append("activations of this family are known only where they are measured.")
        return 0.0


def _dry(
    step: Any, model: Model, dial: Dial, size: int, inputs: dict[str, Path], runtime: Runtime, seconds: float
) -> Dry | None:
    with tempfile.TemporaryDirectory() as folder:
        roles = {role: str(path) for role, path in inputs.items() if role in ("tokenizer", "continue_from")}
        if not roles:
            model.tokenizer.save_pretrained(folder)
            roles = {"tokenizer": folder}
        job = {
            "step": json.loads(json.dumps(step.dump())),
            "inputs": roles,
            "context": dial.context,
            "rows": size,
            "device": runtime.device,
        }
        return measure(job, seconds=seconds, threads=runtime.threads)


def _measured(need: Need, dry: Dry) -> Need:
    """Put what was measured in place of what was counted: all that is not weights, gradients or states is activations."""
    above = dry.peak - dry.base
    activations = max(0.0, above - need.weights - need.gradients - need.states)
    return replace(need, activations=activations, head=0.0, together=True, fixed=need.fixed - LIBRARIES + dry.base)


def _seconds(dry: Dry, plan: Plan, known: Known, notes: list[str]) -> float:
    """Return the seconds of a training: its steps, and the evaluations on the way."""
    times = (plan.steps // plan.eval_every if plan.eval_every else 0) + 1
    if known.used is None:
        notes.append("evaluations on the way are not in the time, since the held-out text is not known yet.")
    return dry.seconds * plan.steps + times * known.held_out * dry.eval_seconds
