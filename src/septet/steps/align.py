"""Makes a fine-tuned model prefer right answers, from preference pairs; direct preference optimisation (DPO).

The reference is the fine-tuned model itself: its weights are merged, a fresh adapter is attached, and the first loss is ln 2. The
result is an ordinary model folder with merged weights. It samples nothing while training and needs no reward model.

    septet align --model chat --pairs pairs --objective '{kind: dpo, beta: 0.1}'
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from septet.core.artifact import Artifact, Fact
from septet.core.component import ModelRef, PairsRef
from septet.core.errors import DataError
from septet.core.step import Step, Work
from septet.steps.finetune import read_some, save_adapted, steps_of
from septet.steps.pretrain import curve_rows
from septet.train.adapter import Adapter
from septet.train.objective import Objective
from septet.train.preference import PairObjective

if TYPE_CHECKING:
    from septet.nn.model import Model
    from septet.train.objective import Batch
    from septet.train.preference import Pair
    from septet.train.runtime import Settled

__all__ = ["Align"]

EVALUATED = 512
"""Held-out pairs that are evaluated."""


class Align(Step):
    """Make a model prefer the better of two answers."""

    produces: ClassVar[str] = "model"

    model: ModelRef
    """The fine-tuned model; it is also the reference."""
    pairs: PairsRef
    """Questions with a preferred and another answer."""
    objective: Objective = Field(default_factory=lambda: Objective.parse("dpo"))
    """The loss over pairs."""
    adapter: Adapter = Field(default_factory=lambda: Adapter.parse("lora"))
    """What learns: lora, full for every parameter, or another adapter that can be merged."""
    epochs: float = Field(default=1.0, gt=0)
    """How often each pair is seen; may be a fraction."""
    limit: int | None = Field(default=None, ge=1)
    """At most so many pairs; none: all."""
    learning_rate: float | None = Field(default=None, gt=0)
    """The peak, after a rise over a tenth of the steps; then it falls to zero. None: a fifth of fine-tuning's."""
    batch_size: int = Field(default=32, ge=1)
    """Pairs in one optimizer step."""
    max_tokens: int | None = Field(default=None, ge=2)
    """Longer questions with answers are cut at their end; none: the model's context."""
    seed: int = 0
    """Order of the pairs, and the adapter's first values."""

    @field_validator("adapter")
    @classmethod
    def _can_be_merged(cls, adapter: Adapter) -> Adapter:
        if not adapter.mergeable or not adapter.packs:
            raise ValueError(
                f"'{adapter.kind}' cannot be merged into weights, which an alignment needs; take lora or full."
            )
        return adapter

    @field_validator("objective")
    @classmethod
    def _learns_from_pairs(cls, objective: Objective) -> Objective:
        if not isinstance(objective, PairObjective):
            raise ValueError(f"'{objective.kind}' does not learn from pairs; align needs one that does, such as dpo.")
        return objective

    def run(self, work: Work, **inputs: Artifact) -> dict[str, Fact]:
        """Errors: DataError for a row that is no pair; ComponentError for an adapter without a place."""
        from septet.data.batches import Batches  # torch and transformers: 3 s
        from septet.infer.chat import prepare_for_chat
        from septet.nn.load import open_model
        from septet.train.loop import fit
        from septet.train.plan import Plan
        from septet.train.preference import prepare_pairs
        from septet.train.runtime import settle
        from septet.train.schedules.cosine import Cosine

        objective = self.objective
        assert isinstance(objective, PairObjective), "checked with the fields"
        settled = settle(work.runtime)
        model = open_model(inputs["model"].path, device=work.runtime.device)
        prepare_for_chat(model.module, model.tokenizer)
        _no_dropout(model)
        max_tokens = min(self.max_tokens or model.context, model.context)
        folder = inputs["pairs"].path
        parts = {}
        for part, limit in (("train", self.limit), ("held_out", EVALUATED)):
            path = folder / f"{part}.jsonl"
            parts[part] = prepare_pairs(read_some(path, limit), model.tokenizer, max_tokens=max_tokens, file=path)
        (train, prepared), (held_out, _) = parts["train"], parts["held_out"]
        if not train:
            raise DataError("it has no pairs, so there is nothing to learn from.", file=folder / "train.jsonl")
        if prepared.cut:
            work.log(f"{prepared.cut} answers are longer than {max_tokens} tokens with their question and were cut.")
        if not self.adapter.separable:
            # nothing will be left of the reference once training begins
            train, held_out = (_with_reference(model, objective, pairs, settled) for pairs in (train, held_out))
        rate = self.learning_rate or self.adapter.learning_rate(model) / 5
        model = self.adapter.attach(model, seed=self.seed)
        steps = steps_of(len(train), self.epochs, self.batch_size)
        plan = Plan(steps=steps, learning_rate=rate, schedule=Cosine(warmup=math.ceil(steps / 10)), seed=self.seed)
        learning = sum(p.numel() for p in model.trainable().values())
        work.log(
            f"{len(train)} pairs, {prepared.tokens} tokens, {steps} steps, learning rate {rate:.2g}; {learning:,} parameters learn."
        )
        result = fit(model, objective, Batches(train, self.batch_size, seed=self.seed), plan, work=work)
        judged = _judge(model, objective, held_out, settled)
        # what the loop watches beside the loss belongs to the curve of an alignment
        rows = [
            {**row, **{name: record["terms"][name] for name in ("accuracy", "margin") if name in record["terms"]}}
            for row, record in zip(curve_rows(result.curve), result.curve, strict=True)
        ]
        merged = save_adapted(self.adapter, model, work.out, rows=rows)
        return {
            **{f"train_{name}": value for name, value in prepared.facts().items()},
            "first_loss": result.curve[0]["loss"],
            "loss": result.curve[-1]["loss"],
            "first_loss_is_ln2": abs(result.curve[0]["loss"] - math.log(2)) < 1e-3,
            "held_out": judged,
            "steps": result.steps,
            "learning_rate": rate,
            "tokens_per_second": round(result.tokens_per_second, 1),
            "parameters": learning,
            **merged,
            **result.facts,
        }


def _no_dropout(model: Model) -> None:
    # dropout inside the model would make policy and reference differ by chance, and the first loss not ln 2
    from torch import nn

    for module in model.module.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0  # type: ignore[assignment]


def _batches(
    model: Model, objective: PairObjective, pairs: Sequence[Pair], settled: Settled, *, size: int = 32
) -> Iterator[tuple[Sequence[Pair], Batch]]:
    for start in range(0, len(pairs), size):
        some = pairs[start : start + size]
        yield some, objective.prepare(some, model.tokenizer, []).to(settled.device)


def _with_reference(model: Model, objective: PairObjective, pairs: Sequence[Pair], settled: Settled) -> list[Pair]:
    """Return the pairs with the log-probabilities of the model as it is now."""
    import torch

    from septet.train.preference import logps

    found: list[Pair] = []
    for some, batch in _batches(model, objective, pairs, settled):
        with torch.no_grad(), settled.autocast():
            values = logps(batch, model).tolist()
        found += [
            replace(pair, reference=(values[place], values[len(some) + place])) for place, pair in enumerate(some)
        ]
    return found


def _judge(model: Model, objective: PairObjective, pairs: Sequence[Pair], settled: Settled) -> dict[str, Any]:
    """Return by kind of pair, and for all: n; the share in which the preferred answer has the higher reward (accuracy) and by how
    much (margin); the share in which it is the likelier one for the model before and after."""
    import torch

    model.module.eval()
    rows: dict[str, list[tuple[float, ...]]] = {}
    for some, batch in _batches(model, objective, pairs, settled):
        with torch.no_grad(), settled.autocast():
            compared = objective.compare(batch, model)
            chosen_P, rejected_P = objective.rewards(compared)
        margins = (chosen_P - rejected_P).tolist()
        before = (compared.reference_chosen > compared.reference_rejected).tolist()
        after = (compared.chosen > compared.rejected).tolist()
        for pair, margin, was, now in zip(some, margins, before, after, strict=True):
            for kind in ("all", pair.kind or "unnamed"):
                rows.setdefault(kind, []).append((float(margin > 0), margin, float(was), float(now)))
    names = ("accuracy", "margin", "likelier_before", "likelier_after")
    found: dict[str, Any] = {}
    for kind, values in sorted(rows.items()):
        means = (round(sum(column) / len(column), 4) for column in zip(*values, strict=True))
        found[kind] = {"n": len(values), **dict(zip(names, means, strict=True))}
    return found
