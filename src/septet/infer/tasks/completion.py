"""Text completion: how a text goes on after its beginning, without roles and without a chat template.

Rows: {"prompt", "completion"}; the prompt may be empty. A row is read as the token that begins a text, the prompt, the completion,
and the token that ends a text; loss on the completion and that end. Prompt and completion are joined as they stand: a blank between
them belongs to one of the two.

What it is not: a conversation (`chat`), nor training on whole documents (`septet pretrain --continue-from`).

    septet finetune --model base --data beginnings
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from septet.core.errors import ComponentError
from septet.data.packing import IGNORE, Sample, separator_of
from septet.infer.chat import encode_text
from septet.infer.task import (
    Gives,
    Predicted,
    Prepared,
    Preparing,
    Row,
    Rows,
    Task,
    Tell,
    TooLong,
    text_of,
    too_long,
)
from septet.infer.writing import prepare_to_write, written

if TYPE_CHECKING:
    from septet.nn.model import Model

__all__ = ["Completion"]


class Completion(Task):
    """How a text goes on after its beginning."""

    objective: ClassVar[str] = "supervised"
    gives: ClassVar[Gives] = "text"
    learns: ClassVar[str] = "tokens of completions"
    fits: ClassVar[tuple[str, ...]] = ("decoder",)

    max_new_tokens: int = Field(default=128, ge=1)
    """The longest completion that is written, in tokens, with the one that ends it."""
    too_long: TooLong = "refuse"
    """Rows that are longer than the model reads: refused, all named; cut and counted, the prompt at its beginning, a completion
    that does not fit alone at its end; or dropped from training, and counted (what is asked is cut then)."""

    def open(self, folder: str | Path, *, labels: Sequence[str] = (), device: str = "auto", seed: int = 0) -> Model:
        from septet.nn.load import open_model  # torch, 1.5 s

        model = open_model(folder, device=device)
        self._prepare(model)
        return model

    def encode(self, rows: Rows, model: Model, *, max_tokens: int, file: object = None) -> tuple[list[Any], Prepared]:
        samples: list[Sample] = []
        told = Preparing(self.kind, self.too_long, max_tokens, file)
        targets = lost = 0
        begin, end = _begin(model.tokenizer), separator_of(model.tokenizer)
        for number, row in rows:
            prompt = encode_text(model.tokenizer, text_of(row, "prompt", file=file, number=number, empty=True))
            completion = encode_text(model.tokenizer, text_of(row, "completion", file=file, number=number))
            write = [*completion, end]
            size = len(prompt) + len(write)  # the first token is read, the last is only predicted
            if not told.takes(number, size):
                continue
            if size > max_tokens:
                lost += size - max_tokens
                write = write[:max_tokens]
                prompt = prompt[len(prompt) - (max_tokens - len(write)) :]
            targets += len(write)
            ids = np.array([begin, *prompt, *write], dtype=np.int32)
            labels = ids.copy()
            labels[: 1 + len(prompt)] = IGNORE
            samples.append(Sample(ids[:-1], labels[1:]))
        tokens = sum(len(sample.ids) for sample in samples)
        return samples, told.found(rows=len(samples), tokens=tokens, targets=targets, lost=lost)

    def predict(
        self, model: Model, rows: Sequence[Row], *, max_tokens: int | None = None, tell: Tell = lambda done, total: None
    ) -> list[Predicted]:
        context = min(max_tokens or model.context, model.context)
        begin, most = _begin(model.tokenizer), context - min(self.max_new_tokens, context // 2)
        prompts: list[list[int]] = []
        gone: list[int] = []
        for number, row in enumerate(rows, start=1):
            prompt = encode_text(model.tokenizer, text_of(row, "prompt", file=None, number=number, empty=True))
            if self.too_long == "refuse" and len(prompt) + 1 >= context:
                raise too_long(self.kind, context, [(number, len(prompt) + 1)], file=None)
            lost = max(0, len(prompt) + 1 - most) if self.too_long != "refuse" else 0
            prompts.append([begin, *prompt[lost:]])
            gone.append(lost)
        found = written(model, prompts, max_new_tokens=self.max_new_tokens, tell=tell)
        return [Predicted(one.text, facts=one.facts(lost)) for one, lost in zip(found, gone, strict=True)]

    def row(self, text: str, *, pair: str | None = None, context: str | None = None) -> dict[str, Any]:
        """Return a row to predict, of what a person typed."""
        if pair is not None or context is not None:
            raise ComponentError(f"the task '{self.kind}' reads one text; leave the other out.")
        return {"prompt": text}

    def expected(self, row: Row) -> str:
        return row["completion"]

    def _prepare(self, model: Model) -> None:
        prepare_to_write(model, max_new_tokens=self.max_new_tokens, beams=1, length_penalty=1.0)


def _begin(tokenizer: Any) -> int:
    """Return the token that begins a text: the tokenizer's own, else the one between documents."""
    return separator_of(tokenizer) if tokenizer.bos_token_id is None else int(tokenizer.bos_token_id)
