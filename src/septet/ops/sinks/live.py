"""Show a run on a terminal: finished steps as lines, the running one with a bar, its numbers and the time left.

septet run recipe.yaml
"""

from __future__ import annotations

from typing import Any

from pydantic import PrivateAttr
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as Bars

from septet.core import events
from septet.core.events import Event
from septet.ops.progress import Clock, duration, facts_line, numbers, sparkline, steps_text
from septet.ops.sink import Sink

QUIET = frozenset({"learning_rate", "grad_norm"})
"""Numbers that are recorded, and leave no room on a line of 80 characters."""


class Live(Sink):
    """One line a step, the running one alive."""

    _console: Console = PrivateAttr(default_factory=lambda: Console(highlight=False))
    _bars: Bars | None = PrivateAttr(None)
    _task: Any = PrivateAttr(None)
    _clock: Clock = PrivateAttr(default_factory=Clock)
    _losses: list[float] = PrivateAttr(default_factory=list)

    def on(self, event: Event) -> None:
        match event:
            case events.RunStarted():
                makes = sum(action != "keep" for _, _, action in event.plan)
                self._say(f"[bold]{event.recipe}[/]  {steps_text(len(event.plan))}, {makes} to make")
            case events.StepKept():
                self._line("=", "dim", event.step, f"kept {event.id[:12]}")
            case events.StepStarted():
                self._begin(event)
            case events.Progress():
                if self._bars is not None:
                    left = self._clock.left(event)
                    self._losses += [event.metrics["loss"]] if "loss" in event.metrics else []
                    shown = {name: value for name, value in event.metrics.items() if name not in QUIET}
                    parts = [numbers(shown), f"{duration(left)} left" if left is not None else ""]
                    told = " ".join(filter(None, [sparkline(self._losses), ", ".join(filter(None, parts))]))
                    self._bars.update(self._task, completed=event.done, total=event.total, told=escape(told))
            case events.Message():
                self._say(f"  [dim]{escape(event.text)}[/]")
            case events.StepFinished():
                self._end()
                told = "  ".join(filter(None, [duration(event.seconds), facts_line(event.facts, most=4)]))
                self._line("+", "green", event.step, told)
            case events.StepFailed():
                self._end()
                self._line("!", "yellow", event.step, event.reason.split("\n")[0])
            case events.RunFinished():
                self._say(f"[bold]{event.recipe}[/]  done in {duration(event.seconds)}")

    def close(self) -> None:
        self._end()

    def _begin(self, event: events.StepStarted) -> None:
        self._clock, self._losses = Clock(), []
        columns = (
            SpinnerColumn(),
            TextColumn("[bold]{task.description:12}[/]"),
            BarColumn(bar_width=12),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[told]}"),
        )
        self._bars = Bars(*columns, console=self._console, transient=True, refresh_per_second=4)
        told = "goes on from its checkpoint" if event.resumed else ""
        self._task = self._bars.add_task(escape(event.step), total=None, told=told)
        self._bars.start()

    def _end(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def _line(self, mark: str, style: str, step: str, text: str) -> None:
        self._say(f"[{style}]{mark}[/] [bold]{escape(step):12}[/] {escape(text)}")

    def _say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)
