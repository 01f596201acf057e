"""Offline mode: any attempt of this process to reach beyond loopback fails with a message.

It hooks the interpreter's audit events for name look-ups and connections, so it holds for every Python library, and sets the
environment variables by which Hugging Face libraries (some of which open sockets outside Python) stay offline. Child
processes inherit the variables; Septet's own workers read them and go offline too.

What it is not: a firewall against native code that opens its own sockets.

    septet --offline run recipe.yaml
"""

from __future__ import annotations

import ipaddress
import os
import sys
from typing import Any

from septet.core.errors import OfflineError

__all__ = ["go_offline", "is_loopback", "refuse"]

_active = False


def go_offline() -> None:
    """Refuse every connection beyond loopback from now on, for the rest of the process."""
    global _active
    for name in (
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "HF_DATASETS_OFFLINE",
        "HF_HUB_DISABLE_TELEMETRY",
        "DO_NOT_TRACK",
        "SEPTET_OFFLINE",
    ):
        os.environ[name] = "1"
    if not _active:
        _active = True
        sys.addaudithook(_watch)


def refuse(host: str) -> None:
    """Raise OfflineError where SEPTET_OFFLINE is set and `host` is not this machine.

    For those who know the address before they connect: the message comes at once, and also where only the variable is set.
    """
    if os.environ.get("SEPTET_OFFLINE") and not is_loopback(host):
        raise OfflineError(
            f"Offline mode: {host} is not this machine. Run without --offline and without SEPTET_OFFLINE to allow it."
        )


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if event == "socket.getaddrinfo" or event == "socket.gethostbyname":
        host = args[0]
    elif event in ("socket.connect", "socket.sendto"):
        if not isinstance(args[1], tuple):
            return  # a Unix socket
        host = args[1][0]
    else:
        return
    if not is_loopback(host):
        raise OfflineError(
            f"Offline mode: something tried to reach {host}. Run without --offline to allow it, or give a local file."
        )


def is_loopback(host: Any) -> bool:
    """Say whether a host name or address is this machine."""
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host in (None, "", "localhost"):
        return True
    try:
        address = ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
