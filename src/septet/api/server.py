"""The server: a FastAPI application round one running app, and a loop that starts and stops it well.

`build(running)` makes the application; `serve_forever(application)` listens on loopback, says clearly when the port is taken, and
on SIGINT or SIGTERM drains: `/readyz` turns 503, new requests are refused, those in flight finish up to a limit. A second
signal ends it at once.

What it is not: a deployment. There are no keys and no TLS yet, so it listens on loopback only.

    septet serve recipes/ask-python.yaml
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from septet import __version__
from septet.api.app import RunningApp
from septet.api.errors import install
from septet.api.middleware import Gate
from septet.api.routes import health, openai
from septet.api.service import Service
from septet.core.errors import ServeError

__all__ = ["DEFAULT_PORT", "Server", "build", "free_port", "listen", "serve_forever"]

DEFAULT_PORT = 8765
LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


def build(app: RunningApp, *, max_running: int = 2, max_waiting: int = 16, max_body: int = 1_000_000) -> FastAPI:
    """Return the web application for an opened app.

    max_running, max_waiting: answers in progress, and admitted requests waiting, before 503. max_body: bytes of a request.
    The application's `state.service` is the Service that pages share.
    """
    service = Service(app, max_running=max_running, max_waiting=max_waiting)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await service.close()

    # the interactive docs load their scripts from a CDN; the schema itself stays at /openapi.json
    web = FastAPI(title="Septet", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    web.state.service = service
    web.include_router(openai.router(service))
    web.include_router(health.router(service))
    install(web)
    web.add_middleware(Gate, max_body=max_body, hosts=LOOPBACK)
    return web


def listen(host: str = "127.0.0.1", port: int = DEFAULT_PORT) -> socket.socket:
    """Return a listening socket. Raises ServeError if the address is not loopback or the port is taken.

    Port 0 takes any free one.
    """
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise ServeError(f"--host takes a loopback address such as 127.0.0.1; got '{host}'.") from None
    if not address.is_loopback:
        raise ServeError(
            f"{host} can be reached from other machines, and this server has no keys yet. Serve on 127.0.0.1, and put a proxy that "
            "checks who asks in front of it."
        )
    if not 0 <= port <= 65535:
        raise ServeError(f"A port is a number from 0 to 65535; got {port}.")
    try:
        return _bind(str(address), port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            free = free_port(str(address), port + 1)
            raise ServeError(
                f"Port {port} on {host} is in use by another program. Port {free} is free: use --port to choose it."
            ) from None
        if error.errno in (errno.EACCES, errno.EPERM):
            raise ServeError(
                f"Port {port} may not be opened by this user. Choose one above 1023, such as {DEFAULT_PORT}."
            ) from None
        raise ServeError(f"{host}:{port} cannot be opened: {error.strerror or error}.") from None


def _bind(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":
            # without it a port stays taken for a minute after a server on it has ended
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port))
        listening.listen(128)
    except BaseException:
        listening.close()
        raise
    return listening


def free_port(address: str = "127.0.0.1", start: int = DEFAULT_PORT) -> int:
    """Return the first port from `start` on that can be opened, or one that the system picks."""
    for port in range(start, min(start + 100, 65536)):
        with contextlib.suppress(OSError), _bind(address, port):
            return port
    with _bind(address, 0) as found:
        return found.getsockname()[1]


class Server(uvicorn.Server):
    """uvicorn's server with draining before it stops listening.

    grace: seconds that requests in flight may take after the first signal. `stop()` does what a signal does.
    """

    def __init__(self, web: FastAPI, *, grace: float = 30.0, log_level: str = "warning") -> None:
        super().__init__(
            uvicorn.Config(
                web,
                log_level=log_level,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=5,
                ws="websockets-sansio",
            )
        )
        self.service: Service = web.state.service
        self.grace = grace
        self._signals = 0
        self._draining: asyncio.Task[None] | None = None
        self.ready = threading.Event()
        """Set once requests are accepted."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # not passed on to uvicorn's own list, which would raise the signal again after a clean stop
        self.stop()

    def stop(self) -> None:
        """Drain and stop; called again: stop now. May be called from any thread or signal handler."""
        self._signals += 1

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def on_tick(self, counter: int) -> bool:
        if self._signals and self._draining is None:
            self.service.drain()
            self._draining = asyncio.create_task(self._drain())
        if self._signals > 1:
            self.service.cancel_all()
            self.should_exit = True
        return await super().on_tick(counter)

    async def _drain(self) -> None:
        end = asyncio.get_running_loop().time() + self.grace
        while self.service.in_flight and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.05)
        self.service.cancel_all()
        self.should_exit = True


def serve_forever(
    web: FastAPI,
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    grace: float = 30.0,
    started: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve until SIGINT or SIGTERM, then drain for at most `grace` seconds and return.

    `started` is called with the address once requests are accepted. Raises ServeError if the port cannot be opened.
    """
    with listen(host, port) as listening:
        server = Server(web, grace=grace)
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listening.getsockname()[1]}"
        waiting = threading.Thread(target=lambda: server.ready.wait() and started(address), daemon=True)
        waiting.start()
        server.run(sockets=[listening])
