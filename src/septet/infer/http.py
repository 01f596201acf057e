"""Asking an address over HTTP: JSON there, JSON or server-sent events back, with patience and without telling the key.

Retried: no connection, a time-out, 408, 409, 429 and 5xx, an answer that is not JSON, a stream that breaks off before anything was
handed on. The wait doubles from half a second to half a minute, shortened at random by up to a half so that many do not come back
together; `Retry-After` (seconds or a date) is a lower bound, and one above two minutes ends the attempts, as
`x-should-retry: false` does (the rules of OpenAI's own client).

What it is not: a client of one service. What is asked and what an answer means is the engine's business.

    python -m pytest tests/infer/test_remote.py
"""

from __future__ import annotations

import asyncio
import email.utils
import itertools
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import httpx

from septet.core.offline import is_loopback, refuse
from septet.infer.engine import ContextError, EngineBusy, EngineError, Usage
from septet.infer.spending import Pace, Purse

__all__ = ["Address", "Broken", "Refused", "events"]

T = TypeVar("T")

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds before the second attempt, and the most before any."""
MOST_PATIENCE = 120.0
"""A server that asks for a longer wait than this is not waited for."""


class Broken(Exception):
    """An answer that cannot be used. again: whether to ask once more."""

    def __init__(self, what: str, *, again: bool = True) -> None:
        super().__init__(what)
        self.again = again


class Refused(Exception):
    """An answer that is whole, and says that there is none."""


class Address:
    """One server. Everything happens in one event loop.

    url: the address up to and with `/v1`. key: sent as a bearer token; None sends none. key_name: where it was looked for.
    timeout: seconds to wait for a connection, and for each next piece of an answer. retries: attempts after the first.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None,
        key_name: str,
        timeout: float,
        retries: int,
        concurrency: int,
        purse: Purse,
        pace: Pace,
    ) -> None:
        self.url, self.purse, self.pace = url, purse, pace
        self._host = httpx.URL(url).host
        self._key, self._key_name, self._timeout, self._retries = key, key_name, timeout, retries
        self._numbers = itertools.count(1)
        self._client = httpx.AsyncClient(
            headers={"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {}),
            timeout=httpx.Timeout(timeout),
            limits=httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency),
            trust_env=not is_loopback(self._host),  # a proxy of the environment is for other machines
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def post(
        self,
        path: str,
        body: dict[str, Any],
        *,
        most: Usage,
        read: Callable[[httpx.Response], Awaitable[tuple[T, Usage | None]]],
    ) -> T:
        """Send a request until it is answered; return what `read` makes of the answer.

        most: the tokens that it can take at most. read: gets a response with status 200 and returns the result with the tokens
        that the server counted; it raises Broken or Refused.
        Errors: EngineError (EngineBusy, ContextError, BudgetError) with address, status and the request's number; OfflineError.
        """
        refuse(self._host)
        number = next(self._numbers)
        where = f"{self.url}{path}"
        content = json.dumps(body).encode()  # ASCII, so half a surrogate pair is the server's to refuse
        for attempt in itertools.count(1):
            if attempt > 1:
                self.purse.count("retries")
            reserved = await self.purse.reserve(most)
            used: Usage | None = None
            estimated, again, pause = False, True, 0.0
            try:
                entry = await self.pace.admit(most.total_tokens)
                used, estimated = most, True  # until the server says otherwise, it may have billed that
                async with self._client.stream("POST", where, content=content) as response:
                    if response.status_code == 200:
                        result, counted = await read(response)
                        if counted is not None:
                            used, estimated = counted, False
                            entry[1] = float(counted.total_tokens)
                        self.purse.count("requests")
                        return result
                    used, estimated = None, False
                    pause = _asked_pause(response.headers)
                    again = _again(response) and pause <= MOST_PATIENCE
                    kind, problem = self._refusal(response, self._said(await response.aread()), pause)
            except Refused as refusal:
                kind, problem, again = EngineError, str(refusal), False
            except Broken as broken:
                kind, problem, again = EngineError, f"status 200, but {broken}", broken.again
            except httpx.ConnectError as error:
                used, estimated = None, False
                kind, problem = EngineError, f"no connection ({error or type(error).__name__})"
            except httpx.TimeoutException as error:
                if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
                    used, estimated = None, False
                kind, problem = EngineError, f"no answer within {self._timeout:g} s; `timeout` gives it longer"
            except httpx.HTTPError as error:
                kind, problem = EngineError, f"the connection broke ({error or type(error).__name__})"
            finally:
                await asyncio.shield(self.purse.settle(reserved, used, estimated=estimated))
            if not again or attempt > self._retries:
                times = "" if attempt == 1 else f" after {attempt} attempts"
                raise kind(self._clean(f"{where} failed on request {number}{times}: {problem}"))
            backoff = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0)
            await asyncio.sleep(max(pause, backoff))
        raise AssertionError("the last attempt returns or raises")

    # -- what people read ---------------------------------------------------------------------------------------------

    def _refusal(self, response: httpx.Response, said: str, pause: float) -> tuple[type[EngineError], str]:
        """Return the kind of error that a status is, and what to say of it."""
        code, kind, hint = response.status_code, EngineError, ""
        if code in (401, 403):
            hint = (
                f" The key was read from the environment variable {self._key_name}."
                if self._key
                else f" No key was sent: the environment variable {self._key_name or '(none is named)'} is not set."
            )
        elif 300 <= code < 400:
            hint = f" It points to {response.headers.get('location', 'nowhere')}; give that as url if you trust it."
        elif code in (429, 503):
            kind = EngineBusy
            hint = (
                f" It asks to wait {pause:.0f} s." if pause > MOST_PATIENCE else " Try again later, or ask less often."
            )
        elif code == 400 and "context_length" in said:
            kind = ContextError
        id = response.headers.get("x-request-id")
        mark = f" (x-request-id {id})" if id else ""
        return kind, f"status {code} {response.reason_phrase}{mark}: {said or 'it says no more'}{hint}"

    def _said(self, body: bytes) -> str:
        """Return the message and code of an error's body, in the forms that servers use."""
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            return " ".join(body.decode("utf-8", "replace").split())[:200]
        return error_text(found)

    def _clean(self, text: str) -> str:
        # a server may repeat the key that it did not like
        return text.replace(self._key, "[key]") if self._key else text


def error_text(found: Any) -> str:
    """Return what an error's JSON says: `{"error": {"message", "code"}}`, `{"error": text}`, `{"message"}` or `{"detail"}`."""
    error = found.get("error", found) if isinstance(found, dict) else found
    if isinstance(error, dict):
        said = error.get("message") or error.get("detail") or json.dumps(error)
        code = error.get("code")
        error = f"{said} [{code}]" if isinstance(code, str) else said
    return " ".join(str(error).split())[:500]


def _again(response: httpx.Response) -> bool:
    wish = response.headers.get("x-should-retry")
    if wish in ("true", "false"):
        return wish == "true"
    return response.status_code in (408, 409, 429) or response.status_code >= 500


def _asked_pause(headers: httpx.Headers) -> float:
    """Return the seconds of `Retry-After` (RFC 9110, section 10.2.3): a number or a date; 0 without one."""
    text = headers.get("retry-after", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except ValueError:
            return 0.0
    return seconds if 0.0 < seconds < float("inf") else 0.0


async def events(response: httpx.Response) -> AsyncIterator[str]:
    """Yield the data of each server-sent event. An event that the stream breaks off in is not one.

    httpx's own lines end at U+2028 too, which JSON may hold.
    """
    held, data = b"", []
    async for part in response.aiter_bytes():
        *lines, held = (held + part).split(b"\n")
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            elif not line and data:
                yield b"\n".join(data).decode("utf-8", "replace")
                data = []
