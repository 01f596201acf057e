"""The bounded queue, cancellation and closing, without HTTP.

python -m pytest tests/api/test_service.py
"""

from __future__ import annotations

import asyncio

import pytest
from toys.scripted import Endless, Held, Scripted

from septet.api.app import ChatRequest, Finish, Piece
from septet.api.errors import ApiError
from septet.api.service import Service


def request(text: str = "hi") -> ChatRequest:
    return ChatRequest(({"role": "user", "content": text},))


def test_events_come_in_order_and_first_loses_none() -> None:
    async def go() -> None:
        service = Service(Scripted())
        async with service.submit(request()) as reply:
            await reply.first(5)
            kinds = [type(event).__name__ for event in [event async for event in reply]]
        assert kinds == ["Found", "Piece", "Piece", "Piece", "Finish"]
        await service.close()

    asyncio.run(go())


def test_the_queue_has_an_end() -> None:
    async def go() -> None:
        held = Held()
        service = Service(Scripted(held), max_running=1, max_waiting=1)
        first, second = service.submit(request()), service.submit(request())
        with pytest.raises(ApiError, match="1 are being answered and 1 wait") as caught:
            service.submit(request())
        assert (caught.value.status, caught.value.headers["Retry-After"]) == (503, "2")
        held.go.set()
        for reply in (first, second):
            assert [event async for event in reply] == [Piece("late"), Finish()]
        await asyncio.sleep(0)
        service.submit(request()).cancel()
        await service.close()
        assert service.in_flight == 0

    asyncio.run(go())


def test_a_request_cancelled_while_it_waits_never_reaches_the_app() -> None:
    async def go() -> None:
        held = Held()
        app = Scripted(held)
        service = Service(app, max_running=1)
        first, second = service.submit(request("one")), service.submit(request("two"))
        second.cancel()
        held.go.set()
        assert [event async for event in first][-1] == Finish()
        assert [event async for event in second] == []
        assert [asked.question for asked in app.requests] == ["one"]
        await service.close()

    asyncio.run(go())


def test_closing_cuts_off_and_tells_the_reader() -> None:
    async def go() -> None:
        endless = Endless()
        app = Scripted(endless)
        service = Service(app)
        reply = service.submit(request())
        await reply.first(5)
        await service.close()
        assert endless.stopped.is_set()
        assert app.closed
        with pytest.raises(ApiError, match="cut off"):
            async for _ in reply:
                pass
        with pytest.raises(ApiError, match="shutting down"):
            service.submit(request())

    asyncio.run(go())


def test_an_app_that_fails_tells_the_reader() -> None:
    def script(request):
        yield Piece("a")
        raise KeyError("x")

    async def go() -> None:
        service = Service(Scripted(script))
        events = aiter(service.submit(request()))
        assert await anext(events) == Piece("a")
        with pytest.raises(KeyError):
            await anext(events)
        await service.close()

    asyncio.run(go())
