"""The one face of a running model for all who only use it: text and token ids in and out, no tensors.

An `Engine` takes a `Request` and gives a `Stream` at once; the words arrive while they are made. A stream is read from a thread
(`for text in stream`) or from an event loop (`async for text in stream`); leaving the loop early cancels the request.

    with open_engine("folder") as engine:
        for text in engine.submit(Request(messages=[{"role": "user", "content": "What does os.path.join do?"}])):
            print(text, end="")

What it is not: a way to gradients, attention or hidden states (`septet.nn`), nor a server (`septet.api`).

    python -m pytest tests/infer
"""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from septet.core.component import Component
from septet.core.errors import SeptetError

if TYPE_CHECKING:  # it counts what is defined here
    from septet.infer.spending import Spent

__all__ = [
    "Answer",
    "Backend",
    "ContextError",
    "Engine",
    "EngineBusy",
    "EngineError",
    "Finish",
    "Message",
    "Request",
    "Scored",
    "Stream",
    "Usage",
    "most_tokens",
    "open_engine",
]

Message = Mapping[str, str]
"""One turn of a conversation: `role` ("system", "user" or "assistant") and `content`."""

Finish = Literal["stop", "length", "cancelled", "deadline"]
"""Why a stream ended: the model or a stop string ended it; max_tokens or the context was full; `cancel()`; out of time."""


class EngineError(SeptetError):
    """A request that this engine cannot serve, or an engine that has failed or is closed."""


class ContextError(EngineError):
    """The prompt is longer than the model can read."""


class EngineBusy(EngineError):
    """The engine's queue is full; the same request may succeed a moment later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to generate and how. Exactly one of `messages`, `prompt` (text) and `tokens` (ids) is given.

    max_tokens: at most so many new tokens; the context's end may come first (finish_reason "length").
    temperature: 0 takes the likeliest token; above it, samples. top_p in (0, 1], top_k (0 = all): the candidates kept.
    repetition_penalty: above 1 makes tokens of the prompt and the answer less likely (Keskar et al. 2019).
    seed: the same seed gives the same words; None takes a fresh one. It matters only with temperature > 0.
    stop: texts that end the answer; they are not part of it.
    truncate: drop the oldest tokens of a prompt that is too long, where the default is to refuse it (ContextError).
    timeout: seconds from submission after which the stream ends with finish_reason "deadline".
    adapter: which of the engine's adapters answers, where it has several; None: the model itself.
    """

    messages: Sequence[Message] | None = None
    prompt: str | None = None
    tokens: Sequence[int] | None = None
    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: Sequence[str] = ()
    truncate: bool = False
    timeout: float | None = None
    adapter: str | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("messages", "prompt", "tokens") if getattr(self, name) is not None]
        if len(given) != 1:
            raise EngineError(
                f"A request has exactly one of messages, prompt and tokens, not {' and '.join(given) or 'none'}."
            )
        if self.messages is not None:
            _check_messages(self.messages)
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        object.__setattr__(self, "stop", stop)
        for holds, field, expected in (
            (self.max_tokens >= 1, "max_tokens", "1 or more"),
            (0.0 <= self.temperature <= 100.0, "temperature", "0 (the likeliest token) or more"),
            (0.0 < self.top_p <= 1.0, "top_p", "above 0 and at most 1"),
            (self.top_k >= 0, "top_k", "0 (all tokens) or more"),
            (self.repetition_penalty > 0.0, "repetition_penalty", "above 0 (1 changes nothing)"),
            (all(stop), "stop", "texts of at least one character"),
            (self.timeout is None or self.timeout > 0, "timeout", "a number of seconds above 0"),
        ):
            if not holds:
                raise EngineError(f"{field} must be {expected}, not {getattr(self, field)!r}.")

    def with_(self, **changes: Any) -> Request:
        return replace(self, **changes)


def _check_messages(messages: Sequence[Message]) -> None:
    if isinstance(messages, str | Mapping) or not messages:
        raise EngineError("messages must be a list of {role, content} with at least one entry.")
    for position, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("content"), str):
            raise EngineError(f"messages[{position}] must be a mapping with a text 'content', got {message!r}.")
        if message.get("role") not in ("system", "user", "assistant"):
            raise EngineError(
                f"messages[{position}] has the role {message.get('role')!r}; expected system, user or assistant."
            )


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request: what the model read and what it wrote (with the token that ended it)."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Scored:
    """The log-likelihood of one continuation: `logprob` is the sum in nats over `num_tokens` tokens.

    `greedy`: every token is the model's likeliest one, so greedy generation would write exactly this.
    """

    logprob: float
    num_tokens: int
    greedy: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished answer: its text, the tokens read and written (with the one that ended it), and why it ended; truncated: tokens
    that were dropped from the prompt's left (only with Request.truncate)."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: Finish
    truncated: int = 0


class Stream:
    """The answer to one request while it is being made. One producer, any number of readers, each sees all of it.

    finish_reason is None until the end. An error of the engine is raised to every reader, after the text that came before it.
    """

    def __init__(self, *, prompt_tokens: int = 0, timeout: float | None = None) -> None:
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.finish_reason: Finish | None = None
        self.prompt_tokens = prompt_tokens
        self.completion_tokens = 0
        self.truncated = 0
        """Tokens dropped from the prompt's left (only with Request.truncate)."""
        self._parts: list[str] = []
        self._error: BaseException | None = None
        self._done = False
        self._cancelled = threading.Event()
        self._changed = threading.Condition()
        self._wakers: list[Callable[[], None]] = []

    # -- reading ----------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[str]:
        seen = 0
        try:
            while True:
                with self._changed:
                    while len(self._parts) == seen and not self._done:
                        self._changed.wait()
                    fresh, done = self._parts[seen:], self._done
                seen += len(fresh)
                yield from fresh
                if done and seen == len(self._parts):
                    break
        finally:
            self.cancel()  # no effect on a finished stream
        if self._error is not None:
            raise self._error

    async def __aiter__(self) -> AsyncIterator[str]:
        loop, ready, seen = asyncio.get_running_loop(), asyncio.Event(), 0

        def wake() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(ready.set)

        with self._changed:
            self._wakers.append(wake)
        try:
            while True:
                ready.clear()
                with self._changed:
                    fresh, done = self._parts[seen:], self._done
                seen += len(fresh)
                for part in fresh:
                    yield part
                if done and seen == len(self._parts):
                    break
                if not fresh:
                    await ready.wait()
        finally:
            self.cancel()
            with self._changed:
                self._wakers.remove(wake)
        if self._error is not None:
            raise self._error

    def text(self) -> str:
        """Wait for the end and return the whole answer; raises the engine's error."""
        return "".join(self)

    async def atext(self) -> str:
        """`text`, from an event loop."""
        return "".join([part async for part in self])

    @property
    def usage(self) -> Usage:
        """Tokens so far; final when finish_reason is set."""
        return Usage(self.prompt_tokens, self.completion_tokens)

    def cancel(self) -> None:
        """Ask the engine to stop working on this request; it ends with finish_reason "cancelled" within one token."""
        if not self._done:
            self._cancelled.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.cancel()

    # -- writing (engines only) -------------------------------------------------------------------------------------

    def interrupted(self) -> Finish | None:
        """For engines: the reason to give this request up now, or None."""
        if self._cancelled.is_set():
            return "cancelled"
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return "deadline"
        return None

    def put(self, text: str) -> None:
        """For engines: add text; readers wake up."""
        if text:
            with self._changed:
                self._parts.append(text)
                self._wake()

    def finish(self, reason: Finish) -> None:
        """For engines: the answer is complete."""
        with self._changed:
            self.finish_reason, self._done = reason, True
            self._wake()

    def fail(self, error: BaseException) -> None:
        """For engines: the request failed; readers get the error."""
        with self._changed:
            self._error, self._done = error, True
            self._wake()

    def _wake(self) -> None:
        self._changed.notify_all()
        for waker in self._wakers:
            waker()


class Engine(ABC):
    """A model that is loaded and answers. Close it when done, or use it in a `with` block."""

    can: frozenset[str] = frozenset()
    """What this engine offers: "generate", "score", "predict", "embed"."""
    context: int = 0
    """The longest sequence, prompt and answer together, in tokens."""
    name: str = ""
    reads_apart: bool = False
    """Whether an answer has a context of its own (encoder-decoders), so that a prompt need leave no room for it."""
    adapters: Iterable[str] | None = None
    """The names that `Request.adapter` may have; None: there are none."""

    def _check_adapter(self, request: Request) -> None:
        """Raise EngineError for a request that names an adapter which is not here."""
        names = tuple(self.adapters or ())
        if request.adapter is not None and request.adapter not in names:
            told = f"there are: {', '.join(names)}" if names else "it has none"
            raise EngineError(f"This engine has no adapter '{request.adapter}'; {told}.")

    @property
    def spent(self) -> Spent | None:
        """What asking has used so far, in tokens and money; None where the engine does not count."""
        return None

    @abstractmethod
    def submit(self, request: Request) -> Stream:
        """Queue a request and return its stream at once. Raises ContextError, EngineBusy or EngineError."""

    def length(self, prompt: str | Sequence[Message]) -> int:
        """Return how many tokens a prompt (text or messages) has; engines that cannot count them say too many."""
        return most_tokens(prompt)

    def generate_batch(self, requests: Sequence[Request], *, batch_size: int = 32) -> list[Answer]:
        """Return the answers to all requests, in order; for work without a reader. Engines that can, compute them together."""
        answers = []
        for request in requests:
            stream = self.submit(request)
            text, reason = stream.text(), stream.finish_reason
            assert reason is not None
            answers.append(Answer(text, stream.prompt_tokens, stream.completion_tokens, reason, stream.truncated))
        return answers

    def score(
        self,
        pairs: Sequence[tuple[str | Sequence[int] | Sequence[Message], str]],
        *,
        kind: str = "causal",
        end: bool = False,
        truncate: bool = False,
    ) -> list[Scored]:
        """Return the log-likelihood of each continuation after its context (text, token ids or messages).

        end: the token that ends an answer counts as part of the continuation. truncate: drop the oldest tokens of what is too
        long, where the default is to raise ContextError.
        """
        raise self._cannot("score")

    def predict(self, task: str, inputs: Sequence[str]) -> list[Any]:
        """Return classes, tags or spans for each input."""
        raise self._cannot("predict")

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return a vector for each text: float32 [N, D], unit length."""
        raise self._cannot("embed")

    @abstractmethod
    def close(self) -> None:
        """Free the model; requests in progress fail with EngineError."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _cannot(self, what: str) -> EngineError:
        return EngineError(
            f"{self.name or type(self).__name__} cannot {what}; it can {', '.join(sorted(self.can)) or 'do nothing'}."
        )


class Backend(Component):
    """A way to run a model: fields say how, `open` gives the engine."""

    drawer: ClassVar[str] = "septet.infer.engines"
    local: ClassVar[bool] = True
    """Whether it runs the model of a folder; False where the model is elsewhere, and the weights are not on this machine."""

    @abstractmethod
    def open(self, folder: str | Path | None = None, *, device: str = "auto") -> Engine:
        """Load the model in `folder` (Hugging Face layout) and return a running engine. Raises SeptetError.

        folder None: for a backend whose model is not a folder of this machine; one that needs a folder refuses it.
        """


def most_tokens(prompt: str | Sequence[Message]) -> int:
    """Return a number of tokens that a prompt does not exceed: its UTF-8 bytes, and 16 for each turn's frame.

    A token of a byte-level vocabulary stands for one byte or more, so there are never more tokens than bytes.
    """
    if isinstance(prompt, str):
        return len(prompt.encode("utf-8", "replace")) + 1
    return 16 + sum(len(message["content"].encode("utf-8", "replace")) + 16 for message in prompt)


def open_engine(
    folder: str | Path | None = None, *, backend: str | Mapping[str, Any] | Backend = "torch", device: str = "auto"
) -> Engine:
    """Open an engine over a model's folder, or without one where the backend needs none.

    `backend` is a kind of the drawer, alone or with its fields.
    """
    return Backend.parse(backend).open(folder, device=device)
