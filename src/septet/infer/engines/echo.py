"""Repeats the last user message word by word: a real engine for tests and for trying a surface without a model.

It streams, stops, cancels and counts like any engine, from a thread of its own. A word with the space before it is a token.

What it is not: a model. It has no probabilities, so it cannot score.

    python -m pytest tests/infer/test_echo.py
"""

from __future__ import annotations

import re
import threading
from pathlib import Path

from pydantic import Field

from septet.infer.engine import Backend, ContextError, Engine, EngineError, Request, Stream
from septet.infer.sampling import Writer

__all__ = ["Echo", "EchoEngine"]


class EchoEngine(Engine):
    """The running echo."""

    can = frozenset({"generate"})
    name = "echo"

    def __init__(self, *, times: int = 1, context: int = 4096) -> None:
        self.context = context
        self._times = times
        self._closed = False

    def submit(self, request: Request) -> Stream:
        if self._closed:
            raise EngineError("The engine is closed.")
        if request.tokens is not None:
            raise EngineError("The echo engine reads text; send messages or a prompt, not token ids.")
        self._check_adapter(request)
        if request.messages is not None:
            said = [message["content"] for message in request.messages if message["role"] == "user"]
            words = _words(" ".join(message["content"] for message in request.messages))
            answer = _words(said[-1]) if said else []
        else:
            answer = words = _words(request.prompt or "")
        if len(words) >= self.context:
            raise ContextError(f"The prompt has {len(words)} words; this engine reads at most {self.context - 1}.")
        stream = Stream(prompt_tokens=len(words), timeout=request.timeout)
        room = self.context - len(words)
        threading.Thread(target=self._answer, args=(request, stream, answer, room), daemon=True).start()
        return stream

    def _answer(self, request: Request, stream: Stream, words: list[str], room: int) -> None:
        end = len(words)
        writer = Writer(
            request,
            decode=lambda ids: "".join(words[token] for token in ids),
            end_ids=frozenset({end}),
            room=room,
            emit=stream.put,
        )
        for _ in range(self._times if words else 0):
            for token in range(end):
                reason = stream.interrupted() or writer.push(token)
                stream.completion_tokens = writer.num_tokens
                if reason is not None:
                    stream.finish(reason)
                    return
        reason = writer.push(end)
        stream.completion_tokens = writer.num_tokens
        stream.finish(reason or "stop")

    def close(self) -> None:
        self._closed = True


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+|\s+$", text)


class Echo(Backend):
    """Repeat what the user said."""

    times: int = Field(default=1, ge=1)
    """How often to say it; large numbers make answers that only stop when told to."""
    context: int = Field(default=4096, ge=2)
    """The longest prompt and answer together, in words."""

    def open(self, folder: str | Path | None = None, *, device: str = "auto") -> EchoEngine:
        return EchoEngine(times=self.times, context=self.context)
