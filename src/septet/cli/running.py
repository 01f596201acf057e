"""What the commands that run steps share: sinks for the terminal, options for the machine, one way to run.

septet run --help
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from septet.cli.main import Settings

if TYPE_CHECKING:
    from septet.core.recipe import Recipe
    from septet.launch.local import Run

__all__ = ["execute", "machine_options"]


def machine_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --device and --threads."""
    function = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")(function)
    return click.option("--threads", type=click.IntRange(1), help="Processor threads; all cores by default.")(function)


def execute(
    settings: Settings,
    recipe: Recipe,
    *,
    device: str = "auto",
    threads: int | None = None,
    only: str | None = None,
    report: bool = True,
) -> Run:
    """Run a recipe with the sinks that fit the output, and write its report."""
    from septet.core.step import Runtime
    from septet.launch.local import run_recipe
    from septet.ops.sinks.events_file import EventsFile
    from septet.ops.sinks.json_lines import JsonLines
    from septet.ops.sinks.live import Live
    from septet.ops.sinks.plain import Plain

    shown = JsonLines() if settings.json else Live() if sys.stdout.isatty() else Plain()
    kept = EventsFile(path=str(settings.store.run_folder(recipe.name) / "events.jsonl"))
    runtime = Runtime(device=device, threads=threads, offline=settings.offline)
    return run_recipe(recipe, settings.store, runtime=runtime, sinks=(shown, kept), only=only, report=report)
