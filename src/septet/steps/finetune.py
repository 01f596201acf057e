"""Teaches a model to answer, from rows of questions and answers; loss on the answers only.

The result is an ordinary model folder with merged weights and a chat template; what was learned is also kept alone under `adapter/`
in peft's layout. It makes no preference pairs, and a model of a few million parameters learns the manner, hardly the knowledge.

    septet finetune --model base --data questions --adapter '{kind: lora, rank: 16}'
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from septet.core.artifact import Artifact, Fact
from septet.core.component import DatasetRef, ModelRef
from septet.core.errors import DataError
from septet.core.step import Step, Work
from septet.data.documents import read_rows, write_rows
from septet.steps.pretrain import curve_rows
from septet.train.adapter import Adapter

if TYPE_CHECKING:
    from septet.nn.model import Model

__all__ = ["Finetune", "read_some", "save_adapted", "steps_of"]

EVALUATED = 256
"""Held-out rows that are evaluated; more would cost time and tell the same."""


class Finetune(Step):
    """Teach a model to answer, from rows of questions and answers."""

    produces: ClassVar[str] = "model"

    model: ModelRef
    """The model to start from: Septet's or anybody's, in the Hugging Face layout."""
    data: DatasetRef
    """Conversations that end with the answer to learn."""
    adapter: Adapter = Field(default_factory=lambda: Adapter.parse("lora"))
    """What learns: lora, or full for every parameter."""
    epochs: float = Field(default=1.0, gt=0)
    """How often each row is seen; may be a fraction."""
    limit: int | None = Field(default=None, ge=1)
    """At most so many rows; none: all."""
    learning_rate: float | None = Field(default=None, gt=0)
    """The peak, after a rise over a twentieth of the steps; then it falls to zero. None: from adapter and width."""
    batch_size: int = Field(default=32, ge=1)
    """Conversations in one optimizer step."""
    max_tokens: int | None = Field(default=None, ge=2)
    """Longer conversations are cut at their end; none: the model's context."""
    seed: int = 0
    """Order of the rows, and the adapter's first values."""

    def run(self, work: Work, **inputs: Artifact) -> dict[str, Fact]:
        """Errors: DataError for a row that cannot be learned from; ComponentError for an adapter without a place."""
        from septet.data.batches import Batches  # torch and transformers: 3 s
        from septet.infer.chat import prepare_for_chat
        from septet.nn.load import open_model
        from septet.train.loop import evaluate, fit
        from septet.train.objectives.supervised import Supervised, prepare_conversations
        from septet.train.plan import Plan
        from septet.train.runtime import settle
        from septet.train.schedules.cosine import Cosine

        settled = settle(work.runtime)
        model = open_model(inputs["model"].path, device=work.runtime.device)
        added = prepare_for_chat(model.module, model.tokenizer)
        max_tokens = min(self.max_tokens or model.context, model.context)
        folder = inputs["data"].path
        parts = {}
        for part, limit in (("train", self.limit), ("held_out", EVALUATED)):
            rows = read_some(folder / f"{part}.jsonl", limit)
            parts[part] = prepare_conversations(
                rows, model.tokenizer, max_tokens=max_tokens, file=folder / f"{part}.jsonl"
            )
        samples, prepared = parts["train"]
        held_out, _ = parts["held_out"]
        if not samples:
            raise DataError("it has no rows, so there is nothing to learn from.", file=folder / "train.jsonl")
        if prepared.cut:
            work.log(
                f"{prepared.cut} of {prepared.rows} conversations are longer than {max_tokens} tokens and were cut; "
                f"{prepared.lost} tokens of answers were lost."
            )
        objective = Supervised()
        rate = self.learning_rate or self.adapter.learning_rate(model)
        before = evaluate(model, objective, held_out, settled=settled) if held_out else {}
        model = self.adapter.attach(model, seed=self.seed)
        steps = steps_of(len(samples), self.epochs, self.batch_size)
        plan = Plan(steps=steps, learning_rate=rate, schedule=Cosine(warmup=math.ceil(steps / 20)), seed=self.seed)
        learning = sum(p.numel() for p in model.trainable().values())
        work.log(
            f"{len(samples)} conversations, {prepared.targets} tokens of answers, {steps} steps, "
            f"learning rate {rate:.2g}; {learning:,} of {model.num_parameters():,} parameters learn."
        )
        result = fit(
            model, objective, Batches(samples, self.batch_size, seed=self.seed), plan, work=work, held_out=held_out
        )
        drift = save_adapted(self.adapter, model, work.out, rows=curve_rows(result.curve))
        return {
            **{f"train_{name}": value for name, value in prepared.facts().items()},
            "held_out_rows": len(held_out),
            "held_out_loss_before": before.get("nll"),
            "held_out_loss": result.held_out.get("nll"),
            "first_loss": result.curve[0]["loss"],
            "loss": result.curve[-1]["loss"],
            "steps": result.steps,
            "learning_rate": rate,
            "tokens_per_second": round(result.tokens_per_second, 1),
            "parameters": learning,
            "added_tokens": added,
            "merge_difference": drift,
            **result.facts,
        }


def read_some(path: Path, limit: int | None) -> list[tuple[int, dict[str, Any]]]:
    """Return the first rows of a file with their numbers; none where the file is missing (a data set may hold nothing out)."""
    if not path.is_file():
        return []
    return list(itertools.islice(read_rows(path), limit))


def steps_of(rows: int, epochs: float, batch_size: int) -> int:
    """Return the optimizer steps that see each row `epochs` times, at least one."""
    return max(1, round(rows * epochs / batch_size))


def save_adapted(adapter: Adapter, model: Model, folder: Path, *, rows: Iterable[dict[str, Any]]) -> float:
    """Write curve.jsonl, the adapter alone, and the merged model at the root; return how far merging moved the logits.

    The figure is the largest absolute difference, in float32, over a fixed short input.
    """
    import torch

    write_rows(folder / "curve.jsonl", rows)
    (folder / "adapter").mkdir(exist_ok=True)
    if not adapter.save(model, folder / "adapter"):
        (folder / "adapter").rmdir()
    ids = torch.arange(16, device=model.device)[None] % model.config.vocab_size
    model.module.eval()
    with torch.inference_mode():
        adapted = model.outputs({"input_ids": ids}).logits
    merged = adapter.merge(model)
    with torch.inference_mode():
        difference = float((merged.outputs({"input_ids": ids}).logits - adapted).abs().max())
    merged.save(folder)
    return difference
