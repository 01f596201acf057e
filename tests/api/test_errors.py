"""Whatever is sent, an answer that is not a success has the one shape.

python -m pytest tests/api/test_errors.py
"""

from __future__ import annotations

import json

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys.scripted import Scripted, serving

GOOD = {"model": "assistant", "messages": [{"role": "user", "content": "Hi"}]}
FIELDS = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "temperature",
    "top_p",
    "max_tokens",
    "stop",
    "seed",
    "n",
    "tools",
    "user",
]


@pytest.fixture(scope="module")
def client():
    with serving(Scripted(), max_body=20_000) as (address, _), httpx.Client(base_url=address) as client:
        yield client


def error(response: httpx.Response, status: int) -> dict:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert isinstance(body["error"]["message"], str)
    return body["error"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nope", 404, "not_found"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("PUT", "/healthz", 405, "method_not_allowed"),
        ("GET", "/v1/models/other", 404, "model_not_found"),
        ("GET", "/docs", 404, "not_found"),
        ("GET", "/redoc", 404, "not_found"),
    ],
)
def test_paths_and_methods(client: httpx.Client, method: str, path: str, status: int, code: str) -> None:
    assert error(client.request(method, path), status)["code"] == code


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"3",
        b'"x"',
        b"\xff\xfe",
        b"{" * 5000,
        b"[" * 5000,
        b'{"model": NaN}',
        b'{"a":' + b"9" * 6000 + b"}",
    ],
)
def test_bodies_that_are_no_request(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
    assert error(answer, 400)["type"] == "invalid_request_error"


def test_a_body_that_is_not_called_json(client: httpx.Client) -> None:
    answer = client.post("/v1/chat/completions", content=json.dumps(GOOD), headers={"Content-Type": "text/plain"})
    assert "application/json" in error(answer, 400)["message"]


def test_half_a_surrogate_pair(client: httpx.Client) -> None:
    for body in (
        '{"model": "assistant", "messages": [{"role": "user", "content": "\\ud800"}]}',
        '{"model": "\\ud800", "messages": [{"role": "user", "content": "x"}]}',
        '{"model": "assistant", "\\ud800": 1, "messages": [{"role": "user", "content": "x"}]}',
    ):
        error(client.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"}), 400)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large(client: httpx.Client, chunked: bool) -> None:
    body = json.dumps({**GOOD, "user": "x" * 30_000}).encode()
    content = iter([body[:15_000], body[15_000:]]) if chunked else body
    answer = client.post("/v1/chat/completions", content=content, headers={"Content-Type": "application/json"})
    assert error(answer, 413)["code"] == "body_too_large"


def test_a_name_that_is_not_ours(client: httpx.Client) -> None:
    assert error(client.get("/healthz", headers={"Host": "evil.example"}), 421)["code"] == "wrong_host"
    assert client.get("/healthz", headers={"Host": "localhost:1"}).status_code == 200


def test_request_ids(client: httpx.Client) -> None:
    assert client.get("/healthz", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert client.get("/nope", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert client.get("/healthz", headers={"x-request-id": "a b"}).headers["x-request-id"].startswith("req-")


def test_readiness_follows_the_app() -> None:
    app = Scripted()
    app.is_ready = False
    with serving(app) as (address, _):
        assert error(httpx.get(f"{address}/readyz"), 503)["message"] == "Not ready: the model is still loading."
        assert httpx.get(f"{address}/healthz").status_code == 200


def test_the_schema_is_there(client: httpx.Client) -> None:
    schema = client.get("/openapi.json").json()
    assert {"/v1/models", "/v1/models/{id}", "/v1/chat/completions", "/healthz", "/readyz"} <= set(schema["paths"])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(change=st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=6), json_values, max_size=3))
def test_any_json_is_answered_or_refused_in_shape(client: httpx.Client, change: dict) -> None:
    body = json.dumps({**GOOD, **change})
    answer = client.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
    if answer.status_code != 200:
        assert answer.status_code in (400, 404), answer.text
        error(answer, answer.status_code)
