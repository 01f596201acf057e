"""What a fine-tuned model says of a text: labels with their probabilities, tags, a number, an answer."""

from __future__ import annotations

from typing import Any

import click

from septet.cli.main import Settings


@click.command("predict")
@click.argument("model")
@click.argument("texts", nargs=-1)
@click.option("--file", "file_", type=click.Path(), help="Rows of the task as JSON lines, in place of TEXTS.")
@click.option("--pair", help="The second text, for tasks that judge two.")
@click.option("--context", help="The passage, for question-answering; TEXTS are questions.")
@click.option("--top", type=click.IntRange(min=1), default=3, show_default=True, help="Labels that are shown.")
@click.pass_obj
def command(
    settings: Settings,
    model: str,
    texts: tuple[str, ...],
    file_: str | None,
    pair: str | None,
    context: str | None,
    top: int,
) -> None:
    """Give TEXTS to MODEL, an artifact's name or a folder that `finetune` made, and print what it predicts.

    Without TEXTS and --file, lines are read from standard input.
    """
    import sys
    from pathlib import Path

    from septet.cli.tables import bar, table
    from septet.core.errors import ComponentError
    from septet.data.documents import read_rows
    from septet.infer.task import Task

    folder = Path(model) if Path(model).is_dir() else settings.store.resolve(model, kinds=("model",)).path
    task, labels = Task.of_folder(folder)
    if file_ is not None:
        if texts:
            raise ComponentError("give texts or --file, one of the two.")
        rows = [row for _, row in read_rows(file_)]
    else:
        lines = list(texts) or [line.rstrip("\n") for line in sys.stdin if line.strip()]
        rows = [task.row(text, pair=pair, context=context) for text in lines]
    opened = task.open(folder, labels=labels)
    found = task.predict(opened, rows)
    lines = []
    for row, one in zip(rows, found, strict=True):
        if task.gives == "tags":
            words = zip(row["words"], one.prediction, strict=True)
            lines.append(table(["word", "tag"], [[word, tag] for word, tag in words]))
        elif one.probabilities:
            best = sorted(one.probabilities.items(), key=lambda item: -item[1])[:top]
            cells: list[list[Any]] = [[label, f"{share:.3f}", bar(share)] for label, share in best]
            lines.append(f"{row.get('text', '')}\n" + table(["label", "probability", ""], cells, right={1}))
        else:
            lines.append(said(one.prediction))
    settings.show(
        [{"prediction": one.prediction, "probabilities": dict(one.probabilities)} for one in found], "\n\n".join(lines)
    )


def said(prediction: Any) -> str:
    """Return a prediction for people."""
    if isinstance(prediction, dict):
        return prediction["text"] or "(no answer in the passage)"
    return f"{prediction:.4g}" if isinstance(prediction, float) else str(prediction)
