"""Teaches a model a task, from rows of a data set: to answer, to classify, to tag, and the other kinds of `infer/tasks`.

The task is the data's own. The result is an ordinary model folder with merged weights, a head or a chat template as the task has
it, and `task.json`, which says what it has learned; what was learned is also kept alone under `adapter/` in peft's layout. It
measures the loss on held-out rows, not the task's metrics: that is `evaluate`.

    septet finetune --model base --data questions --adapter '{kind: lora, rank: 16}'
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from septet.core.artifact import Artifact, Fact
from septet.core.component import DatasetRef, ModelRef
from septet.core.errors import ComponentError, DataError
from septet.core.step import Step, Work
from septet.data.documents import read_rows, write_rows
from septet.infer.task import Prepared, Task
from septet.steps.pretrain import curve_rows
from septet.train.adapter import Adapter
from septet.train.optimizer import Optimizer
from septet.train.optimizers.adamw import AdamW
from septet.train.plan import Plan, Precision

if TYPE_CHECKING:
    from septet.nn.model import Model

__all__ = ["Finetune", "longest_of", "prepare", "read_some", "save_adapted", "steps_of"]

EVALUATED = 256
"""Held-out rows that are evaluated; more would cost time and tell the same."""


class Finetune(Step):
    """Teach a model a task, from rows of a data set."""

    produces: ClassVar[str] = "model"
    version: ClassVar[int] = 2  # new heads for numbers and several labels begin from the training rows

    model: ModelRef
    """The model to start from: Septet's or anybody's, in the Hugging Face layout."""
    data: DatasetRef
    """Rows of one task; conversations end with the answer to learn."""
    task: Task | None = None
    """What is learned, where its settings matter; none: the task of the data."""
    adapter: Adapter = Field(default_factory=lambda: Adapter.parse("lora"))
    """What learns: lora, full for every parameter, qlora, ia3, prefix and others; see the guide to adapters."""
    epochs: float = Field(default=1.0, gt=0)
    """How often each row is seen; may be a fraction. With stop_after: at most."""
    evaluations: int | None = Field(default=None, ge=1)
    """How often the held-out rows are looked at on the way; none: at the end, or with stop_after after each pass."""
    stop_after: int | None = Field(default=None, ge=1)
    """End after so many evaluations in a row without a new best loss on held-out rows, and keep the best weights."""
    limit: int | None = Field(default=None, ge=1)
    """At most so many rows; none: all."""
    learning_rate: float | None = Field(default=None, gt=0)
    """The peak, after a rise over a twentieth of the steps; then it falls to zero. None: from adapter, width and optimizer."""
    rate_factor: float = Field(default=1.0, gt=0)
    """A multiple of the rate that adapter, width and optimizer give."""
    batch_size: int = Field(default=32, ge=1)
    """Rows in one optimizer step."""
    optimizer: Optimizer = AdamW()
    """What takes the steps; muon learns faster where nearly all is still to be learned, as in a translator from scratch."""
    max_tokens: int | None = Field(default=None, ge=2)
    """The longest row in tokens; the task's too_long says what happens to longer ones. None: the model's context."""
    micro_rows: int | None = Field(default=None, ge=1)
    """Rows of one forward pass, where a whole step's do not fit in memory; changes nothing else."""
    precision: Precision = "auto"
    """The type of the arithmetic; auto: bfloat16 where the device has it natively."""
    recompute: bool = False
    """Make the activations of each layer again in the backward pass: less memory, a third more time."""
    compile: bool | Literal["auto"] = False
    """Compile the model with torch.compile, for tasks without a head; needs a C++ compiler. auto: do what is done first."""
    seed: int = 0
    """Order of the rows, a new head's and the adapter's first values."""

    def run(self, work: Work, **inputs: Artifact) -> dict[str, Fact]:
        """Errors: DataError for a row that cannot be learned from; ComponentError for an adapter without a place."""
        from septet.data.batches import Batches  # torch and transformers: 3 s
        from septet.nn.load import open_tokenizer
        from septet.train.evaluation import evaluate
        from septet.train.loop import fit
        from septet.train.objective import Objective
        from septet.train.runtime import settle
        from septet.train.schedules.cosine import Cosine

        settled = settle(work.runtime, precision=self.precision)
        folder = inputs["data"].path
        task, labels = Task.of_data(folder)
        if self.task is not None:
            if self.task.kind != task.kind:
                raise ComponentError(
                    f"the data is of the task '{task.kind}', and the task of this step is '{self.task.kind}'. "
                    "Leave 'task' out, or make a data set of that task."
                )
            task = self.task
        model = task.open(inputs["model"].path, labels=labels, device=work.runtime.device, seed=self.seed)
        known = open_tokenizer(inputs["model"].path).get_vocab()
        added = [token for token in model.tokenizer.get_vocab() if token not in known]
        added.sort(key=model.tokenizer.convert_tokens_to_ids)
        if model.architecture not in task.fits:
            raise ComponentError(
                f"a model of the architecture '{model.architecture}' cannot learn the task '{task.kind}'; "
                f"it takes {' or '.join(task.fits)}."
            )
        max_tokens = longest_of(model, self.adapter, self.max_tokens)
        samples, prepared, held_out = prepare(task, folder, model, max_tokens=max_tokens, limit=self.limit)
        if prepared.dropped:
            work.log(f"{prepared.dropped} rows are longer than {max_tokens} tokens and were left out.")
        if not samples:
            raise DataError("it has no rows, so there is nothing to learn from.", file=folder / "train.jsonl")
        if prepared.cut:
            work.log(
                f"{prepared.cut} of {prepared.rows} rows are longer than {max_tokens} tokens"
                + (f" and were cut; {prepared.lost} tokens were lost." if prepared.lost else " and are read in pieces.")
            )
        task.begin(model, samples)
        objective = Objective.parse(task.taught_by(model)).suited(model.architecture)
        if not self.adapter.packs:
            objective = objective.apart()
        # the adapters' rates were found with AdamW
        relative = self.optimizer.relative_rate / AdamW.relative_rate
        rate = self.learning_rate or self.rate_factor * relative * self.adapter.learning_rate(model)
        before = evaluate(model, objective, held_out, settled=settled) if held_out else {}
        model = self.adapter.attach(model, seed=self.seed)
        steps = steps_of(len(samples), self.epochs, self.batch_size)
        if self.stop_after is not None and not held_out:
            raise DataError(
                "stop_after looks at held-out rows, and there are none. Give the data set a validation part.",
                file=folder / "held_out.jsonl",
            )
        looks = self.evaluations or (math.ceil(self.epochs) if self.stop_after else None)
        plan = Plan(
            steps=steps,
            eval_every=max(1, steps // looks) if looks else None,
            stop_after=self.stop_after,
            learning_rate=rate,
            optimizer=self.optimizer,
            schedule=Cosine(warmup=math.ceil(steps / 20)),
            micro_rows=self.micro_rows,
            precision=self.precision,
            recompute=self.recompute,
            compile=self.compile,
            seed=self.seed,
        )
        learning = sum(p.numel() for p in model.trainable().values())
        work.log(
            f"{task.kind}: {prepared.rows} rows, {prepared.targets} {task.learns}, {steps} steps, "
            f"learning rate {rate:.2g}; {learning:,} of {model.num_parameters():,} parameters learn."
        )
        result = fit(
            model, objective, Batches(samples, self.batch_size, seed=self.seed), plan, work=work, held_out=held_out
        )
        merged = save_adapted(self.adapter, model, work.out, rows=curve_rows(result.curve))
        if task.kind != "chat":
            task.keep(work.out, labels)
        return {
            "task": task.kind,
            **({"labels": len(labels)} if labels else {}),
            **{f"train_{name}": value for name, value in prepared.facts().items()},
            "held_out_rows": len(held_out),
            "held_out_loss_before": _loss(before),
            "held_out_loss": _loss(result.held_out),
            **({"held_out_accuracy": result.held_out["accuracy"]} if "accuracy" in result.held_out else {}),
            "first_loss": result.curve[0]["loss"],
            "loss": result.curve[-1]["loss"],
            "steps": result.steps,
            "learning_rate": rate,
            "tokens_per_second": round(result.tokens_per_second, 1),
            "parameters": learning,
            "added_tokens": added,
            **merged,
            **result.facts,
        }


def _loss(terms: Mapping[str, float]) -> float | None:
    """Return the first term: what is minimised, where the others are only watched."""
    return next(iter(terms.values()), None)


def longest_of(model: Model, adapter: Adapter, max_tokens: int | None) -> int:
    """Return the tokens of a row that the model reads beside what the adapter puts before it, at most `max_tokens`."""
    room = model.context - adapter.places
    return min(max_tokens or room, room)


def prepare(
    task: Task, folder: Path, model: Model, *, max_tokens: int, limit: int | None
) -> tuple[list[Any], Prepared, list[Any]]:
    """Return the training samples of a data set, what was found in preparing them, and the held-out samples.

    Errors: DataError with file and row for what cannot be learned, or is longer than max_tokens where the task refuses that.
    """
    parts = []
    for part, most in (("train", limit), ("held_out", EVALUATED)):
        path = folder / f"{part}.jsonl"
        parts.append(task.encode(read_some(path, most), model, max_tokens=max_tokens, file=path))
    (samples, prepared), (held_out, _) = parts
    return samples, prepared, held_out


def read_some(path: Path, limit: int | None) -> list[tuple[int, dict[str, Any]]]:
    """Return the first rows of a file with their numbers; none where the file is missing (a data set may hold nothing out)."""
    if not path.is_file():
        return []
    return list(itertools.islice(read_rows(path), limit))


def steps_of(rows: int, epochs: float, batch_size: int) -> int:
    """Return the optimizer steps that see each row `epochs` times, at least one."""
    return max(1, round(rows * epochs / batch_size))


def save_adapted(adapter: Adapter, model: Model, folder: Path, *, rows: Iterable[dict[str, Any]]) -> dict[str, Fact]:
    """Write curve.jsonl, the adapter alone, and the merged model at the root, or for an adapter that cannot be merged its base.

    Return how far merging moved the logits: `merge_difference` is the largest absolute difference, in float32, over a fixed short
    input, None where nothing is merged; `merge_drift` has it by each way of merging, where there are several.
    """
    import torch

    from septet.nn.heads import first_logits

    write_rows(folder / "curve.jsonl", rows)
    (folder / "adapter").mkdir(exist_ok=True)
    if not adapter.save(model, folder / "adapter"):
        (folder / "adapter").rmdir()
    if not adapter.mergeable:
        adapter.beneath(model).save(folder)
        return {"merge_difference": None}
    inputs = {"input_ids": torch.arange(16, device=model.device)[None] % model.config.vocab_size}
    if model.architecture == "encoder-decoder":
        inputs["decoder_input_ids"] = inputs["input_ids"]
    model.module.eval()
    drift = adapter.drift(model, inputs)
    with torch.inference_mode():
        adapted = first_logits(model.module(**inputs))
    merged = adapter.merge(model)
    with torch.inference_mode():
        difference = float((first_logits(merged.module(**inputs)) - adapted).abs().max())
    merged.save(folder)
    return {"merge_difference": difference, **({"merge_drift": drift} if drift else {})}
