"""What an evaluation asks of a model: the cost of a text, an answer to a prompt, the likelihood of an answer.

A document is read as separator, tokens, separator, every token but the first predicted from those before it, as in pre-training.
One longer than the model's context is read in windows that begin every `stride` tokens; each token is counted once, in the
first window that holds it, so all but the first window's tokens see at least `context - stride` tokens before them (the
"sliding window" variant; with stride = context it is the harness' rolling one).

What it is not: an engine. It opens one model once and uses `septet.nn` for texts and `septet.infer` for answers.

    python -m pytest tests/evals/test_reader.py
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

    from septet.infer.engine import Scored
    from septet.infer.task import Predicted, Task
    from septet.nn.model import Model

__all__ = ["ModelReader", "Reader", "Reading", "Window", "windows"]

Messages = Sequence[Mapping[str, str]]
Tell = Callable[[int, int], None]
"""Called with how much is done and how much there is."""

TOKENS_IN_A_BATCH = 8192


@dataclass(frozen=True, slots=True)
class Reading:
    """The cost of one text: -log p in nats over `num_tokens` predicted tokens, its separator among them."""

    nll: float
    num_tokens: int


class Reader(Protocol):
    """What tasks need of a model; `ModelReader` is the real one."""

    def read(self, texts: Sequence[str], *, stride: int | None, tell: Tell) -> list[Reading]: ...

    def answer(self, prompts: Sequence[Messages], *, max_tokens: int, tell: Tell) -> list[str]: ...

    def vectors(self, texts: Sequence[str], *, task: Task, tell: Tell) -> np.ndarray: ...

    def prefer(self, pairs: Sequence[tuple[Messages, str]]) -> list[Scored]: ...

    def predict(self, rows: Sequence[Mapping[str, Any]], *, tell: Tell) -> list[Predicted]: ...

    def note(self, stride: int | None) -> str: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Window:
    """The part [start, end) of a text's predicted positions that one forward pass sees; those from `first` on are counted."""

    text: int
    start: int
    end: int
    first: int


def windows(lengths: Sequence[int], *, context: int, stride: int) -> list[Window]:
    """Return the windows that cover texts of so many positions; each position is counted in exactly one.

    Raises ValueError unless 1 <= stride <= context.
    """
    if not 1 <= stride <= context:
        raise ValueError(f"the stride of the windows is 1 to the context's {context} tokens; got {stride}.")
    found = []
    for text, length in enumerate(lengths):
        start = counted = 0
        while counted < length:
            end = min(start + context, length)
            found.append(Window(text, start, end, counted))
            start, counted = start + stride, end
    return found


class ModelReader:
    """A model folder that is opened when it is first needed.

    Weights are float32; texts are read with bfloat16 products where the processor has them, answers in float32.
    """

    def __init__(self, folder: Path, *, device: str = "auto", threads: int | None = None) -> None:
        self.folder, self.device, self.threads = folder, device, threads
        self._engine: Any = None

    @cached_property
    def model(self) -> Model:
        import torch  # 1 s to import, and only where a model is read

        from septet.nn.load import open_model

        if self.threads:
            torch.set_num_threads(self.threads)
        return open_model(self.folder, device=self.device)

    @cached_property
    def precision(self) -> str:
        from septet.nn.device import bfloat16_is_native

        return "bfloat16" if bfloat16_is_native(self.model.device) else "float32"

    @property
    def engine(self) -> Any:
        from septet.infer.engines.torch import TorchEngine

        if self._engine is None:
            self._engine = TorchEngine(self.model.base, self.model.tokenizer)
        return self._engine

    def note(self, stride: int | None) -> str:
        """Return how texts were read, for the report."""
        context = self.model.context
        return (
            f"each document alone between separators, windows of {context} tokens every {self._stride(stride)}, "
            f"{self.precision} on {self.model.device.type}"
        )

    def read(
        self, texts: Sequence[str], *, stride: int | None = None, tell: Tell = lambda done, total: None
    ) -> list[Reading]:
        """Return the cost of each text with its separator; `stride` None is half the context."""
        import torch

        from septet.data.packing import IGNORE, text_sample
        from septet.infer.chat import encode_text

        model = self.model
        samples = [text_sample(encode_text(model.tokenizer, text), separator=self._separator()) for text in texts]
        todo = windows([len(s.ids) for s in samples], context=model.context, stride=self._stride(stride))
        todo.sort(key=lambda w: w.end - w.start, reverse=True)  # equal lengths together: hardly any padding
        costs, done = [0.0] * len(texts), 0
        total = sum(w.end - w.start for w in todo)
        with torch.inference_mode():
            while todo:
                width = todo[0].end - todo[0].start
                size = max(1, TOKENS_IN_A_BATCH // width)
                batch, todo = todo[:size], todo[size:]
                ids_BT = torch.zeros(len(batch), width, dtype=torch.long)
                labels_BT = torch.full((len(batch), width), IGNORE, dtype=torch.long)
                for row, w in enumerate(batch):
                    ids_BT[row, : w.end - w.start] = torch.from_numpy(
                        samples[w.text].ids[w.start : w.end].astype("int64")
                    )
                    counted = torch.from_numpy(samples[w.text].labels[w.first : w.end].astype("int64"))
                    labels_BT[row, w.first - w.start : w.end - w.start] = counted
                with model.autocast():
                    nll_BT = model.nll({"input_ids": ids_BT.to(model.device)}, labels_BT.to(model.device))
                for w, cost in zip(batch, nll_BT.double().sum(1).tolist(), strict=True):
                    costs[w.text] += cost
                done += sum(w.end - w.start for w in batch)
                tell(done, total)
        return [Reading(cost, len(sample.ids)) for cost, sample in zip(costs, samples, strict=True)]

    def answer(
        self, prompts: Sequence[Messages], *, max_tokens: int, tell: Tell = lambda done, total: None
    ) -> list[str]:
        """Return the likeliest continuation, token by token, of each conversation."""
        from septet.infer.engine import Request

        requests = [Request(messages=messages, max_tokens=max_tokens, truncate=True) for messages in prompts]
        texts: list[str] = []
        for start in range(0, len(requests), 32):
            texts += [answer.text for answer in self.engine.generate_batch(requests[start : start + 32])]
            tell(len(texts), len(requests))
        return texts

    def predict(self, rows: Sequence[Mapping[str, Any]], *, tell: Tell = lambda done, total: None) -> list[Predicted]:
        """Return a prediction for each row, by the task that the model has learned."""
        from septet.infer.task import Task

        task, labels = Task.of_folder(self.folder)
        model = task.open(self.folder, labels=labels, device=self.device)
        return task.predict(model, rows, tell=tell)

    def vectors(self, texts: Sequence[str], *, task: Task, tell: Tell = lambda done, total: None) -> np.ndarray:
        """Return a vector of each text, [texts, D], as the model has learned to make them, else as `task` does."""
        from septet.infer.task import Task
        from septet.infer.tasks.similarity import Similarity

        learned, _ = Task.of_folder(self.folder)
        made = learned if isinstance(learned, Similarity) else task
        assert isinstance(made, Similarity), "only similarity gives vectors"
        return made.vectors(made.open(self.folder, device=self.device), texts, tell=tell)

    def prefer(self, pairs: Sequence[tuple[Messages, str]]) -> list[Scored]:
        """Return log p(answer and its end token | prompt) for each (prompt, answer)."""
        return self.engine.score(list(pairs), end=True, truncate=True)

    def close(self) -> None:
        """Free the model."""
        if self._engine is not None:
            self._engine.close()
        self._engine = None
        self.__dict__.pop("model", None)

    def _stride(self, stride: int | None) -> int:
        return stride or max(1, self.model.context // 2)

    def _separator(self) -> int:
        tokenizer = self.model.tokenizer
        found = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.bos_token_id
        if found is None:
            from septet.core.errors import DataError

            raise DataError("its tokenizer has no end-of-text token, and documents end with one.", file=self.folder)
        return int(found)
