"""What the tasks share whose head reads a whole text: one text or two, to one vector of logits.

What it is not: a task; those are `classification`, `multi-label` and `regression`.

    python -m pytest tests/infer/test_tasks.py
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from septet.infer.chat import encode_text
from septet.infer.inputs import Encoded, collate, dressed, frame, has_segments
from septet.infer.task import (
    Predicted,
    Prepared,
    Preparing,
    Row,
    Rows,
    Task,
    Tell,
    TooLong,
    by_length,
    text_of,
)

if TYPE_CHECKING:
    import numpy as np

    from septet.nn.heads import Head
    from septet.nn.model import Model

__all__ = ["TextTask"]


class TextTask(Task):
    """A task whose head reads a whole text."""

    head: ClassVar[Head] = "classes"

    too_long: TooLong = "refuse"
    """Training rows that are longer than the model reads: refused, all named; cut at their end, and counted; or dropped, and
    counted. A text whose label is asked for is cut, and the prediction says by how many tokens."""

    def open(self, folder: str | Path, *, labels: Sequence[str] = (), device: str = "auto", seed: int = 0) -> Model:
        from septet.nn.heads import open_with_head  # torch, 1.5 s

        return open_with_head(folder, self.head, labels, device=device, seed=seed)

    def encode(self, rows: Rows, model: Model, *, max_tokens: int, file: object = None) -> tuple[list[Any], Prepared]:
        """Return an `Encoded` for each row that is learned from."""
        samples: list[Encoded] = []
        told = Preparing(self.kind, self.too_long, max_tokens, file)
        lost = 0
        for number, row in rows:
            ids, other = self._ids(row, model, file=file, number=number)
            target = self.target(row, model, file=file, number=number)
            size = _size(ids, other, model)
            if told.takes(number, size):
                whole = self._dressed(ids, other, model, max_tokens)
                lost += max(0, size - max_tokens)
                samples.append(Encoded(whole.ids, target, whole.types))
        tokens = sum(map(len, samples))
        return samples, told.found(rows=len(samples), tokens=tokens, targets=len(samples), lost=lost)

    def begin(self, model: Model, samples: Sequence[Encoded]) -> None:
        import numpy as np
        import torch

        from septet.nn.heads import expect

        logits_C = self.first_logits(np.stack([np.atleast_1d(sample.target) for sample in samples]))
        if logits_C is not None:
            expect(model, torch.from_numpy(logits_C).float())

    def first_logits(self, targets_NC: np.ndarray) -> np.ndarray | None:
        """Return the logits [C] of one who knows the training rows' targets [N, C] and reads no text; None: begin as drawn."""
        return None

    def predict(
        self, model: Model, rows: Sequence[Row], *, max_tokens: int | None = None, tell: Tell = lambda done, total: None
    ) -> list[Predicted]:
        import torch

        most = min(max_tokens or model.context, model.context)
        texts, gone = [], []
        for number, row in enumerate(rows, start=1):
            ids, other = self._ids(row, model, file=None, number=number)
            texts.append(self._dressed(ids, other, model, most))
            gone.append(max(0, _size(ids, other, model) - most))
        found: list[Any] = [None] * len(rows)
        done = 0
        model.module.eval()
        for places in by_length([len(text) for text in texts]):
            inputs = collate([texts[place] for place in places], model.tokenizer, left=model.architecture == "permuted")
            with torch.inference_mode(), model.autocast():
                logits = model.module(**{name: x.to(model.device) for name, x in inputs.items()}).logits.float().cpu()
            for place, values in zip(places, logits, strict=True):
                verdict = self.verdict(values, model)
                found[place] = replace(verdict, facts={"cut_tokens": gone[place]}) if gone[place] else verdict
            done += len(places)
            tell(done, len(rows))
        return found

    @abstractmethod
    def target(self, row: Row, model: Model, *, file: object, number: int) -> Any:
        """Return what the objective learns of a row."""

    @abstractmethod
    def verdict(self, logits: Any, model: Model) -> Predicted:
        """Return the prediction that a vector of logits [C] is."""

    def _ids(self, row: Row, model: Model, *, file: object, number: int) -> tuple[list[int], list[int] | None]:
        ids = encode_text(model.tokenizer, text_of(row, "text", file=file, number=number))
        if row.get("pair") is None:
            return ids, None
        return ids, encode_text(model.tokenizer, text_of(row, "pair", file=file, number=number))

    def _dressed(self, ids: list[int], other: list[int] | None, model: Model, most: int) -> Encoded:
        return dressed(ids, model.tokenizer, model.architecture, most=most, other=other, segments=has_segments(model))


def _size(ids: list[int], other: list[int] | None, model: Model) -> int:
    around = frame(model.tokenizer, model.architecture, pair=other is not None)
    return len(ids) + len(other or ()) + sum(map(len, around))
