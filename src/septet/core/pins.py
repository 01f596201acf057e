"""Pins: what a moving name of the outside world meant when it was first used, such as the commit of a data set's branch.

A small JSON file `pins.json` in the store's home, so that later runs read what the first one read. Before `use` names a home,
pins are kept in memory and end with the process. To take a newer state, remove the line from the file.

What it is not: a cache. Losing it loses nothing but the memory of which state was read.

    python -m pytest tests/core/test_pins.py
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable
from pathlib import Path

from septet.core.artifact import write_json
from septet.core.errors import StoreError

__all__ = ["FILE", "get", "pin", "use"]

FILE = "pins.json"

_home: Path | None = None
_memory: dict[str, str] = {}


def use(home: str | Path) -> None:
    """Keep pins in this store's home from now on, in this process."""
    global _home
    _home = Path(home)


def get(key: str) -> str | None:
    """The value that was pinned, or None."""
    return _read().get(key)


def pin(key: str, find: Callable[[], str]) -> str:
    """The value pinned for `key`; where there is none, what `find` gives, which is pinned for everybody who asks later.

    Two processes that ask at once get the same value: the first one to finish decides.
    """
    known = get(key)
    if known is not None:
        return known
    value = find()  # may take a while, so nobody waits for it with the lock held
    if _home is None:
        return _memory.setdefault(key, value)
    locks = _home / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / "pins.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        pins = _read()
        if key not in pins:
            pins[key] = value
            write_json(_home / FILE, dict(sorted(pins.items())))
        return pins[key]


def _read() -> dict[str, str]:
    if _home is None:
        return _memory
    path = _home / FILE
    try:
        pins = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise StoreError(f"{path} is not JSON ({error}); mend it, or remove it to resolve its names anew.") from None
    if not isinstance(pins, dict) or not all(isinstance(value, str) for value in pins.values()):
        raise StoreError(f"{path} must hold one object of strings; mend it, or remove it to resolve its names anew.")
    return pins
