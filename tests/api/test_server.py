"""Listening, a port in use, and a clean stop on a signal.

python -m pytest tests/api/test_server.py
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from septet.api.server import free_port, listen
from septet.core.errors import ServeError

PROGRAM = """
import threading
from toys.scripted import Scripted, Held
from septet.api.server import build, serve_forever
from septet.api.app import Finish, Piece
def script(request):
    yield Piece("begun ")
    if request.question == "forever":
        left = threading.Event(); request.cancel.then(left.set); left.wait()
    else:
        threading.Event().wait(0.5)
    yield Piece("done"); yield Finish()
serve_forever(build(Scripted(script)), port=0, grace={grace}, started=lambda address: print(address, flush=True))
print("left", flush=True)
"""


def test_a_port_in_use_names_a_free_one() -> None:
    with listen(port=0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ServeError, match=rf"Port {port} on 127\.0\.0\.1 is in use .* Port \d+ is free: use --port"
        ) as caught:
            listen(port=port)
        free = int(str(caught.value).rsplit("Port ", 1)[1].split()[0])
        with listen(port=free):
            pass
    assert free_port(start=65535) <= 65535


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [("0.0.0.0", 0, "no keys yet"), ("example.org", 0, "loopback address"), ("127.0.0.1", 70000, "from 0 to 65535")],
)
def test_addresses_that_are_refused(host: str, port: int, message: str) -> None:
    with pytest.raises(ServeError, match=message):
        listen(host, port)


@pytest.fixture
def program():
    started = []

    def start(grace: float) -> tuple[subprocess.Popen, str]:
        toys = Path(__file__).parents[1] / "toys_pkg"
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(toys), *sys.path])}
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM.format(grace=grace)], stdout=subprocess.PIPE, text=True, env=env
        )
        started.append(process)
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def stream(address: str, question: str):
    body = {"model": "assistant", "messages": [{"role": "user", "content": question}], "stream": True}
    return httpx.stream("POST", f"{address}/v1/chat/completions", json=body, timeout=20)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_answers_finish(program, sent: signal.Signals) -> None:
    process, address = program(grace=20)
    with stream(address, "briefly") as response:
        lines = response.iter_lines()
        assert "assistant" in next(lines)
        process.send_signal(sent)
        rest = " ".join(lines)
    assert '"done"' in rest
    assert rest.split()[-1] == "[DONE]"
    assert process.wait(15) == 0
    assert process.stdout.read() == "left\n"
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", int(address.rsplit(":", 1)[1])), 1):
        pass


@pytest.mark.parametrize(("grace", "signals"), [(0.2, 1), (60, 2)])
def test_what_takes_too_long_is_cut_off_and_says_so(program, grace: float, signals: int) -> None:
    process, address = program(grace=grace)
    begun = time.monotonic()
    with stream(address, "forever") as response:
        lines = response.iter_lines()
        assert "begun" in next(line for line in lines if "begun" in line)
        process.send_signal(signal.SIGTERM)
        if signals == 2:
            while httpx.get(f"{address}/readyz").status_code == 200:
                pass  # two signals at once would be delivered as one
            process.send_signal(signal.SIGTERM)
        rest = " ".join(lines)
    assert "shutting_down" in rest
    assert process.wait(15) == 0
    assert time.monotonic() - begun < 15
