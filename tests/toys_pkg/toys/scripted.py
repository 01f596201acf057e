"""A running app that does what its test says, a real server round it, and nothing else."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from fastapi import FastAPI

from septet.api.app import About, ChatRequest, Event, Finish, Found, ModelCard, Piece, RunningApp
from septet.api.server import Server, build, listen
from septet.infer.engine import Usage
from septet.retrieval.answer import Citation

JOIN = Citation(1, "os.path.join", "posixpath.py", 71, 0.83, "Join two or more pathname components.")


def answer(request: ChatRequest) -> Iterator[Event]:
    """Words, a quotation and a source for every question."""
    yield Found((JOIN,), grounded=True)
    for word in ("You asked: ", request.question):
        yield Piece(word)
    yield Piece(JOIN.quote, "quote", 1)
    yield Finish("stop", Usage(7, 3))


class Scripted(RunningApp):
    """`script` writes the answers; `requests` are those that came."""

    def __init__(self, script: Callable[[ChatRequest], Iterator[Event]] = answer) -> None:
        self.script, self.requests, self.closed, self.is_ready = script, [], False, True

    def about(self) -> About:
        return About("Scripted", "Answers as told.", ("What is this?",))

    def models(self) -> tuple[ModelCard, ...]:
        return (ModelCard("assistant", 1_700_000_000, "abc123"),)

    def chat(self, request: ChatRequest) -> Iterator[Event]:
        self.requests.append(request)
        return self.script(request)

    def ready(self) -> bool:
        return self.is_ready

    def close(self) -> None:
        self.closed = True


class Endless:
    """A script that writes words until it is cancelled; events tell the test where it is."""

    def __init__(self) -> None:
        self.started, self.stopped = threading.Event(), threading.Event()

    def __call__(self, request: ChatRequest) -> Iterator[Event]:
        cancelled = threading.Event()
        request.cancel.then(cancelled.set)
        self.started.set()
        try:
            while not cancelled.wait(0.01):
                yield Piece("word ")
            yield Finish("cancelled", Usage(1, 1))
        finally:
            self.stopped.set()


class Held:
    """A script that answers only after the test lets it."""

    def __init__(self) -> None:
        self.started, self.go = threading.Event(), threading.Event()

    def __call__(self, request: ChatRequest) -> Iterator[Event]:
        self.started.set()
        request.cancel.then(self.go.set)
        assert self.go.wait(10)
        yield Piece("late")
        yield Finish()


@contextlib.contextmanager
def serving(web: FastAPI | RunningApp, **limits) -> Iterator[tuple[str, Server]]:
    """A server on a free port of loopback, in a thread; yields its address."""
    web = web if isinstance(web, FastAPI) else build(web, **limits)
    with listen(port=0) as listening:
        server = Server(web, grace=5)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            assert server.ready.wait(10)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", server
        finally:
            server.stop()
            server.stop()
            thread.join(15)
            assert not thread.is_alive()
