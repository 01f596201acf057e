"""Show what a recipe would do and what its training takes, or what a training on other hardware would take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from septet.cli.main import Settings

if TYPE_CHECKING:
    from septet.core.recipe import Planned, Recipe
    from septet.core.step import Forecast
    from septet.core.store import Store

MEASURED_SECONDS = 5.0
"""How long a training step is tried out for each step that trains; with libraries to load about ten seconds pass."""


@click.command("plan")
@click.argument("recipe", type=click.Path(path_type=Path), required=False)
@click.option(
    "--set", "overrides", multiple=True, metavar="STEP.FIELD=VALUE", help="Override a field by its dotted path."
)
@click.option(
    "--measure/--no-measure", default=True, help="Try a few training steps on this machine, for time and memory."
)
@click.option(
    "--budget", metavar="TIME|FLOPS", help="Suggest the best model for 2h, 30m, 3d on this machine, or 1e18 operations."
)
@click.option("--device", default="auto", metavar="DEVICE", show_default=True, help="Where it would be trained.")
@click.option("--threads", type=int, metavar="N", help="Processor threads to compute with; all unless given.")
@click.option(
    "--scale",
    metavar="SIZE",
    help="On paper, for other hardware: 70B, a published model (llama-3.1-8b), or with RECIPE the name of its step.",
)
@click.option("--gpu", default="h100", metavar="NAME", show_default=True, help="With --scale: a100, h100, h200, b200.")
@click.option(
    "--gpus", type=click.IntRange(1), default=8, metavar="N", show_default=True, help="With --scale: how many."
)
@click.option(
    "--tp", type=click.IntRange(1), metavar="N", help="With --scale: tensor parallel degree; tried out unless given."
)
@click.option(
    "--pp", type=click.IntRange(1), metavar="N", help="With --scale: pipeline parallel degree; tried out unless given."
)
@click.option(
    "--interleave",
    type=click.IntRange(1),
    default=1,
    metavar="N",
    show_default=True,
    help="With --scale: stages of the pipeline on each GPU.",
)
@click.option(
    "--tokens", metavar="N", help="With --scale: tokens in all, such as 2T; 20 for each parameter unless given."
)
@click.option("--batch", metavar="N", help="With --scale: tokens of one optimizer step, such as 4M.")
@click.option("--context", type=click.IntRange(8), metavar="N", help="With --scale: tokens in a row.")
@click.option("--micro", type=click.IntRange(1), metavar="N", help="With --scale: rows of one forward pass on a GPU.")
@click.option(
    "--shard",
    type=click.Choice(["zero3", "zero2", "zero1"]),
    default="zero3",
    show_default=True,
    help="With --scale: zero3 (FSDP) spreads weights, gradients, states; zero2 the last two; zero1 states.",
)
@click.option(
    "--recompute",
    type=click.Choice(["none", "selective", "full"]),
    default="selective",
    show_default=True,
    help="With --scale: activations made again; selective: as fused kernels do.",
)
@click.option(
    "--efficiency",
    type=click.FloatRange(0.01, 1),
    metavar="SHARE",
    help="With --scale: of the peak, in matrix products.",
)
@click.option("--price", type=click.FloatRange(0), metavar="MONEY", help="With --scale: what a GPU costs an hour.")
@click.pass_obj
def command(
    settings: Settings,
    recipe: Path | None,
    overrides: tuple[str, ...],
    measure: bool,
    budget: str | None,
    device: str,
    threads: int | None,
    scale: str | None,
    **hardware: Any,
) -> None:
    """Show what running a RECIPE would do, without doing it.

    For each step that trains: parameters, operations, memory and time, measured in a few steps on this machine; a run that will not
    fit is refused, with settings that would. With --scale: the same on paper for other hardware.
    """
    from septet.core.errors import RecipeError
    from septet.core.recipe import Recipe, plan

    if scale is not None and (recipe is None or not recipe.suffix):
        return _scaled(settings, scale, None, hardware)
    if recipe is None:
        raise click.UsageError(
            "Give a recipe, such as `septet plan recipes/tiny.yaml`, or a size: `septet plan --scale 70B`."
        )
    loaded, store = Recipe.load(recipe, overrides=overrides), settings.store
    planned = plan(loaded, store)
    if scale is not None:
        from septet.core.errors import nearest

        found = {p.name: p for p in planned}
        if scale not in found:
            raise RecipeError(f"--scale: the recipe has no step '{scale}'.{nearest(scale, found)}")
        forecast = _forecast(found[scale], planned, device, threads, 0)
        if forecast is None or not forecast.settings:
            raise RecipeError(
                f"--scale: the step '{scale}' ({found[scale].step.kind}) trains no model of a known size."
            )
        return _scaled(settings, scale, forecast, hardware)
    wanted = MEASURED_SECONDS if measure else 0.0
    forecasts = {
        p.name: found
        for p in planned
        if p.kept is None and (found := _forecast(p, planned, device, threads, wanted)) is not None
    }
    rows = [_row(loaded, store, p, forecasts.get(p.name)) for p in planned]
    lines = [_steps(rows)]
    for name, forecast in forecasts.items():
        lines += ["", _about(name, forecast)]
    content: Any = rows
    if budget is not None:
        advice, text = _advice(budget, planned, forecasts)
        content, lines = {"steps": rows, "budget": advice}, [*lines, "", text]
    settings.show(content, "\n".join(lines))
    refused = [f"{name}: {_refusal(forecast)}" for name, forecast in forecasts.items() if not forecast.fits]
    if refused:
        raise RecipeError("\n".join(refused))


def _row(recipe: Recipe, store: Store, planned: Planned, forecast: Forecast | None) -> dict[str, Any]:
    from septet.core.errors import StoreError

    last = planned.kept
    if last is None:
        try:
            last = store.resolve(f"{recipe.name}/{planned.name}")
        except StoreError:
            last = None
    row = {
        "step": planned.name,
        "kind": planned.step.kind,
        "id": planned.id,
        "action": planned.action,
        "seconds": last.facts.get("seconds") if last else None,
    }
    return row if forecast is None else {**row, "forecast": forecast.facts()}


def _steps(rows: list[dict[str, Any]]) -> str:
    from septet.ops.progress import duration

    lines = [f"{'step':14} {'kind':12} {'id':14} {'action':8} last took"]
    for row in rows:
        took = duration(row["seconds"]) if row["seconds"] is not None else "-"
        lines.append(f"{row['step']:14} {row['kind']:12} {row['id'][:12]:14} {row['action']:8} {took}")
    return "\n".join(lines)


def _forecast(
    planned: Planned, others: list[Planned], device: str, threads: int | None, seconds: float
) -> Forecast | None:
    from septet.core.step import Runtime

    by_name = {p.name: p.kept or p.step for p in others}
    by_id = {p.id: p.kept for p in others if p.kept is not None}
    inputs: dict[str, Any] = {}
    for role, ref in planned.step.refs().items():
        found = by_name.get(ref[1:]) if ref.startswith("$") else by_id.get(planned.inputs[role])
        if found is not None:
            inputs[role] = found
    return planned.step.forecast(inputs, runtime=Runtime(device=device, threads=threads), seconds=seconds)


def _about(name: str, forecast: Forecast) -> str:
    """The forecast of one step, in lines for people."""
    from septet.core.quantities import flops, size
    from septet.ops.progress import duration

    if forecast.parameters is None:
        return "\n".join([f"{name}:", *_notes(forecast)])
    settings = forecast.settings
    lines = [
        f"{name}: {forecast.parameters:,} parameters ({settings['multiplied']:,} multiply), objective {settings['objective']}",
        f"  tokens      {forecast.tokens or 0:,} in {settings['steps']:,} steps of {settings['rows']:,} rows of "
        f"{settings['context']:,}",
        f"  arithmetic  {flops(forecast.flops or 0)}",
    ]
    if forecast.memory:
        room = "" if forecast.available is None else f" of {size(forecast.available)} free"
        lines.append(f"  memory      {size(forecast.peak or 0)}{room}, at most, on {settings['device']}")
        lines += [f"              {size(part):>9}  {what}" for what, part in forecast.memory.items()]
    if forecast.seconds is not None:
        speed = (settings["rows"] * settings["context"]) / settings["step_seconds"]
        lines.append(
            f"  time        {duration(forecast.seconds)}: {settings['step_seconds']:.3g} s a step, {speed:,.0f} tokens/s, "
            f"{flops(forecast.flops_per_second or 0)}/s ({settings['measured_steps']} steps measured)"
        )
    return "\n".join([*lines, *_notes(forecast)])


def _notes(forecast: Forecast) -> list[str]:
    import textwrap

    return [
        line
        for note in forecast.notes
        for line in textwrap.wrap(note, 96, initial_indent="  note: ", subsequent_indent="        ")
    ]


def _refusal(forecast: Forecast) -> str:
    from septet.core.quantities import size

    text = f"it needs {size(forecast.peak or 0)} of memory, and {size(forecast.available or 0)} are free."
    if not forecast.fits_with:
        return f"{text} No single setting makes it fit; take a smaller model (depth), or a machine with more memory."
    return "\n".join([f"{text} What would fit:", *(f"  {way}" for way in forecast.fits_with)])


def _advice(budget: str, planned: list[Planned], forecasts: dict[str, Forecast]) -> tuple[dict[str, Any], str]:
    """The compute-optimal model for a budget: as JSON values, and as text."""
    from septet.core.errors import RecipeError
    from septet.core.quantities import amount, budget_of, flops
    from septet.train.estimate.optimal import by_loss, by_rule

    known = {name: f for name, f in forecasts.items() if f.parameters is not None}
    if not known:
        raise RecipeError(
            "--budget: the recipe has no step that would be trained, so there is no family to suggest a depth of."
        )
    name, forecast = next(iter(known.items()))
    given, is_time = budget_of(budget)
    total = given
    if is_time:
        if forecast.flops_per_second is None:
            raise RecipeError(
                "--budget: hours become operations by a measured speed. Leave --no-measure out, or give operations: 1e17."
            )
        total = given * forecast.flops_per_second
    step: Any = next(p.step for p in planned if p.name == name)
    rows = []
    for rule, best in (("parametric loss", by_loss(total)), ("20 tokens a parameter", by_rule(total))):
        depth, parameters = _nearest_depth(step, int(forecast.settings["vocabulary"]), best.parameters)
        rows.append(
            {
                "rule": rule,
                "parameters": best.parameters,
                "tokens": best.tokens,
                "depth": depth,
                "depth_parameters": parameters,
                "depth_tokens": total / (6 * parameters),
            }
        )
    lines = [f"For {flops(total)}" + (f" ({budget} at the speed of {name})" if is_time else "") + ", compute-optimal:"]
    lines.append(f"  {'by':24}{'parameters':>11}{'tokens':>9}   nearest on the dial of {step.family.kind}")
    for row in rows:
        lines.append(
            f"  {row['rule']:24}{amount(row['parameters']):>11}{amount(row['tokens']):>9}   depth {row['depth']}: "
            f"{amount(row['depth_parameters'])} parameters, tokens: {amount(row['depth_tokens'])}"
        )
    lines.append(
        "  Parameters are those that multiply, the vocabulary head included. The laws were found on 44M to 16B"
    )
    lines.append("  parameters and text that is never repeated; a wider model is slower or faster than this step's is.")
    return {"flops": total, "step": name, "suggestions": rows}, "\n".join(lines)


def _nearest_depth(step: Any, vocabulary: int, parameters: float) -> tuple[int, int]:
    from math import log

    def multiplied(depth: int) -> int:
        dial = step.family.dial(depth, vocabulary=vocabulary)
        return step.family.matrices(depth, dial.width, dial.feed_forward) + vocabulary * dial.width

    return min(
        ((depth, multiplied(depth)) for depth in range(1, 129)), key=lambda found: abs(log(found[1] / parameters))
    )


def _scaled(settings: Settings, scale: str, forecast: Forecast | None, hardware: dict[str, Any]) -> None:
    """Answer on paper."""
    from septet.core.quantities import number
    from septet.train.scale import Layout, Shape, fastest, shape_named, show

    shape = shape_named(scale) if forecast is None else Shape.of(scale, forecast.settings)
    answer = fastest(
        shape,
        gpu=hardware["gpu"],
        gpus=hardware["gpus"],
        tokens=None if hardware["tokens"] is None else number(hardware["tokens"], "--tokens"),
        batch=None if hardware["batch"] is None else number(hardware["batch"], "--batch"),
        context=hardware["context"],
        micro=hardware["micro"],
        layout=Layout(
            tensor=hardware["tp"],
            pipeline=hardware["pp"],
            shard=hardware["shard"],
            recompute=hardware["recompute"],
            interleave=hardware["interleave"],
        ),
        efficiency=hardware["efficiency"],
        price=hardware["price"],
    )
    settings.show(answer.facts(), show(answer))
