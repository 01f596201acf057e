"""What a fine-tuned model, or a way to ask that a ladder tried, says of a text: labels, tags, a number, an answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from septet.cli.main import Settings

if TYPE_CHECKING:
    from septet.core.artifact import Artifact
    from septet.core.store import Store


@click.command("predict")
@click.argument("model")
@click.argument("texts", nargs=-1)
@click.option("--file", "file_", type=click.Path(), help="Rows of the task as JSON lines, in place of TEXTS.")
@click.option("--pair", help="The second text, for tasks that judge two.")
@click.option("--context", help="The passage, for question-answering; TEXTS are questions.")
@click.option(
    "--rung",
    help="Of a ladder: the rung that answers, the recommended one or one that asks. Default: the recommended one.",
)
@click.option("--top", type=click.IntRange(min=1), default=3, show_default=True, help="Labels that are shown.")
@click.pass_obj
def command(
    settings: Settings,
    model: str,
    texts: tuple[str, ...],
    file_: str | None,
    pair: str | None,
    context: str | None,
    rung: str | None,
    top: int,
) -> None:
    """Give TEXTS to MODEL, an artifact's name or a folder that `finetune` made, and print what it predicts.

    MODEL may be what `adapt` made: its recommended model answers, or a rung that asks, as it asked there. Without TEXTS and
    --file, lines are read from standard input.
    """
    import sys

    from septet.cli.tables import bar, table
    from septet.core.errors import ComponentError
    from septet.data.documents import read_rows
    from septet.infer.task import Task

    def rows_for(task: Task) -> list[Any]:
        if file_ is not None:
            if texts:
                raise ComponentError("give texts or --file, one of the two.")
            return [row for _, row in read_rows(file_)]
        lines = list(texts) or [line.rstrip("\n") for line in sys.stdin if line.strip()]
        return [task.row(text, pair=pair, context=context) for text in lines]

    made = None if Path(model).is_dir() else settings.store.resolve(model, kinds=("model", "report"))
    ladder = None if made is None or made.kind != "report" else ladder_of(made)
    if rung is not None and ladder is None:
        raise ComponentError("--rung: only what `adapt` made has rungs; leave it out.")
    folder = Path(model) if made is None else made.path if ladder is None else kept_model(made, ladder, rung)
    if folder is not None:
        task, labels = Task.of_folder(folder)
        rows = rows_for(task)
        found = task.predict(task.open(folder, labels=labels), rows)
    else:
        from septet.evals.asked import answer

        assert made is not None
        assert ladder is not None, "without a folder there is a ladder"
        path, base, data = asked(made, ladder, rung, settings.store)
        task, rows, found = answer(path, base, data, rows_for)
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
        if cut := one.facts.get("cut_tokens"):
            lines[-1] += f"\n({cut:,} of its tokens were not read: the text is longer than the model's context)"
    content = [{"prediction": one.prediction, "probabilities": dict(one.probabilities), **one.facts} for one in found]
    settings.show(content, "\n\n".join(lines))


def said(prediction: Any) -> str:
    """Return a prediction for people."""
    if prediction is None:
        return "(the answer names no label)"
    if isinstance(prediction, dict):
        return prediction["text"] or "(no answer in the passage)"
    return f"{prediction:.4g}" if isinstance(prediction, float) else str(prediction)


def ladder_of(made: Artifact) -> dict[str, Any]:
    """Return what `adapt` wrote of its rungs. Raises ComponentError for another report."""
    from septet.core.errors import ComponentError

    path = made.path / "ladder.json"
    if not path.is_file():
        raise ComponentError(f"'{made.id[:8]}' is a report without rungs; name a model, or what `septet adapt` made.")
    return json.loads(path.read_text(encoding="utf-8"))


def kept_model(made: Artifact, ladder: dict[str, Any], rung: str | None) -> Path | None:
    """Return the folder of a ladder's recommended model, where that is what shall answer and it was kept."""
    model = ladder.get("model")
    return made.path / model if model and rung in (None, ladder["recommended"]) else None


def asked(made: Artifact, ladder: dict[str, Any], rung: str | None, store: Store) -> tuple[Path, Path, Path]:
    """Return how a rung of a ladder asks, its model and its data. Raises ComponentError for a rung that does not ask."""
    from septet.core.errors import ComponentError, nearest

    name, known = rung or ladder["recommended"], ladder.get("asked", {})
    if name not in known:
        command = ladder.get("commands", {}).get(name)
        hint = f" '{name}' is trained: {command}" if command else nearest(name, ladder.get("commands", {}))
        raise ComponentError(f"there is no rung '{name}' that asks; those are: {', '.join(known) or 'none'}.{hint}")
    model, data = (store.resolve(made.inputs[role]).path for role in ("model", "data"))
    return made.path / known[name], model, data
