"""Streams, from threads and from an event loop, over the echo engine."""

import asyncio
import threading

import pytest

from septet.infer.engine import ContextError, EngineError, Request, Stream, Usage, open_engine
from septet.infer.engines.echo import EchoEngine

SAY = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello  there, world"}]


@pytest.fixture
def engine():
    with open_engine("", backend="echo") as found:
        yield found


def test_it_repeats_the_last_user_message_piece_by_piece(engine):
    stream = engine.submit(Request(messages=SAY))
    assert list(stream) == ["hello", "  there,", " world"]
    assert (stream.finish_reason, stream.usage) == ("stop", Usage(5, 4))
    assert list(stream) == ["hello", "  there,", " world"], "a second reader sees all of it"


def test_prompt_stop_and_length(engine):
    stream = engine.submit(Request(prompt="a b c d", stop=" c"))
    assert stream.text() == "a b"
    assert stream.finish_reason == "stop"
    stream = engine.submit(Request(prompt="a b c d", max_tokens=2))
    assert (stream.text(), stream.finish_reason) == ("a b", "length")


def test_async_reading(engine):
    async def read():
        stream = engine.submit(Request(messages=SAY))
        return [part async for part in stream], await engine.submit(Request(prompt="x y")).atext()

    assert asyncio.run(read()) == (["hello", "  there,", " world"], "x y")


def test_cancelling_and_leaving_early_end_an_endless_answer():
    engine = EchoEngine(times=10**9, context=10**9)
    stream = engine.submit(Request(prompt="round", max_tokens=10**9))
    for count, _ in enumerate(stream):
        if count == 3:
            stream.cancel()
    assert stream.finish_reason == "cancelled"

    left = engine.submit(Request(prompt="round", max_tokens=10**9))
    for _ in left:
        break
    assert "".join(left).startswith("round")
    assert left.finish_reason == "cancelled"


def test_a_cancelled_task_cancels_the_request():
    engine = EchoEngine(times=10**9, context=10**9)
    stream = engine.submit(Request(prompt="round", max_tokens=10**9))

    async def client():
        async def read():
            async for _ in stream:
                started.set()
                await asyncio.sleep(0)

        started = asyncio.Event()
        task = asyncio.create_task(read())
        await started.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(client())
    stream.text()
    assert stream.finish_reason == "cancelled"


def test_deadline():
    stream = EchoEngine(times=10**9, context=10**9).submit(Request(prompt="round", max_tokens=10**9, timeout=0.02))
    assert stream.text().startswith("round")
    assert stream.finish_reason == "deadline"


def test_an_error_reaches_every_reader_after_the_text():
    stream = Stream()

    def produce():
        stream.put("before")
        stream.fail(EngineError("it broke"))

    threading.Thread(target=produce).start()
    seen = []
    with pytest.raises(EngineError, match="it broke"):
        seen.extend(stream)
    assert seen == ["before"]

    async def read():
        return [part async for part in stream]

    with pytest.raises(EngineError, match="it broke"):
        asyncio.run(read())


def test_what_it_cannot_do_it_says(engine):
    with pytest.raises(EngineError, match="echo cannot score; it can generate"):
        engine.score([("a", "b")])
    with pytest.raises(EngineError, match="cannot embed"):
        engine.embed(["a"])
    with pytest.raises(ContextError, match="reads at most 1"):
        EchoEngine(context=2).submit(Request(prompt="a b c"))
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.submit(Request(prompt="a"))


def test_batches_keep_the_order(engine):
    answers = engine.generate_batch([Request(prompt="a b"), Request(prompt="c", max_tokens=1)])
    assert [(a.text, a.finish_reason) for a in answers] == [("a b", "stop"), ("c", "length")]


def test_an_unknown_backend_offers_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'echo'"):
        open_engine("", backend="ecco")


def test_an_adapter_is_not_passed_over_in_silence():
    with EchoEngine() as engine, pytest.raises(EngineError, match="no adapter 'legal'; it has none"):
        engine.submit(Request(prompt="a", adapter="legal"))
