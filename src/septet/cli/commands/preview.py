"""What exactly is trained: the tokens of a data set's rows as a model reads them, and which of them it learns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from septet.cli.main import Settings


@click.command("preview")
@click.argument("model")
@click.argument("data")
@click.option("--rows", type=click.IntRange(min=1), default=3, show_default=True, help="Rows that are shown.")
@click.option(
    "--max-tokens", type=click.IntRange(min=2), help="The longest row, as for finetune; none: the model's context."
)
@click.pass_obj
def command(settings: Settings, model: str, data: str, rows: int, max_tokens: int | None) -> None:
    """Show the first training rows of DATA as `finetune` would give them to MODEL, before anything is trained.

    What is learned stands in [[ ]] and is green on a terminal; the rest is only read. All training rows are counted: tokens, the
    share that carries loss, rows that are too long.
    """
    from pathlib import Path

    from septet.data.documents import read_rows
    from septet.infer.task import Task

    folder = Path(model) if Path(model).is_dir() else settings.store.resolve(model, kinds=("model",)).path
    at = settings.store.resolve(data, kinds=("dataset",)).path
    task, labels = Task.of_data(at)
    opened = task.open(folder, labels=labels, device="cpu")
    most = min(max_tokens or opened.context, opened.context)
    file = at / "train.jsonl"
    if not task.in_pieces:  # to be shown, where finetune would refuse them
        task = task.model_copy(update={"too_long": "cut"})
    samples, prepared = task.encode(read_rows(file), opened, max_tokens=most, file=file)
    shown = [pieces(sample, opened) for sample in samples[:rows]]
    share = prepared.targets / max(1, prepared.tokens)
    lines = [
        f"{task.kind}: {prepared.rows:,} training rows for {opened.config.model_type}, at most {most:,} tokens each"
    ]
    for number, row in enumerate(shown, start=1):
        lines.append(f"\n{number}. " + "".join(_styled(text, what) for text, what in row))
    over = f"{prepared.targets:,} {task.learns}" + ("" if task.learns == "labels" else f", {share:.1%} of the tokens")
    lines.append(f"\n{prepared.tokens:,} tokens, the longest row {prepared.longest:,}; the loss is over {over}.")
    if prepared.cut:
        lost = f", and lose {prepared.lost:,} where the task says too_long: cut"
        then = " and are read in pieces" if task.in_pieces else lost
        lines.append(
            f"{prepared.cut:,} rows ({prepared.cut / max(1, prepared.rows):.1%}) are longer than {most:,} tokens{then}."
        )
    content = {
        "task": task.kind,
        **prepared.facts(),
        "share_learned": share,
        "shown": [[{"text": text, "what": what} for text, what in row] for row in shown],
    }
    settings.show(content, "\n".join(lines))


def pieces(sample: Any, model: Any) -> list[tuple[str, str]]:
    """Return a sample as (text of a token, "read", "learned" or "note"), a label or a tag as a note behind it."""
    import numpy as np

    from septet.data.packing import IGNORE, Sample
    from septet.infer.inputs import Encoded, Pair

    def words(ids: Iterable[Any]) -> list[str]:
        return [model.tokenizer.decode([int(id)]) for id in ids]

    if isinstance(sample, Sample):
        last = sample.labels[-1]
        ids = [*sample.ids, *([last] if last != IGNORE else [])]
        learned = [False, *(label != IGNORE for label in sample.labels)]
        return [
            (text, "learned" if is_learned else "read") for text, is_learned in zip(words(ids), learned, strict=False)
        ]
    if isinstance(sample, Pair):
        source = [(text, "read") for text in words(sample.source)]
        return [*source, (" => ", "note"), *((text, "learned") for text in words(sample.target))]
    if isinstance(sample, tuple):  # texts that belong together, the last one may be missing
        parts = [pieces(part, model) for part in sample if part is not None]
        return [piece for part in parts for piece in (*part, ("| ", "note"))][:-1]
    assert isinstance(sample, Encoded), f"no way to show a {type(sample).__name__}"
    texts, target = words(sample.ids), sample.target
    if isinstance(target, tuple):  # the two ends of an answer
        return [
            (f"{text} ", "learned" if target[0] <= place <= target[1] else "read") for place, text in enumerate(texts)
        ]
    if isinstance(target, np.ndarray) and target.dtype.kind == "i":  # a tag at some of the tokens
        found = []
        for text, tag in zip(texts, target, strict=True):
            found.append((f"{text} ", "read"))
            if tag != IGNORE:
                found += [(model.labels[tag], "learned"), (" ", "read")]
        return found
    read = [(f"{text} ", "read") for text in texts]
    if target is None:
        return read
    if isinstance(target, np.ndarray):  # any number of labels
        said = ", ".join(label for label, there in zip(model.labels, target, strict=True) if there) or "none"
    else:
        said = model.labels[target] if isinstance(target, int) else f"{target:g}"
    return [*read, ("=> ", "note"), (said, "learned")]


def _styled(text: str, what: str) -> str:
    if what == "learned":
        return click.style(f"[[{text}]]", fg="green", bold=True)
    return click.style(text, dim=True) if what == "read" else click.style(text, fg="cyan")
