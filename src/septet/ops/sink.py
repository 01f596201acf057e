"""A sink takes the events of a run and does one thing with them: show them, or keep them.

python -m pytest tests/ops/test_sinks.py
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from septet.core.component import Component
from septet.core.events import Event

__all__ = ["Sink"]


class Sink(Component):
    """Takes events; opened by its first event and ended by `close`."""

    drawer: ClassVar[str] = "septet.ops.sinks"

    @abstractmethod
    def on(self, event: Event) -> None:
        """Take one event. Called from the thread that runs the step."""

    def close(self) -> None:
        """Flush and end; called once, also after an error."""
