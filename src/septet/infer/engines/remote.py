"""Asks a model behind an OpenAI-compatible address: no weights here, only its words.

`messages` go to `/chat/completions`, a `prompt` or token ids to `/completions`, `embed` to `/embeddings`. Answers can be kept in a
folder (`cache`), so that a second run asks nobody; tokens and money are added up in `engine.spent`, and a `budget` is never passed.
The key stays in the environment: a recipe names only the variable.

    backend: {kind: remote, url: "https://api.openai.com/v1", model: gpt-4.1-mini, cache: answers}

Log-likelihoods (`score`) need `/completions` with `echo` and `logprobs`, as vLLM has it; OpenAI's and Septet's own servers do not.
The continuation's tokens are those of the whole text, where the torch engine encodes the two parts apart: the first token of a
continuation may differ where a word goes on.

What it is not: a client for tools, images or several choices; nor a judge of what an address may be trusted with.

    python -m pytest tests/infer/test_remote.py
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections import Counter
from collections.abc import Coroutine, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import astuple
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar

import httpx
import numpy as np
from pydantic import Field, field_validator, model_validator

from septet.core.errors import SeptetError
from septet.core.offline import is_loopback
from septet.infer.answers import read_json, read_scores, read_stream, read_vectors, read_whole
from septet.infer.engine import (
    Answer,
    Backend,
    Engine,
    EngineError,
    Finish,
    Message,
    Request,
    Scored,
    Stream,
    Usage,
    most_tokens,
)
from septet.infer.http import Address
from septet.infer.replay import Replay
from septet.infer.spending import Pace, Purse, Spent

__all__ = ["Remote", "RemoteEngine"]

T = TypeVar("T")

EMBED_TOGETHER = 64
"""Texts of one request for vectors."""
BYTES_OF_A_TOKEN = 2
"""For `length`, which decides how many examples a prompt has room for: few texts have shorter tokens, English has about four."""


class RemoteStream(Stream):
    """A stream whose `cancel` closes the connection."""

    future: Future[Any] | None = None

    def cancel(self) -> None:
        super().cancel()
        if not self._done and self.future is not None:
            self.future.cancel()

    def end(self, reason: Finish) -> None:
        """Finish, unless the stream has ended in another way."""
        if not self._done:
            self.finish(reason)

    def lose(self, error: BaseException) -> None:
        """Fail, unless the stream has ended in another way."""
        if not self._done:
            self.fail(error)


class RemoteEngine(Engine):
    """An open connection to an address. See `Remote` for its settings; `spent` says what it has used."""

    def __init__(self, settings: Remote, key: str | None) -> None:
        self.name, self.context = settings.model, settings.context
        self.can = frozenset(settings.offers)
        self._settings = settings
        self._replay = Replay(settings.cache)
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._streams: set[RemoteStream] = set()
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"septet-remote-{self.name}", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(settings, key), self._loop).result()

    async def _open(self, settings: Remote, key: str | None) -> None:
        prices = None if settings.price_in is None else (settings.price_in, settings.price_out or 0.0)
        self._purse = Purse(prices, settings.budget)
        self._address = Address(
            settings.url,
            key=key,
            key_name=settings.key_variable,
            timeout=settings.timeout,
            retries=settings.retries,
            concurrency=settings.concurrency,
            purse=self._purse,
            pace=Pace(settings.requests_per_minute, settings.tokens_per_minute),
        )
        self._places = asyncio.Semaphore(settings.concurrency)

    @property
    def spent(self) -> Spent:
        return self._purse.spent

    def length(self, prompt: str | Sequence[Message]) -> int:
        return -(-most_tokens(prompt) // BYTES_OF_A_TOKEN)

    # -- generation ---------------------------------------------------------------------------------------------------

    def submit(self, request: Request) -> RemoteStream:
        path, body, asked = self._body(request)
        stream = RemoteStream(timeout=request.timeout)
        with self._lock:
            self._check_open()
            self._streams.add(stream)
            stream.future = asyncio.run_coroutine_threadsafe(
                self._serve(request, stream, path, body, asked), self._loop
            )
        stream.future.add_done_callback(lambda _: self._ended(stream))
        return stream

    def _ended(self, stream: RemoteStream) -> None:
        stream.end("cancelled")  # cancelled before the work began; else it has ended already
        with self._lock:
            self._streams.discard(stream)

    async def _serve(
        self, request: Request, stream: RemoteStream, path: str, body: dict[str, Any], asked: dict[str, Any]
    ) -> None:
        try:
            async with asyncio.timeout(request.timeout):
                found = await self._answer(request, path, body, asked, stream if self._settings.streaming else None)
            if not stream.completion_tokens:
                stream.put(found.text)
            stream.prompt_tokens, stream.completion_tokens = found.prompt_tokens, found.completion_tokens
            stream.end(found.finish_reason)
        except TimeoutError:
            stream.end("deadline")
        except asyncio.CancelledError:
            stream.end("cancelled")
            raise
        except SeptetError as error:
            stream.lose(error)
        except Exception as error:  # the edge of the loop: whoever reads this stream gets it
            failure = EngineError(f"{path} failed on this request: {type(error).__name__}: {error}")
            failure.__cause__ = error
            stream.lose(failure)

    def generate_batch(self, requests: Sequence[Request], *, batch_size: int = 32) -> list[Answer]:
        """Return the answers to all requests, in order; at most `concurrency` are asked at a time, whatever `batch_size` says."""

        async def one(request: Request, path: str, body: dict[str, Any], asked: dict[str, Any]) -> Answer:
            try:
                async with asyncio.timeout(request.timeout):
                    return await self._answer(request, path, body, asked, None)
            except TimeoutError:
                return Answer("", 0, 0, "deadline")

        return self._all([one(request, *self._body(request)) for request in requests])

    async def _answer(
        self, request: Request, path: str, body: dict[str, Any], asked: dict[str, Any], stream: RemoteStream | None
    ) -> Answer:
        chat = path == "/chat/completions"
        tokens = most_tokens(request.messages or request.prompt or "") + len(request.tokens or ())
        if stream is not None:
            body = {**body, "stream": True, "stream_options": {"include_usage": True}}

        async def read(response: httpx.Response) -> tuple[Answer, Usage | None]:
            # some servers answer whole though a stream was asked for
            if stream is None or response.headers.get("content-type", "").startswith("application/json"):
                return read_whole(await read_json(response), chat)
            return await read_stream(response, stream, chat)

        async with self._places:
            kept = self._kept(asked)
            if kept is not None:
                return Answer(*kept)
            answer = await self._address.post(path, body, most=Usage(tokens, request.max_tokens), read=read)
            self._replay.put(asked, astuple(answer))
        return answer

    def _kept(self, asked: dict[str, Any]) -> Any:
        kept = self._replay.get(asked)
        if kept is not None:
            self._purse.count("replayed")
        return kept

    def _body(self, request: Request) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """Return path and body, and what the answer is kept under."""
        if request.truncate:
            raise EngineError(
                "truncate=True drops the oldest tokens of a prompt, and a remote model's tokens are not known here. "
                "Shorten the prompt instead."
            )
        if request.adapter is not None:
            raise EngineError(f"An address has models, not adapters: name '{request.adapter}' as its `model`.")
        settings = self._settings
        body: dict[str, Any] = {"model": settings.model}
        if request.messages is not None:
            path, body["messages"] = "/chat/completions", [dict(message) for message in request.messages]
        else:
            path = "/completions"
            body["prompt"] = request.prompt if request.prompt is not None else [int(id) for id in request.tokens or ()]
        length = settings.length_parameter if request.messages is not None else "max_tokens"
        body |= {length: request.max_tokens, "temperature": request.temperature, "top_p": request.top_p}
        # the rest only where it is asked for: not every server knows it, and those that do not will say so
        if request.top_k:
            body["top_k"] = request.top_k
        if request.repetition_penalty != 1.0:
            body["repetition_penalty"] = request.repetition_penalty
        if request.seed is not None:
            body["seed"] = request.seed
        if request.stop:
            body["stop"] = list(request.stop)
        body |= settings.extra
        body = {name: value for name, value in body.items() if value is not None}
        asked = {"url": settings.url + path, "body": body}
        if body.get("temperature", 1.0) and request.seed is None:
            # a sample: asked for twice, it is two samples; a second run gets the same two
            with self._lock:
                name = json.dumps(asked, sort_keys=True)
                self._asked[name] += 1
                asked = {**asked, "sample": self._asked[name]}
        return path, body, asked

    # -- scores and vectors -------------------------------------------------------------------------------------------

    def score(
        self,
        pairs: Sequence[tuple[str | Sequence[int] | Sequence[Message], str]],
        *,
        kind: str = "causal",
        end: bool = False,
        truncate: bool = False,
    ) -> list[Scored]:
        if "score" not in self.can:
            raise self._cannot("score")
        if kind != "causal" or end or truncate:
            raise EngineError(
                "A remote model scores plain continuations only: kind='causal', end=False, truncate=False."
            )
        for context, _ in pairs:
            if not isinstance(context, str) or not context:
                raise EngineError(
                    "A remote model scores after a context of text that is not empty; how its server renders messages is not "
                    "known here."
                )
        return self._all([self._score(str(context), said) for context, said in pairs])

    async def _score(self, context: str, said: str) -> Scored:
        text = context + said
        body = {"model": self.name, "prompt": text, "max_tokens": 1, "temperature": 0.0, "echo": True, "logprobs": 1}
        asked = {"url": f"{self._settings.url}/completions", "body": body, "from": len(context)}

        async def read(response: httpx.Response) -> tuple[Scored, Usage | None]:
            return read_scores(await read_json(response), text, len(context))

        async with self._places:
            kept = self._kept(asked)
            if kept is not None:
                return Scored(*kept)
            scored = await self._address.post("/completions", body, most=Usage(most_tokens(text), 1), read=read)
            self._replay.put(asked, astuple(scored))
        return scored

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        if "embed" not in self.can:
            raise self._cannot("embed")
        path = "/embeddings"

        def asked(text: str) -> dict[str, Any]:
            return {"url": self._settings.url + path, "body": {"model": self.name, "input": text}}

        async def part(missing: list[str]) -> None:
            async def read(response: httpx.Response) -> tuple[list[list[float]], Usage | None]:
                return read_vectors(await read_json(response), len(missing))

            body = {"model": self.name, "input": missing, "encoding_format": "float"}
            most = Usage(sum(map(most_tokens, missing)), 0)
            async with self._places:
                vectors = await self._address.post(path, body, most=most, read=read)
            for text, vector in zip(missing, vectors, strict=True):
                found[text] = vector
                self._replay.put(asked(text), vector)

        async def look(text: str) -> None:
            kept = self._kept(asked(text))
            if kept is not None:
                found[text] = kept

        found: dict[str, list[float]] = {}
        wanted = list(dict.fromkeys(texts))
        self._all([look(text) for text in wanted])
        missing = [text for text in wanted if text not in found]
        self._all([part(missing[at : at + EMBED_TOGETHER]) for at in range(0, len(missing), EMBED_TOGETHER)])
        sizes = {len(vector) for vector in found.values()} or {0}
        if len(sizes) > 1:
            raise EngineError(f"{self._settings.url}{path} gave vectors of different lengths: {sorted(sizes)}.")
        vectors_ND = np.array([found[text] for text in texts], dtype=np.float32).reshape(len(texts), *sizes)
        return vectors_ND / np.maximum(np.linalg.norm(vectors_ND, axis=-1, keepdims=True), 1e-12)

    # -- the loop -----------------------------------------------------------------------------------------------------

    def _all(self, work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
        """Run coroutines in the loop and return what they give, in order; the first failure ends the others."""

        async def together() -> list[T]:
            tasks: list[asyncio.Task[T]] = []
            try:
                async with asyncio.TaskGroup() as group:
                    tasks += [group.create_task(one) for one in work]
            except BaseExceptionGroup as several:
                raise several.exceptions[0] from None
            return [task.result() for task in tasks]

        with self._lock:
            if self._closed:
                for one in work:
                    one.close()
            self._check_open()
            future = asyncio.run_coroutine_threadsafe(together(), self._loop)
        try:
            return future.result()
        except CancelledError:
            raise EngineError("The engine was closed before the answers were complete.") from None
        finally:
            future.cancel()  # no effect on what is done; Ctrl-C ends what is going on

    def _check_open(self) -> None:
        if self._closed:
            raise EngineError("The engine is closed.")

    def close(self) -> None:
        with self._lock:
            already, self._closed = self._closed, True
            streams = list(self._streams)
        if already:
            return
        for stream in streams:
            stream.lose(EngineError("The engine was closed before the answer was complete."))
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._address.close()


class Remote(Backend):
    """Ask a model behind an OpenAI-compatible address."""

    local: ClassVar[bool] = False

    url: str
    """The address up to `/v1`, such as https://api.openai.com/v1 or http://127.0.0.1:8765/v1."""
    model: str = Field(min_length=1)
    """The name that the address knows the model by."""
    key_variable: str = Field(default="OPENAI_API_KEY", pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")
    """The environment variable that holds the key, never the key itself; empty, or a variable that is not set: no key is sent."""
    offers: tuple[Literal["generate", "score", "embed"], ...] = ("generate",)
    """What the address can: write; give log-probabilities of a prompt (`/completions` with echo); make vectors."""
    context: int = Field(default=8192, ge=2)
    """The longest prompt and answer together, in tokens; the address is not asked for it."""
    streaming: bool = True
    """Words arrive while they are made, for whoever reads them one by one; false where the address cannot."""
    length_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the address calls the longest answer in a chat; OpenAI's reasoning models know only the second."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """More parameters for every request that generates, as they are sent; null takes one of ours out."""
    timeout: float = Field(default=60.0, gt=0)
    """Seconds to wait for a connection, and for each next piece of an answer."""
    retries: int = Field(default=4, ge=0, le=20)
    """Attempts after the first, with growing waits."""
    concurrency: int = Field(default=8, ge=1, le=1024)
    """Requests on their way at a time."""
    requests_per_minute: int | None = Field(default=None, ge=1)
    """At most so many requests in any minute; None: no limit of ours."""
    tokens_per_minute: int | None = Field(default=None, ge=1)
    """At most so many tokens, read and written, in any minute; None: no limit of ours."""
    price_in: float | None = Field(default=None, ge=0)
    """Money for a million tokens read; None: cost is not counted."""
    price_out: float | None = Field(default=None, ge=0)
    """Money for a million tokens written."""
    budget: float | None = Field(default=None, gt=0)
    """The most that one opened engine may spend, in the currency of the prices; what could pass it is not sent."""
    cache: str | None = None
    """A folder where answers are kept: asked again, they come from there, without the network and without cost."""

    @field_validator("url")
    @classmethod
    def _plain_url(cls, value: str) -> str:
        try:
            url = httpx.URL(value)
        except (httpx.InvalidURL, UnicodeError):
            raise ValueError(f"'{value}' is not an address; expected one such as https://host/v1.") from None
        # not repeated in the message: these are where people put keys
        if url.userinfo or url.query or url.fragment:
            raise ValueError(
                "the address holds a user, a query or a fragment; put the key into the variable that `key_variable` names."
            )
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError(f"'{value}' is not an address; expected one such as https://host/v1.")
        return value.rstrip("/")

    @field_validator("extra")
    @classmethod
    def _no_frame(cls, value: dict[str, Any]) -> dict[str, Any]:
        taken = sorted({"model", "messages", "prompt", "stream", "stream_options", "n"} & set(value))
        if taken:
            raise ValueError(f"{', '.join(taken)} cannot be set here; the engine sets it for each request.")
        return value

    @model_validator(mode="after")
    def _whole_prices(self) -> Self:
        if (self.price_in is None) != (self.price_out is None):
            raise ValueError("price_in and price_out go together; give both, or neither.")
        if self.budget is not None and self.price_in is None:
            raise ValueError("a budget needs price_in and price_out; without them nothing is known to cost anything.")
        return self

    def open(self, folder: str | Path | None = None, *, device: str = "auto") -> RemoteEngine:
        """Return the engine; nothing is asked yet. Raises EngineError for a folder, or a key that must not be sent."""
        if folder is not None:
            raise EngineError(f"A remote model has no folder, but {folder} was given; it would not be what answers.")
        key = os.environ.get(self.key_variable, "").strip() if self.key_variable else ""
        if key and not (key.isascii() and key.isprintable() and " " not in key):
            raise EngineError(f"The environment variable {self.key_variable} holds characters that no key has.")
        url = httpx.URL(self.url)
        if key and url.scheme == "http" and not is_loopback(url.host):
            raise EngineError(
                f"{self.url} would get the key of {self.key_variable} unencrypted. Use https, or `key_variable: ''` to send none."
            )
        return RemoteEngine(self, key or None)
