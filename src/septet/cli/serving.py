"""What `ask`, `chat` and `serve` share: opening the application that a finished run serves.

septet ask "How do I join two paths?"
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from septet.cli.main import Settings

if TYPE_CHECKING:
    from septet.api.app import RunningApp

__all__ = ["app_options", "open_app"]


def app_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --app, --model, --index and --device."""
    for option in (
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps."),
        click.option("--index", help="Another index than the run's."),
        click.option("--model", help="Another model than the run's; with no index, it answers alone."),
        click.option(
            "--recipe", "name", metavar="NAME", help="The recipe whose run to use; by default the newest that serves."
        ),
    ):
        function = option(function)
    return function


def open_app(settings: Settings, *, name: str | None, model: str | None, index: str | None, device: str) -> RunningApp:
    """Open the application of a finished run, with another model or index if asked."""
    from septet.api.app import configure
    from septet.core.step import Runtime
    from septet.launch.local import load_run, newest_run

    store = settings.store
    if model and not name and not any((store.home / "runs").glob("*/run.json")):
        serve: dict[str, Any] = {"app": "assistant"}  # a model made by hand, with no recipe
    else:
        serve = dict((load_run(store, name) if name else newest_run(store)).serve)
    for field, value, kind in (("model", model, "model"), ("index", index, "index")):
        if value:
            serve[field] = store.resolve(value, kinds=(kind,)).id
    return configure(serve).open(store, runtime=Runtime(device=device, offline=settings.offline))
