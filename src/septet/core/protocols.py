"""What a lower layer needs from a higher one, as protocols; the step, or the launcher, hands it in.

python -m pytest tests/launch/test_mappers.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from septet.core.artifact import Artifact
    from septet.core.step import Step, Work

__all__ = ["Mapper", "Ranks", "Stage", "Team"]


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


class Ranks(Protocol):
    """The processes that train one model together, as one of them sees it. Each method is called by all, in the same order."""

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    @property
    def is_first(self) -> bool: ...

    def sum(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the sums over ranks, by name."""
        ...

    def agree(self, value: Any) -> Any:
        """Return rank 0's JSON value on every rank."""
        ...

    def barrier(self) -> None:
        """Wait until every rank is here."""
        ...


class Team(Protocol):
    """Runs a step that says `parallel` on several processes; `septet.launch` has those of torchrun and of Ray Train."""

    def run(self, step: Step, work: Work, inputs: Mapping[str, Artifact]) -> dict[str, Any]:
        """Return the step's facts. An error of the step is raised here, as it was raised there."""
        ...
