"""One training loop for every objective: window, loss, step, evaluation, checkpoint.

    fit(model, objective, batches, plan, frozen={"reference": ref}, work=work, held_out=rows) -> Fit

A window is the batch of one optimizer step, split into micro-batches that are run one after the other. Each term of the loss is
divided by its weight over the whole window, so splitting changes nothing. Weights and optimizer states are float32; the forward
pass is autocast to bfloat16 where the device has it. A run that was stopped or killed goes on from `work.state` and ends with the
same bits as one that was not (same machine, threads and versions).

What it is not: a class to inherit from. What differs between methods is the objective, the batches and the frozen helpers.

    python -m pytest tests/train/test_loop.py tests/invariant
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from septet.core.artifact import make_id
from septet.core.errors import SeptetError, Stopped
from septet.core.step import Work
from septet.data.batches import Stream
from septet.nn.model import Model
from septet.train import optim
from septet.train.checkpoint import Checkpoint
from septet.train.objective import Batch, Objective, State, generators
from septet.train.plan import Plan
from septet.train.runtime import Settled, random_state, restore_random, seed_all, settle

__all__ = ["DivergedError", "Fit", "evaluate", "fit"]

CHECKPOINT_SECONDS = 15.0


class DivergedError(SeptetError):
    """The loss or its gradient is not a finite number."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What a run did. curve: one record a step, without clock times, equal for equal runs. held_out: the last evaluation.

    losses: mean of the last step's terms. tokens: positions trained on. seconds: training time of this process only.
    """

    steps: int
    tokens: int
    losses: dict[str, float]
    held_out: dict[str, float]
    curve: list[dict[str, Any]]
    seconds: float
    tokens_per_second: float
    resumed_at: int | None
    facts: dict[str, Any] = field(default_factory=dict)


def fit(
    model: Model,
    objective: Objective,
    batches: Stream,
    plan: Plan,
    *,
    frozen: Mapping[str, Model] | None = None,
    work: Work,
    held_out: Sequence[Any] = (),
) -> Fit:
    """Train the parameters of `model` that require a gradient, in place.

    batches: `next()` gives the rows of one optimizer step. frozen: the models that `objective.needs` names. held_out: rows for
    evaluation while training. Raises DivergedError at a non-finite loss, Stopped after saving when the user asked to stop.
    """
    frozen = dict(frozen or {})
    assert set(frozen) == set(objective.needs), f"{objective.kind} needs {set(objective.needs)}, got {set(frozen)}"
    run = _Run(model, objective, batches, plan, frozen, work, held_out)
    return run.go()


def evaluate(
    model: Model,
    objective: Objective,
    rows: Sequence[Any],
    *,
    settled: Settled,
    rows_at_once: int = 16,
    state: State | None = None,
    frozen: Mapping[str, Model] | None = None,
) -> dict[str, float]:
    """Return the mean of each term over rows, without gradient and without touching any random generator in use."""
    was_training = model.module.training
    model.module.eval()
    # draws of `prepare` are the same at every evaluation, so that two differ only by the model
    rngs = generators(len(rows), 0)
    sums: dict[str, float] = {}
    weights: dict[str, float] = {}
    with torch.no_grad():
        for start in range(0, len(rows), rows_at_once):
            batch = objective.prepare(
                rows[start : start + rows_at_once], model.tokenizer, rngs[start : start + rows_at_once]
            ).to(settled.device)
            with settled.autocast():
                terms = objective.loss(batch, model, state or {}, **dict(frozen or {}))
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + float(term.sum)
                weights[name] = weights.get(name, 0.0) + term.weight
    model.module.train(was_training)
    return {name: sums[name] / weights[name] for name in sums if weights[name]}


class _Run:
    """The moving parts of one call of `fit`."""

    def __init__(
        self,
        model: Model,
        objective: Objective,
        batches: Stream,
        plan: Plan,
        frozen: dict[str, Model],
        work: Work,
        held_out: Sequence[Any],
    ) -> None:
        self.model, self.objective, self.batches, self.plan = model, objective, batches, plan
        self.frozen, self.work, self.held_out = frozen, work, held_out
        self.settled = settle(work.runtime, precision=plan.precision)
        self.model.module.to(self.settled.device)
        self.parameters = model.trainable()
        assert self.parameters, "nothing in this model requires a gradient"
        self.path = work.state / "fit.safetensors"
        self.step = self.tokens = 0
        self.curve: list[dict[str, Any]] = []
        self.resumed_at: int | None = None
        self.checkpoint_every = plan.checkpoint_every
        self.saved_at = -1

    # -- the loop ---------------------------------------------------------------------------------------------------

    def go(self) -> Fit:
        plan, model = self.plan, self.model
        seed_all(plan.seed)
        self.state = self.objective.start(model)
        self.optimizer = optim.make(self.parameters, plan)
        self._resume()
        if plan.compile:
            model.compile()
        model.module.train()
        began, tokens_before = time.perf_counter(), self.tokens
        first = self.step
        timed_from = (began, self.step, self.tokens)
        while self.step < plan.steps:
            record = self._one_step()
            self.step += 1
            last = self.step == plan.steps
            if len(self.held_out) and (last or (plan.eval_every and self.step % plan.eval_every == 0)):
                record["held_out"] = self._evaluate()
            self.curve.append(record)
            if self.step - first == 2:
                # the first steps also pay for warm-up of caches, so the clock for the speed starts after them
                timed_from = (time.perf_counter(), self.step, self.tokens)
            now = time.perf_counter()
            seconds = now - timed_from[0]
            per_step = seconds / max(1, self.step - timed_from[1])
            if self.checkpoint_every is None and self.step - timed_from[1] >= 3:
                self.checkpoint_every = max(1, round(CHECKPOINT_SECONDS / max(per_step, 1e-3)))
            if last or (self.checkpoint_every and self.step % self.checkpoint_every == 0):
                self._save()
            metrics = {"loss": record["loss"]}
            metrics |= {f"held_out_{name}": value for name, value in record.get("held_out", {}).items()}
            if self.step > timed_from[1]:
                metrics["tokens_per_second"] = (self.tokens - timed_from[2]) / max(seconds, 1e-9)
            try:
                self.work.progress(self.step, plan.steps, "steps", **metrics)
            except Stopped:
                self._save()
                raise
        seconds = time.perf_counter() - began
        model.module.eval()
        held_out = next((record["held_out"] for record in reversed(self.curve) if "held_out" in record), {})
        return Fit(
            steps=self.step,
            tokens=self.tokens,
            losses=dict(self.curve[-1]["terms"]) if self.curve else {},
            held_out=dict(held_out),
            curve=self.curve,
            seconds=seconds,
            tokens_per_second=(self.tokens - tokens_before) / max(seconds, 1e-9),
            resumed_at=self.resumed_at,
            facts={
                "device": self.settled.device.type,
                "threads": self.settled.threads,
                "precision": str(self.settled.dtype).removeprefix("torch."),
                "optimizer": plan.optimizer,
            },
        )

    def _one_step(self) -> dict[str, Any]:
        plan, objective = self.plan, self.objective
        window = self._window()
        totals: dict[str, float] = {}
        for batch in window:
            for name, weight in batch.weights.items():
                totals[name] = totals.get(name, 0.0) + weight
        sums: dict[str, float] = {}
        watched: dict[str, float] = {}
        for batch in window:
            with self.settled.autocast():
                terms = objective.loss(batch.to(self.settled.device), self.model, self.state, **self.frozen)
            minimised = [
                term.sum / totals[name] for name, term in terms.items() if term.minimised and totals.get(name, 0.0) > 0
            ]
            if minimised:
                torch.stack([term.float() for term in minimised]).sum().backward()
            for name, term in terms.items():
                if not term.minimised:
                    watched[name] = watched.get(name, 0.0) + term.weight
                sums[name] = sums.get(name, 0.0) + float(term.sum.detach())
        means = {name: sums[name] / weight for name, weight in {**totals, **watched}.items() if weight and name in sums}
        loss = sum(means[name] for name in means if name not in watched)
        parameters = list(self.parameters.values())
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, plan.clip if plan.clip > 0 else math.inf))
        self._must_be_finite(loss, norm)
        rate = plan.rate(self.step)
        optim.set_rate(self.optimizer, rate)
        for part in self.optimizer:
            part.step()
            part.zero_grad(set_to_none=True)
        tokens = sum(batch.tokens for batch in window)
        self.tokens += tokens
        return {
            "step": self.step + 1,
            "tokens": self.tokens,
            "loss": loss,
            "terms": means,
            "learning_rate": rate,
            "grad_norm": norm,
        }

    def _window(self) -> list[Batch]:
        rows = self.batches.next()
        rngs = generators(len(rows), self.plan.seed, self.step)
        size = self.plan.micro_rows or len(rows)
        if self.objective.couples:
            size = len(rows)
        return [
            self.objective.prepare(rows[start : start + size], self.model.tokenizer, rngs[start : start + size])
            for start in range(0, len(rows), size)
        ]

    def _must_be_finite(self, loss: float, norm: float) -> None:
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise DivergedError(
                f"At step {self.step + 1} the loss is {loss} and its gradient's norm {norm}: the training has diverged. "
                f"Lower the learning rate (it was {self.plan.rate(self.step):.3g}) or raise the warm-up; "
                "then run again."
            )

    def _evaluate(self) -> dict[str, float]:
        return evaluate(
            self.model,
            self.objective,
            self.held_out,
            settled=self.settled,
            rows_at_once=self.plan.eval_rows,
            state=self.state,
            frozen=self.frozen,
        )

    # -- keeping ----------------------------------------------------------------------------------------------------

    def _identity(self) -> str:
        """Say what run this is: a checkpoint of another one is of no use."""
        shapes = {name: list(p.shape) for name, p in self.parameters.items()}
        plan = {name: value for name, value in self.plan.facts().items() if name != "checkpoint_every"}
        # threads and versions change the bits; so does the computing type
        world = [str(torch.__version__), self.settled.threads, self.settled.device.type, str(self.settled.dtype)]
        return make_id({"objective": self.objective.dump(), "plan": plan, "shapes": shapes, "world": world})

    def _save(self) -> None:
        if self.saved_at == self.step:
            return
        kept = Checkpoint()
        kept.put("weights", {name: p.detach() for name, p in self.parameters.items()})
        kept.put("optimizer", *optim.state_of(self.optimizer))
        tensors = {name: value for name, value in self.state.items() if isinstance(value, torch.Tensor)}
        kept.put("objective", tensors, {name: value for name, value in self.state.items() if name not in tensors})
        kept.put("random", *random_state())
        kept.values["run"] = {
            "identity": self._identity(),
            "step": self.step,
            "tokens": self.tokens,
            "batches": self.batches.state(),
            "curve": self.curve,
            "checkpoint_every": self.checkpoint_every,
        }
        kept.write(self.path)
        self.saved_at = self.step

    def _resume(self) -> None:
        kept = Checkpoint.read(self.path)
        if kept is None:
            return
        run = kept.values["run"]
        if run["identity"] != self._identity():
            self.work.log(
                "The checkpoint was made with other settings, threads or versions; starting again from the beginning."
            )
            return
        with torch.no_grad():
            for name, tensor in kept.take("weights")[0].items():
                self.parameters[name].copy_(tensor)
        optim.load_state(self.optimizer, *kept.take("optimizer"))
        tensors, values = kept.take("objective")
        self.state.update({**values, **{name: tensor.to(self.settled.device) for name, tensor in tensors.items()}})
        self.batches.restore(run["batches"])
        restore_random(*kept.take("random"))
        self.step, self.tokens, self.curve = run["step"], run["tokens"], run["curve"]
        self.checkpoint_every = self.plan.checkpoint_every or run["checkpoint_every"]
        self.resumed_at = self.saved_at = self.step
        self.work.log(f"Going on from the checkpoint at step {self.step} of {self.plan.steps}.")
