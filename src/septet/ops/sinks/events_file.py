"""Append every event to a file, one JSON object a line.

What it is not: rotated. A run's events are a few hundred kilobytes.

    tail -f .septet/runs/ask-python/events.jsonl
"""

from __future__ import annotations

from typing import TextIO

from pydantic import PrivateAttr

from septet.core.events import Event
from septet.ops.sink import Sink


class EventsFile(Sink):
    """Writes `events.jsonl`; each line is complete, so a reader may follow it."""

    path: str
    """The file to append to."""
    _file: TextIO | None = PrivateAttr(None)

    def on(self, event: Event) -> None:
        if self._file is None:
            self._file = open(self.path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115 - closed by close()
        self._file.write(event.to_json() + "\n")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
