"""What a lower layer needs from a higher one, as protocols; the step, or the launcher, hands it in.

python -m pytest tests/launch/test_mappers.py
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

__all__ = ["Mapper", "Stage"]


class Stage(Protocol):
    """A function at the top level of a module: settings and one shard in, a result out, all JSON values.

    It reads and writes files whose paths it is given, and may run in another process or on another machine. The same settings
    and shard give the same bytes, so that a shard may be done twice.
    """

    __name__: str
    __module__: str

    def __call__(self, settings: dict[str, Any], shard: dict[str, Any], /) -> dict[str, Any]: ...


class Mapper(Protocol):
    """Runs a stage over shards; `septet.launch` has the ones for processes and for a Ray cluster."""

    def map(self, stage: Stage, settings: dict[str, Any], shards: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield the results in the order of the shards. An error of a stage is raised here, as it was raised there."""
        ...
