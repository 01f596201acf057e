"""Print a run as plain lines, for logs and pipes: what begins, where it is every few seconds, what it measured.

septet run recipe.yaml | cat
"""

from __future__ import annotations

import sys

from pydantic import Field, PrivateAttr

from septet.core import events
from septet.core.events import Event
from septet.ops.progress import Clock, count, duration, facts_line, numbers, steps_text
from septet.ops.sink import Sink


class Plain(Sink):
    """One line an event; progress at most once in `every` seconds."""

    every: float = Field(default=5.0, ge=0)
    """Seconds between two lines of progress."""
    _clock: Clock = PrivateAttr(default_factory=Clock)
    _last: float = PrivateAttr(0.0)

    def on(self, event: Event) -> None:
        match event:
            case events.RunStarted():
                makes = [name for name, _, action in event.plan if action != "keep"]
                self._say(
                    f"{event.recipe}: {steps_text(len(event.plan))}, {len(event.plan) - len(makes)} kept, {len(makes)} to make"
                )
            case events.StepKept():
                self._say(f"[{event.step}] kept {event.id[:12]}")
            case events.StepStarted():
                self._clock, self._last = Clock(), event.at
                self._say(f"[{event.step}] {'goes on with' if event.resumed else 'makes'} {event.id[:12]}")
            case events.Progress():
                left = self._clock.left(event)
                if event.at - self._last >= self.every:
                    self._last = event.at
                    rest = f", {duration(left)} left" if left is not None else ""
                    told = f", {numbers(event.metrics)}" if event.metrics else ""
                    self._say(f"[{event.step}] {count(event.done)} of {count(event.total)} {event.unit}{told}{rest}")
            case events.Message():
                self._say(f"[{event.step}] {event.text}" if event.step else event.text)
            case events.StepFinished():
                told = facts_line(event.facts)
                self._say(f"[{event.step}] done in {duration(event.seconds)}{': ' + told if told else ''}")
            case events.StepFailed():
                # who asked for the run tells the whole of it at its end
                self._say(f"[{event.step}] stopped: {event.reason.splitlines()[0]}")
            case events.RunFinished():
                self._say(f"{event.recipe}: done in {duration(event.seconds)}")

    def _say(self, text: str) -> None:
        print(text, file=sys.stdout, flush=True)
