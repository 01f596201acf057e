"""How a run's progress is put into words and numbers: shared by the plain and the live sink.

python -m pytest tests/ops/test_sinks.py
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from septet.core.events import Progress

__all__ = ["Clock", "count", "duration", "facts_line", "numbers", "sparkline", "steps_text"]


def duration(seconds: float) -> str:
    """Return a time for people: `0.4 s`, `52 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def count(value: float) -> str:
    """Return a number for people: `1,234`, `0.8123`."""
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def steps_text(number: int) -> str:
    """Return `1 step`, `9 steps`."""
    return f"{count(number)} step{'' if number == 1 else 's'}"


def numbers(metrics: Mapping[str, Any]) -> str:
    """Return `loss 3.21, 8,100 tokens/s` for the numbers of the moment."""
    parts = []
    for name, value in metrics.items():
        if name.endswith("_per_second"):
            parts.append(f"{count(round(value))} {name.removesuffix('_per_second')}/s")
        else:
            parts.append(f"{name.replace('_', ' ')} {count(value)}")
    return ", ".join(parts)


def facts_line(facts: Mapping[str, Any], *, most: int = 5) -> str:
    """Return the first few plain numbers among a step's facts."""
    plain = {
        k: v for k, v in facts.items() if isinstance(v, int | float) and not isinstance(v, bool) and k != "seconds"
    }
    return numbers(dict(list(plain.items())[:most]))


def sparkline(values: Sequence[float], width: int = 12) -> str:
    """Return a curve as a line of blocks, each the mean of its stretch; nothing for fewer than two values.

    >>> sparkline([3.0, 2.0, 1.0])
    '█▅▁'
    """
    values = [value for value in values if math.isfinite(value)]
    if len(values) < 2:
        return ""
    width = min(width, len(values))
    edges = [round(place * len(values) / width) for place in range(width + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, high = min(means), max(means)
    return "".join("▁▂▃▄▅▆▇█"[round(7 * (mean - low) / ((high - low) or 1))] for mean in means)


class Clock:
    """Estimates the time left of one step from how fast it went in this process."""

    def __init__(self) -> None:
        self.began: tuple[float, float] | None = None

    def left(self, event: Progress) -> float | None:
        """Return the seconds left, or None while there is too little to go by."""
        if self.began is None:
            self.began = (event.at, event.done)
        moved, took = event.done - self.began[1], event.at - self.began[0]
        if moved <= 0 or took < 0.5 or not event.total:
            return None
        return max(0.0, (event.total - event.done) * took / moved)
