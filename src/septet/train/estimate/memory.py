"""Memory of a training run, part by part, and what would make it fit.

Weights and gradients are float32, 4 bytes a parameter each; optimizer states as in `STATES`; activations are what the forward pass
keeps for the backward pass. A checkpoint is a copy of weights and states, and once more as the bytes that are written.

What it is not: an allocator's view; a few percent more are lost between the pieces.

    python -m pytest tests/train/test_estimate.py
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from septet.core.errors import ComponentError
from septet.core.quantities import size
from septet.data.tokenizers.training import available_memory
from septet.train.objective import Objective, generators
from septet.train.optimizers.muon import OUTER
from septet.train.plan import Plan

if TYPE_CHECKING:
    from septet.data.batches import Stream
    from septet.nn.model import Model
    from septet.train.runtime import Settled

__all__ = ["STATES", "Need", "available", "check_fits", "head_bytes", "state_bytes", "ways_to_fit"]

STATES: Mapping[str, tuple[float, float]] = {
    "adamw": (8, 8),  # two float32 averages; Loshchilov and Hutter 2019, arXiv:1711.05101
    "muon": (
        4,
        8,
    ),  # one float32 momentum for matrices, AdamW for the rest; Jordan 2024, kellerjordan.github.io/posts/muon
    "lion": (4, 4),  # one float32 momentum; Chen et al. 2023, arXiv:2302.06675, algorithm 2
    "adamw-8bit": (
        2 + 8 / 256,
        8,
    ),  # two bytes, and two float32 scales for 256 values; Dettmers et al. 2022, arXiv:2110.02861
    "adafactor": (
        0,
        4,
    ),  # a number for each row and column of a matrix; Shazeer and Stern 2018, arXiv:1804.04235, algorithm 4
}
"""Bytes of optimizer states for each parameter: (of matrices, of everything else)."""

_HEADROOM = 0.95
"""A run is suggested where it takes no more than this share of what there is."""


def state_bytes(parameters: Iterable[tuple[str, nn.Parameter]], kind: str) -> float:
    """Return the bytes of an optimizer's states for named parameters. An optimizer that is not in the table is taken for AdamW."""
    matrix, rest = STATES.get(kind, STATES["adamw"])
    total = 0.0
    for name, p in parameters:
        if not p.requires_grad:
            continue
        inner = p.ndim >= 2 and not (kind == "muon" and (name.endswith("bias") or any(part in name for part in OUTER)))
        if kind == "adafactor" and p.ndim >= 2:
            total += 4 * p.numel() * (1 / p.shape[-1] + 1 / p.shape[-2])
        elif kind == "adamw-8bit" and p.numel() < 4096:
            total += 8 * p.numel()
        else:
            total += (matrix if inner else rest) * p.numel()
    return total


def head_bytes(positions: float, vocabulary: int, width: int, chunk: int) -> float:
    """Return the bytes that the loss takes: float32 logits of a chunk twice, hidden states twice, the head's gradient."""
    return 8.0 * min(positions, chunk) * vocabulary + 8.0 * positions * width + 4.0 * vocabulary * width


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes by part. activations: of one micro-batch of `rows` rows of `context` tokens; layer: of one of its `depth` layers.

    fixed: libraries and text. copies: of a checkpoint. together: gradients are held while activations are made, as with several
    micro-batches; with one, gradients come as activations go.
    """

    weights: float
    gradients: float
    states: float
    activations: float
    head: float
    rows: int
    context: int
    depth: int
    width: int
    fixed: float = 0.0
    copies: float = 0.0
    together: bool = True

    @property
    def peak(self) -> float:
        """The most at one time; copies of a checkpoint come on top."""
        made = self.activations + self.head
        backward = self.gradients + made if self.together else max(self.gradients, made)
        return self.fixed + self.weights + self.states + backward + self.copies

    def with_rows(self, rows: int) -> Need:
        """Return the need of a micro-batch of so many rows."""
        share = rows / self.rows
        return replace(self, rows=rows, activations=self.activations * share, head=self.head * share, together=True)

    def recomputed(self) -> Need:
        """Return the need where each layer keeps only its input, and one layer's activations are made again at a time."""
        inputs = 4.0 * self.rows * self.context * self.width * self.depth
        return replace(self, activations=min(self.activations, inputs + self.activations / self.depth))

    def narrower(self, width: int) -> Need:
        """Return about the need of a model of another width: matrices with its square, all else with it."""
        share = width / self.width
        return replace(
            self,
            width=width,
            **{name: getattr(self, name) * share**2 for name in ("weights", "gradients", "states", "copies")},
            **{name: getattr(self, name) * share for name in ("activations", "head")},
        )


def available(device: torch.device) -> float | None:
    """Return the bytes that a process may still take on a device: the container's where that is less; None where unknown."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    return available_memory()


def ways_to_fit(
    need: Need, room: float, states: Mapping[str, float], kind: str, known: Iterable[str]
) -> tuple[str, ...]:
    """Return settings of `pretrain` under which the run fits into `room` bytes, each with what it would take then.

    states: bytes of every optimizer's states. kind: the optimizer that was asked for. known: the step's fields.
    """
    room, known = room * _HEADROOM, set(known)
    found: list[tuple[str, Need]] = []
    one = need.with_rows(1)
    per_row = one.activations + one.head
    rows = min(int((room - (one.peak - per_row)) / per_row), need.rows - 1) if per_row else 0
    if rows >= 1 and "micro_tokens" in known:
        found.append((f"micro_tokens: {rows * need.context}", need.with_rows(rows)))
    if "recompute" in known:
        found.append(("recompute: true", need.recomputed()))
    for other, least in sorted(states.items(), key=lambda item: -item[1]):
        if least < need.states and other != kind:
            found.append((f"optimizer: {other}", replace(need, states=least, copies=_copies(need, least))))
    for width in range(need.width - need.width % 64, 0, -64):
        if width < need.width and need.narrower(width).peak <= room:
            found.append((f"width: {width}", need.narrower(width)))
            break
    fitting = [f"{text} ({size(changed.peak)})" for text, changed in found if changed.peak <= room]
    if len(fitting) < 2 and {"recompute", "micro_tokens"} <= known:
        least = min(states, key=lambda other: states[other])
        both = replace(one.recomputed(), states=states[least], copies=_copies(need, states[least]))
        if both.peak <= room:
            text = f"micro_tokens: {need.context}, recompute: true and optimizer: {least} together"
            fitting.append(f"{text} ({size(both.peak)})")
    return tuple(fitting)


def _copies(need: Need, states: float) -> float:
    before = need.weights + need.states
    return need.copies * (need.weights + states) / before if before else 0.0


def check_fits(
    fields: Iterable[str], model: Model, objective: Objective, batches: Stream, plan: Plan, settled: Settled
) -> Need:
    """Refuse a run that will not fit in memory: one row is run forward, and what it keeps is counted.

    fields: the names of the step's fields, for the suggestions. Errors: ComponentError with settings that would fit.
    """
    from septet.nn.cross_entropy import CHUNK
    from septet.train.estimate.counts import saved_bytes

    place = batches.state()
    rows = list(batches.next())
    batches.restore(place)
    batch = objective.prepare(rows[:1], model.tokenizer, generators(1, 0)).to(settled.device)
    with settled.autocast():
        kept = saved_bytes(model, batch.inputs)
    labels = 0 if batch.labels is None else int((batch.labels != -100).sum())
    config = model.config
    parameters = list(model.module.named_parameters())
    learned = sum(p.numel() for _, p in parameters if p.requires_grad)
    count = plan.micro_rows or len(rows)
    context = int(batch.inputs["input_ids"].shape[1])
    vocabulary, width = int(config.vocab_size), int(config.hidden_size)
    need = Need(
        weights=0.0,  # they are in memory already
        gradients=4.0 * learned,
        states=state_bytes(parameters, plan.optimizer.kind),
        activations=float(kept * count),
        head=head_bytes(labels * count, vocabulary, width, CHUNK),
        rows=count,
        context=context,
        depth=int(config.num_hidden_layers),
        width=width,
        together=count < len(rows),
    )
    if plan.recompute:
        need = need.recomputed()
    room = available(settled.device)
    if room is not None and need.peak > room:
        states = {kind: state_bytes(parameters, kind) for kind in STATES}
        raise ComponentError(refusal(need, room, ways_to_fit(need, room, states, plan.optimizer.kind, fields)))
    return need


def refusal(need: Need, room: float, ways: Iterable[str]) -> str:
    """Return the message about a run that does not fit."""
    text = (
        f"This training needs about {size(need.peak)} of memory ({size(need.gradients)} for gradients, {size(need.states)} for "
        f"optimizer states, {size(need.activations + need.head)} for the activations of {need.rows:,} rows of {need.context:,} "
        f"tokens), and {size(room)} are free."
    )
    ways = list(ways)
    if not ways:
        return f"{text} No single setting makes it fit; take a smaller model (depth), or a machine with more memory."
    return "\n".join([text, "What would fit:", *(f"  {way}" for way in ways)])


def parts_of(need: Need) -> dict[str, Any]:
    """Return the parts in bytes, for people and for JSON."""
    parts = {
        "weights": need.weights,
        "gradients": need.gradients,
        "optimizer states": need.states,
        "activations": need.activations + need.head,
        "checkpoint copies": need.copies,
        "libraries and text": need.fixed,
    }
    return {name: taken for name, taken in parts.items() if taken}
