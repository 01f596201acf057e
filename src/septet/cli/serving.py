"""What `ask`, `chat` and `serve` share: opening the application that a finished run serves.

septet ask "How do I join two paths?"
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def open_app(
    settings: Settings,
    *,
    name: str | None,
    model: str | None,
    index: str | None,
    device: str,
    adapters: Sequence[str] = (),
) -> RunningApp:
    """Open the application of a finished run, with another model or index if asked.

    adapters: NAME=MODEL each, models that were fine-tuned from one; that one is the model where none is named.
    """
    from septet.api.app import configure
    from septet.core.step import Runtime
    from septet.launch.local import load_run, newest_run

    store = settings.store
    tuned = {}
    for said in adapters:
        called, given, which = said.partition("=")
        if not given or not called or not which:
            raise click.UsageError(f"--adapter: NAME=MODEL is expected, such as short=by-hand/short; got '{said}'.")
        tuned[called] = store.resolve(which, kinds=("model",))
    if tuned and model is None:
        first = next(iter(tuned.values()))
        if "model" not in first.inputs:
            raise click.UsageError("--adapter: what this model was fine-tuned from is not known; name it with --model.")
        model = first.inputs["model"]
    if tuned and not name and not index:
        serve: dict[str, Any] = {"app": "assistant"}
    elif model and not name and not any((store.home / "runs").glob("*/run.json")):
        serve = {"app": "assistant"}  # a model made by hand, with no recipe
    else:
        serve = dict((load_run(store, name) if name else newest_run(store)).serve)
    for field, value, kind in (("model", model, "model"), ("index", index, "index")):
        if value:
            serve[field] = store.resolve(value, kinds=(kind,)).id
    if tuned:
        serve["adapters"] = {called: artifact.id for called, artifact in tuned.items()}
    return configure(serve).open(store, runtime=Runtime(device=device, offline=settings.offline))
