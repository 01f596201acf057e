"""Show what a recipe would do: keep or make, each step's id, and the time it took last."""

from __future__ import annotations

from pathlib import Path

import click

from septet.cli.main import Settings


@click.command("plan")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--set", "overrides", multiple=True, metavar="STEP.FIELD=VALUE", help="Override a field by its dotted path."
)
@click.pass_obj
def command(settings: Settings, recipe: Path, overrides: tuple[str, ...]) -> None:
    """Show what running a RECIPE would do, without doing it."""
    from septet.core.errors import StoreError
    from septet.core.recipe import Recipe, plan
    from septet.ops.progress import duration

    loaded, store = Recipe.load(recipe, overrides=overrides), settings.store
    rows = []
    for planned in plan(loaded, store):
        last = planned.kept
        if last is None:
            try:
                last = store.resolve(f"{loaded.name}/{planned.name}")
            except StoreError:
                last = None
        seconds = last.facts.get("seconds") if last else None
        rows.append(
            {
                "step": planned.name,
                "kind": planned.step.kind,
                "id": planned.id,
                "action": planned.action,
                "seconds": seconds,
            }
        )
    lines = [f"{'step':14} {'kind':12} {'id':14} {'action':8} last took"]
    for row in rows:
        took = duration(row["seconds"]) if row["seconds"] is not None else "-"
        lines.append(f"{row['step']:14} {row['kind']:12} {row['id'][:12]:14} {row['action']:8} {took}")
    settings.show(rows, "\n".join(lines))
