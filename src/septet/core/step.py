"""A step: one verb of a model's life. Artifacts in, one artifact out.

    class Corpus(Step):
        \"\"\"Read, clean and split a text collection.\"\"\"
        produces = "corpus"
        source: Source
        def run(self, work, **inputs): ...

A step writes only below `work.out` (what becomes the artifact) and `work.state` (checkpoints, which survive a kill). It draws
random numbers only from a `seed` field. Heavy imports belong in `run`, so that the command line stays quick.

What it is not: a scheduler. `septet.launch` runs steps, keeps finished ones and resumes interrupted ones.

    septet corpus --help
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from septet.core.artifact import Artifact, Fact
from septet.core.component import Component
from septet.core.errors import Stopped
from septet.core.events import Event, Message, Progress
from septet.core.protocols import Mapper, Ranks, Stage, Team

__all__ = ["KINDS", "Forecast", "Runtime", "Step", "Work"]

KINDS = (
    "corpus",
    "tokenizer",
    "model",
    "dataset",
    "pairs",
    "ratings",
    "index",
    "report",
    "classifier",
    "recogniser",
    "packed",
)


@dataclass(frozen=True, slots=True)
class Runtime:
    """Where a step runs. None of it enters an id: device "auto", "cpu", "cuda" or "mps"; threads None means all cores.

    mapper: what runs a stage over many shards: other processes, a cluster; None is this process. team: what runs a step that says
    `parallel` on many processes; ranks: within one of those, the others.
    """

    device: str = "auto"
    threads: int | None = None
    offline: bool = False
    mapper: Mapper | None = None
    team: Team | None = None
    ranks: Ranks | None = None

    def map(self, stage: Stage, settings: dict[str, Any], shards: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield `stage(settings, shard)` for every shard, in the order of the shards, wherever each of them runs."""
        if self.mapper is None:
            return (stage(settings, shard) for shard in shards)
        return self.mapper.map(stage, settings, shards)


@dataclass(frozen=True, slots=True)
class Work:
    """What a running step gets: two folders, the machine, and a way to tell what happens."""

    out: Path
    state: Path
    runtime: Runtime = field(default_factory=Runtime)
    emit: Callable[[Event], None] = lambda event: None
    step: str = ""
    stopping: Callable[[], bool] = lambda: False

    def progress(self, done: float, total: float, unit: str = "steps", **metrics: float) -> None:
        """Tell that `done` of `total` units are finished, with the numbers of the moment.

        Also a safe point: raises Stopped here when the user has asked to stop, so save what is worth keeping first.
        """
        self.emit(Progress(step=self.step, done=done, total=total, unit=unit, metrics=metrics))
        if self.stopping():
            raise Stopped(f"Stopped while making '{self.step}'; the same command goes on from here.")

    def log(self, text: str) -> None:
        """Tell one line for people."""
        self.emit(Message(step=self.step, text=text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a step will take, told before it runs; None is what nobody knows yet.

    parameters, trainable: of the model. tokens: positions that are computed in all. flops: of the whole training. memory: bytes by
    part; peak: the most at one time. available: bytes that may be taken. seconds: of the training. settings: the sizes behind the
    figures. fits_with: settings that would fit where these do not. notes: what is a bound, a guess, or was not measured.
    """

    parameters: int | None = None
    trainable: int | None = None
    tokens: int | None = None
    flops: float | None = None
    memory: Mapping[str, float] = field(default_factory=dict)
    peak: float | None = None
    available: float | None = None
    seconds: float | None = None
    flops_per_second: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    fits_with: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """False where it is known that there is too little memory."""
        return self.peak is None or self.available is None or self.peak <= self.available

    def facts(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {**asdict(self), "memory": dict(self.memory), "settings": dict(self.settings), "fits": self.fits}


class Step(Component):
    """A verb of the lifecycle: its fields are its parameters and the references to its inputs."""

    drawer: ClassVar[str] = "septet.steps"
    produces: ClassVar[str]
    """The kind of artifact that this step makes."""
    parallel: ClassVar[bool] = False
    """Whether several processes can run it together, each with `work.runtime.ranks`; all call `work.progress` equally often."""

    @abstractmethod
    def run(self, work: Work, **inputs: Artifact) -> dict[str, Fact]:
        """Write the artifact's files below `work.out` and return the facts. `inputs` has the role of each reference."""

    def forecast(
        self, inputs: Mapping[str, Artifact | Step], *, runtime: Runtime, seconds: float = 0.0
    ) -> Forecast | None:
        """Say what running will take, or None where there is nothing to say (most steps).

        inputs: by role the artifact, or the step that will make it. seconds: how long this machine may be tried out; 0: not at all.
        """
        return None
