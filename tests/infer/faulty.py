"""A real HTTP server that answers as its script says: statuses, delays, broken bodies, truncated streams."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """One answer. cut: the connection is closed before what was announced is sent. pieces: a stream, piece by piece."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    pieces: list[bytes] | None = None
    between: float = 0.0
    cut: bool = False


def whole(text: str, *, reason: str | None = "stop", read: int = 3, written: int = 2, **more: Any) -> Reply:
    """A chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
    usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    return Reply({"choices": [choice], "usage": usage}, **more)


def event(data: Any) -> bytes:
    return b"data: " + (data if isinstance(data, bytes) else json.dumps(data, ensure_ascii=False).encode()) + b"\n\n"


def delta(text: str, reason: str | None = None) -> bytes:
    return event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]})


@dataclass
class Seen:
    path: str
    body: Any
    headers: dict[str, str]
    at: float


class Faulty:
    """The running server: `script` gives the reply to each request; `seen` are the requests, `gone` counts clients that left."""

    def __init__(self, script: Callable[[Seen], Reply]) -> None:
        self.script = script
        self.seen: list[Seen] = []
        self.busy = self.most_busy = 0
        self.gone = threading.Event()
        self.lock = threading.Lock()
        self.url = ""


@contextlib.contextmanager
def faulty(script: Callable[[Seen], Reply] | list[Reply]) -> Iterator[Faulty]:
    """Serve `script` on a free port of loopback; a list is answered in order, its last reply for ever."""
    if isinstance(script, list):
        replies = script

        def in_order(_: Seen) -> Reply:
            return replies[min(len(state.seen), len(replies)) - 1]

        state = Faulty(in_order)
    else:
        state = Faulty(script)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with state.lock:
                state.busy += 1
                state.most_busy = max(state.most_busy, state.busy)
                seen = Seen(self.path, body, dict(self.headers.items()), time.monotonic())
                state.seen.append(seen)
                reply = state.script(seen)
            left = self._left(reply.delay)
            with state.lock:
                state.busy -= 1  # before the answer: the client may send its next request as soon as it has it
            try:
                if left:
                    raise ConnectionResetError
                self.answer(reply)
            except (BrokenPipeError, ConnectionResetError):
                state.gone.set()
                self.close_connection = True

        def answer(self, reply: Reply) -> None:
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.pieces is None:
                body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body) + (10 if reply.cut else 0)))
                self.end_headers()
                self.wfile.write(body)
            else:
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for piece in reply.pieces:
                    self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                    self.wfile.flush()
                    time.sleep(reply.between)
                if not reply.cut:
                    self.wfile.write(b"0\r\n\r\n")
            if reply.cut:
                self.close_connection = True

        def _left(self, seconds: float) -> bool:
            """Wait; say whether the client closed the connection meanwhile."""
            end = time.monotonic() + seconds
            while (rest := end - time.monotonic()) > 0:
                self.connection.settimeout(rest)
                try:
                    if self.connection.recv(1, socket.MSG_PEEK) == b"":
                        return True
                except TimeoutError:
                    break
            self.connection.settimeout(None)
            return False

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
