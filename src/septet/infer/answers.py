"""What the answers of an OpenAI-compatible address mean: texts, streams, log-probabilities, vectors, and why one ended.

Whatever is not as the protocol has it raises `Broken`, which may be asked again, or `Refused`, which may not.

What it is not: the client (`septet.infer.engines.remote`), nor what the server writes (`septet.api`).

    python -m pytest tests/infer/test_remote.py
"""

from __future__ import annotations

import json
from typing import Any

import httpx

from septet.infer.engine import Answer, Finish, Scored, Stream, Usage
from septet.infer.http import Broken, Refused, error_text, events

__all__ = ["read_json", "read_scores", "read_stream", "read_vectors", "read_whole"]


async def read_json(response: httpx.Response) -> dict[str, Any]:
    body = await response.aread()
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        shown = " ".join(body.decode("utf-8", "replace").split())[:80]
        raise Broken(f"the answer is not JSON: {shown!r}") from None
    if not isinstance(found, dict):
        raise Broken("the answer is no JSON object")
    if found.get("error"):
        raise Refused(error_text(found))
    return found


def _usage(found: dict[str, Any]) -> Usage | None:
    counts = found.get("usage")
    if not isinstance(counts, dict):
        return None
    read, written = counts.get("prompt_tokens"), counts.get("completion_tokens", 0)
    if not isinstance(read, int) or not isinstance(written, int) or min(read, written) < 0:
        return None
    return Usage(read, written)


def _finish(reason: Any) -> Finish:
    if reason in ("stop", "length"):
        return reason
    if reason == "content_filter":
        raise Refused("its content filter withheld the answer (finish_reason content_filter).")
    raise Refused(f"it ended with finish_reason {reason!r}; expected stop or length. Tools are not offered to it.")


def _choice(found: dict[str, Any]) -> dict[str, Any]:
    choices = found.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Broken("the answer has no choices")
    return choices[0]


def _said(part: Any) -> str:
    """Return the text of a message or a delta; a refusal in words is the answer, too."""
    if not isinstance(part, dict):
        raise Broken("a choice has no message")
    text = part.get("content") or part.get("refusal") or ""
    if not isinstance(text, str):
        raise Broken("a message's content is no text")
    return text


def read_whole(found: dict[str, Any], chat: bool) -> tuple[Answer, Usage | None]:
    choice = _choice(found)
    text = _said(choice.get("message")) if chat else choice.get("text")
    if not isinstance(text, str):
        raise Broken("a choice has no text")
    usage = _usage(found)
    return Answer(text, *_counts(usage), _finish(choice.get("finish_reason"))), usage


async def read_stream(response: httpx.Response, stream: Stream, chat: bool) -> tuple[Answer, Usage | None]:
    parts: list[str] = []
    reason = usage = None
    try:
        async for data in events(response):
            if data == "[DONE]":
                break
            try:
                found = json.loads(data)
            except (ValueError, RecursionError):
                raise Broken(f"an event of the stream is not JSON: {data[:80]!r}", again=not parts) from None
            if not isinstance(found, dict):
                raise Broken("an event of the stream is no JSON object", again=not parts)
            if found.get("error"):
                raise Broken(f"the stream ended in an error: {error_text(found)}", again=not parts)
            usage = _usage(found) or usage
            if not found.get("choices"):
                continue
            choice = _choice(found)
            text = _said(choice.get("delta") or {}) if chat else choice.get("text") or ""
            if text:
                parts.append(text)
                stream.completion_tokens += 1  # a guess until the server's count comes
                stream.put(text)
            reason = choice.get("finish_reason") or reason
    except httpx.HTTPError as error:
        if not parts:
            raise
        what = "no more came in time" if isinstance(error, httpx.TimeoutException) else "the connection broke"
        raise Broken(f"the stream broke off after {len(parts)} pieces: {what}", again=False) from None
    if reason is None:
        raise Broken(f"the stream broke off after {len(parts)} pieces, without a finish_reason", again=not parts)
    counts = _counts(usage) if usage else (0, len(parts))
    return Answer("".join(parts), *counts, _finish(reason)), usage


def _counts(usage: Usage | None) -> tuple[int, int]:
    return (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)


def read_scores(found: dict[str, Any], text: str, start: int) -> tuple[Scored, Usage | None]:
    """Read the log-probabilities of an echoed prompt, from character `start` on.

    `text_offset` counts characters of the whole; where the server shows the token that begins every text, it counts that too.
    """
    choice, usage = _choice(found), _usage(found)
    table = choice.get("logprobs")
    if not isinstance(table, dict):
        raise Refused("it gave no logprobs with echo; take 'score' out of `offers`.")
    try:
        tokens, logprobs, offsets, tops = (
            table[k] for k in ("tokens", "token_logprobs", "text_offset", "top_logprobs")
        )
        count = len(tokens) - (1 if usage is None else usage.completion_tokens)
        shift = 0 if tokens[0].startswith("bytes:") or text.startswith(tokens[0]) else len(tokens[0])
        spans = [
            (offsets[n] - shift, offsets[n + 1] - shift if n + 1 < len(offsets) else len(text)) for n in range(count)
        ]
        places = [n for n, (begin, end) in enumerate(spans) if begin < len(text) and max(begin + 1, end) > start]
        if any(logprobs[n] is None for n in places):
            raise Refused("it gave no logprob for the first token of the continuation; give it a longer context.")
        greedy = all(logprobs[n] >= max(tops[n].values()) - 1e-9 for n in places)
        scored = Scored(float(sum(logprobs[n] for n in places)), len(places), greedy)
    except (KeyError, TypeError, IndexError, AttributeError, ValueError):
        raise Broken("the logprobs of the echoed prompt are not complete") from None
    if start < len(text) and not places:
        raise Broken("the logprobs of the echoed prompt do not reach the continuation")
    return scored, usage


def read_vectors(found: dict[str, Any], expected: int) -> tuple[list[list[float]], Usage | None]:
    try:
        rows = sorted(found["data"], key=lambda row: row["index"])
        vectors = [[float(number) for number in row["embedding"]] for row in rows]
        places = [row["index"] for row in rows]
    except (KeyError, TypeError, ValueError):
        raise Broken("the answer holds no vectors") from None
    if places != list(range(expected)):
        raise Broken(f"the answer holds {len(vectors)} vectors for {expected} texts")
    return vectors, _usage(found)
