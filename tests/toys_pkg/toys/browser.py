"""A headless Chromium driven over its DevTools protocol: only what the tests of the pages need."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)


def chromium() -> str | None:
    """The browser's program, or None where there is none."""
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))
    return next((path for path in found if path), None)


class Page:
    """One tab. `requests` are the addresses that it asked for, `dialogs` the alerts that it opened, `errors` its console's."""

    def __init__(self, socket: ClientConnection) -> None:
        self.requests: list[str] = []
        self.dialogs: list[str] = []
        self.errors: list[str] = []
        self._answers: dict[int, Any] = {}
        self._ids = itertools.count(1)
        self._came = threading.Condition()
        self._socket = socket
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def _read(self) -> None:
        for text in self._socket:
            message = json.loads(text)
            params = message.get("params", {})
            match message.get("method"):
                case None:
                    with self._came:
                        self._answers[message["id"]] = message
                        self._came.notify_all()
                case "Network.requestWillBeSent":
                    self.requests.append(params["request"]["url"])
                case "Network.webSocketCreated":
                    self.requests.append(params["url"])
                case "Page.javascriptDialogOpening":
                    self.dialogs.append(params["message"])
                case "Runtime.exceptionThrown":
                    self.errors.append(json.dumps(params["exceptionDetails"]))
                case "Log.entryAdded" if params["entry"]["level"] == "error":
                    self.errors.append(params["entry"]["text"])

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        id = next(self._ids)
        self._socket.send(json.dumps({"id": id, "method": method, "params": params}))
        with self._came:
            assert self._came.wait_for(lambda: id in self._answers, 20), f"no answer to {method}"
            answer = self._answers.pop(id)
        assert "error" not in answer, answer
        return answer["result"]

    def js(self, expression: str) -> Any:
        """Evaluate in the page and return the value."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, expression: str, *, seconds: float = 15) -> None:
        """Wait until an expression is true in the page."""
        end = time.monotonic() + seconds
        pause = threading.Event()
        while time.monotonic() < end:
            value = self.js(f"Boolean({expression})")
            if value:
                return
            pause.wait(0.05)
        raise AssertionError(f"never true: {expression}\n{self.js('document.body.innerText')}")

    def open(self, address: str) -> None:
        self.call("Page.navigate", url=address)
        # a second navigation while the first is on its way would never be answered
        self.until(f"location.href.startsWith({address!r}) && document.readyState === 'complete'")

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def press(self, key: str, *, shift: bool = False) -> None:
        codes = {"Enter": 13, "Tab": 9}
        common = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key], "modifiers": 8 if shift else 0}
        text = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def size(self, width: int, height: int, *, mobile: bool = False) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def dark(self, dark: bool) -> None:
        value = "dark" if dark else "light"
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": value}])

    def shot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextlib.contextmanager
def browsing(folder: Path) -> Iterator[Page]:
    """A fresh browser with its data below `folder`; yields its tab."""
    program = chromium()
    assert program is not None
    data = folder / "chromium"
    process = subprocess.Popen(
        [program, *FLAGS, f"--user-data-dir={data}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port_file, pause = data / "DevToolsActivePort", threading.Event()
        for _ in range(600):
            if port_file.exists() and "\n" in port_file.read_text():
                break
            assert process.poll() is None, "the browser ended"
            pause.wait(0.05)
        port = port_file.read_text().split("\n")[0]
        targets = httpx.get(f"http://127.0.0.1:{port}/json/list").json()
        address = next(target for target in targets if target["type"] == "page")["webSocketDebuggerUrl"]
        with connect(address, max_size=None) as socket:
            yield Page(socket)
    finally:
        process.terminate()
        process.wait(20)
