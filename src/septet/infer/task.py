"""The family of classic tasks: how a row becomes tokens, which head a model needs for it, and what comes out.

A task is one file in `infer/tasks/`. It opens a model with the right head, makes samples of rows (for training and for use alike),
and predicts. The file `task.json` of a model's folder says which task the model has learned.

    task, labels = Task.of_folder("FOLDER"); model = task.open("FOLDER", labels=labels)
    task.predict(model, [{"text": "a fine film"}])

What it is not: what is minimised (`septet.train.objectives`, whose kind a task names), nor a metric (`septet.evals.scorers`).

    python -m pytest tests/infer/test_tasks.py
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from septet.core.artifact import write_json
from septet.core.component import Component
from septet.core.errors import ComponentError, DataError, nearest

if TYPE_CHECKING:  # recipes name tasks, and stay light
    from septet.nn.model import Model

__all__ = ["Gives", "Predicted", "Prepared", "Preparing", "Row", "Rows", "Task", "TooLong", "text_of", "too_long"]

Row = Mapping[str, Any]
Rows = Iterable[tuple[int, Row]]
"""Rows with their numbers in the file, from 1."""
Gives = Literal["label", "labels", "value", "tags", "span", "text", "vector"]
"""What a prediction is: one label, several, a number, a tag for each word, a part of the text, written text, a vector."""
Tell = Callable[[int, int], None]
TooLong = Literal["refuse", "cut", "drop"]
"""What happens to training rows that are longer than the limit: an error that names them, their end cut off, or left out."""
FILE = "task.json"


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a model makes of a row. prediction: a label, a list of labels, a number, a list of tags, a text, or for a span
    {"text", "no_answer"}. probabilities: by label, where the task has labels. facts: what a reader must know of how it was made:
    tokens that were cut off, windows that were read."""

    prediction: Any
    probabilities: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What preparation found. targets: what the loss is over (answers' tokens, labels, tagged words). longest: of all rows, in
    tokens. cut: rows longer than the limit; lost: tokens that were cut off (of answers, where there are any); dropped: rows longer
    than the limit that were left out."""

    rows: int
    tokens: int
    targets: int
    longest: int
    cut: int
    lost: int
    dropped: int = 0

    def facts(self) -> dict[str, int]:
        return asdict(self)


@dataclass(slots=True)
class Preparing:
    """Counts rows while they become samples, and says what happens to those that are longer than the limit of `most` tokens.

    how: the task's `too_long`; what is neither refused nor dropped is counted as cut, and its task makes it shorter. Rows that are
    refused are told together at the end, so that one reading names them all.
    """

    kind: str
    how: str
    most: int
    file: object = None
    longest: int = 0
    cut: int = 0
    dropped: int = 0
    refused: list[tuple[int, int]] = field(default_factory=list)

    def takes(self, number: int, size: int, *, over: bool | None = None) -> bool:
        """Return whether a row of `size` tokens is learned from. over: whether it is too long; None: where size > most."""
        self.longest = max(self.longest, size)
        if not (size > self.most if over is None else over):
            return True
        if self.how == "refuse":
            self.refused.append((number, size))
        elif self.how == "drop":
            self.dropped += 1
        else:
            self.cut += 1
        return self.how not in ("refuse", "drop")

    def found(self, *, rows: int, tokens: int, targets: int, lost: int) -> Prepared:
        """Return what was found. Raises DataError for rows that are refused."""
        if self.refused:
            raise too_long(self.kind, self.most, self.refused, file=self.file)
        return Prepared(rows, tokens, targets, self.longest, self.cut, lost, self.dropped)


def too_long(kind: str, most: int, rows: Sequence[tuple[int, int]], *, file: object) -> DataError:
    """Return the error for rows, (number, tokens), that are longer than what is read, where nobody said what to do with them."""
    number, size = rows[0]
    places = ", ".join(str(place) for place, _ in rows[1:6]) + (", ..." if len(rows) > 6 else "")
    return DataError(
        f"the row has {size} tokens, and {most} are read"
        + (f"; so it is with {len(rows) - 1} more: {places}" if len(rows) > 1 else "")
        + ". Raise max_tokens (up to the model's context), leave such rows out (too_long: drop), or have them cut and counted: "
        f"task: {{kind: {kind}, too_long: cut}}.",
        file=file,
        row=number,
    )


class Task(Component):
    """A classic task: fields are its settings."""

    drawer: ClassVar[str] = "septet.infer.tasks"
    objective: ClassVar[str] = ""
    """The kind of the objective that teaches it, where that does not depend on the model (`taught_by`)."""
    gives: ClassVar[Gives] = "text"
    learns: ClassVar[str] = "labels"
    """What the loss is over, in the plural, for people."""
    fits: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "permuted", "encoder-decoder")
    """The architectures that can do it."""
    in_pieces: ClassVar[bool] = False
    """Whether a row that is longer than the model reads is read in pieces. A task that does not do so has the field `too_long`."""

    @abstractmethod
    def open(self, folder: str | Path, *, labels: Sequence[str] = (), device: str = "auto", seed: int = 0) -> Model:
        """Open a folder with the task's head, drawn anew (by `seed`) where the folder has none. labels: of the data; none: the
        folder's own."""

    @abstractmethod
    def encode(self, rows: Rows, model: Model, *, max_tokens: int, file: object = None) -> tuple[list[Any], Prepared]:
        """Return the samples that the objective learns from. Raises DataError with file and row for what cannot be learned."""

    def begin(self, model: Model, samples: Sequence[Any]) -> None:
        """Let a head that was drawn anew begin from what the training samples say as a whole; by default it does not."""

    @abstractmethod
    def predict(
        self, model: Model, rows: Sequence[Row], *, max_tokens: int | None = None, tell: Tell = lambda done, total: None
    ) -> list[Predicted]:
        """Return a prediction for each row; what a row says is right is not looked at."""

    def taught_by(self, model: Model) -> str | Mapping[str, Any]:
        """Return the objective that teaches it to this model, as `Objective.parse` takes it."""
        return self.objective

    @abstractmethod
    def expected(self, row: Row) -> Any:
        """Return what a row says is right, in the form of `Predicted.prediction`."""

    def row(self, text: str, *, pair: str | None = None, context: str | None = None) -> dict[str, Any]:
        """Return a row to predict, of what a person typed. Raises ComponentError for what the task has no use for."""
        if context is not None:
            raise ComponentError(f"the task '{self.kind}' reads no passage; leave the context out.")
        return {"text": text, **({} if pair is None else {"pair": pair})}

    # -- which task --------------------------------------------------------------------------------------------------

    @classmethod
    def of_data(cls, folder: str | Path) -> tuple[Task, tuple[str, ...]]:
        """Return the task of a data set and its labels; without `dataset.json` it is chat."""
        content = _json(Path(folder) / "dataset.json")
        return cls.parse(content.get("task", "chat")), tuple(content.get("labels") or ())

    @classmethod
    def of_folder(cls, folder: str | Path) -> tuple[Task, tuple[str, ...]]:
        """Return the task that a model has learned and its labels; chat where its folder does not say."""
        content = _json(Path(folder) / FILE)
        return cls.parse(content.get("task", "chat")), tuple(content.get("labels") or ())

    def keep(self, folder: Path, labels: Sequence[str]) -> None:
        """Write which task the model in this folder has learned."""
        write_json(folder / FILE, {"task": self.dump(), **({"labels": list(labels)} if labels else {})})


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"it is not JSON: {error}.", file=path) from None
    if not isinstance(content, dict):
        raise DataError(f"it holds a JSON {type(content).__name__}; an object is expected.", file=path)
    return content


def text_of(row: Row, name: str, *, file: object, number: int, empty: bool = False) -> str:
    """Return a field that must be text. Raises DataError with file, row and the nearest field's name."""
    value = row.get(name)
    if isinstance(value, str) and (empty or value.strip()):
        return value
    if name not in row:
        problem = f"the field {name!r} is missing.{nearest(name, row)} The row has: {', '.join(row)}."
    else:
        what = "is empty" if isinstance(value, str) else f"holds {type(value).__name__}"
        problem = f"the field {name!r} {what}; text is expected."
    raise DataError(problem, file=file, row=number)


def by_length(lengths: Sequence[int], *, most: int = 8192) -> Iterator[list[int]]:
    """Yield places in batches of about equal lengths, the longest first, of at most `most` tokens with their padding."""
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    while order:
        size = max(1, most // max(1, lengths[order[0]]))
        yield order[:size]
        order = order[size:]
