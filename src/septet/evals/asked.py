"""Measures a way to ask (`septet.infer.asking`) on the rows of a task: what it answers, and what that costs.

    found = measure(asking, model_folder, material, {"held_out": rows, "test": rows}, device="cpu")

Costs are those of every rung of a ladder: seconds until it can answer (a search, where it is one), memory, bytes that have to be
kept, milliseconds for one row. Of an engine that counts what it has used, tokens and money as well: in all, and for a row.

`keep` writes a settled way to ask as a file, and `answer` asks with it: `septet predict LADDER TEXT`.

What it is not: a judge; the predictions go to scorers as those of a trained model do.

    python -m pytest tests/evals/test_asked.py
"""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from septet.core.artifact import write_json
from septet.core.errors import ComponentError, DataError
from septet.core.footprint import watched
from septet.data.documents import read_rows
from septet.infer.asking import Asking, Material
from septet.infer.askings.in_context import Asker, InContext, Prediction
from septet.infer.spending import Spent
from septet.infer.task import Predicted, Task
from septet.infer.wording import Row

__all__ = ["answer", "check", "examples_size", "keep", "material_of", "measure", "one_by_one", "prediction_of"]

ALONE = 20
"""Rows that are predicted one by one, for the time that one takes."""


def material_of(task: Task, folder: Path, labels: Sequence[str], *, limit: int | None) -> Material:
    """Return the training rows of a data set, each with an id, as what a way to ask may use. limit: the first so many."""
    path = folder / "train.jsonl"
    rows = [{"id": f"train:{number}", **row} for number, row in itertools.islice(read_rows(path), limit)]
    return Material(task.kind, labels, rows, max_tokens=getattr(task, "max_new_tokens", None))


def check(asking: Asking, model: Path, material: Material, *, architecture: str, row: Row, device: str) -> None:
    """Raise where it is known before anything is asked that this cannot be: the task, the model, the decision, the words.

    Errors: ComponentError for the task or the model; EngineError, ContextError, DataError, SeptetError as `Asking.ready` has them.
    """
    if reason := asking.unfit(material.task, architecture):
        raise ComponentError(reason)
    method = asking.method(material)
    with asking.open(model, device=device) as engine:
        asker = method.over(engine, examples=material.rows if method.k else (), labels=material.labels or None)
        if asking.engine is None or asking.engine.local:
            engine.length(asker.prompts([row])[0])  # a conversation needs a tokenizer that can hold one


def measure(
    asking: Asking, model: Path, material: Material, parts: Mapping[str, Sequence[Row]], *, device: str
) -> dict[str, Any]:
    """Return as JSON values the predictions for each part's rows, and what they cost. The first part's first rows are timed."""
    begun = time.perf_counter()
    with watched() as used, asking.open(model, device=device) as engine:
        asker = asking.ready(engine, material)
        seconds = time.perf_counter() - begun
        timed = next(iter(parts.values()))[:ALONE]
        start = engine.spent
        milliseconds: float | None = one_by_one(asker.predict, timed)
        before = engine.spent
        if start and before and before.replayed > start.replayed:
            milliseconds = None  # an answer that was kept takes no time, which says nothing of the next
        answers = {part: asker.predict(rows, tell=material.tell).predictions for part, rows in parts.items() if rows}
        spent = _spending(before, engine.spent, rows=sum(map(len, parts.values())))
        prompt = asker.prompts(timed[:1])[0]
    content, every = asker.method.dump(), [one for some in answers.values() for one in some]
    said = {
        part: [_said(asker.task, row, one) for row, one in zip(parts[part], some, strict=True)]
        for part, some in answers.items()
    }
    return {
        **{part: said.get(part, []) for part in parts},
        "learning_rate": None,
        "parameters": 0,
        "seconds": round(seconds, 2),
        "peak_bytes": used[0] if used else None,
        "bytes_on_disk": len(json.dumps(content)) + examples_size(asker, every),
        "milliseconds": milliseconds,
        **spent,
        "note": _note(every),
        "asking": content,
        "prompt": prompt,
    }


def one_by_one(predict: Callable[[Sequence[Row]], Any], rows: Sequence[Row]) -> float:
    """Return the milliseconds that one row takes by itself: the median."""
    taken = []
    for row in rows:
        begun = time.perf_counter()
        predict([row])
        taken.append(time.perf_counter() - begun)
    return round(1000 * statistics.median(taken), 2)


# -- a way to ask, kept ---------------------------------------------------------------------------------------------------


def keep(path: Path, asking: Mapping[str, Any], task: Task, labels: Sequence[str], *, limit: int | None) -> None:
    """Write a settled way to ask, as `measure` gives it; examples stay where they are, in the data set."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"asking": dict(asking), "task": task.dump(), "labels": list(labels), "limit": limit})


def answer(
    path: Path, model: Path, data: Path, read: Callable[[Task], Sequence[Row]], *, device: str = "auto"
) -> tuple[Task, Sequence[Row], list[Predicted]]:
    """Ask in a way that was kept. read: makes the rows, when the task is known. Return the task, the rows and what is said of them.

    Errors: DataError where the file is none of `keep`; those of `Asker.predict`.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        task, method = Task.parse(content["task"]), Asking.parse(content["asking"])
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise DataError(f"it does not say how to ask: {error!r}.", file=path) from None
    assert isinstance(method, InContext), "every way to ask ends as one"
    rows = list(read(task))
    examples = material_of(task, data, content["labels"], limit=content["limit"]).rows if method.k else ()
    with method.open(model, device=device) as engine:
        found = method.over(engine, examples=examples, labels=content["labels"] or None).predict(rows)
    said = [_said(task.kind, row, one) for row, one in zip(rows, found.predictions, strict=True)]
    return task, rows, [Predicted(one["prediction"], one["probabilities"]) for one in said]


# -- figures ----------------------------------------------------------------------------------------------------------------


def prediction_of(task: str, row: Row, value: Any) -> Any:
    """Return a value, as a wording reads it, as scorers read a trained model's. A skipped row is answered with nothing."""
    if task == "question-answering":
        return {"text": value or "", "no_answer": None}
    if task == "tagging" and value is None:
        return ["O"] * len(row["words"])
    return value if task == "classification" else value or ""


def _said(task: str, row: Row, one: Prediction) -> dict[str, Any]:
    return {"prediction": prediction_of(task, row, one.value), "probabilities": one.probabilities or {}}


def examples_size(asker: Asker, answers: Sequence[Prediction]) -> int:
    """Return the bytes of the examples that have to be kept: those that were shown, or all where each query chooses among them."""
    method = asker.method
    if not method.k:
        return 0
    rows: Sequence[Row] = asker.examples
    if not method.examples.nearest_first:
        rows = [rows[place] for place in sorted({place for one in answers for place in one.examples})]
    return sum(len(json.dumps(dict(row)).encode()) + 1 for row in rows)


def _spending(before: Spent | None, after: Spent | None, *, rows: int) -> dict[str, Any]:
    """Return tokens and money: in all, and for a row of those between the two moments, as if none had been kept."""
    if before is None or after is None:
        return {"tokens": None, "cost": None, "tokens_per_row": None, "cost_per_row": None}
    sent = after.requests - before.requests
    # as if all had been sent: a row may be several requests
    share = (sent + after.replayed - before.replayed) / sent / rows if sent and rows else None
    tokens = _tokens(after) - _tokens(before)
    cost = None if after.cost is None or before.cost is None else after.cost - before.cost
    return {
        "tokens": _tokens(after),
        "cost": after.cost,
        "tokens_per_row": None if share is None else round(tokens * share, 1),
        "cost_per_row": None if share is None or cost is None else cost * share,
    }


def _tokens(spent: Spent) -> int:
    return spent.prompt_tokens + spent.completion_tokens


def _note(answers: Sequence[Prediction]) -> str:
    """Return what a reader of the figures must know, for people; mostly nothing."""
    counts = {
        "not understood": sum(not one.understood for one in answers),
        "skipped": sum(one.skipped for one in answers),
        "with fewer examples": sum(one.dropped > 0 for one in answers),
    }
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"of {len(answers)} answers {told}" if told else ""
