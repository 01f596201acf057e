"""One training loop for every objective: window, loss, step, evaluation, checkpoint.

    fit(model, objective, batches, plan, frozen={"reference": ref}, work=work, held_out=rows) -> Fit

A window is the batch of one optimizer step, split into micro-batches that are run one after the other. Each term of the loss is
divided by its weight over the whole window, so splitting changes nothing. Weights and optimizer states are float32; the forward
pass is autocast to bfloat16 where the device has it. A run that was stopped or killed goes on from `work.state` and ends with the
same bits as one that was not (same machine and versions; it takes as many threads as before); elsewhere it says what differs.

A step whose loss or gradient is no number, or whose loss jumps (`plan.spike`), is not learned from; after several in a row the run
goes back to its last anchor, a checkpoint at a fixed step, and on with other data (docs/design/loop.md).

Several processes may run the same loop, each with its share of the rows and a shard of the weights (`work.runtime.ranks`). All of
them decide alike: by figures that were summed over all, or by what rank 0 says (docs/design/ranks.md).

What it is not: a class to inherit from. What differs between methods is the objective, the batches and the frozen helpers.

    python -m pytest tests/train/test_loop.py tests/invariant
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from septet.core.artifact import make_id
from septet.core.errors import ComponentError, SeptetError, Stopped
from septet.core.step import Work
from septet.data.batches import Stream
from septet.nn.kernels.build import absent
from septet.nn.memory import give_back
from septet.nn.model import Model
from septet.train import optim
from septet.train.checkpoint import Checkpoint, Keeper
from septet.train.evaluation import batches_of, evaluate, terms_of
from septet.train.objective import Batch, Objective, generators
from septet.train.plan import Plan
from septet.train.ranks import collect, shard, split, whole
from septet.train.runtime import random_state, restore_random, seed_all, settle

__all__ = ["DivergedError", "Fit", "fit"]

_TOKENS = " tokens"
"""Beside the names of terms, which have no blanks."""
REMEMBERED, ENOUGH = 128, 32
"""Losses that a spike is measured against, and how many of them it takes before anything is one."""
MOST_REWINDS = 3
GUARD = ("recent", "in_a_row", "overflows", "rewinds")
TOO_SHORT = 30.0
"""Seconds of a whole training that compiling cannot shorten by what it takes itself."""
OVERFLOWS = 50
"""So many steps in a row may overflow in float16 while the scale of the loss is sought."""


class DivergedError(SeptetError):
    """The loss or its gradient is not a finite number."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What a run did. curve: one record a step, without clock times, equal for equal runs. held_out: the last evaluation,
    or with plan.stop_after that of the weights that were kept.

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
    evaluation while training. Raises DivergedError where the loss stays no number, Stopped (after saving) when the user asked.
    """
    frozen = dict(frozen or {})
    assert set(frozen) == set(objective.needs), f"{objective.kind} needs {set(objective.needs)}, got {set(frozen)}"
    run = _Run(model, objective, batches, plan, frozen, work, held_out)
    return run.go()


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
        self.ranks = self.settled.ranks
        self._can_share()
        if self.settled.device.type == "cpu" and (told := absent()):
            work.log(told)
        self.model.module.to(self.settled.device)
        shard(model, self.ranks)
        self.parameters = model.trainable()
        assert self.parameters, "nothing in this model requires a gradient"
        self.keeper = Keeper(work.state, keep=plan.keep, tell=work.log)
        self.step = self.tokens = 0
        self.curve: list[dict[str, Any]] = []
        self.resumed_at: int | None = None
        self.checkpoint_every = plan.checkpoint_every
        self.saved_at = -1
        # what the guard knows: losses that were learned from, steps in a row that were not, how often it went back
        self.recent: list[float] = []
        self.in_a_row = self.overflows = self.rewinds = 0
        self.average: dict[str, Tensor] = {}
        self.best: dict[str, Tensor] = {}
        self.best_loss, self.best_step, self.not_better = math.inf, 0, 0
        self.compiled: bool | None = None
        self.watched: set[str] = set()

    def _can_share(self) -> None:
        """Raise ComponentError for what several ranks cannot do."""
        if self.ranks.size == 1:
            return
        if not self.plan.optimizer.shards:
            raise ComponentError(
                f"optimizer: '{self.plan.optimizer.kind}' needs whole matrices, and with {self.ranks.size} ranks each has a part. "
                "Use adamw, muon or lion, or one rank."
            )
        if self.objective.couples:
            raise ComponentError(
                f"objective: '{self.objective.kind}' compares the rows of a batch with each other, and {self.ranks.size} ranks "
                "would each see a part of them. Use one rank."
            )

    # -- the loop ---------------------------------------------------------------------------------------------------

    def go(self) -> Fit:
        plan, model = self.plan, self.model
        seed_all(plan.seed)
        self.state = self.objective.start(model)
        self._draw_apart()
        self.optimizer = plan.optimizer.make(self.parameters, weight_decay=plan.weight_decay)
        self.scaler = torch.amp.GradScaler(self.settled.device.type, enabled=self.settled.dtype == torch.float16)  # type: ignore[attr-defined]
        if plan.average is not None:
            self.average = {name: p.detach().clone() for name, p in self.parameters.items()}
        if plan.recompute:
            self.model.recompute()
        self._resume()
        model.module.train()
        self._compile()
        began, tokens_before = time.perf_counter(), self.tokens
        first = self.step
        timed_from = (began, self.step, self.tokens)
        while self.step < plan.steps and not self._no_better():
            if self.in_a_row >= plan.patience:
                self._rewind()
            record = self._one_step()
            self.step += 1
            last = self.step == plan.steps
            if len(self.held_out) and (last or (plan.eval_every and self.step % plan.eval_every == 0)):
                if not plan.eval_every:
                    model.uncompile()  # for one evaluation, without gradients, compiling anew does not pay
                record["held_out"] = self._evaluate()
                last |= self._no_better()
            self.curve.append(record)
            if self.step - first == 2:
                # the first steps also pay for warm-up of caches, so the clock for the speed starts after them
                timed_from = (time.perf_counter(), self.step, self.tokens)
            seconds = time.perf_counter() - timed_from[0]
            per_step = seconds / max(1, self.step - timed_from[1])
            if self.checkpoint_every is None and self.step - timed_from[1] >= 3:
                every = max(1, round(plan.checkpoint_seconds / max(per_step, 1e-3)))
                self.checkpoint_every = self.ranks.agree(every)
            anchored = self.step % self._anchor_every() == 0
            if anchored or (self.checkpoint_every and self.step % self.checkpoint_every == 0 and not last):
                self._save(anchor=anchored)
            self._tell(record, seconds, timed_from)
        if self.in_a_row >= plan.patience or (self.in_a_row and not self.recent):
            raise self._diverged()
        self._finish()
        give_back()
        seconds = time.perf_counter() - began
        return self._report(seconds, (self.tokens - tokens_before) / max(seconds, 1e-9))

    def _one_step(self) -> dict[str, Any]:
        """Learn from one window; return its record of the curve."""
        window = self._window()
        totals: dict[str, float] = {}
        for batch in window:
            for name, weight in batch.weights.items():
                totals[name] = totals.get(name, 0.0) + weight
        # over all ranks, before any of them divides by it
        totals = self.ranks.sum({**totals, _TOKENS: float(sum(batch.tokens for batch in window))})
        tokens = int(totals.pop(_TOKENS))
        sums, watched = self._backward(window, totals)
        norm = self._clip()
        # the only time in a step that the host waits for the device
        values = torch.stack([norm.float(), *(sums[name].float() for name in sums)]).tolist()
        norm, sums = values[0], self.ranks.sum(dict(zip(sums, values[1:], strict=True)))
        watched = self.ranks.sum(watched)
        means = {name: sums[name] / weight for name, weight in {**totals, **watched}.items() if weight and name in sums}
        loss = sum(means[name] for name in means if name not in watched)
        self.watched |= set(watched)
        rate = self.plan.rate(self.step)
        skipped = self._judge(loss, norm)
        self._take_step(rate, learn=skipped is None)
        self.tokens += tokens
        record: dict[str, Any] = {
            "step": self.step + 1,
            "tokens": self.tokens,
            "loss": loss,
            "terms": means,
            "learning_rate": rate,
            "grad_norm": norm,
        }
        return record if skipped is None else {**record, "skipped": skipped}

    def _window(self) -> list[Batch]:
        rows = self.batches.next()
        rngs = generators(len(rows), self.plan.seed, self.step)
        size = self.plan.micro_rows or len(rows)
        if self.objective.couples:
            size = len(rows)
        return batches_of(rows, self.objective, self.model, rngs, size, self.ranks)

    def _backward(
        self, window: Sequence[Batch], totals: Mapping[str, float]
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Add the gradient of the window's loss to the parameters; return the sums of the terms, and weights of those watched."""
        sums: dict[str, Tensor] = {}
        watched: dict[str, float] = {}
        for batch in window:
            terms = terms_of(self.objective, batch, self.model, self.state, self.frozen, self.settled)
            share = float(batch.counts)
            minimised = [
                term.sum * share / totals[name]
                for name, term in terms.items()
                if term.minimised and totals.get(name, 0.0) > 0
            ]
            if minimised:
                self.scaler.scale(torch.stack([term.float() for term in minimised]).sum()).backward()
            for name, term in terms.items():
                if not term.minimised:
                    watched[name] = watched.get(name, 0.0) + term.weight * share
                value = term.sum.detach() * share
                sums[name] = sums[name] + value if name in sums else value
        return sums, watched

    def _clip(self) -> Tensor:
        """Bring the gradient's norm down to the plan's; return what it was."""
        for part in self.optimizer:
            self.scaler.unscale_(part)
        limit = self.plan.clip if self.plan.clip > 0 else math.inf
        parameters = list(self.parameters.values())
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        # a norm that is small enough leaves the gradients as they are; only a processor knows it without waiting
        if norm.device.type != "cpu" or self.ranks.size > 1 or not limit / (float(norm) + 1e-6) >= 1:
            torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)
        return whole(norm)

    def _take_step(self, rate: float, *, learn: bool) -> None:
        optim.set_rate(self.optimizer, rate)
        for part in self.optimizer:
            if learn:
                self.scaler.step(part)
            part.zero_grad(set_to_none=True)
        self.scaler.update()
        if learn and self.average:
            assert self.plan.average is not None
            # at the beginning the average follows closely, or it would be made of the first weights for long
            decay = min(self.plan.average, (self.step + 1) / (self.step + 10))
            for name, value in self.average.items():
                value.lerp_(self.parameters[name].detach(), 1 - decay)

    # -- the guard --------------------------------------------------------------------------------------------------

    def _judge(self, loss: float, norm: float) -> str | None:
        """Return why a step is not learned from, or None."""
        reason = None
        if math.isfinite(loss) and not math.isfinite(norm) and self.scaler.is_enabled():
            reason = "overflow"
        elif not (math.isfinite(loss) and math.isfinite(norm)):
            reason = "non-finite"
        elif self.plan.spike is not None and len(self.recent) >= ENOUGH:
            known = torch.tensor(self.recent, dtype=torch.float64)
            if loss > float(known.mean() + self.plan.spike * known.std()):
                reason = "spike"
        if reason is None:
            self.recent = [*self.recent[1 - REMEMBERED :], loss]
            self.in_a_row = self.overflows = 0
        elif reason == "overflow":
            self.overflows += 1
            if self.overflows > OVERFLOWS:
                raise self._diverged(loss, norm)
        else:
            self.in_a_row += 1
            self.work.log(
                f"Step {self.step + 1} is not learned from: {reason} (loss {loss:.4g}, norm of the gradient {norm:.4g})."
            )
        return reason

    def _anchor_every(self) -> int:
        return max(100, self.plan.steps // 20)

    def _rewind(self) -> None:
        """Go back to the last anchor, and on with the data that come now."""
        self.keeper.wait()
        self.ranks.barrier()  # rank 0 has written it now
        anchor = Checkpoint.read(self.keeper.anchor)
        if anchor is None or self.rewinds >= MOST_REWINDS:
            raise self._diverged()
        place, left, rewinds = self.batches.state(), self.step, self.rewinds + 1
        self._restore(anchor)
        self.batches.restore(place)
        self.rewinds, self.in_a_row = rewinds, 0
        self.saved_at = -1
        self.work.log(f"Going back from step {left} to step {self.step}, and on with the data that follow.")
        self._save()

    def _diverged(self, loss: float | None = None, norm: float | None = None) -> DivergedError:
        loss = self.curve[-1]["loss"] if loss is None else loss
        norm = self.curve[-1]["grad_norm"] if norm is None else norm
        after = f", after going back {self.rewinds} times" if self.rewinds else ""
        return DivergedError(
            f"At step {max(1, self.step)} the loss is {loss} and its gradient's norm {norm}: the training has diverged; "
            f"{max(self.in_a_row, self.overflows)} steps in a row were not learned from{after}. Lower the learning rate (it was "
            f"{self.plan.rate(max(0, self.step - 1)):.3g}) or raise the warm-up; then run again."
        )

    def _no_better(self) -> bool:
        return self.plan.stop_after is not None and self.not_better >= self.plan.stop_after

    # -- compiling --------------------------------------------------------------------------------------------------

    def _compile(self) -> None:
        if self.ranks.size > 1 and self.plan.compile:
            self.work.log("Not compiled: layers that are gathered from several ranks are not.")
            self.compiled = False
        elif self.plan.compile and not self.objective.compiles:
            self.work.log(f"Not compiled: '{self.objective.kind}' learns a head, and only models without one are.")
            self.compiled = False
        if self.compiled is None:
            self.compiled = self._compiling_pays() if self.plan.compile == "auto" else bool(self.plan.compile)
        if self.compiled:
            self.model.compile(ragged=self.objective.ragged)

    def _compiling_pays(self) -> bool:
        """Try one window both ways, and put everything back: True where the compiled run, compilation included, is done first."""
        place, kept = self.batches.state(), random_state()
        window = self._window()
        self.batches.restore(place)

        def seconds() -> float:
            start = time.perf_counter()
            totals = {name: sum(b.weights.get(name, 0.0) for b in window) for name in window[0].weights}
            sums, _ = self._backward(window, totals)
            float(sum(sums.values()))  # type: ignore[arg-type] -- waits for the device
            return time.perf_counter() - start

        try:
            seconds()
            plain = min(seconds() for _ in range(3))
            if plain * (self.plan.steps - self.step) < TOO_SHORT:
                self.work.log(f"A step takes {plain:.3g} s: the whole training is too short for compiling to pay.")
                return False
            self.model.compile(ragged=self.objective.ragged)
            first = seconds()
            fast = min(seconds() for _ in range(3))
            saved = (plain - fast) * (self.plan.steps - self.step)
            pays = saved > first
            self.work.log(
                f"A step takes {plain:.3g} s, compiled {fast:.3g} s; compiling takes {first:.3g} s and would save "
                f"{max(saved, 0):.3g} s: {'compiled' if pays else 'not compiled'}."
            )
        except Exception as error:  # whatever a compiler or its absence raises, training goes on without
            self.work.log(f"torch.compile failed ({str(error).splitlines()[0][:120]}); going on without.")
            pays = False
        finally:
            for p in self.parameters.values():
                p.grad = None
            restore_random(*kept)
            self.model.uncompile()
        return pays

    # -- telling ----------------------------------------------------------------------------------------------------

    def _tell(self, record: dict[str, Any], seconds: float, timed_from: tuple[float, int, int]) -> None:
        metrics = {"loss": record["loss"]}
        metrics |= {f"held_out_{name}": value for name, value in record.get("held_out", {}).items()}
        metrics |= {"learning_rate": record["learning_rate"], "grad_norm": record["grad_norm"]}
        if self.step > timed_from[1]:
            metrics["tokens_per_second"] = (self.tokens - timed_from[2]) / max(seconds, 1e-9)
        try:
            self.work.progress(self.step, self.plan.steps, "steps", **metrics)
        except Stopped:
            self._save(now=True)
            raise

    def _finish(self) -> None:
        """Put the weights in place that are kept: the best, the averaged, or the last; and save."""
        self._save(now=True)
        kept = self.best or self.average
        with torch.no_grad():
            for name, value in kept.items():
                self.parameters[name].copy_(value)
        self.model.module.eval()

    def _report(self, seconds: float, speed: float) -> Fit:
        evaluated = [record for record in self.curve if "held_out" in record]
        kept = next((record for record in evaluated if record["step"] == self.best_step), None)
        held_out = kept["held_out"] if kept else evaluated[-1]["held_out"] if evaluated else {}
        skipped: dict[str, int] = {}
        for record in self.curve:
            if "skipped" in record:
                skipped[record["skipped"]] = skipped.get(record["skipped"], 0) + 1
        return Fit(
            steps=self.step,
            tokens=self.tokens,
            losses=dict(self.curve[-1]["terms"]) if self.curve else {},
            held_out=dict(held_out),
            curve=self.curve,
            seconds=seconds,
            tokens_per_second=speed,
            resumed_at=self.resumed_at,
            facts={
                "device": self.settled.device.type,
                "threads": self.settled.threads,
                "precision": str(self.settled.dtype).removeprefix("torch."),
                "optimizer": self.plan.optimizer.kind,
                **({"ranks": self.ranks.size} if self.ranks.size > 1 else {}),
                **({"compiled": True} if self.compiled else {}),
                **({"skipped_steps": skipped} if skipped else {}),
                **({"rewinds": self.rewinds} if self.rewinds else {}),
                **({"kept_step": kept["step"]} if kept else {}),
                **({"stopped_early": True} if self.step < self.plan.steps else {}),
            },
        )

    def _evaluate(self) -> dict[str, float]:
        with self._averaged():
            found = evaluate(
                self.model,
                self.objective,
                self.held_out,
                settled=self.settled,
                rows_at_once=self.plan.eval_rows,
                state=self.state,
                frozen=self.frozen,
            )
        if self.plan.stop_after is not None:
            loss = sum(value for name, value in found.items() if name not in self.watched)
            if loss < self.best_loss - self.plan.min_delta:
                self.best_loss, self.best_step, self.not_better = loss, self.step, 0
                source = self.average or self.parameters
                self.best = {name: value.detach().clone() for name, value in source.items()}
            else:
                self.not_better += 1
        return found

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Within, the model has its averaged weights."""
        mine = {name: self.parameters[name].detach().clone() for name in self.average}
        with torch.no_grad():
            for name, value in self.average.items():
                self.parameters[name].copy_(value)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, value in mine.items():
                    self.parameters[name].copy_(value)

    # -- keeping ----------------------------------------------------------------------------------------------------

    def _identity(self) -> str:
        """Say what run this is: a checkpoint of another one is of no use."""
        shapes = {name: list(p.shape) for name, p in self.parameters.items()}
        return make_id({"objective": self.objective.dump(), "plan": self.plan.facts(), "shapes": shapes})

    def _world(self) -> str:
        """Say what changes the last bits of a result beside threads and ranks."""
        dtype = str(self.settled.dtype).removeprefix("torch.")
        return f"torch {torch.__version__} on {self.settled.device.type} in {dtype}"

    def _save(self, *, anchor: bool = False, now: bool = False) -> None:
        if self.saved_at == self.step and (not now or self.ranks.agree(self.keeper.wait())):
            return
        kept = Checkpoint(holds=self.ranks.is_first, copies=not now)
        kept.put("weights", {name: p.detach() for name, p in self.parameters.items()})
        kept.put("average", self.average)
        kept.put("best", self.best)
        kept.put("optimizer", *optim.state_of(self.optimizer))
        tensors = {name: value for name, value in self.state.items() if isinstance(value, Tensor)}
        kept.put("objective", tensors, {name: value for name, value in self.state.items() if name not in tensors})
        kept.put("random", *random_state())
        if self.ranks.size > 1:
            states = {name: collect(state, self.ranks) for name, state in random_state()[0].items()}
            kept.put("ranks", {f"{rank}.{name}": own for name, all in states.items() for rank, own in enumerate(all)})
        kept.values["run"] = {
            "identity": self._identity(),
            "world": self._world(),
            "threads": self.settled.threads,
            "ranks": self.ranks.size,
            "step": self.step,
            "tokens": self.tokens,
            "batches": self.batches.state(),
            "curve": list(self.curve),
            "checkpoint_every": self.checkpoint_every,
            "scaler": self.scaler.state_dict(),
            "compiled": self.compiled,
            "guard": {name: getattr(self, name) for name in GUARD},
            "best": {
                "loss": self.best_loss,
                "step": self.best_step,
                "not_better": self.not_better,
                "watched": sorted(self.watched),
            },
        }
        if self.ranks.is_first:
            self.keeper.write(kept, anchor=anchor, now=now)
        self.saved_at = self.step

    def _resume(self) -> None:
        kept = self._read()
        if kept is None:
            return
        run = kept.values["run"]
        if run["identity"] != self._identity():
            self.work.log("The checkpoint was made with other settings; starting again from the beginning.")
            if self.ranks.is_first:
                self.keeper.clear()
            return
        self._compute_as(run)
        self._restore(kept)
        self.batches.restore(kept.values["run"]["batches"])
        self._restore_random(kept)
        self.checkpoint_every = self.plan.checkpoint_every or kept.values["run"]["checkpoint_every"]
        self.resumed_at = self.saved_at = self.step
        self.work.log(f"Going on from the checkpoint at step {self.step} of {self.plan.steps}.")

    def _compute_as(self, run: Mapping[str, Any]) -> None:
        """Take as many threads as the checkpoint was made with, unless others were asked for; say what else is not as it was."""
        changed = []
        if run["ranks"] != self.ranks.size:
            changed.append(f"by {run['ranks']} ranks and {self.ranks.size} go on")
        elif run["threads"] != self.settled.threads and self.settled.device.type == "cpu":
            if self.work.runtime.threads is None:
                torch.set_num_threads(run["threads"])
                self.settled = replace(self.settled, threads=run["threads"])
                self.work.log(f"Number of threads: {run['threads']}, as before, so that the result stays the same.")
            else:
                changed.append(f"with {run['threads']} threads and {self.settled.threads} go on, as asked")
        if run["world"] != self._world():
            changed.append(f"with {run['world']} and goes on with {self._world()}")
        if changed:
            self.work.log(
                f"The checkpoint was made {'; it was made '.join(changed)}: the last bits of the result may be others."
            )

    def _read(self) -> Checkpoint | None:
        """Return the newest whole checkpoint; the same one on every rank."""
        kept = self.keeper.read() if self.ranks.is_first else None
        there = self.ranks.agree(kept and kept.values["run"]["step"])
        if not self.ranks.is_first and there is not None:
            kept = self.keeper.read()
            if kept is None or kept.values["run"]["step"] != there:
                raise SeptetError(
                    f"Rank {self.ranks.rank} does not find the checkpoint of step {there} in {self.keeper.folder}. The store must "
                    "be on a file system that all machines see, under the same path."
                )
        self.ranks.barrier()
        return kept

    def _draw_apart(self) -> None:
        """Give each rank its own draws for dropout; rank 0 has those of a single process."""
        if not self.ranks.is_first:
            torch.manual_seed(int(torch.randint(2**62, ())) + self.ranks.rank)

    def _restore_random(self, kept: Checkpoint) -> None:
        tensors, values = kept.take("random")
        if kept.values["run"]["ranks"] == self.ranks.size:
            mine = f"{self.ranks.rank}."
            own = {name: state for name, state in kept.take("ranks")[0].items() if name.startswith(mine)}
            restore_random({name.removeprefix(mine): state for name, state in own.items()} or tensors, values)
        else:
            restore_random(tensors, values)
            self._draw_apart()

    def _restore(self, kept: Checkpoint) -> None:
        """Take weights, optimizer, averages and counts from a checkpoint; not the place in the data, nor the random generators."""
        device, run = self.settled.device, kept.values["run"]
        with torch.no_grad():
            for name, tensor in kept.take("weights")[0].items():
                self.parameters[name].copy_(split(tensor, self.parameters[name]))
        optim.load_state(self.optimizer, *kept.take("optimizer"))
        tensors, values = kept.take("objective")
        self.state.update({**values, **{name: tensor.to(device) for name, tensor in tensors.items()}})
        for group in ("average", "best"):
            found = {
                name: split(tensor.to(device), self.parameters[name]) for name, tensor in kept.take(group)[0].items()
            }
            setattr(self, group, found)
        if run["scaler"]:
            self.scaler.load_state_dict(run["scaler"])
        self.step, self.tokens, self.curve = run["step"], run["tokens"], list(run["curve"])
        self.compiled = run["compiled"]
        for name in GUARD:
            setattr(self, name, run["guard"][name])
        self.best_loss, self.not_better = run["best"]["loss"], run["best"]["not_better"]
        self.best_step = run["best"].get("step", 0)  # a checkpoint of before has none
        self.watched = set(run["best"]["watched"])
