"""Run a recipe again and again with other values of some fields, and rank the trials by a metric."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from septet.cli.main import Settings
from septet.cli.running import Machine, execute, machine_options

if TYPE_CHECKING:
    from septet.core.artifact import Artifact
    from septet.core.recipe import Recipe
    from septet.ops.sweeps import Sweep, Trial


@click.command("sweep")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--over", multiple=True, required=True, metavar="STEP.FIELD=VALUES", help="a,b,c, or log:LOW..HIGH, int:, float:."
)
@click.option("--metric", required=True, metavar="STEP.FACT", help="What to rank by, such as base.bits_per_byte.")
@click.option("--maximize/--minimize", default=False, help="Whether more is better; less is, unless said.")
@click.option(
    "--search", type=click.Choice(["grid", "optuna"]), default="grid", show_default=True, help="How to choose."
)
@click.option("--trials", type=click.IntRange(1), help="Of optuna, in all; 20 unless given.")
@click.option("--seed", type=click.IntRange(0), help="Of optuna; 0 unless given.")
@click.option("--name", help="The sweep's name; by default the recipe's.")
@click.option("--set", "overrides", multiple=True, metavar="STEP.FIELD=VALUE", help="Override a field of every trial.")
@machine_options
@click.pass_obj
def command(
    settings: Settings,
    recipe: Path,
    over: tuple[str, ...],
    metric: str,
    maximize: bool,
    search: str,
    trials: int | None,
    seed: int | None,
    name: str | None,
    overrides: tuple[str, ...],
    machine: Machine,
) -> None:
    """Run a RECIPE with every combination of values, or those that a search picks. The same command goes on."""
    from septet.core.errors import SeptetError
    from septet.core.extras import need
    from septet.launch.sweep import axes, begin, run_sweep

    if search == "optuna":
        need("optuna", "sweep")  # known before anything is made
    elif trials is not None or seed is not None:
        raise click.UsageError("--trials and --seed are for --search optuna; a grid runs every combination once.")
    store, fields = settings.store, axes(over)
    sweep = begin(
        recipe,
        store,
        fields,
        metric=metric,
        maximize=maximize,
        search=search,
        seed=seed or 0,
        name=name,
        fixed=overrides,
    )

    def make(loaded: Recipe, step: str) -> Artifact:
        return execute(settings, loaded, machine=machine, only=step, report=False).artifacts[step]

    def telling(trial: Trial, total: int) -> None:
        if not settings.json:
            click.echo(f"\nTrial {trial.number} of {total}, {trial.name}: {', '.join(trial.overrides)}")

    page = run_sweep(sweep, store, fields, make, trials=trials or 20, telling=telling)
    best = sweep.best()
    if settings.json:
        click.echo(json.dumps(sweep.to_dict(), ensure_ascii=False))  # one line, as the events before it
    else:
        click.echo(f"\n{_ranked(sweep)}")
        if best is not None:
            click.echo(f"\nThe best: {sweep.command(best)}")
        click.echo(f"Page: {page}\nJSON: {page.with_name('sweep.json')}")
    if best is None:
        raise SeptetError(
            f"No trial of the sweep '{sweep.name}' was finished. The first failed: {sweep.trials[0].reason}"
        )


def _ranked(sweep: Sweep) -> str:
    from septet.cli.tables import table
    from septet.ops.comparison import said
    from septet.ops.report.charts import number
    from septet.ops.sweeps import brief

    head = ["trial", *sweep.over, sweep.metric, "seconds"]
    rows = []
    for trial in sweep.ranked():
        value = "–" if trial.value is None else number(trial.value, 4)
        rows.append([trial.name, *map(brief, trial.settings.values()), value, said(trial.seconds)])
    text = table(head, rows, right={len(head) - 2, len(head) - 1})
    failed = [f"\n  {trial.name} failed: {trial.reason}" for trial in sweep.trials if trial.value is None]
    return text + "".join(failed)
