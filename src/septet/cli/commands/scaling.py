"""Fit a scaling law to trained models: loss against parameters and tokens, and the best use of a budget."""

from __future__ import annotations

from pathlib import Path

import click

from septet.cli.main import Settings


@click.command("scaling")
@click.argument("models", nargs=-1)
@click.option("--sweep", metavar="NAME", help="Also all trials of a sweep that were finished.")
@click.option(
    "--flops", type=float, multiple=True, help="A budget; unless given, 1, 10 and 100 times the largest run's."
)
@click.option("--draws", type=click.IntRange(20), default=200, show_default=True, help="Draws for the 95 % intervals.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the draws.")
@click.option("--out", type=click.Path(path_type=Path), help="Also write a page with the plot.")
@click.pass_obj
def command(
    settings: Settings,
    models: tuple[str, ...],
    sweep: str | None,
    flops: tuple[float, ...],
    draws: int,
    seed: int,
    out: Path | None,
) -> None:
    """Fit L = E + A / N^alpha + B / D^beta to pre-trained MODELS, by name or id."""
    from septet.cli.tables import table
    from septet.ops.report.charts import number
    from septet.ops.scaling import constants, scale, short, write_page
    from septet.ops.sweeps import Sweep

    if any(not budget > 0 for budget in flops):
        raise click.UsageError("--flops takes a number of floating-point operations above 0, such as 1e18.")
    named = [(name, settings.store.resolve(name)) for name in models]
    if sweep is not None:
        named += Sweep.load(settings.store, sweep).artifacts(settings.store)
    unique = {artifact.id: (name, artifact) for name, artifact in named}  # the same model twice is one run
    found = scale(list(unique.values()), budgets=flops, draws=draws, seed=seed)
    budgets = [
        [short(b.flops), short(b.parameters), " to ".join(map(short, b.parameters_interval)), short(b.tokens),
         " to ".join(map(short, b.tokens_interval)), number(b.loss)]
        for b in found.best
    ]  # fmt: skip
    text = f"{len(found.points)} runs: L(N, D) = E + A / N^alpha + B / D^beta, in nats a token\n\n"
    text += table(["constant", "value", "95 % interval"], constants(found), right={1, 2})
    head = ["FLOPs", "parameters", "95 % interval", "tokens", "95 % interval", "loss"]
    text += "\n\nBest use of a budget (C = 6 N D; parameters without embeddings):\n" + table(
        head, budgets, right=set(range(6))
    )
    text += "".join(f"\n\nWarning: {warning}" for warning in found.warnings)
    if out is not None:
        text += f"\n\nThe plot is in {write_page(found, out)}"
    settings.show(found.to_dict(), text)
