"""What every request passes first: a request id, the Host check, the limit on bodies.

Plain ASGI, so that a stream passes through unbuffered and a client that leaves is noticed.

What it is not: authentication; there are no keys yet, which is why the server binds to loopback and checks the Host header (a
web page elsewhere cannot reach it through a name that it makes point to 127.0.0.1).

    python -m pytest tests/api/test_server.py
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from septet.api.errors import ApiError, respond

__all__ = ["Gate"]

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class Gate:
    """Gives each request an id (the client's own if it sent a plain one), refuses foreign hosts and large bodies."""

    def __init__(self, app: ASGIApp, *, max_body: int, hosts: Collection[str] | None) -> None:
        self.app, self.max_body, self.hosts = app, max_body, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {key: value.decode("latin-1") for key, value in scope["headers"]}
        given = headers.get(b"x-request-id", "")
        id = given if _ID.fullmatch(given) else f"req-{uuid.uuid4().hex}"
        scope.setdefault("state", {})["request_id"] = id

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"x-request-id", id.encode())]}
            await send(message)

        try:
            self._check(headers)
        except ApiError as error:
            await respond(error)(scope, receive, tell)
            return
        await self.app(scope, self._limited(receive), tell)

    def _check(self, headers: dict[bytes, str]) -> None:
        host = headers.get(b"host", "")
        if self.hosts is not None and re.sub(r":\d+$", "", host).lower() not in self.hosts:
            shown = host if host.isprintable() else "?"
            raise ApiError(
                421, f"This server does not go by the name '{shown}'. Use 127.0.0.1 or localhost.", code="wrong_host"
            )
        length = headers.get(b"content-length", "")
        if length.isdigit() and int(length) > self.max_body:
            raise ApiError(413, self._too_large(), code="body_too_large", headers={"Connection": "close"})

    def _too_large(self) -> str:
        return (
            f"The body is larger than {self.max_body:,} bytes, the most this server takes. Send a shorter conversation."
        )

    def _limited(self, receive: Receive) -> Receive:
        total = 0

        async def limited() -> Message:
            nonlocal total
            message = await receive()
            if message["type"] == "http.request":
                total += len(message.get("body", b""))
                if total > self.max_body:
                    # a body sent in chunks has no content-length; FastAPI, which is reading, lets only this class through
                    raise HTTPException(413, self._too_large(), {"Connection": "close"})
            return message

        return limited
