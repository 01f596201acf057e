"""A step on several processes: what they are told to do, what they tell while they do it, and how they are asked to stop.

All goes through a folder that every process sees, `ranks` beside the step's checkpoints: `assignment.json` says what to run;
`rank-N.jsonl` has a line for each event (rank 0) and for each start and error (all); `stop` appears when the user wants to stop,
and `over` when the step has failed for a reason that a restart does not mend. So it is the same for processes of this machine and
of a cluster.

What it is not: what starts the processes; `septet.launch.torchrun` and `septet.launch.ray_train` do, each in its way.

    septet run recipe.yaml --ranks 2
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from septet.core.artifact import Artifact, write_json
from septet.core.errors import SeptetError, Stopped
from septet.core.events import Event
from septet.core.protocols import Ranks, Team
from septet.core.step import Runtime, Step, Work
from septet.launch.mappers import cores, is_cluster

__all__ = ["FOLDER", "Board", "assignment_of", "attend", "perform", "team"]

FOLDER = "ranks"


def team(on: str | None, ranks: int, *, restarts: int = 3) -> Team | None:
    """Return what runs parallel steps on so many processes: of this machine (`on` None or "processes") or of a Ray cluster.

    None for one rank: a step then runs where it always does. Errors: ComponentError for an unknown place.
    """
    cluster = is_cluster(on)
    if ranks == 1:
        return None
    if cluster:
        from septet.launch.ray_train import RayTrain

        return RayTrain(str(on), ranks, restarts)
    from septet.launch.torchrun import Torchrun

    return Torchrun(ranks, restarts)


# -- what is asked ------------------------------------------------------------------------------------------------------


def assignment_of(step: Step, work: Work, inputs: Mapping[str, Artifact]) -> dict[str, Any]:
    """Return, as JSON, all that another process needs to run a step; `perform` takes it."""
    return {
        "step": step.dump(),
        "name": work.step,
        "inputs": {role: str(artifact.path.absolute()) for role, artifact in inputs.items()},
        "out": str(work.out.absolute()),
        "state": str(work.state.absolute()),
        "device": work.runtime.device,
        "threads": work.runtime.threads,
        "offline": work.runtime.offline,
    }


def perform(
    assignment: Mapping[str, Any], ranks: Ranks, *, emit: Callable[[Event], None], asked: Callable[[], bool]
) -> dict[str, Any]:
    """Run an assigned step as one of its ranks and return its facts.

    emit: rank 0 alone tells. asked: whether a stop was asked for here; the ranks stop together, wherever it was asked.
    """

    def stopping() -> bool:
        # in one exchange at every safe point; otherwise one rank would stop and the others wait for it
        return ranks.sum({"stop": float(asked())})["stop"] > 0

    step = Step.parse(assignment["step"])
    inputs = {role: Artifact.load(Path(folder)) for role, folder in assignment["inputs"].items()}
    work = Work(
        out=Path(assignment["out"]),
        state=Path(assignment["state"]),
        runtime=Runtime(
            device=assignment["device"], threads=assignment["threads"], offline=assignment["offline"], ranks=ranks
        ),
        emit=emit if ranks.is_first else lambda event: None,
        step=assignment["name"],
        stopping=stopping,
    )
    facts = step.run(work, **inputs)
    ranks.barrier()  # nobody ends while rank 0 still needs the others
    return facts


# -- what a rank does ---------------------------------------------------------------------------------------------------


def attend(folder: Path) -> None:
    """Do what the folder's assignment asks, as the rank that the environment says. Raises what a restart might mend."""
    if (folder / "over").exists():
        return
    assignment = json.loads((folder / "assignment.json").read_text(encoding="utf-8"))
    rank = int(os.environ["RANK"])
    with (folder / f"rank-{rank}.jsonl").open("a", encoding="utf-8") as lines:

        def tell(line: str) -> None:
            lines.write(line + "\n")
            lines.flush()

        def say(**content: Any) -> None:
            tell(json.dumps(content))

        say(started={"rank": rank, "process": os.getpid(), "host": platform.node()})
        try:
            if assignment["offline"]:
                from septet.core.offline import go_offline

                go_offline()
            import torch  # 1.5 s; only the processes that train come here

            from septet.train.ranks import join

            torch.set_num_threads(assignment["threads"])
            ranks = join(assignment["device"])
            facts = perform(
                assignment,
                ranks,
                emit=lambda event: tell(event.to_json()),
                asked=lambda: ranks.is_first and (folder / "stop").exists(),
            )
            if ranks.is_first:
                say(value=facts)
        except Stopped as error:  # all ranks at the same point
            say(error=type(error).__name__, text=str(error))
        except SeptetError as error:
            say(error=type(error).__name__, text=str(error))
            (folder / "over").touch()
            raise
        except OSError as error:
            say(system=error.errno, text=str(error))
            (folder / "over").touch()
            raise
        except Exception as error:
            say(lost=f"rank {rank} on {platform.node()}: {type(error).__name__}: {error}", text=traceback.format_exc())
            raise


# -- what the run does --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Board:
    """The folder of an assignment, as the run that gave it sees it."""

    folder: Path
    work: Work
    ranks: int
    restarts: int
    threads: int
    starts: int = 0
    lost: str = ""
    _read: dict[str, int] = field(default_factory=dict)

    @classmethod
    def post(cls, step: Step, work: Work, inputs: Mapping[str, Artifact], ranks: int, restarts: int) -> Board:
        """Write the assignment, with the threads that a rank may use: its part of the cores unless they were given."""
        folder = (work.state.parent / FOLDER).absolute()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        threads = work.runtime.threads or max(1, cores() // ranks)
        work = replace(work, runtime=replace(work.runtime, threads=threads))
        write_json(folder / "assignment.json", assignment_of(step, work, inputs))
        return cls(folder, work, ranks, restarts, threads)

    def watch(self, alive: Callable[[], bool]) -> dict[str, Any] | None:
        """Pass events on until the step has ended; return its facts, or None where the processes ended without a word.

        Raises what the step raised. Once the user has asked to stop, tells the ranks.
        """
        while True:
            living = alive()  # asked before the last look, so that nothing is missed
            for line in self._new():
                told = json.loads(line)
                if "event" in told:
                    self.work.emit(Event.from_json(line))
                elif "value" in told:
                    return told["value"]
                elif "started" in told:
                    self._started(told["started"])
                elif "lost" in told:
                    # that a peer is gone is not why it has gone
                    if not self.lost or "by peer" in self.lost:
                        self.lost = told["lost"]
                elif "error" in told:
                    kinds = {kind.__name__: kind for kind in _kinds(SeptetError)}
                    raise kinds.get(told["error"], SeptetError)(told["text"])
                else:
                    raise OSError(told["system"], told["text"])
            if not living:
                return None
            if self.work.stopping():
                (self.folder / "stop").touch()
            time.sleep(0.05)

    def gave_up(self, log: str) -> SeptetError:
        """Return the error for processes that have ended, and were started again as often as allowed."""
        last = f" The last one: {self.lost.rstrip('.')}." if self.lost else ""
        return SeptetError(
            f"A rank was lost {max(1, self.starts)} times while making '{self.work.step}', and this is all that --restarts "
            f"{self.restarts} allows.{last} What they wrote is in {log}. The same command goes on from the last checkpoint; if a "
            "process was ended for want of memory, use fewer --ranks."
        )

    def _started(self, who: dict[str, Any]) -> None:
        if who["rank"] != 0:
            return
        self.starts += 1
        if self.starts == 1:
            self.work.log(f"{self.ranks} ranks train together.")
        else:
            self.work.log(
                f"A rank was lost; all {self.ranks} begin again from the last checkpoint (restart {self.starts - 1} of "
                f"{self.restarts})."
            )

    def _new(self) -> Iterator[str]:
        """Yield the whole lines that are new in any rank's file."""
        for path in sorted(self.folder.glob("rank-*.jsonl")):
            with path.open("rb") as file:
                file.seek(self._read.get(path.name, 0))
                content = file.read()
            end = content.rfind(b"\n") + 1
            self._read[path.name] = self._read.get(path.name, 0) + end
            yield from content[:end].decode().splitlines()


def _kinds(kind: type[SeptetError]) -> Iterator[type[SeptetError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)
