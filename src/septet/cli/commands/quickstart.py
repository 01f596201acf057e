"""Build an assistant for the Python that is installed here, or for your own documents, and serve it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from septet.cli.main import Settings
from septet.cli.running import Machine, execute, machine_options

RECIPE = "ask-python.yaml"


@click.command("quickstart")
@click.option(
    "--docs",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Build it over a folder of txt and md files.",
)
@click.option(
    "--model",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Start from a local Hugging Face checkpoint.",
)
@click.option(
    "--set", "overrides", multiple=True, metavar="STEP.FIELD=VALUE", help="Override a field by its dotted path."
)
@click.option("--no-serve", is_flag=True, help="End after the report.")
@click.option(
    "--port", type=int, default=8765, show_default=True, envvar="PORT", help="Where to serve; 0 takes any free port."
)
@machine_options
@click.pass_obj
def command(
    settings: Settings,
    docs: Path | None,
    model: Path | None,
    overrides: tuple[str, ...],
    no_serve: bool,
    port: int,
    machine: Machine,
) -> None:
    """Build an assistant from raw text to a running application, in one command.

    Corpus, tokenizer, pre-training, fine-tuning, alignment, index, evaluation, report. A second run keeps what is there.
    """
    from septet.cli.commands.serve import serve
    from septet.core.recipe import Recipe

    if not no_serve:
        from septet.api.server import listen

        listen("127.0.0.1", port).close()  # better told now than after ten minutes
    recipe = Recipe.load(recipe_file(RECIPE), overrides=overrides, changes=_changes(docs, model))
    run = execute(settings, recipe, machine=machine)
    if not settings.json:
        click.echo(f"Report: {run.folder / 'report.html'}")
    if no_serve:
        if not settings.json:
            click.echo(f"Serve it with: septet serve --recipe {run.name}")
        return
    serve(settings, name=run.name, port=port, device=machine.device)


def _changes(docs: Path | None, model: Path | None) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if docs is not None:
        changes["name"] = "ask-docs"
        changes["text.source"] = {"kind": "folder", "path": str(docs.absolute())}
        changes["text.held_out"] = {"by": "document", "share": 0.1}
        # what the recipe knows about Python does not hold for other documents
        changes["docs"] = {"kind": "index", "corpus": "$text"}
        changes["card.questions"] = None
        changes["serve"] = {
            "app": "assistant",
            "model": "$liked",
            "index": "$docs",
            "title": f"Ask {docs.absolute().name}"[:80],
        }
    if model is not None:
        changes["base"] = {"kind": "checkpoint", "folder": str(model.absolute())}
        changes["vocab"] = None  # the checkpoint brings its own tokenizer
    return changes


def recipe_file(name: str) -> Path:
    """Return a recipe that comes with Septet: from the checkout, or from the installed package."""
    package = Path(__file__).parents[2]
    for folder in (package.parents[1] / "recipes", package / "_recipes"):
        if (folder / name).is_file():
            return folder / name
    raise AssertionError(f"the recipe {name} is missing from the installation")
