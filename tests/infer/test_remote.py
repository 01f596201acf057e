"""The remote engine against Septet's own server, and against a server that does everything wrong.

python -m pytest tests/infer/test_remote.py
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import logging
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.infer.faulty import Faulty, Reply, Seen, delta, event, faulty, whole
from tiny_chat import save_model, tiny_module, tiny_tokenizer
from toys.scripted import Endless, Scripted, serving

from septet.api.apps.assistant import Assistant, RunningAssistant
from septet.core.artifact import MANIFEST, Artifact
from septet.core.errors import ComponentError, OfflineError
from septet.infer import http
from septet.infer.engine import (
    Backend,
    ContextError,
    EngineBusy,
    EngineError,
    Request,
    Usage,
    open_engine,
)
from septet.infer.engines.echo import EchoEngine
from septet.infer.engines.remote import Remote, RemoteEngine
from septet.infer.engines.torch import TorchEngine
from septet.infer.spending import BudgetError, Pace, Spent

ASK = [{"role": "user", "content": "hello there, world"}]
KEY = "sk-this-is-a-secret"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "FIRST_WAIT", 0.01)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def remote(server: Faulty, **fields: Any) -> RemoteEngine:
    return Remote(url=server.url, model="m", **{"timeout": 5.0, **fields}).open()


def chat(**fields: Any) -> Request:
    return Request(messages=ASK, **fields)


# -- Septet's own server ----------------------------------------------------------------------------------------------


def own(engine: Any, folder: Path) -> RunningAssistant:
    folder.mkdir(exist_ok=True)
    (folder / MANIFEST).write_text("{}")
    part = Artifact(id="a" * 32, kind="model", inputs={}, step={}, path=folder)
    return RunningAssistant(Assistant.model_validate({"model": "m"}), engine, None, (part,))


def test_the_projects_own_server_streamed_whole_and_in_a_batch(tmp_path: Path) -> None:
    with serving(own(EchoEngine(), tmp_path), max_waiting=64) as (address, _):
        backend = {"kind": "remote", "url": f"{address}/v1", "model": "assistant"}
        with open_engine(backend=backend) as engine:
            stream = engine.submit(chat())
            assert list(stream) == ["hello", " there,", " world"], "word by word"
            assert (stream.finish_reason, stream.usage) == ("stop", Usage(3, 4))
            short = engine.submit(chat(max_tokens=2))
            assert (short.text(), short.finish_reason, short.usage) == ("hello there,", "length", Usage(3, 2))
            asked = [[{"role": "user", "content": f"number {n}"}] for n in range(20)]
            answers = engine.generate_batch([Request(messages=messages) for messages in asked])
            assert [answer.text for answer in answers] == [f"number {n}" for n in range(20)]
            assert asyncio.run(engine.submit(chat()).atext()) == "hello there, world"
            assert isinstance(engine, RemoteEngine)
            assert (engine.spent.requests, engine.spent.estimated, engine.spent.cost) == (23, 0, None)
            assert engine.spent.prompt_tokens == 3 * 3 + 20 * 2
            with pytest.raises(EngineError, match=r"/v1/completions failed on request \d+: status 404"):
                engine.submit(Request(prompt="no such route")).text()
            with pytest.raises(EngineError, match="cannot score; it can generate"):
                engine.score([("a", "b")])
        with (
            open_engine(backend={**backend, "model": "assistent"}) as engine,
            pytest.raises(EngineError, match="Did you mean 'assistant'"),
        ):
            engine.submit(chat()).text()


def test_a_model_behind_the_own_server_says_what_it_says_here(tmp_path: Path) -> None:
    with TorchEngine(tiny_module(), tiny_tokenizer()) as local:
        request = Request(messages=ASK, max_tokens=12, temperature=0.8, seed=5)
        expected = local.submit(request).text()
        with (
            serving(own(local, tmp_path)) as (address, _),
            Remote(url=f"{address}/v1", model="assistant").open() as engine,
        ):
            assert engine.submit(request).text() == expected
            assert engine.generate_batch([request])[0].text == expected


def test_cancelling_stops_the_server_too() -> None:
    script = Endless()
    with serving(Scripted(script)) as (address, _), Remote(url=f"{address}/v1", model="assistant").open() as engine:
        stream = engine.submit(chat())
        for count, _text in enumerate(stream):
            if count == 2:
                stream.cancel()
        assert stream.finish_reason == "cancelled"
        assert script.stopped.wait(10), "the server noticed"


# -- a server with faults ---------------------------------------------------------------------------------------------


def test_the_wire_and_the_key(tmp_path: Path) -> None:
    with faulty([whole("hi")]) as server, remote(server, extra={"top_p": None, "store": False}) as engine:
        request = chat(max_tokens=7, seed=3, stop=["x"], top_k=4, repetition_penalty=1.5)
        assert engine.generate_batch([request])[0].text == "hi"
        (seen,) = server.seen
        assert seen.path == "/v1/chat/completions"
        assert seen.headers["Authorization"] == f"Bearer {KEY}"
        assert seen.body == {
            "model": "m",
            "messages": ASK,
            "max_tokens": 7,
            "temperature": 0.0,
            "seed": 3,
            "stop": ["x"],
            "top_k": 4,
            "repetition_penalty": 1.5,
            "store": False,
        }
        with remote(server, length_parameter="max_completion_tokens", key_variable="") as other:
            other.generate_batch([chat()])
        assert "Authorization" not in server.seen[-1].headers
        assert server.seen[-1].body["max_completion_tokens"] == 256


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_it_asks_again_after_a_fault_that_may_pass(status: int) -> None:
    error = Reply({"error": {"message": "not now"}}, status=status)
    with faulty([error, error, whole("at last")]) as server, remote(server) as engine:
        assert engine.submit(chat()).text() == "at last"
        assert len(server.seen) == 3
        assert engine.spent == Spent(requests=1, retries=2, prompt_tokens=3, completion_tokens=2)


@pytest.mark.parametrize(("date", "least"), [(False, 0.4), (True, 1.0)])
def test_retry_after_is_honoured_in_seconds_and_as_a_date(date: bool, least: float) -> None:
    def script(seen: Seen) -> Reply:
        if len(server.seen) > 1:
            return whole("ok")
        wish = email.utils.formatdate(time.time() + 2, usegmt=True) if date else "0.4"  # whole seconds: 1 to 2 from now
        return Reply(b"slow", status=429, headers={"Retry-After": wish})

    with faulty(script) as server, remote(server) as engine:
        assert engine.submit(chat()).text() == "ok"
        assert server.seen[1].at - server.seen[0].at >= least - 0.01


def test_it_does_not_wait_for_ever_nor_ask_where_that_is_useless() -> None:
    for reply, kind, words in (
        (Reply(b"", status=429, headers={"Retry-After": "3600"}), EngineBusy, "It asks to wait 3600 s"),
        (Reply(b"", status=500, headers={"x-should-retry": "false"}), EngineError, "status 500"),
        (Reply({"error": {"message": "too long", "code": "context_length_exceeded"}}, status=400), ContextError, "too"),
        (Reply({"detail": "what?"}, status=422), EngineError, r"422 Unprocessable \w+: what\?"),
        (
            Reply(b"", status=307, headers={"Location": "http://elsewhere/v1"}),
            EngineError,
            "points to http://elsewhere",
        ),
    ):
        with faulty([reply]) as server, remote(server) as engine:
            with pytest.raises(kind, match=words) as caught:
                engine.submit(chat()).text()
            assert len(server.seen) == 1
            assert f"{server.url}/chat/completions failed on request 1:" in str(caught.value)


def test_after_the_last_attempt_the_error_names_address_status_and_request() -> None:
    with (
        faulty([Reply({"error": "overloaded"}, status=503, headers={"x-request-id": "r-9"})]) as server,
        remote(server, retries=2) as engine,
        pytest.raises(EngineBusy) as caught,
    ):
        engine.submit(chat()).text()
    assert f"{server.url}/chat/completions failed on request 1 after 3 attempts: status 503" in str(caught.value)
    assert "(x-request-id r-9): overloaded" in str(caught.value)


def test_the_key_is_in_no_error_no_log_and_no_cache(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    bad = Reply({"error": {"message": f"Incorrect API key provided: {KEY}"}}, status=401)
    with faulty([bad, whole("fine")]) as server:
        backend = Remote(url=server.url, model="m", cache=str(tmp_path / "kept"))
        with backend.open() as engine:
            with pytest.raises(
                EngineError, match=r"\[key\].* read from the environment variable OPENAI_API_KEY"
            ) as caught:
                engine.submit(chat()).text()
            assert KEY not in str(caught.value)
            engine.submit(chat()).text()
            assert KEY not in repr(engine.__dict__)
    assert KEY not in json.dumps(backend.dump())
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert all(KEY not in path.read_text() for path in files)
    assert KEY not in caplog.text


def test_no_key_is_named_where_none_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with (
        faulty([Reply(b"", status=401)]) as server,
        remote(server) as engine,
        pytest.raises(EngineError, match="No key was sent: the environment variable OPENAI_API_KEY is not set"),
    ):
        engine.submit(chat()).text()


def test_a_key_goes_nowhere_unencrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match="unencrypted"):
        Remote(url="http://example.com/v1", model="m").open()
    monkeypatch.setenv("OPENAI_API_KEY", "schlüssel")
    with pytest.raises(EngineError, match="characters that no key has") as caught:
        Remote(url="https://example.com/v1", model="m").open()
    assert "schlüssel" not in str(caught.value)


def test_time_outs(tmp_path: Path) -> None:
    with faulty([whole("late", delay=5)]) as server, remote(server, timeout=0.2, retries=1) as engine:
        with pytest.raises(EngineError, match=r"request 1 after 2 attempts: no answer within 0\.2 s"):
            engine.submit(chat()).text()
        assert server.gone.wait(5), "the connection was closed"
    with faulty([whole("late", delay=5)]) as server, remote(server) as engine:
        stream = engine.submit(chat(timeout=0.2))
        assert (stream.text(), stream.finish_reason) == ("", "deadline")
        assert engine.generate_batch([chat(timeout=0.2)])[0].finish_reason == "deadline"


def test_nobody_there() -> None:
    with faulty([whole("x")]) as server:
        pass
    with remote(server, retries=1) as engine, pytest.raises(EngineError, match="after 2 attempts: no connection"):
        engine.submit(chat()).text()
    assert engine.spent.estimated == 0, "what was never sent cannot have been billed"


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(b"<html>oops</html>"), "not JSON: '<html>oops</html>'"),
        (Reply(b"[1]"), "no JSON object"),
        (Reply({"choices": []}), "has no choices"),
        (Reply({"choices": [{"finish_reason": "stop"}]}), "has no message"),
        (Reply({"choices": [{"message": {"content": [1]}, "finish_reason": "stop"}]}), "content is no text"),
        (Reply(b'{"choices": [', cut=True), "the connection broke"),
    ],
)
def test_malformed_answers_are_asked_for_again_and_then_named(reply: Reply, words: str) -> None:
    with faulty([reply, whole("good")]) as server, remote(server) as engine:
        assert engine.generate_batch([chat()])[0].text == "good"
        assert engine.spent.estimated == 1, "the first may have been billed"
    with (
        faulty([reply]) as server,
        remote(server, retries=1) as engine,
        pytest.raises(EngineError, match=f"{server.url}/chat/completions failed on request 1 after 2.*{words}"),
    ):
        engine.generate_batch([chat()])


def test_what_the_server_withholds_is_an_error_that_is_not_retried() -> None:
    for reply, words in (
        (whole("", reason="content_filter"), "content filter"),
        (whole("", reason="tool_calls"), "'tool_calls'"),
        (Reply({"error": {"message": "no"}}), ": no"),
    ):
        with faulty([reply]) as server, remote(server) as engine, pytest.raises(EngineError, match=words):
            engine.generate_batch([chat()])
        assert len(server.seen) == 1
    refusal = {"message": {"content": None, "refusal": "I would rather not."}, "finish_reason": "stop"}
    with faulty([Reply({"choices": [refusal]})]) as server, remote(server) as engine:
        assert engine.generate_batch([chat()])[0].text == "I would rather not."


def test_streams_in_pieces_that_cut_anywhere() -> None:
    text = ["Straße", " \u2028 ", "日本", "😀"]  # U+2028 ends a line for some readers, and not for JSON
    sent = b"".join([b": comment\r\n\r\n", *map(delta, text), delta("", "length"), event(b"[DONE]")])
    pieces = [sent[at : at + 3] for at in range(0, len(sent), 3)]
    with faulty([Reply(pieces=pieces)]) as server, remote(server) as engine:
        stream = engine.submit(chat())
        assert list(stream) == text
        assert (stream.finish_reason, stream.completion_tokens, engine.spent.estimated) == ("length", 4, 1)
        assert server.seen[0].body["stream"] is True
        assert server.seen[0].body["stream_options"] == {"include_usage": True}


def test_a_stream_that_breaks_before_its_first_word_is_asked_for_again() -> None:
    good = Reply(pieces=[delta("yes", "stop"), event(b"[DONE]")])
    for broken in (
        Reply(pieces=[], cut=True),
        Reply(pieces=[event(b"[DONE]")]),
        Reply(pieces=[event(b"{oops")]),
        Reply(pieces=[event({"error": {"message": "shutting down"}})]),
    ):
        with faulty([broken, good]) as server, remote(server) as engine:
            assert engine.submit(chat()).text() == "yes"
            assert len(server.seen) == 2


@pytest.mark.parametrize(
    ("after", "cut", "words"),
    [
        ([], True, "broke off after 2 pieces: the connection broke"),
        ([], False, "broke off after 2 pieces, without a finish_reason"),
        ([event(b"{oops")], False, "an event of the stream is not JSON: '{oops'"),
        ([event({"error": {"message": "worker died"}})], False, "ended in an error: worker died"),
    ],
)
def test_a_stream_that_breaks_later_is_an_error_after_its_words(after: list[bytes], cut: bool, words: str) -> None:
    reply = Reply(pieces=[delta("one"), delta(" two"), *after], cut=cut)
    with faulty([reply]) as server, remote(server) as engine:
        stream, got = engine.submit(chat()), []
        with pytest.raises(EngineError, match=f"{server.url}/chat/completions failed on request 1: .*{words}"):
            got.extend(stream)
        assert (got, len(server.seen)) == (["one", " two"], 1), "words that were handed out are not asked for again"


def test_a_stream_that_stalls_times_out() -> None:
    with (
        faulty([Reply(pieces=[delta("one"), delta("two", "stop")], between=5)]) as server,
        remote(server, timeout=1.0) as engine,
        pytest.raises(EngineError, match="no more came in time"),
    ):
        engine.submit(chat()).text()


def test_cancel_closes_the_connection_before_the_first_word_too() -> None:
    with faulty([whole("late", delay=20)]) as server, remote(server) as engine:
        stream = engine.submit(chat())
        while not server.seen:
            time.sleep(0.01)
        stream.cancel()
        assert (stream.text(), stream.finish_reason) == ("", "cancelled")
        assert server.gone.wait(5)
    assert engine.spent.estimated == 1, "it may have been billed"


def test_closing_fails_what_is_in_flight() -> None:
    with faulty([whole("late", delay=20)]) as server:
        engine = remote(server)
        stream = engine.submit(chat())
        failures: list[str] = []

        def batch() -> None:
            try:
                engine.generate_batch([chat()])
            except EngineError as error:
                failures.append(str(error))

        thread = threading.Thread(target=batch)
        thread.start()
        while len(server.seen) < 2:
            time.sleep(0.01)
        engine.close()
        engine.close()
        thread.join(5)
        assert failures == ["The engine was closed before the answers were complete."]
        with pytest.raises(EngineError, match="closed before the answer"):
            stream.text()
        for call in (lambda: engine.submit(chat()), lambda: engine.generate_batch([chat()])):
            with pytest.raises(EngineError, match="The engine is closed"):
                call()


# -- many requests, money, replay -------------------------------------------------------------------------------------


def numbered(seen: Seen) -> Reply:
    text = seen.body["messages"][-1]["content"]
    return whole(text.upper(), delay=0.05 if int(text[1:]) % 3 == 0 else 0.01, read=10, written=5)


def many(count: int, **fields: Any) -> list[Request]:
    return [Request(messages=[{"role": "user", "content": f"n{n}"}], max_tokens=5, **fields) for n in range(count)]


def test_a_batch_keeps_its_order_and_its_bound() -> None:
    with faulty(numbered) as server, remote(server, concurrency=3) as engine:
        answers = engine.generate_batch(many(20))
        assert [answer.text for answer in answers] == [f"N{n}" for n in range(20)]
        assert server.most_busy == 3


def test_the_first_failure_ends_a_batch() -> None:
    def script(seen: Seen) -> Reply:
        return Reply(b"", status=400) if seen.body["messages"][-1]["content"] == "n1" else whole("late", delay=20)

    with faulty(script) as server, remote(server, concurrency=4) as engine:
        began = time.monotonic()
        with pytest.raises(EngineError, match="status 400"):
            engine.generate_batch(many(30))
        assert time.monotonic() - began < 10
        assert len(server.seen) <= 8


def test_requests_a_minute() -> None:
    async def times(pace: Pace, tokens: list[int]) -> list[float]:
        return [at for at, _ in await asyncio.gather(*map(pace.admit, tokens))]

    sent = asyncio.run(times(Pace(requests=2, window=0.3), [1] * 5))
    assert sent == sorted(sent), "first come, first served"
    assert all(later - earlier >= 0.3 for earlier, later in zip(sent, sent[2:], strict=False))
    six, four, one, fifty, last = asyncio.run(times(Pace(tokens=10, window=0.3), [6, 4, 1, 50, 1]))
    assert four - six < 0.3 <= one - six, "6 and 4 together, the next when there is room"
    assert fifty - one >= 0.3, "one beyond the limit waits until nothing else is there"
    assert last - fifty >= 0.3


def test_tokens_a_minute_are_corrected_by_what_was_used() -> None:
    # 'n0' reserves 16 + 16 + 2 + 5 = 39 tokens; the server counts 15
    with faulty(numbered) as server, remote(server, concurrency=1, tokens_per_minute=200) as engine:
        began = time.monotonic()
        engine.generate_batch(many(10))  # 10 x 15 = 150; at 39 each only five would pass in this minute
        assert time.monotonic() - began < 20


def test_cost_is_what_the_server_counted() -> None:
    with faulty(numbered) as server, remote(server, price_in=2.0, price_out=8.0) as engine:
        engine.generate_batch(many(4))
        # 4 x (10 tokens at 2 + 5 tokens at 8) / 1,000,000 = 4 x 60 / 1,000,000
        assert engine.spent.cost == pytest.approx(240e-6)
        assert (engine.spent.prompt_tokens, engine.spent.completion_tokens) == (40, 20)


def test_the_budget_is_never_passed_not_even_together() -> None:
    # a request may take 16 + 16 + 2 bytes (or 3) + 5 tokens, so 39 or 40 millionths; it does take 15
    for concurrency in (1, 8):
        with (
            faulty(numbered) as server,
            remote(server, price_in=1.0, price_out=1.0, budget=100e-6, concurrency=concurrency) as engine,
        ):
            with pytest.raises(BudgetError, match=r"can cost up to .* of the budget of 0\.0001; it was not sent"):
                engine.generate_batch(many(50))
            spent = engine.spent
        assert spent.cost is not None
        assert spent.cost <= 100e-6
        # 5 x 15 = 75 leaves 25, which is less than 39: the sixth is not sent
        assert len(server.seen) == 5


def test_what_may_have_been_billed_is_booked_at_its_most() -> None:
    with (
        faulty([whole("late", delay=20)]) as server,
        remote(server, price_in=1.0, price_out=1.0, budget=100e-6, timeout=0.5) as engine,
    ):
        with pytest.raises(BudgetError):
            engine.generate_batch(many(1))
        assert engine.spent.estimated == len(server.seen) == 2, "two at 39 fit into 100, three do not"
        assert engine.spent.cost == pytest.approx(78e-6)


def test_replay_a_second_run_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = str(tmp_path / "kept")
    requests = [*many(6), *many(6)[:2], chat(temperature=0.7), chat(temperature=0.7)]

    def script(seen: Seen) -> Reply:
        if seen.body["temperature"]:
            return whole(f"sample {sum(bool(one.body['temperature']) for one in server.seen)}")
        return numbered(seen)

    with faulty(script) as server, remote(server, cache=cache, price_in=1.0, price_out=1.0, concurrency=1) as engine:
        first = engine.generate_batch(requests)
        assert [answer.text for answer in first[-2:]] == ["sample 1", "sample 2"], "two samples, not one twice"
        assert engine.spent.requests == len(server.seen) == 8
        assert engine.spent.replayed == 2
    monkeypatch.delenv("OPENAI_API_KEY")
    with remote(server, cache=cache, price_in=1.0, price_out=1.0) as engine:  # the server is gone
        assert engine.generate_batch(requests) == first
        assert engine.submit(requests[0]).text() == "N0"
        assert (engine.spent.requests, engine.spent.replayed, engine.spent.cost) == (0, 11, 0.0)
    files = [path for path in Path(cache).rglob("*") if path.is_file()]
    assert len(files) == 8
    assert all(path.stat().st_mode & 0o077 == 0 for path in files), "prompts are the user's"
    for path in files:
        path.write_text("{")
    with (
        remote(server, cache=cache) as engine,
        pytest.raises(EngineError, match=r"\.json is not an answer of the cache"),
    ):
        engine.submit(requests[0]).text()


def test_replay_keeps_streams_and_serves_either_way(tmp_path: Path) -> None:
    with (
        faulty([Reply(pieces=[delta("a"), delta("b", "stop")])]) as server,
        remote(server, cache=str(tmp_path)) as engine,
    ):
        assert engine.submit(chat()).text() == "ab"
        assert engine.generate_batch([chat()])[0].text == "ab"
        assert len(server.seen) == 1


def test_offline_mode_lets_loopback_and_the_cache_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEPTET_OFFLINE", "1")
    with faulty([whole("here")]) as server, remote(server) as engine:
        assert engine.submit(chat()).text() == "here"
    with (
        Remote(url="https://api.example.com/v1", model="m").open() as engine,
        pytest.raises(OfflineError, match=r"api\.example\.com is not this machine"),
    ):
        engine.submit(chat()).text()


# -- completions, scores, vectors -------------------------------------------------------------------------------------


def test_prompts_and_tokens_go_to_completions() -> None:
    reply = Reply({"choices": [{"text": " done", "finish_reason": "stop"}]})
    streamed = Reply(pieces=[event({"choices": [{"text": " done", "finish_reason": "stop"}]})])
    with faulty([reply, streamed]) as server, remote(server) as engine:
        assert engine.generate_batch([Request(prompt="Well")])[0].text == " done"
        assert engine.submit(Request(tokens=[1, 2])).text() == " done"
        assert [seen.path for seen in server.seen] == ["/v1/completions"] * 2
        assert [seen.body["prompt"] for seen in server.seen] == ["Well", [1, 2]]
        with pytest.raises(EngineError, match="not known here"):
            engine.submit(Request(prompt="x", truncate=True))


class Echoing:
    """`/completions` with echo over a real model, as vLLM answers: every token of the prompt with its log-probability."""

    def __init__(self, *, shows_start: bool) -> None:
        import torch

        self.torch, self.module, self.tokenizer = torch, tiny_module(), tiny_tokenizer()
        self.shows_start = shows_start

    def __call__(self, seen: Seen) -> Reply:
        text = seen.body["prompt"]
        coded = self.tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
        ids = [0, *coded["input_ids"]]
        with self.torch.inference_mode():
            logps = self.module(input_ids=self.torch.tensor([ids])).logits[0].float().log_softmax(-1)
        ids.append(int(logps[-1].argmax()))
        tokens = [self.tokenizer.decode([id]) for id in ids]
        offsets = [0, *(begin for begin, _ in coded["offset_mapping"]), len(text)]
        values: list[float | None] = [None, *(float(logps[n, ids[n + 1]]) for n in range(len(ids) - 1))]
        tops: list[dict[str, float] | None] = [None]
        for n in range(len(ids) - 1):
            best = int(logps[n].argmax())
            tops.append(
                {tokens[n + 1]: float(logps[n, ids[n + 1]]), self.tokenizer.decode([best]): float(logps[n, best])}
            )
        if self.shows_start:
            offsets = [0, *(offset + len(tokens[0]) for offset in offsets[1:])]
        else:
            tokens, offsets, values, tops = tokens[1:], offsets[1:], values[1:], tops[1:]
        table = {"tokens": tokens, "token_logprobs": values, "text_offset": offsets, "top_logprobs": tops}
        choice = {"text": text + tokens[-1], "logprobs": table, "finish_reason": "length"}
        return Reply({"choices": [choice], "usage": {"prompt_tokens": len(ids) - 1, "completion_tokens": 1}})


@pytest.mark.parametrize("shows_start", [True, False])
def test_scores_equal_those_of_the_same_model_here(shows_start: bool, tmp_path: Path) -> None:
    pairs = [
        ("What colour is the apple?", " The apple is red."),
        ("Return the", " path of a file"),
        ("Straße, naïve,", " 日本語"),
        ("a", ""),
    ]
    with TorchEngine(tiny_module(), tiny_tokenizer()) as local:
        pairs.append(("What", local.submit(Request(prompt="What", max_tokens=1)).text()))
        expected = local.score(pairs)
    with (
        faulty(Echoing(shows_start=shows_start)) as server,
        remote(server, offers=("generate", "score"), cache=str(tmp_path)) as engine,
    ):
        found = engine.score(pairs)
        for one, other in zip(found, expected, strict=True):
            assert one.logprob == pytest.approx(other.logprob, abs=1e-4)
            assert (one.num_tokens, one.greedy) == (other.num_tokens, other.greedy)
        assert engine.score(pairs) == found
        assert len(server.seen) == len(pairs)
        with pytest.raises(EngineError, match="context of text"):
            engine.score([(ASK, "x")])
        with pytest.raises(EngineError, match="plain continuations"):
            engine.score(pairs, end=True)


def test_a_server_that_gives_no_logprobs_is_told_so() -> None:
    with (
        faulty([Reply({"choices": [{"text": "ab", "finish_reason": "length"}]})]) as server,
        remote(server, offers=("score",)) as engine,
        pytest.raises(EngineError, match="take 'score' out of `offers`"),
    ):
        engine.score([("a", "b")])


def test_vectors(tmp_path: Path) -> None:
    def script(seen: Seen) -> Reply:
        rows = [{"index": n, "embedding": [len(text), 3.0]} for n, text in enumerate(seen.body["input"])]
        return Reply({"data": rows[::-1], "usage": {"prompt_tokens": 4, "total_tokens": 4}})

    with faulty(script) as server, remote(server, offers=("embed",), cache=str(tmp_path)) as engine:
        texts = ["four", "x" * 4, "", "four"]
        vectors = engine.embed(texts)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors, [[0.8, 0.6], [0.8, 0.6], [0.0, 1.0], [0.8, 0.6]], atol=1e-6)
        assert [seen.body["input"] for seen in server.seen] == [["four", "xxxx", ""]]
        engine.embed([*texts, "new"])
        assert server.seen[-1].body["input"] == ["new"]
        assert len(engine.embed(["a" * n for n in range(1, 101)])) == 100
        assert engine.embed([]).shape == (0, 0)
    with (
        faulty([Reply({"data": [{"index": 0, "embedding": [1.0]}]})]) as server,
        remote(server, offers=("embed",), retries=0) as engine,
        pytest.raises(EngineError, match="1 vectors for 2"),
    ):
        engine.embed(["a", "b"])


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"url": "https://user:pass@host/v1"}, "put the key into the variable"),
        ({"url": "https://host/v1?key=abc"}, "put the key into the variable"),
        ({"url": "ftp://host"}, "is not an address"),
        ({"url": "host/v1"}, "is not an address"),
        ({"budget": 1.0}, "a budget needs price_in"),
        ({"price_in": 1.0}, "go together"),
        ({"extra": {"messages": []}}, "messages cannot be set here"),
        ({"key_variable": "sk-123"}, "key_variable"),
        ({"modle": "x"}, "Did you mean 'model'"),
    ],
)
def test_settings_that_cannot_be(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ComponentError, match=words) as caught:
        Backend.parse({"kind": "remote", "url": "https://host/v1", "model": "m", **fields})
    assert "abc" not in str(caught.value)
    assert "pass@" not in str(caught.value)


def test_backends_with_and_without_a_folder(tmp_path: Path) -> None:
    save_model(tmp_path / "model")
    with pytest.raises(EngineError, match="A remote model has no folder"):
        open_engine(tmp_path / "model", backend={"kind": "remote", "url": "https://host/v1", "model": "m"})
    with pytest.raises(EngineError, match="name the folder"):
        open_engine()
    with open_engine(tmp_path / "model") as engine:
        assert (
            engine.length("What does os.path.join do?")
            == len(tiny_tokenizer().encode("What does os.path.join do?")) + 1
        )
        assert engine.length(ASK) == engine.submit(Request(messages=ASK, max_tokens=1)).prompt_tokens
    with open_engine(backend="echo") as engine:
        assert engine.length("hello") >= 5
