"""What the commands that run steps share: sinks for the terminal, options for the machine, one way to run.

septet run --help
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from septet.cli.main import Settings

if TYPE_CHECKING:
    from septet.core.recipe import Recipe
    from septet.launch.local import Run

__all__ = ["Machine", "execute", "machine_options"]


@dataclass(frozen=True, slots=True)
class Machine:
    """What the options of the machine say. None of it enters an id."""

    device: str = "auto"
    threads: int | None = None
    processes: int | None = None
    on: str | None = None
    ranks: int = 1
    restarts: int = 3
    track: tuple[str, ...] = ()


def machine_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --device, --threads, --processes, --on, --ranks, --restarts and --track; the function gets them as `machine`."""

    @wraps(function)
    def called(*args: Any, threads: int | None, processes: int | None, **more: Any) -> Any:
        rest = {name: more.pop(name) for name in ("device", "on", "ranks", "restarts", "track")}
        machine = Machine(threads=threads, processes=processes or threads, **rest)
        return function(*args, machine=machine, **more)

    for option in (
        click.option(
            "--track",
            multiple=True,
            type=click.Choice(["wandb", "mlflow"]),
            envvar="SEPTET_TRACK",
            help="Also record training there; on this machine unless its own variables say otherwise.",
        ),
        click.option(
            "--restarts",
            type=click.IntRange(0),
            default=3,
            show_default=True,
            help="How often all ranks begin again from the last checkpoint when one is lost.",
        ),
        click.option(
            "--ranks",
            type=click.IntRange(1),
            default=1,
            show_default=True,
            help="Processes that train one model together: of this machine, or of --on ray.",
        ),
        click.option(
            "--on",
            metavar="WHERE",
            help="Where shards of data and ranks are worked on: processes, ray, or ray://HOST:PORT.",
        ),
        click.option("--processes", type=click.IntRange(1), help="Processes for shards of data; all cores by default."),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps."),
        click.option("--threads", type=click.IntRange(1), help="Processor threads; all cores by default."),
    ):
        called = option(called)
    return called


def execute(
    settings: Settings,
    recipe: Recipe,
    *,
    machine: Machine,
    only: str | None = None,
    report: bool = True,
) -> Run:
    """Run a recipe with the sinks that fit the output, and write its report."""
    from septet.core.step import Runtime
    from septet.launch.local import run_recipe
    from septet.launch.mappers import mapper
    from septet.launch.torchrun import gathered
    from septet.ops.sink import Sink
    from septet.ops.sinks.events_file import EventsFile
    from septet.ops.sinks.json_lines import JsonLines
    from septet.ops.sinks.live import Live
    from septet.ops.sinks.plain import Plain
    from septet.ops.sinks.tensorboard import TensorBoard

    where = mapper(machine.on, machine.processes)
    with gathered(machine.on, machine.ranks, restarts=machine.restarts, device=machine.device) as team:
        # under a user's own torchrun only rank 0 comes here
        shown = JsonLines() if settings.json else Live() if sys.stdout.isatty() else Plain()
        kept = EventsFile(path=str(settings.store.run_folder(recipe.name) / "events.jsonl"))
        sinks: list[Sink] = [
            shown,
            kept,
            TensorBoard(folder=str(settings.store.run_folder(recipe.name) / "tensorboard")),
        ]
        sinks += [Sink.parse({"kind": name, "folder": str(settings.store.home)}) for name in machine.track]
        runtime = Runtime(
            device=machine.device, threads=machine.threads, offline=settings.offline, mapper=where, team=team
        )
        return run_recipe(recipe, settings.store, runtime=runtime, sinks=sinks, only=only, report=report)
