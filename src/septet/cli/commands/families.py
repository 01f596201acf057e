"""Compare the families of models: what each sees, what it is for, how large it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from septet.cli.main import Settings

if TYPE_CHECKING:
    from septet.nn.family import Dial, Family

DEPTHS = (2, 4, 8, 12)


@click.command("families")
@click.argument("family", required=False)
@click.option(
    "--vocabulary", type=click.IntRange(128), default=8192, show_default=True, help="Tokens of the vocabulary."
)
@click.pass_obj
def command(settings: Settings, family: str | None, vocabulary: int) -> None:
    """Compare the families of models that `pretrain` knows, or show one FAMILY: its dial, and what it can learn."""
    from septet.core import registry
    from septet.nn.family import Family as Base

    names = registry.names(Base.drawer) if family is None else [family]
    made = [Base.parse(name) for name in names]  # names the nearest where one is unknown
    rows = [_row(one, vocabulary) for one in made]
    settings.show(rows if family is None else rows[0], _compared(rows) if family is None else _shown(made[0], rows[0]))


def _row(family: Family, vocabulary: int) -> dict[str, Any]:
    from septet.core import registry
    from septet.train.objective import Objective

    objectives = []
    for name in registry.names(Objective.drawer):
        found = registry.find(Objective.drawer, name, family=Objective)
        if found.learns_from == "text" and family.architecture in found.fits and family.judges_pairs >= found.pairs:
            objectives.append(name)
    dials = {depth: family.dial(depth, vocabulary=vocabulary) for depth in DEPTHS}
    return {
        "family": family.kind,
        "architecture": family.architecture,
        "sees": family.sees,
        "made_for": family.made_for,
        "known": family.known,
        "objective": family.objective,
        "objectives": objectives,
        "tokenizer": family.tokens_like,
        "vocabulary": vocabulary,
        "parameters": {depth: parameters(family, dial) for depth, dial in dials.items()},
        "dial": {depth: dial.facts() for depth, dial in dials.items()},
    }


def parameters(family: Family, dial: Dial) -> int:
    """Count the parameters of a model that is made without any memory for them."""
    import torch  # with transformers 3 s

    from septet.data.tokenizers.families import FAMILIES

    tokens = FAMILIES[family.tokens_like].roles  # pyright: ignore[reportArgumentType] -- every family names one
    # the ids do not matter, but that there are some does; RoBERTa's table of positions begins after the padding token's
    ids = {
        f"{role}_token_id": (1 if role == "pad" else 2) if role in tokens else None for role in ("bos", "eos", "pad")
    }
    tokenizer = type("Tokenizer", (), ids)
    with torch.device("meta"):
        return sum(
            p.numel() for p in family.build(family.config(dial, tokenizer), pairs=family.judges_pairs).parameters()
        )


def _compared(rows: list[dict[str, Any]]) -> str:
    from septet.cli.tables import table

    head = ["family", "architecture", "objective", *(f"depth {depth}" for depth in DEPTHS)]
    lines = [
        [row["family"], row["architecture"], row["objective"], *map(_short, row["parameters"].values())] for row in rows
    ]
    text = table(head, lines, right=set(range(3, 3 + len(DEPTHS))))
    uses = table(
        ["family", "a position sees", "made for"],
        [[row[name] for name in ("family", "sees", "made_for")] for row in rows],
    )
    note = f"Parameters are for a vocabulary of {rows[0]['vocabulary']:,} tokens; `septet families NAME` shows one."
    return f"{text}\n\n{uses}\n\n{note}"


def _shown(family: Family, row: dict[str, Any]) -> str:
    from septet.cli.tables import table

    names = ("width", "heads", "feed_forward", "context", "learning_rate", "batch_tokens", "tokens")
    lines = [
        [str(depth), *(f"{dial[name]:,.4g}" if name == "learning_rate" else f"{dial[name]:,}" for name in names),
         f"{row['parameters'][depth]:,}"]
        for depth, dial in row["dial"].items()
    ]  # fmt: skip
    dial = table(["depth", *(name.replace("_", " ") for name in names), "parameters"], lines, right=set(range(9)))
    like = f"`family: {row['tokenizer']}` of the step tokenizer"
    facts = [
        ["architecture", row["architecture"]],
        ["a position sees", row["sees"]],
        ["made for", row["made_for"]],
        ["known models", row["known"]],
        [
            "objectives",
            ", ".join(f"{name} (its own)" if name == row["objective"] else name for name in row["objectives"]),
        ],
        ["special tokens", like],
        ["recipe", f"recipes/pretrain-{family.kind}.yaml"],
    ]
    width = max(len(name) for name, _ in facts)
    said = "\n".join(f"  {name.ljust(width)}  {value}" for name, value in facts)
    return f"{family.kind}\n{said}\n\n{dial}\n\nFor a vocabulary of {row['vocabulary']:,} tokens; every field can be given instead."


def _short(count: int) -> str:
    return f"{count / 1e6:.1f} M"
