"""The service: one running app behind a bounded queue, with cancellation and draining.

The routes and the page both ask here, so that a limit holds for all of them together. `submit` admits a request or refuses it at
once (ApiError 503 with Retry-After); the returned `Reply` is read with `async for` and must be closed, which also cancels what
is still going on. The app works in a thread; nothing here blocks the event loop.

What it is not: a scheduler of tokens; batching is the engine's business.

    python -m pytest tests/api/test_service.py
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from septet.api.app import ChatRequest, Event, Finish, RunningApp
from septet.api.errors import ApiError

__all__ = ["Reply", "Service"]


class Service:
    """A running app, the requests that it is answering and those that wait.

    max_running: answers in progress at a time. max_waiting: admitted requests that wait for one of those places.
    """

    def __init__(self, app: RunningApp, *, max_running: int = 2, max_waiting: int = 16) -> None:
        self.app = app
        self.max_running, self.max_waiting = max_running, max_waiting
        self.draining = False
        self._replies: set[Reply] = set()
        self._threads = ThreadPoolExecutor(max_running, thread_name_prefix="septet-chat")

    @property
    def in_flight(self) -> int:
        """Requests admitted and not finished, waiting ones included."""
        return len(self._replies)

    def ready(self) -> bool:
        return not self.draining and self.app.ready()

    def submit(self, request: ChatRequest) -> Reply:
        """Admit a request. Raises ApiError 503 while draining or when too many wait already."""
        if self.draining:
            raise ApiError(
                503,
                "The server is shutting down and takes no new requests. Try again in a moment.",
                code="shutting_down",
                headers={"Retry-After": "2", "Connection": "close"},
            )
        if self.in_flight >= self.max_running + self.max_waiting:
            raise ApiError(
                503,
                f"Too many requests: {self.max_running} are being answered and {self.max_waiting} wait. Try again in a moment.",
                code="queue_full",
                headers={"Retry-After": "2"},
            )
        reply = Reply(self, request)
        self._replies.add(reply)
        reply.start(self._threads)
        return reply

    def drain(self) -> None:
        """Refuse new requests from now on; those in flight go on."""
        self.draining = True

    def cancel_all(self) -> None:
        """Stop what is still in flight; its readers get an error that says so."""
        for reply in list(self._replies):
            reply.abort(ApiError(503, "The server is shutting down; this answer was cut off.", code="shutting_down"))

    async def close(self) -> None:
        """Cancel everything, wait for the threads, and let the app go."""
        self.drain()
        self.cancel_all()
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)
        self.app.close()

    def _done(self, reply: Reply) -> None:
        self._replies.discard(reply)


class Reply:
    """An admitted request's answer: `async with service.submit(...) as reply: async for event in reply`."""

    def __init__(self, service: Service, request: ChatRequest) -> None:
        self.request = request
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event | BaseException | None] = asyncio.Queue()
        self._ahead: deque[Event | None] = deque()
        self._ended = False

    def start(self, threads: ThreadPoolExecutor) -> None:
        future = threads.submit(self._work)
        # also reached when the pool was shut down before the work began
        future.add_done_callback(lambda _: self._tell(self._end))

    def cancel(self) -> None:
        """Stop the generation as soon as it can be stopped; safe to call at any time and more than once."""
        self.request.cancel()

    def abort(self, error: ApiError) -> None:
        """Cancel, and let the reader see `error`."""
        self._events.put_nowait(error)
        self.cancel()

    async def first(self, timeout: float) -> None:
        """Wait until the first event is there, at most `timeout` seconds; raises the failure if that came first.

        It lets a route answer a refused request with a status instead of an error inside a stream.
        """
        with contextlib.suppress(TimeoutError):
            event = await asyncio.wait_for(self._events.get(), timeout)
            if isinstance(event, BaseException):
                raise event
            self._ahead.append(event)

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            event = self._ahead.popleft() if self._ahead else await self._events.get()
            if event is None:
                return
            if isinstance(event, BaseException):
                raise event
            yield event
            if isinstance(event, Finish):
                return

    async def __aenter__(self) -> Reply:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    # -- in the thread ----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        if self.request.cancel.is_set():
            return
        events: Iterator[Event] = self._service.app.chat(self.request)
        try:
            for event in events:
                self._tell(self._events.put_nowait, event)  # once cancelled, the app itself ends with a Finish
        except Exception as error:  # the edge between the app's thread and the reader, who decides what it means
            self._tell(self._events.put_nowait, error)
        finally:
            close = getattr(events, "close", None)
            if close is not None:
                close()

    def _tell(self, call: Callable[..., object], *args: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone: nobody is left to tell
            self._loop.call_soon_threadsafe(call, *args)

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._events.put_nowait(None)
            self._service._done(self)
