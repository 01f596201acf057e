"""Offline mode refuses the network and leaves loopback alone. In a process of its own: the hook cannot be taken off.

python -m pytest tests/core/test_offline.py
"""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.conftest import child_environment

CODE = """
import socket, threading
from septet.core.offline import go_offline
from septet.core.errors import OfflineError
go_offline(); go_offline()
server = socket.create_server(("127.0.0.1", 0))
with socket.create_connection(server.getsockname()) as client:
    pass
socket.getaddrinfo("localhost", 80)
try:
    {attempt}
except OfflineError as error:
    print("refused:", error)
"""


@pytest.mark.parametrize(
    ("attempt", "host"),
    [
        ("socket.create_connection(('192.0.2.1', 80), timeout=1)", "192.0.2.1"),
        ("socket.getaddrinfo('models.example', 443)", "models.example"),
        ("socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))", "192.0.2.1"),
        ("__import__('urllib.request').request.urlopen('http://models.example/', timeout=1)", "models.example"),
    ],
)
def test_only_loopback_is_reached(attempt, host, tmp_path):
    command = [sys.executable, "-c", CODE.format(attempt=attempt)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=child_environment(tmp_path))
    assert done.returncode == 0, done.stderr
    assert f"refused: Offline mode: something tried to reach {host}" in done.stdout
