"""How far a model reaches: the loss of the same tokens given more and more context, and by position."""

from __future__ import annotations

import click

from septet.cli.main import Settings


@click.command("reach")
@click.argument("model")
@click.argument("texts")
@click.option(
    "--most", type=click.IntRange(min=2), help="Tokens seen at most; without it, what the model and the texts allow."
)
@click.option(
    "--windows", type=click.IntRange(min=2), default=512, show_default=True, help="Tokens that are asked for."
)
@click.pass_obj
def command(settings: Settings, model: str, texts: str, most: int | None, windows: int) -> None:
    """Ask MODEL for the same tokens of TEXTS with 2, 4, 8, ... tokens around them, and print how the loss falls.

    MODEL is an artifact's name or a Hugging Face folder; TEXTS a corpus, whose held-out documents are taken, or a .jsonl file with
    documents.
    """
    from pathlib import Path

    from septet.cli.tables import bar, table
    from septet.core.errors import DataError
    from septet.data.documents import read_documents
    from septet.nn.architecture import ARCHITECTURES
    from septet.nn.load import open_model
    from septet.nn.reach import reach

    folder = Path(model) if Path(model).is_dir() else settings.store.resolve(model, kinds=("model",)).path
    file = Path(texts)
    if not file.is_file():
        file = settings.store.resolve(texts, kinds=("corpus",)).path / "held_out.jsonl"
    opened = open_model(folder, architectures=ARCHITECTURES)
    ids = [opened.tokenizer(doc.text, add_special_tokens=False)["input_ids"] for doc in read_documents(file)]
    longest = max(map(len, ids), default=0)
    if longest < 4:
        raise DataError("there is no text of at least four tokens.", file=file)
    if most is None:
        # long enough to be of interest, and not so long that hardly a text is left
        lengths = sorted((len(text) for text in ids), reverse=True)
        usual = lengths[min(len(lengths) - 1, max(0, windows // 4))]
        room = min(opened.context - 4, max(3, usual - 1 if usual > 16 else longest - 1))
        most = 1 << (room.bit_length() - 1)
    found = reach(opened, ids, most=most, windows=windows)
    highest = max(count.bits for count in found.counts)
    rows = [
        [
            str(count.seen),
            f"{count.bits:.2f} ± {count.bits_half:.2f}",
            "" if count.gain is None else f"{count.gain:+.3f} ± {count.gain_half:.3f}",
            bar(count.bits / highest),
        ]
        for count in found.counts
    ]
    where = "before it" if found.architecture == "decoder" else "around it"
    lines = [f"{found.windows} tokens, each asked for with more and more of what is {where}:"]
    lines.append(table(["seen", "bits a token", "saved", ""], rows, right={0}))
    if found.farthest is None:
        lines.append("No step saved more than chance would.")
    else:
        lines.append(f"What is added helps up to {found.farthest} tokens (95 % interval of what is saved).")
    if found.positions:
        lines.append("\nBy position in a document:")
        by = [
            [
                str(low) if low == high else f"{low} to {high}",
                f"{bits:.2f}",
                bar(bits / max(p[2] for p in found.positions)),
            ]
            for low, high, bits in found.positions
        ]
        lines.append(table(["position", "bits a token", ""], by, right={0, 1}))
    settings.show(found.to_dict(), "\n".join(lines))
