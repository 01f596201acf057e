"""The OpenAI interface: `/v1/models` and `/v1/chat/completions`, streaming and not.

Wire format as in OpenAI's API reference (Chat Completions). Parameters that would change the answer and that we cannot
honour are refused with 400 rather than ignored; hints that change nothing (`user`, `metadata`, ...) are accepted; names that
OpenAI does not document are refused with the nearest name. `message.septet` (in a stream `delta.septet`) carries citations,
parts and `grounded`; the plain `content` says the same as text.

What it is not: the assistants, responses or embeddings endpoints; tools, images, audio and `n > 1`.

    curl http://127.0.0.1:8765/v1/chat/completions -H 'Content-Type: application/json' \\
         -d '{"model": "assistant", "messages": [{"role": "user", "content": "How do I join two paths?"}]}'
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from septet.api.app import ChatRequest, Finish, ModelCard, Transcript, Working
from septet.api.errors import ApiError, as_api_error, body_of
from septet.api.service import Reply, Service
from septet.core.errors import nearest
from septet.infer.engine import Message

__all__ = ["ChatCompletionRequest", "router"]

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "frequency_penalty": (0,),
    "function_call": ("auto", "none"),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "n": (1,),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "tool_choice": ("auto", "none"),
    "tools": ([],),
    "top_logprobs": (0,),
    "web_search_options": (),
}
"""Documented parameters that we cannot honour, and the values at which they ask for nothing."""

HINTS = frozenset(
    {
        "metadata",
        "moderation",
        "parallel_tool_calls",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning_effort",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
        "verbosity",
    }
)
"""Documented parameters that may be ignored without changing what an answer means."""


def _sendable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(
            "the text holds half of a surrogate pair, which is no character; send valid Unicode."
        ) from None
    return text


Text = Annotated[str, AfterValidator(_sendable)]
Stop = Annotated[Text, Field(min_length=1)]
# an undiscriminated union would report the branch that was not meant, too
_TEXT_OR_LIST = Discriminator(lambda value: "list" if isinstance(value, list) else "str")


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class TextPart(_Body):
    """One part of a message's content; only text is understood."""

    type: Literal["text"]
    text: Text


class ChatMessage(_Body):
    """One turn of the conversation. "developer" is OpenAI's newer name for "system"."""

    model_config = ConfigDict(strict=True, extra="ignore")  # clients send back what we answered: refusal, septet, ...

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[Annotated[Text, Tag("str")] | Annotated[list[TextPart], Tag("list")], _TEXT_OR_LIST]

    def plain(self) -> Message:
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class StreamOptions(_Body):
    """include_usage: one more chunk with the token counts before the end. include_obfuscation is a hint."""

    include_usage: bool | None = False
    include_obfuscation: bool | None = None


class ChatCompletionRequest(_Body):
    """A request for `/v1/chat/completions`."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)

    model: Text
    messages: list[ChatMessage] = Field(min_length=1)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int | None = Field(None, ge=1, le=1_000_000)
    max_completion_tokens: int | None = Field(None, ge=1, le=1_000_000)
    stop: (
        Annotated[Annotated[Stop, Tag("str")] | Annotated[list[Stop], Field(max_length=4), Tag("list")], _TEXT_OR_LIST]
        | None
    ) = None
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)

    def check(self) -> None:
        """Raise ApiError for what the fields' types cannot say."""
        known = {*type(self).model_fields, *NEUTRAL, *HINTS}
        for name, value in (self.model_extra or {}).items():
            if name not in known:
                raise ApiError(
                    400, f"Unknown parameter '{name}'.{nearest(name, known)}", param=name, code="unknown_parameter"
                )
            if name in HINTS or value is None or any(value == neutral for neutral in NEUTRAL[name]):
                continue
            only = " or ".join(json.dumps(neutral) for neutral in NEUTRAL[name]) or "null"
            raise ApiError(
                400,
                f"'{name}' is not supported here: leave it out or send {only}.",
                param=name,
                code="unsupported_parameter",
            )
        if not any(message.role == "user" for message in self.messages):
            raise ApiError(
                400, "'messages' has no message with the role 'user', so there is nothing to answer.", param="messages"
            )
        question = next(message for message in reversed(self.messages) if message.role == "user")
        if not question.plain()["content"].strip():
            raise ApiError(400, "The last user message is empty, so there is nothing to answer.", param="messages")
        if self.stream_options is not None and not self.stream:
            raise ApiError(400, "'stream_options' goes with 'stream': true only.", param="stream_options")

    def request(self) -> ChatRequest:
        stop = () if self.stop is None else (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        return ChatRequest(
            messages=tuple(message.plain() for message in self.messages),
            model=self.model,
            max_tokens=self.max_completion_tokens or self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            stop=stop,
        )


def router(service: Service) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["openai"])

    @routes.get("/models", summary="The models that requests may name")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [_model(card) for card in service.app.models()]}

    @routes.get("/models/{id:path}", summary="One model")
    async def model(id: str) -> dict[str, Any]:
        return _model(_card(service, id))

    @routes.post("/chat/completions", summary="Continue a conversation", response_model=None)
    async def chat_completions(body: ChatCompletionRequest, request: Request) -> Response:
        card = _card(service, body.model)
        body.check()
        head = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": card.id,
            "system_fingerprint": f"septet-{card.fingerprint}",
        }
        reply = service.submit(body.request())
        if body.stream:
            usage = bool(body.stream_options and body.stream_options.include_usage)
            return EventStream(reply, head, with_usage=usage)
        try:
            async with _while_connected(request, reply):
                return JSONResponse(await _whole(reply, head))
        finally:
            reply.cancel()

    return routes


def _model(card: ModelCard) -> dict[str, Any]:
    return {"id": card.id, "object": "model", "created": card.created, "owned_by": card.owned_by}


def _card(service: Service, id: str) -> ModelCard:
    cards = {card.id: card for card in service.app.models()}
    if id not in cards:
        raise ApiError(
            404, f"The model '{id}' is not served here.{nearest(id, cards)}", param="model", code="model_not_found"
        )
    return cards[id]


def _usage(finish: Finish) -> dict[str, int]:
    return {**asdict(finish.usage), "total_tokens": finish.usage.total_tokens}


async def _whole(reply: Reply, head: dict[str, Any]) -> dict[str, Any]:
    transcript = Transcript()
    async for event in reply:
        transcript.add(event)
    if transcript.finish is None:
        raise ApiError(503, "The answer was cut off.", code="cancelled")
    message = {
        "role": "assistant",
        "content": transcript.text,
        "refusal": None,
        "annotations": [],
        "septet": transcript.extra(),
    }
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _reason(transcript.finish)}
    return {**head, "object": "chat.completion", "choices": [choice], "usage": _usage(transcript.finish)}


def _reason(finish: Finish) -> str:
    # OpenAI has no word for "out of time"; like "length" it means that the answer is not complete
    return "length" if finish.reason in ("length", "deadline") else "stop"


@contextlib.asynccontextmanager
async def _while_connected(request: Request, reply: Reply) -> AsyncIterator[None]:
    """Cancel the reply when the client goes away; the body has been read, so the next message can only say that."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        reply.abort(ApiError(499, "The client closed the connection.", code="client_closed"))

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()


class EventStream(Response):
    """Server-sent events for one reply. Failures before the first event become a status, later ones an event."""

    media_type = "text/event-stream"
    patience = 1.0
    """Seconds to wait for the first event before the status 200 is sent."""
    silence = 10.0
    """Seconds without an event after which a comment keeps the connection open."""

    def __init__(self, reply: Reply, head: dict[str, Any], *, with_usage: bool) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self.reply, self.head, self.with_usage = reply, head, with_usage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                with contextlib.suppress(ClientDisconnect, OSError):
                    await sending
        finally:
            self.reply.cancel()
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send(self, send: Send) -> None:
        # a failure raised here is still an answer of its own: the exception handlers see it before any byte is sent
        await self.reply.first(self.patience)
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for text in self._lines():
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _lines(self) -> AsyncIterator[str]:
        transcript = Transcript()
        yield self._chunk({"role": "assistant", "content": ""})
        try:
            events = aiter(self.reply)
            while True:
                pending = asyncio.ensure_future(anext(events, None))
                while not (await asyncio.wait({pending}, timeout=self.silence))[0]:
                    yield ": waiting\n\n"
                event = pending.result()
                if event is None:
                    break
                if isinstance(event, Working):  # a comment: clients skip it, and the connection stays open
                    yield f": {' '.join(event.text.split())}\n\n"
                    continue
                added = transcript.add(event)
                delta: dict[str, Any] = {"content": added.text} if added.text else {}
                if added.extra:
                    delta["septet"] = added.extra
                if delta:
                    yield self._chunk(delta)
            if transcript.finish is None:
                raise ApiError(503, "The answer was cut off.", code="cancelled")
            yield self._chunk({}, finish=_reason(transcript.finish))
            if self.with_usage:
                yield _data({**self._common(), "choices": [], "usage": _usage(transcript.finish)})
        except Exception as error:  # HTTP is at 200 already, so the failure travels as an event
            yield _data(body_of(as_api_error(error)))
        yield "data: [DONE]\n\n"

    def _common(self) -> dict[str, Any]:
        return {**self.head, "object": "chat.completion.chunk"}

    def _chunk(self, delta: dict[str, Any], *, finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        usage = {"usage": None} if self.with_usage else {}
        return _data({**self._common(), "choices": [choice], **usage})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _data(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(',', ':'))}\n\n"
