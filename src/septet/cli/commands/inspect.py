"""Look inside a model: the tokens of a text, how surprised it was by each, what it expects next."""

from __future__ import annotations

import click

from septet.cli.main import Settings


@click.command("inspect")
@click.argument("model")
@click.argument("text")
@click.option("--top", type=click.IntRange(1, 50), default=5, show_default=True, help="How many likeliest next tokens.")
@click.pass_obj
def command(settings: Settings, model: str, text: str, top: int) -> None:
    """Show the tokens of TEXT as MODEL reads them: id, loss in bits, what it expected, and its likeliest next tokens.

    MODEL is an artifact's name or a Hugging Face folder.
    """
    import math
    from pathlib import Path

    from septet.nn.load import open_model
    from septet.nn.look import look

    folder = Path(model) if Path(model).is_dir() else settings.store.resolve(model, kinds=("model",)).path
    seen = look(open_model(folder), text, top=top)
    lines = [f"{'token':20} {'id':>7} {'bits':>7}  expected"]
    for token in seen.tokens:
        bits = "" if token.nll is None else f"{token.nll / math.log(2):.2f}"
        expected = "" if token.expected is None else f"{token.expected.text!r} {token.expected.probability:.1%}"
        lines.append(f"{token.text!r:20} {token.id:>7} {bits:>7}  {expected}")
    lines.append(
        f"{len(seen.tokens)} tokens, {seen.bits_per_token:.3f} bits a token, {seen.bits_per_byte:.3f} bits a byte"
    )
    lines.append("likeliest next: " + ", ".join(f"{c.text!r} {c.probability:.1%}" for c in seen.following))
    settings.show(seen.to_dict(), "\n".join(lines))
