"""What a run tells while it works: typed events, one JSON object a line in `events.jsonl`.

The terminal, the report and the web pages read the same stream. Times are seconds since the epoch (UTC).

What it is not: a log of prints. What cannot be said as an event's fields is a `Message`.

    septet run recipe.yaml --json
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

__all__ = [
    "Event",
    "Message",
    "Progress",
    "RunFinished",
    "RunStarted",
    "StepFailed",
    "StepFinished",
    "StepKept",
    "StepStarted",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened. `step` is the step's name in the recipe, `at` the time in seconds since the epoch."""

    kind: ClassVar[str] = "event"
    step: str = ""
    at: float = field(default_factory=time.time)

    def to_json(self) -> str:
        return json.dumps({"event": type(self).kind, **asdict(self)}, ensure_ascii=False, default=str)

    @staticmethod
    def from_json(line: str) -> Event:
        """Return the event of a line that `to_json` made."""
        fields = json.loads(line)
        name = fields.pop("event")
        kinds = (RunStarted, RunFinished, StepStarted, StepKept, StepFinished, StepFailed, Progress, Message)
        return next(kind for kind in kinds if kind.kind == name)(**fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A run begins; `plan` lists (step, id, "keep" or "make")."""

    kind: ClassVar[str] = "run_started"
    recipe: str
    plan: list[tuple[str, str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    """A run is complete; `seconds` is its wall-clock time."""

    kind: ClassVar[str] = "run_finished"
    recipe: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted(Event):
    """A step begins, or goes on from the checkpoint of an interrupted run (`resumed`); `settings` are its fields."""

    kind: ClassVar[str] = "step_started"
    id: str
    resumed: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepKept(Event):
    """A step's artifact is in the store already and is used as it is."""

    kind: ClassVar[str] = "step_kept"
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished(Event):
    """A step's artifact is complete and visible; `facts` is what it measured."""

    kind: ClassVar[str] = "step_finished"
    id: str
    seconds: float
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFailed(Event):
    """A step stopped; its work folder stays for the next run."""

    kind: ClassVar[str] = "step_failed"
    id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress(Event):
    """`done` of `total` units, with the numbers of the moment (loss, tokens_per_second, ...)."""

    kind: ClassVar[str] = "progress"
    done: float
    total: float
    unit: str = "steps"
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message(Event):
    """One line for people."""

    kind: ClassVar[str] = "message"
    text: str
