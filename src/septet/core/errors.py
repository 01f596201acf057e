"""Errors meant for people, and how a near name is found.

    SeptetError (ValueError)
    |- ComponentError     a field is unknown, of the wrong type or out of range; a kind does not exist
    |- RecipeError        the recipe as a whole: YAML, references, cycles
    |- StoreError         an artifact or a name that is not there, or cannot be used
    |- DataError          a file or a row of data that cannot be read
    |- SpaceError         the disk is full
    |- OfflineError       something reached for the network in offline mode
    |- ServeError         the server cannot start
    `- Stopped            the user asked to stop; what was done so far is kept

What it is not: a place for our own mistakes; those are `assert`. Every message says what happened, what was expected and
what to do. Commands print it and leave with status 2, never with a traceback.

    python -m pytest tests/core/test_errors.py
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ComponentError",
    "DataError",
    "OfflineError",
    "RecipeError",
    "SeptetError",
    "ServeError",
    "SpaceError",
    "Stopped",
    "StoreError",
    "nearest",
]


class SeptetError(ValueError):
    """Something that the user can mend; the message says how."""

    exit_status = 2


class ComponentError(SeptetError):
    """A component's kind or one of its fields is not acceptable."""


class RecipeError(SeptetError):
    """A recipe is not YAML, or its steps do not fit together."""


class StoreError(SeptetError):
    """An artifact or a name is missing from the store, or in use."""


class DataError(SeptetError):
    """A file or a row that cannot be used.

    >>> str(DataError("the field 'text' is missing", file="a.jsonl", row=3))
    "a.jsonl, row 3: the field 'text' is missing"
    """

    def __init__(self, message: str, *, file: object = None, row: int | None = None) -> None:
        place = "" if file is None else f"{file}: " if row is None else f"{file}, row {row}: "
        super().__init__(place + message)


class SpaceError(SeptetError):
    """No space is left where the store lives."""


class OfflineError(SeptetError):
    """Offline mode stopped an attempt to reach beyond this machine."""


class ServeError(SeptetError):
    """The server cannot start: a port in use, a model that is not there."""


class Stopped(SeptetError):
    """The user asked to stop (Ctrl-C); the finished part is on disk and the next run goes on from it."""

    exit_status = 130


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the closest known name and lists the others, for the end of a message.

    >>> nearest("jsnol", ["jsonl", "folder"])
    " Did you mean 'jsonl'? Known: folder, jsonl."
    """
    names = sorted(known)
    if not names:
        return ""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    shown = ", ".join(names[:24]) + (", ..." if len(names) > 24 else "")
    return f"{hint} Known: {shown}."
