"""Ways to have a model answer the rows of a task without training it: the family, and what a way may make use of.

    asker = asking.ready(engine, material)       # a search, where the way is one; draws only from `material.seed`
    asker.predict(rows).values

Every way ends as an `InContext`: an instruction, examples or none, and how an answer becomes a value. Nothing learns, so nothing is
kept but words. The kinds are the drawer `septet.infer.askings`; beside adapters they are the rungs of `septet adapt`.

What it is not: a metric, nor a judge of which way is best; those are `septet.evals` and `septet adapt`.

    python -m pytest tests/infer/test_asking.py
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from pydantic import Field

from septet.core.component import Component
from septet.infer.choosing import Chooser
from septet.infer.engine import Backend, Engine
from septet.infer.wording import Row, Task, Template

if TYPE_CHECKING:
    from septet.infer.askings.in_context import Asker, InContext

__all__ = ["Asking", "Material", "Metric", "Showing"]

Metric = Callable[[Sequence[Any], Sequence[Row]], float]
"""How good the values for answered rows are; higher is better."""
WRITES = ("decoder", "encoder-decoder")
"""Architectures with words to answer in."""


@dataclass(frozen=True, slots=True)
class Material:
    """What a way to ask may use. task, labels: of the data. rows: answered rows, for examples and to search with: training rows.

    max_tokens: the longest answer that the task writes, where it says so. metric: what a search looks for; none: the share of right
    answers. folder: where a search keeps what it has found, and goes on from.
    """

    task: str
    labels: Sequence[str] = ()
    rows: Sequence[Row] = ()
    seed: int = 0
    max_tokens: int | None = None
    metric: Metric | None = None
    folder: Path | None = None
    tell: Callable[[int, int], None] = lambda done, total: None


class Asking(Component):
    """A way to ask: who, in which words, and how an answer is read."""

    drawer: ClassVar[str] = "septet.infer.askings"

    engine: Backend | None = None
    """Who is asked, such as a remote model; none: the model itself, of a ladder the one that is adapted."""
    task: Task | None = None
    """What the rows are; in a ladder the data say it."""
    template: Template = Template()
    """The words of the prompt."""
    form: Literal["text", "chat"] = "text"
    """One text to go on from, for models of plain text; or turns of a conversation, for models that were taught to chat."""
    decide: Literal["auto", "score", "generate"] = "auto"
    """How a label is found: by log-likelihood, from written text, or the first where the engine can."""
    by_length: bool = True
    """A label's log-likelihood is divided by its number of tokens: else a label of many tokens is never the likeliest."""
    calibration: Literal["none", "contextual", "batch"] = "none"
    """What is divided out of the labels' probabilities: what inputs without content get (Zhao et al. 2021), or the mean over all
    rows of one call (Zhou et al. 2023), which then depend on one another."""
    max_tokens: int | None = Field(default=None, ge=1)
    """The longest written answer; none: 64, and in a ladder what the task says."""
    too_long: Literal["refuse", "skip"] = "refuse"
    """What happens to a row that does not fit without any example: an error that names it, or no answer, counted."""

    @property
    @abstractmethod
    def draws(self) -> bool:
        """Whether another seed asks in another way."""

    @abstractmethod
    def method(self, material: Material) -> InContext:
        """Return what is asked with, before anything is searched."""

    @abstractmethod
    def ready(self, engine: Engine, material: Material) -> Asker:
        """Return what answers rows. Raises EngineError, ContextError or SeptetError for what cannot be asked."""

    def unfit(self, task: str, architecture: str) -> str:
        """Return why rows of a task cannot be asked about so; empty where they can. architecture: of the model itself."""
        if task not in get_args(Task):
            return (
                f"rows of the task '{task}' cannot be asked about in words; those of {', '.join(get_args(Task))} can."
            )
        if self.task not in (None, task):
            return f"it asks about rows of the task '{self.task}', and the data is of '{task}'; leave 'task' out."
        if self.engine is None and architecture not in WRITES:
            return (
                f"a model of the architecture '{architecture}' writes nothing, so it has no words to answer in; name another that "
                "is asked: engine: {kind: remote, ...}."
            )
        return ""

    def open(self, folder: str | Path, *, device: str = "auto") -> Engine:
        """Return who is asked. folder: of the model itself."""
        backend = self.engine or Backend.parse("torch")
        return backend.open(folder if backend.local else None, device=device)


class Showing(Asking):
    """A way to ask that can show answered examples."""

    examples: Chooser = Field(default_factory=lambda: Chooser.parse("random"))
    """How they are chosen."""
    order: Literal["as-is", "similar-last", "random"] = "as-is"
    """As they were chosen; the most similar to the query next to it; or shuffled for each query by `seed`."""
    seed: int = 0
    """For `order: random` and, of a search, which rows and edits it draws."""
