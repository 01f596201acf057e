"""OpenAI's own Python client against the real server: streaming and not, its errors, its retries, its parameters.

python -m pytest tests/surfaces/test_openai_wire.py
"""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import get_type_hints

import httpx
import openai
import pytest
from openai.types.chat import completion_create_params
from toys.scripted import JOIN, Endless, Held, Scripted, serving

from septet.api.app import Finish, Piece, RequestError
from septet.api.routes.openai import HINTS, NEUTRAL, ChatCompletionRequest

ASK = [{"role": "user", "content": "How?"}]
TEXT = "You asked: How?\n\n> Join two or more pathname components. [1]\n\nSources:\n[1] os.path.join (posixpath.py:71)"


@pytest.fixture(scope="module")
def server():
    with serving(Scripted()) as (address, _):
        yield address


@pytest.fixture
def client(server: str):
    with openai.OpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0) as client:
        yield client


def lines(address: str, **body) -> list[str]:
    with httpx.stream(
        "POST", f"{address}/v1/chat/completions", json={"model": "assistant", "messages": ASK, **body}
    ) as response:
        assert response.status_code == 200, response.read()
        return [line for line in response.iter_lines() if line]


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["assistant"]
    model = client.models.retrieve("assistant")
    assert (model.object, model.owned_by, model.created) == ("model", "septet", 1_700_000_000)


def test_a_whole_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="assistant", messages=ASK, temperature=0, seed=3, stop=["x"], max_tokens=5
    )
    choice = answer.choices[0]
    assert (answer.object, answer.model, answer.system_fingerprint) == ("chat.completion", "assistant", "septet-abc123")
    assert (choice.finish_reason, choice.message.role, choice.message.content) == ("stop", "assistant", TEXT)
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (7, 3, 10)
    extra = choice.message.model_extra["septet"]
    assert extra["grounded"] is True
    assert extra["citations"] == [
        {"number": 1, "name": "os.path.join", "file": "posixpath.py", "line": 71, "quote": JOIN.quote, "score": 0.83}
    ]
    assert extra["parts"] == [
        {"index": 0, "kind": "model", "text": "You asked: How?", "citation": None},
        {"index": 1, "kind": "quote", "text": JOIN.quote, "citation": 1},
    ]


def test_a_streamed_answer_says_the_same(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="assistant", messages=ASK, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len({chunk.id for chunk in chunks}) == 1
    extras = [chunk.choices[0].delta.model_extra.get("septet", {}) for chunk in chunks]
    assert [extra["citations"][0]["line"] for extra in extras if "citations" in extra] == [71]
    assert (
        "".join(part["text"] for extra in extras for part in extra.get("parts", [])) == "You asked: How?" + JOIN.quote
    )


def test_the_clients_own_accumulator_reads_the_stream(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="assistant", messages=ASK) as stream:
        stream.until_done()
        streamed = stream.get_final_completion().choices[0].message
    whole = client.chat.completions.create(model="assistant", messages=ASK).choices[0].message
    assert streamed.content == TEXT
    assert streamed.model_extra["septet"] == whole.model_extra["septet"]


def test_the_bytes_of_a_stream(server: str) -> None:
    found = lines(server, stream=True, stream_options={"include_usage": True})
    assert all(line.startswith("data: ") for line in found)
    assert found[-1] == "data: [DONE]"
    chunks = [json.loads(line[6:]) for line in found[:-1]]
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert all(chunk["usage"] is None and len(chunk["choices"]) == 1 for chunk in chunks[:-1])
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    assert chunks[-2]["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    without = [json.loads(line[6:]) for line in lines(server, stream=True)[:-1]]
    assert not any("usage" in chunk for chunk in without)


def test_the_headers_of_a_stream(server: str) -> None:
    body = {"model": "assistant", "messages": ASK, "stream": True}
    with httpx.stream(
        "POST", f"{server}/v1/chat/completions", json=body, headers={"x-request-id": "mine-1"}
    ) as response:
        response.read()
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["x-request-id"] == "mine-1"


def test_content_parts_and_system_messages(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="assistant",
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "How "}, {"type": "text", "text": "so?"}]},
        ],
    )
    assert answer.choices[0].message.content.startswith("You asked: How so?")


def test_an_answer_can_be_sent_back(client: openai.OpenAI) -> None:
    first = client.chat.completions.create(model="assistant", messages=ASK).choices[0].message
    again = client.chat.completions.create(
        model="assistant", messages=[*ASK, first, {"role": "user", "content": "Why?"}]
    )
    assert again.choices[0].message.content.startswith("You asked: Why?")


def test_an_unknown_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="asistant", messages=ASK)
    assert (caught.value.code, caught.value.param, caught.value.type) == (
        "model_not_found",
        "model",
        "invalid_request_error",
    )
    assert "Did you mean 'assistant'?" in str(caught.value)
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-9")


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": " "}]}, "messages"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages[0].content[0].type",
        ),
        ({"temperature": 2.5}, "temperature"),
        ({"temperature": "warm"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stop": ""}, "stop"),
        ({"seed": 2**70}, "seed"),
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"temprature": 1}, "temprature"),
    ],
)
def test_bad_parameters_name_themselves(client: openai.OpenAI, change: dict, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="assistant", messages=ASK, extra_body=change)
    assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")


def test_every_documented_parameter_is_decided() -> None:
    documented = set(get_type_hints(completion_create_params.CompletionCreateParamsBase)) | {"stream"}
    decided = {*ChatCompletionRequest.model_fields, *NEUTRAL, *HINTS}
    assert documented - decided == set()


def test_hints_and_neutral_values_pass(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="assistant",
        messages=ASK,
        n=1,
        user="me",
        logprobs=False,
        frequency_penalty=0,
        tools=[],
        response_format={"type": "text"},
    )
    assert answer.choices


def failing_late(request):
    yield Piece("so far ")
    raise OSError("the disk went away")


def refusing(request):
    raise RequestError("The conversation is too long.", param="messages", code="context_length_exceeded")
    yield


def test_a_failure_in_the_middle_of_a_stream() -> None:
    with serving(Scripted(failing_late)) as (address, _):
        found = lines(address, stream=True)
        error = json.loads(found[-2][6:])["error"]
        assert (error["type"], set(error)) == ("server_error", {"message", "type", "param", "code"})
        assert "disk" not in error["message"]
        assert found[-1] == "data: [DONE]"
        with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
            with pytest.raises(openai.APIError):
                list(client.chat.completions.create(model="assistant", messages=ASK, stream=True))
            with pytest.raises(openai.InternalServerError):
                client.chat.completions.create(model="assistant", messages=ASK)


@pytest.mark.parametrize("stream", [True, False])
def test_a_refusal_before_the_first_word_is_a_status(stream: bool) -> None:
    with serving(Scripted(refusing)) as (address, _), openai.OpenAI(base_url=f"{address}/v1", api_key="none") as client:
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="assistant", messages=ASK, stream=stream)
        assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_ends_the_generation(stream: bool) -> None:
    endless = Endless()
    with serving(Scripted(endless)) as (address, server):
        body = {"model": "assistant", "messages": ASK, "stream": stream}
        if stream:
            with httpx.stream("POST", f"{address}/v1/chat/completions", json=body) as response:
                next(response.iter_lines())
        else:
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{address}/v1/chat/completions", json=body, timeout=0.3)
        assert endless.stopped.wait(5)
        waiting_for(lambda: server.service.in_flight == 0)


def waiting_for(true) -> None:
    done = threading.Event()
    for _ in range(500):
        if true():
            return
        done.wait(0.01)
    raise AssertionError("it did not come true in 5 seconds")


def test_streams_run_side_by_side() -> None:
    meeting = threading.Barrier(4, timeout=10)

    def script(request):
        meeting.wait()  # passes only when four answers are in progress at one time
        yield Piece(f"for {request.question}")
        yield Finish()

    with (
        serving(Scripted(script), max_running=4) as (address, _),
        openai.OpenAI(base_url=f"{address}/v1", api_key="x") as client,
    ):

        def ask(name: str) -> str:
            messages = [{"role": "user", "content": name}]
            chunks = client.chat.completions.create(model="assistant", messages=messages, stream=True)
            return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

        with ThreadPoolExecutor(8) as pool:
            names = [f"number {i}" for i in range(8)]
            assert list(pool.map(ask, names)) == [f"for {name}" for name in names]


def test_a_full_queue_says_when_to_come_back() -> None:
    held = Held()
    with serving(Scripted(held), max_running=1, max_waiting=0) as (address, _), ThreadPoolExecutor(1) as pool:
        first = pool.submit(lines, address, stream=True)
        assert held.started.wait(5)
        refused = httpx.post(f"{address}/v1/chat/completions", json={"model": "assistant", "messages": ASK})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert refused.json()["error"]["code"] == "queue_full"
        assert refused.json()["error"]["type"] == "overloaded"
        assert httpx.get(f"{address}/healthz").json() == {"status": "alive"}
        held.go.set()
        assert first.result()[-1] == "data: [DONE]"


def test_draining_finishes_what_runs_and_refuses_the_rest() -> None:
    held = Held()
    app = Scripted(held)
    with serving(app) as (address, server), ThreadPoolExecutor(1) as pool:
        first = pool.submit(lines, address, stream=True)
        assert held.started.wait(5)
        assert httpx.get(f"{address}/readyz").status_code == 200
        server.stop()
        waiting_for(lambda: server.service.draining)
        ready = httpx.get(f"{address}/readyz")
        assert (ready.status_code, ready.json()["error"]["code"]) == (503, "not_ready")
        refused = httpx.post(f"{address}/v1/chat/completions", json={"model": "assistant", "messages": ASK})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "shutting_down")
        held.go.set()
        assert '"late"' in " ".join(first.result())
    assert app.closed
