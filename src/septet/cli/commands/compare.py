"""Compare trainings: what differs, their figures, their curves over each other."""

from __future__ import annotations

from pathlib import Path

import click

from septet.cli.main import Settings


@click.command("compare")
@click.argument("models", nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), help="Also write a page with the curves over each other.")
@click.pass_obj
def command(settings: Settings, models: tuple[str, ...], out: Path | None) -> None:
    """Compare MODELS by name or id: which fields of their steps differ, what each measured, how the loss fell."""
    from septet.cli.tables import table
    from septet.ops.comparison import compare, said, write_page
    from septet.ops.progress import sparkline

    found = compare([(name, settings.store.resolve(name)) for name in models])
    head = ["", *found.names]
    rows = [[name, *map(said, values)] for name, values in found.differs.items()]
    text = (
        table(["what differs", *found.names], rows)
        if rows
        else "  They were made alike: no field of their steps differs."
    )
    figures = [[name.replace("_", " "), *map(said, values)] for name, values in found.figures.items()]
    lines = [sparkline([row["loss"] for row in curve], 24) for curve in found.curves]
    text += "\n\n" + table(head, [*figures, ["loss, first to last", *lines]], right=set(range(1, len(head))))
    if out is not None:
        text += f"\n\nThe curves are in {write_page(found, out)}"
    settings.show(found.to_dict(), text)
