"""Advise on architecture, model and adapter for a data set and this machine, with the reason for each."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from septet.cli.main import Settings

if TYPE_CHECKING:
    from septet.data.profile import Profile
    from septet.ops.advice import Choice, Machine, Ranked, Rung
    from septet.ops.given import Meant

MEASURED_SECONDS = 2.0
WIDE = 98  # columns of the page
MOST_NAME = 28

LANGUAGES = {
    "ar": "Arabic", "bg": "Bulgarian", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek", "en": "English",
    "es": "Spanish", "fa": "Persian", "fi": "Finnish", "fr": "French", "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian",
    "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean", "la": "Latin", "nl": "Dutch", "no": "Norwegian",
    "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sv": "Swedish", "th": "Thai", "tr": "Turkish",
    "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


@click.command("advise")
@click.argument("recipe_or_data", nargs=-1)
@click.option("--builder", metavar="YAML", help="How files are read, as `septet dataset --builder` takes it.")
@click.option("--step", metavar="NAME", help="The step of a recipe whose data set is meant, where it has several.")
@click.option("--language", metavar="CODE", help="The language of what is read (en, de, ...), in place of a guess.")
@click.option(
    "--model-limit", type=click.IntRange(1), default=4, show_default=True, help="Models of the catalogue shown."
)
@click.option("--model", metavar="NAME", help="Show the adapters for this model of the page, in place of the first.")
@click.option("--budget", metavar="TIME", default="2h", show_default=True, help="What one pass over the rows may take.")
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Rows of one step.")
@click.option("--max-tokens", type=click.IntRange(2), help="Reckon with rows cut at so many tokens.")
@click.option("--memory", metavar="BYTES", help="Memory to reckon with, such as 24GB, in place of what is free.")
@click.option("--gpu", metavar="NAME", help="Reckon with a GPU of `septet plan --scale` (a100, h100, ...), on paper.")
@click.option("--measure/--no-measure", default=True, help="Try this machine's speed for some seconds, for the times.")
@click.pass_obj
def command(
    settings: Settings,
    recipe_or_data: tuple[str, ...],
    builder: str | None,
    step: str | None,
    language: str | None,
    model_limit: int,
    model: str | None,
    budget: str,
    batch_size: int,
    max_tokens: int | None,
    memory: str | None,
    gpu: str | None,
    measure: bool,
) -> None:
    """Look at rows and machine, and name the architecture, the models and the adapter that suit them, each with its reason.

    RECIPE_OR_DATA is a file or folder of rows (CSV, JSON, CoNLL, SQuAD, a label and a text on each line, a folder a class; two
    files: texts and their translations), a data set of the store, or a recipe that makes one. Nothing is trained, made or
    fetched.
    """
    if not recipe_or_data and builder is None:
        raise click.UsageError("Give a file of rows, a recipe or a data set, such as `septet advise reviews.csv`.")
    import yaml

    from septet.core.quantities import budget_of
    from septet.data.profile import profile
    from septet.ops.given import rows_meant

    spent, is_time = budget_of(budget)
    if not is_time:
        raise click.UsageError(f"--budget: a time is expected, such as 30m, 2h or 3d; got '{budget}'.")
    read = None if builder is None else yaml.safe_load(builder)
    meant = rows_meant(recipe_or_data, settings.store, builder=read, step=step)
    rows = profile(meant.task.kind, meant.parts, language=language)
    from septet.ops.advice import architectures  # torch, 3 s: what is wrong with the rows is said before

    ranked = architectures(rows.purpose, meant.task.fits)
    machine = _machine(rows, ranked[0].architecture, gpu=gpu, memory=memory, measure=measure)
    choices, left, rungs, chosen = _work_out(
        settings,
        meant,
        rows,
        ranked,
        machine,
        limit=model_limit,
        budget=spent,
        batch=batch_size,
        cut=max_tokens,
        model=model,
    )
    content = {
        "data": meant.name,
        "profile": {**asdict(rows), "read": None, "written": None, "purpose": rows.purpose},
        "machine": asdict(machine),
        "architectures": [asdict(one) for one in ranked],
        "models": [_facts(one, machine) for one in choices],
        "left_out": left,
        "model": None if chosen is None else chosen.candidate.name,
        "adapters": [_rung_facts(one) for one in rungs],
    }
    page = _page(meant, rows, ranked, machine, choices, left, rungs, chosen, spent, batch_size, most=max_tokens)
    settings.show(content, page)


def _machine(rows: Profile, architecture: str, *, gpu: str | None, memory: str | None, measure: bool) -> Machine:
    from septet.core.quantities import memory_of
    from septet.ops.machine import on_paper, this_machine

    room = None if memory is None else memory_of(memory, "--memory")
    if gpu is not None:
        return on_paper(gpu, memory=room)
    tokens = sorted(rows.whole)[len(rows.whole) // 2]
    return this_machine(
        memory=room, seconds=MEASURED_SECONDS if measure else 0.0, architecture=architecture, tokens=tokens
    )


def _work_out(
    settings: Settings,
    meant: Meant,
    rows: Profile,
    ranked: list[Ranked],
    machine: Machine,
    *,
    limit: int,
    budget: float,
    batch: int,
    cut: int | None,
    model: str | None,
) -> tuple[list[Choice], dict[str, list[str]], list[Rung], Choice | None]:
    from septet.core.errors import ComponentError, nearest
    from septet.ops.advice import Candidate, choose, ladder, load_of
    from septet.ops.candidates import candidates
    from septet.train.estimate.adapting import KINDS, Cost, costs_of

    def room(candidate: Candidate) -> int | None:
        return min((limit for limit in (cut, candidate.context) if limit is not None), default=None)

    def cost(candidate: Candidate, kinds: tuple[str, ...] = ("full", "lora")) -> dict[str, Cost]:
        load = load_of(rows, candidate.architecture, context=room(candidate), batch=batch)
        return costs_of(candidate.shape, candidate.architecture, load, kinds)  # pyright: ignore[reportArgumentType]

    known = candidates(settings.store)
    if model is not None:
        named = [one for one in known if model in (one.name, one.name.rpartition("/")[2])]
        if not named:
            raise ComponentError(
                f"--model: there is no model '{model}' here.{nearest(model, [one.name for one in known])}"
            )
        if named[0].architecture not in meant.task.fits:
            raise ComponentError(
                f"--model: '{named[0].name}' is a model of the architecture '{named[0].architecture}', and '{meant.task.kind}' "
                f"takes {' or '.join(meant.task.fits)}."
            )
    choices, left = choose(rows, known, ranked, machine, cost, limit=limit, budget=budget, batch=batch, cut=cut)
    chosen = choices[0].candidate if choices else None
    if model is not None:
        chosen = named[0]
    elif choices:
        # a model here that was made small or for something else is no reason to pass over a fitting published one
        chosen = next((one.candidate for one in choices if not one.candidate.note and not one.slow), chosen)
    if chosen is None:
        return choices, left, [], None
    costs: Any = cost(chosen, KINDS)
    shown = next((one for one in choices if one.candidate.name == chosen.name), None)
    if shown is None:
        from septet.ops.advice import Choice, cut_share

        shown = Choice(candidate=chosen, costs=costs, batch=batch, cut=cut_share(rows, chosen), seconds=0.0, slow=False)
    costs = {kind: one.at(shown.batch) for kind, one in costs.items()}
    return choices, left, ladder(rows, costs, machine), shown


def _facts(choice: Choice, machine: Machine) -> dict[str, Any]:
    candidate = choice.candidate
    costs = {
        name: {"learns": one.learns, "peak": one.peak, "flops": one.flops, "seconds": machine.seconds(one.flops)}
        for name, one in choice.costs.items()
    }
    return {
        **asdict(candidate),
        "shape": None,
        "batch": choice.batch,
        "cut": choice.cut,
        "slow": choice.slow,
        "costs": costs,
    }


def _rung_facts(rung: Rung) -> dict[str, Any]:
    cost = rung.cost
    return {
        "adapter": cost.adapter,
        "learns": cost.learns,
        "peak": cost.peak or None,
        "flops": cost.flops,
        "seconds": rung.seconds,
        "fits": rung.fits,
        "recommended": rung.recommended,
        "verdict": rung.verdict,
    }


# -- the page -----------------------------------------------------------------------------------------------------------


def _page(
    meant: Meant,
    rows: Profile,
    ranked: list[Ranked],
    machine: Machine,
    choices: list[Choice],
    left: dict[str, list[str]],
    rungs: list[Rung],
    chosen: Choice | None,
    budget: float,
    batch: int,
    *,
    most: int | None = None,
) -> str:
    parts = [
        _rows(meant, rows, machine),
        _architectures(rows, ranked),
        _models(choices, left, machine, budget, batch),
        _ladder(rows, rungs, chosen),
        _next(meant, rows, rungs, chosen, most),
        _assumed(rows, machine, batch),
    ]
    return "\n\n".join(filter(None, parts))


def _wrapped(text: str, first: str = "  ", rest: str = "  ") -> str:
    import textwrap

    return textwrap.fill(text, WIDE, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)


def _titled(text: str) -> str:
    return click.style(text, bold=True)


def _language(code: str | None) -> str:
    return "not known" if code is None else LANGUAGES.get(code, code)


def _rows(meant: Meant, rows: Profile, machine: Machine) -> str:
    from septet.core.quantities import size

    counts = ", ".join(
        f"{count:,} {'to train on' if part == 'train' else part.replace('_', ' ')}"
        for part, count in rows.parts.items()
    )
    purpose = rows.task if rows.purpose == rows.task else f"{rows.task}, by its rows {rows.purpose}"
    lines = [_titled(f"{meant.name}: {purpose}"), _fact("rows", counts)]
    if rows.labels:
        most = list(rows.labels.items())
        told = ", ".join(f"{label} {count / rows.rows:.0%}" for label, count in most[:6])
        lines.append(_fact("labels", f"{len(most)}: {told}{', ...' if len(most) > 6 else ''}"))
    for name, length in rows.lengths.items():
        words = f"{length.median:,g} words in the middle, 95% up to {length.p95:,}, at most {length.longest:,}"
        lines.append(
            _fact(
                name,
                f"{words} (about {length.tokens_median:,}, {length.tokens_p95:,} and {length.tokens_longest:,} tokens)",
            )
        )
    spoken = _language(rows.language)
    share = rows.shares.get(rows.language or "", 0.0)
    if share:
        spoken += f" ({share:.0%} of the texts asked)"
    if rows.written:
        spoken += f"; written: {_language(rows.written_in)}"
    lines.append(_fact("language", spoken))
    room = "memory not known" if machine.room is None else f"{size(machine.room)} of memory"
    cores = f"{machine.cores} core{'s' if machine.cores > 1 else ''}, " if machine.cores else ""
    lines.append(_fact("machine", f"{machine.name}, {cores}{room}, {machine.measured}"))
    lines += [_wrapped(f"note: {remark}", "  ", "        ") for remark in meant.remarks]
    return "\n".join(lines)


def _fact(name: str, text: str) -> str:
    return _wrapped(text, f"  {name:10} ", " " * 13)


def _architectures(rows: Profile, ranked: list[Ranked]) -> str:
    from septet.ops.advice import NAMES

    lines = [_titled("Architecture")]
    for number, one in enumerate(ranked, start=1):
        mark = f"{number}" if one.fits else "-"
        lines.append(_wrapped(one.why, f"  {mark} {NAMES[one.architecture]:16} ", " " * 21))
    return "\n".join(lines)


def _models(choices: list[Choice], left: dict[str, list[str]], machine: Machine, budget: float, batch: int) -> str:
    from septet.cli.tables import table
    from septet.core.quantities import amount
    from septet.nn.catalogue import catalogue
    from septet.ops.advice import MUST_FIT

    room = None if machine.room is None else machine.room * MUST_FIT
    lines = [_titled("Models that can read these rows and be taught here, those on this machine first")]
    if choices:
        head = ["model", "where", "size", "context", "languages", "full", "", "lora", ""]
        body = []
        for choice in choices:
            one = choice.candidate
            cells = [cell for cost in choice.costs.values() for cell in _cost(cost, machine, room)]
            few = "?" if one.languages is None else ", ".join(one.languages)
            spoken = few if len(few) < 9 else "many"
            context = "any" if one.context is None else f"{one.context:,}"
            body.append([_short(choice), one.where, amount(one.parameters), context, spoken, *cells])
        lines += [table(head, body, right={2, 3, 5, 6, 7, 8}), ""]
        for choice in choices:
            lines.append(_wrapped(_about(choice, budget, batch), "  ", "    "))
    else:
        lines.append(
            "  None. What was left out, and why, is below; more memory or shorter rows (--max-tokens) would help."
        )
    for reason, names in left.items():
        if reason != "further down the list":
            told = ", ".join(name.rpartition("/")[2] for name in names[:3])
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            lines.append(_wrapped(f"Left out, {reason}: {told}{more}.", "  ", "    "))
    more = len(left.get("further down the list", ()))
    told = f" {more} more would do (--model-limit)." if more else ""
    lines.append(_wrapped(f"The catalogue is of {catalogue().as_of}; `--json` has each model's sources.{told}"))
    return "\n".join(lines)


def _short(choice: Choice) -> str:
    """The name, a hub's without its owner, as long as a table's column may be; the whole one stands below the table."""
    one = choice.candidate
    name = one.name if one.where == "store" else one.name.rpartition("/")[2]
    return name if len(name) <= MOST_NAME else f"{name[: MOST_NAME - 1]}…"


def _cost(cost: Any, machine: Machine, room: float | None) -> tuple[str, str]:
    from septet.core.quantities import size

    if cost.need is None:
        return "-", ""
    if not cost.fits(room):
        return f"({size(cost.peak)})", "no"
    return size(cost.peak), _time(machine.seconds(cost.flops))


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 1 else "<1 s"
    return (
        f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
        if seconds < 172_800
        else f"{seconds / 86400:.0f} d"
    )


def _about(choice: Choice, budget: float, batch: int) -> str:
    one = choice.candidate
    told = [one.good_for] if one.good_for else []
    if one.note:
        told.append(one.note)
    told += [f"{name} {value}" for name, value in one.scores.items()]
    if choice.cut:
        told.append(f"{max(choice.cut, 0.001):.1%} of the rows are longer than its context")
    if choice.batch != batch:
        told.append(f"figures with --batch-size {choice.batch}")
    if choice.slow:
        told.append(f"one pass takes longer than {_time(budget)}")
    if one.weights == "pickle":
        told.append("its page listed a pickle only: convert it to safetensors first")
    if one.where != "store":
        told.append(one.licence or "licence not stated on the pages read")
    return f"{one.name}: {'; '.join(told) or 'nothing more is known of it'}."


def _ladder(rows: Profile, rungs: list[Rung], chosen: Choice | None) -> str:
    from septet.core.quantities import amount, size
    from septet.ops.advice import why_so_many

    if chosen is None:
        return ""
    best = next((one.cost.adapter for one in rungs if one.recommended), None)
    lines = [_titled(f"How much should learn of {_short(chosen)}"), _wrapped(why_so_many(rows.rows, best)), ""]
    width = max(len(one.cost.adapter) for one in rungs)
    lines.append(f"    {'adapter'.ljust(width)}  {'learns':>6}  {'memory':>8}  {'one pass':>8}")
    for one in rungs:
        mark = ">" if one.recommended else " "
        known = one.cost.need is not None
        cells = [
            amount(one.cost.learns) if known else "-",
            size(one.cost.peak) if known else "-",
            _time(one.seconds) if known else "-",
        ]
        first = f"  {mark} {one.cost.adapter.ljust(width)}  {cells[0]:>6}  {cells[1]:>8}  {cells[2]:>8}  "
        lines.append(_wrapped(one.verdict, first, " " * len(first)))
    return "\n".join(lines)


def _next(meant: Meant, rows: Profile, rungs: list[Rung], chosen: Choice | None, most: int | None) -> str:
    import yaml

    from septet.ops.advice import options_for_length

    best = next((one.cost.adapter for one in rungs if one.recommended), None)
    if chosen is None or best is None:
        return ""
    data = meant.data or "rows"
    model = chosen.candidate.name if chosen.candidate.where == "store" else "base"
    lines = [_titled("What to do next")]
    if chosen.candidate.take:
        lines.append(f"  {chosen.candidate.take}")
    if not meant.data and meant.builder is not None:
        shown = yaml.safe_dump(dict(meant.builder), default_flow_style=True, width=10**6, sort_keys=False).strip()
        lines += ["  septet dataset --name rows \\", f"    --builder '{shown}'"]
    size = f" --batch-size {chosen.batch}" if chosen.batch != 32 else ""
    length = options_for_length(rows, chosen.candidate, most)
    told = f" \\\n    {length}" if length else ""
    lines.append(f"  septet finetune --model {model} --data {data} --adapter {best} --epochs 3{size}{told}")
    ladder = [one.cost.adapter for one in rungs if one.fits and one.cost.adapter in ("last-layers", "lora", "full")]
    climbs = " ".join(f"--rungs {kind}" for kind in ladder)
    if climbs and meant.task.gives != "vector":
        lines += [
            "Which adapter is best on these rows, measured:",
            f"  septet adapt --model {model} --data {data} {climbs}{told}",
        ]
    return "\n".join(lines)


def _assumed(rows: Profile, machine: Machine, batch: int) -> str:
    told = (
        f"Assumed: tokens are estimated from words, not counted with a model's tokenizer; {batch} rows a step, float32 weights, "
        "AdamW; what learns is without the task's head, which always learns; memory is that of the longest row in every place; "
        "time is one pass, three are usual"
    )
    if machine.measured.endswith("assumed"):
        told += "; speed is assumed, since it was not measured, and times are no more than a first idea"
    elif machine.cores and machine.speed is not None:
        told += "; speed is that of a small model here, and other work on the machine slows it"
    return _wrapped(told + ".", "", "")
