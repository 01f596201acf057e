"""A server on this machine that speaks the protocol of the Hugging Face hub.

What it is not: a hub of many users; what it holds is in a dictionary.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest

from septet.core import pins

LARGE = (".parquet", ".safetensors")
"""Files that the hub keeps elsewhere, and knows the SHA-256 of."""


class Hub:
    """Data sets and models with files by commit, served as the hub serves them; keeps what was asked."""

    def __init__(self) -> None:
        self.head = "a" * 40
        self.files: dict[str, dict[str, bytes]] = {}
        self.asked: list[str] = []
        self.ranges = True
        self.failing = 0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @staticmethod
    def lfs(path: str, body: bytes) -> dict[str, object]:
        if not path.endswith(LARGE):
            return {}
        return {"lfs": {"oid": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 130}}

    def handler(hub):  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: object) -> None: ...

            def answer(self, status: int, body: bytes, **headers: str) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(body)

            def json(self, content: object, status: int = 200, **headers: str) -> None:
                self.answer(status, json.dumps(content).encode(), Content_Type="application/json", **headers)

            def do_GET(self) -> None:
                url = urlsplit(unquote(self.path))
                hub.asked.append(url.path)
                if hub.failing:
                    hub.failing -= 1
                    self.json({"error": "busy"}, 503)
                    return
                api = re.fullmatch(r"/api/(?:datasets|models)/([^/]+/[^/]+)/(revision|tree)/(.+)", url.path)
                resolve = re.fullmatch(r"(?:/datasets)?/([^/]+/[^/]+)/resolve/([0-9a-f]{40})/(.+)", url.path)
                stored = re.fullmatch(r"/storage/([^/]+/[^/]+)/([0-9a-f]{40})/(.+)", url.path)
                match = api or resolve or stored
                assert match, url.path
                if match[1] not in hub.files:
                    self.json({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
                elif api and api[2] == "revision":
                    known = {"main": hub.head, "refs/convert/parquet": "c" * 40, "v1": "b" * 40}
                    if api[3] in known:
                        self.json({"id": api[1], "sha": known[api[3]], "tags": [], "downloads": 0, "likes": 0})
                    else:
                        self.json({"error": "no such revision"}, 404, X_Error_Code="RevisionNotFound")
                elif api:
                    commit, _, folder = api[3].partition("/")
                    assert re.fullmatch("[0-9a-f]{40}", commit)
                    files = hub.files[api[1]]
                    found = [
                        {"type": "file", "path": path, "size": len(body), "oid": "0" * 40, **hub.lfs(path, body)}
                        for path, body in sorted(files.items())
                        if path.startswith(folder)
                    ]
                    if found:
                        self.json([{"type": "directory", "path": "data", "oid": "0" * 40}, *found])
                    else:
                        self.json({"error": "no such entry"}, 404, X_Error_Code="EntryNotFound")
                elif resolve and resolve[3].endswith(LARGE):  # large files are kept elsewhere
                    self.answer(302, b"", Location=f"{hub.address}/storage/{resolve[1]}/{resolve[2]}/{resolve[3]}")
                else:
                    body = hub.files[match[1]][match[3]]
                    wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
                    if not wanted or not hub.ranges:
                        self.answer(200, body)
                    elif int(wanted[1]) >= len(body):
                        self.answer(416, b"")
                    else:
                        start, end = int(wanted[1]), min(int(wanted[2]) + 1, len(body))
                        self.answer(206, body[start:end], Content_Range=f"bytes {start}-{end - 1}/{len(body)}")

        return Handler


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[Hub]:
    """Within, the hub is this one, and pins are kept in `home`."""
    served = Hub()
    monkeypatch.setenv("HF_ENDPOINT", served.address)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=lambda seconds: None, time=time.time))
    monkeypatch.setattr(pins, "_home", home)
    yield served
    served.server.shutdown()
    served.server.server_close()
