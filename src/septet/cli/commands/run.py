"""Run a recipe: make what is missing, keep what is there, go on with what was interrupted."""

from __future__ import annotations

from pathlib import Path

import click

from septet.cli.main import Settings
from septet.cli.running import Machine, execute, machine_options


@click.command("run")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--set", "overrides", multiple=True, metavar="STEP.FIELD=VALUE", help="Override a field by its dotted path."
)
@click.option("--only", metavar="STEP", help="Only this step and what it needs.")
@machine_options
@click.pass_obj
def command(settings: Settings, recipe: Path, overrides: tuple[str, ...], only: str | None, machine: Machine) -> None:
    """Run a RECIPE: make what is missing, keep what is there, go on with what was interrupted."""
    from septet.core.recipe import Recipe

    loaded = Recipe.load(recipe, overrides=overrides)
    run = execute(settings, loaded, machine=machine, only=only, report=only is None)
    if not settings.json and only is None:
        click.echo(f"Report: {run.folder / 'report.html'}")
        if run.serve:
            click.echo(f"Serve it with: septet serve --recipe {run.name}")
