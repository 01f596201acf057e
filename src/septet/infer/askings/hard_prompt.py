"""Hard-prompt search: the wording of an instruction, and what stands for each label, tried out on validation rows.

    search = HardPrompt(task="classification", evaluations=40)
    found = search.search(engine, validation_rows, labels=["negative", "positive"], folder="search")
    found.method.predict(engine, test_rows, ...)         # the best wording, as an InContext; test rows are looked at here only

It begins with a few wordings for the task and the user's own, then goes in rounds: the best ones so far are edited (some words
deleted, two parts swapped, said in other words by a model, another choice of label words, instruction and label words of two
parents together), and the children are scored. Deleting, swapping and paraphrasing are edits of GrIPS (Prasad et al. 2023), here on
runs of words instead of parsed phrases; asking a model for variations of the best is APE's (Zhou et al. 2023).

Every score and every paraphrase is written to `folder/search.jsonl` at once; the same search goes on from there.

What it is not: a search by gradients (AutoPrompt, GCG), nor an estimate: the best of many on the same rows looks better than it is.

    python -m pytest tests/infer/test_hard_prompt.py
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from pydantic import Field

from septet.core.errors import SeptetError
from septet.infer.asking import Material, Metric, Showing
from septet.infer.askings.in_context import Asker, InContext
from septet.infer.choosing import Embed
from septet.infer.engine import Engine, Request
from septet.infer.wording import DEFAULTS, Row

__all__ = ["Candidate", "HardPrompt", "Search", "share_right"]

T = TypeVar("T")
Edit = Literal["delete", "swap", "paraphrase", "words", "cross"]

STARTS: dict[str, tuple[str, ...]] = {
    "classification": (
        "{labels}?",
        "Which of these is it: {labels}?",
        "Read the text and name its class. Classes: {labels}.",
    ),
    "tagging": ("Find every name of the types {labels}.", "Which names does the sentence hold? Types: {labels}."),
    "question-answering": (
        "Copy the answer from the passage.",
        "Answer from the passage alone, as briefly as you can.",
    ),
    "text-to-text": ("Do as in the examples.", "Rewrite the input."),
    "completion": ("Go on with the text.",),
    "chat": ("Answer the question.", "Answer in one sentence."),
}
"""Instructions that a search begins with, beside the task's own and the user's."""

TRIES = 20
"""How often an edit is drawn anew when it made nothing new, for each place in a round."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One wording: the instruction, and pairs of a label and the words for it (none: the labels themselves)."""

    instruction: str
    words: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Search:
    """What a search found. scores: every candidate in the order of trying; rows: how many validation rows each was tried on."""

    method: InContext
    scores: tuple[tuple[Candidate, float], ...]
    rows: int

    @property
    def best(self) -> tuple[Candidate, float]:
        """The best candidate and its score; of equals, the first."""
        return max(self.scores, key=lambda scored: scored[1])

    @property
    def curve(self) -> list[float]:
        """The best score so far after each trial."""
        return np.maximum.accumulate([score for _, score in self.scores]).tolist()


def share_right(values: Sequence[Any], rows: Sequence[Row]) -> float:
    """Return the share of rows whose value is the right one: the label, all tags, or a right text, letter case and spaces aside."""

    def plain(text: Any) -> Any:
        return " ".join(text.casefold().split()) if isinstance(text, str) else text

    def right(row: Row) -> list[Any]:
        if "label" in row:
            return [row["label"]]
        if "tags" in row:
            return [list(row["tags"])]
        if "answers" in row:
            return [answer["text"] for answer in row["answers"]] or [""]
        if "target" in row:
            return [row["target"], *row.get("references", ())]
        return [row["messages"][-1]["content"] if "messages" in row else row["completion"]]

    found = [plain(value) in [plain(one) for one in right(row)] for value, row in zip(values, rows, strict=True)]
    return sum(found) / max(len(found), 1)


class HardPrompt(Showing):
    """Try wordings on validation rows, and edit the best. The template is the first candidate."""

    k: int = Field(default=0, ge=0)
    """Examples in a prompt, whatever its wording."""
    instructions: tuple[str, ...] = ()
    """More instructions to begin with; `{labels}` stands for the labels' words."""
    words: tuple[dict[str, str], ...] = ()
    """Choices of words for the labels, such as {positive: great, negative: terrible}."""
    edits: tuple[Edit, ...] = ("delete", "swap", "paraphrase", "words", "cross")
    """What may be done to a candidate; paraphrase needs a model that writes, words needs choices of them."""
    evaluations: int = Field(default=40, ge=1)
    """Candidates that are scored in all."""
    children: int = Field(default=6, ge=1)
    """New candidates in a round."""
    survivors: int = Field(default=3, ge=1)
    """The best so far, whose edits make the next round."""
    rows: int = Field(default=200, ge=1)
    """Validation rows that a candidate is scored on, drawn by `seed`; all where there are fewer."""

    @property
    def draws(self) -> bool:
        return True

    def method(self, material: Material) -> InContext:
        shared = {name: getattr(self, name) for name in InContext.model_fields}
        return InContext(**shared).method(material)

    def ready(self, engine: Engine, material: Material) -> Asker:
        """Search with the material's rows; the asked model itself says things in other words, where it writes."""
        examples, labels = material.rows if self.k else (), material.labels or None
        start = self.method(material)
        own = {name: getattr(start, name) for name in InContext.model_fields}
        found = self.model_copy(update=own).search(
            engine,
            material.rows,
            examples=examples,
            labels=labels,
            metric=material.metric or share_right,
            writer=engine if "generate" in engine.can else None,
            folder=material.folder,
            tell=material.tell,
        )
        return found.method.over(engine, examples=examples, labels=labels)

    def search(
        self,
        engine: Engine,
        rows: Sequence[Row],
        *,
        examples: Sequence[Row] = (),
        labels: Sequence[str] | None = None,
        embed: Embed | None = None,
        metric: Metric = share_right,
        writer: Engine | None = None,
        folder: str | Path | None = None,
        tell: Callable[[int, int], None] = lambda done, total: None,
    ) -> Search:
        """Return the best wording and the way to it.

        rows: answered validation rows. examples, labels, embed: as in `InContext.predict`. metric: higher is better. writer: a
        model that says things in other words, which may be another than the one that is asked. folder: where scores are kept; the
        same search in the same folder goes on where it ended. tell: called with candidates scored, and in all.
        Errors: those of `InContext.predict`; SeptetError where the folder holds another search.
        """
        if not rows:
            raise SeptetError("There are no validation rows to choose a wording by.")
        if self.task is None:
            raise SeptetError(
                "task: it is not known what the rows are; say HardPrompt(task='classification'), or another."
            )
        start = InContext(**{name: getattr(self, name) for name in InContext.model_fields})
        rng = np.random.default_rng(self.seed)
        drawn = sorted(rng.permutation(len(rows))[: self.rows].tolist())
        tried = [rows[place] for place in drawn]
        journal = _Journal(folder, self._head(engine, tried, examples, labels, metric, writer))
        scores: dict[Candidate, float] = {}

        def score(candidate: Candidate) -> None:
            if candidate in scores or len(scores) == self.evaluations:
                return

            def ask() -> float:
                method = _worded(start, candidate)
                found = method.predict(engine, tried, examples=examples, labels=labels, embed=embed)
                return float(metric(found.values, tried))

            scores[candidate] = journal.get({"instruction": candidate.instruction, "words": dict(candidate.words)}, ask)
            tell(len(scores), self.evaluations)

        for candidate in self._starts():
            score(candidate)
        width = self.survivors
        while len(scores) < self.evaluations:
            # sorted() keeps the order of trying among equals
            parents = sorted(scores, key=lambda one: -scores[one])[:width]
            children: list[Candidate] = []
            for _ in range(self.children * TRIES):
                child = self._edit(rng, parents, writer, journal)
                if child is not None and child not in scores and child not in children:
                    children.append(child)
                if len(children) == self.children:
                    break
            if not children:  # nothing new can be made of these; look further down, and in the end stop
                if width >= len(scores):
                    break
                width *= 2
                continue
            width = self.survivors
            for child in children:
                score(child)
        best = max(scores, key=lambda one: scores[one])
        return Search(_worded(start, best), tuple(scores.items()), len(tried))

    def _head(
        self,
        engine: Engine,
        tried: Sequence[Row],
        examples: Sequence[Row],
        labels: Sequence[str] | None,
        metric: Metric,
        writer: Engine | None,
    ) -> dict[str, Any]:
        """Return what makes this search the one that a journal belongs to; `evaluations` may be raised later."""
        data = json.dumps([list(map(dict, tried)), list(map(dict, examples)), labels and list(labels)], sort_keys=True)
        identity = {name: value for name, value in self.identity().items() if name != "evaluations"}
        return {
            "search": identity,
            "data": hashlib.sha256(data.encode()).hexdigest(),
            "engine": engine.name,
            "writer": writer and writer.name,
            "metric": f"{metric.__module__}.{getattr(metric, '__qualname__', repr(metric))}",
        }

    def _starts(self) -> list[Candidate]:
        template, task = self.template, self.task
        assert task is not None
        own = DEFAULTS[task].instruction if template.instruction is None else template.instruction
        choices = [tuple(sorted(words.items())) for words in (template.words, *self.words)]
        first = [Candidate(own, words) for words in choices]
        return [*first, *(Candidate(text, choices[0]) for text in (*self.instructions, *STARTS[task]))]

    # -- edits --------------------------------------------------------------------------------------------------------

    def _edit(
        self, rng: np.random.Generator, parents: Sequence[Candidate], writer: Engine | None, journal: _Journal
    ) -> Candidate | None:
        """Return a child of one of the parents, or None where the drawn edit does not apply to it."""
        parent, edit = _one(rng, parents), _one(rng, self.edits)
        said = parent.instruction.split()
        if edit == "delete" and len(said) > 1:
            begin, end = _run(rng, len(said))
            return Candidate(" ".join(said[:begin] + said[end:]), parent.words)
        if edit == "swap" and len(said) > 1:
            a, b, c, d = sorted(rng.integers(0, len(said) + 1, size=4).tolist())
            return Candidate(" ".join(said[:a] + said[c:d] + said[b:c] + said[a:b] + said[d:]), parent.words)
        if edit == "paraphrase" and writer is not None and said:
            seed = int(rng.integers(2**31))
            text = journal.get(
                {"paraphrase": parent.instruction, "seed": seed}, lambda: self._paraphrase(writer, parent, seed)
            )
            return Candidate(text, parent.words) if text else None
        if edit == "words" and self.words:
            return Candidate(parent.instruction, tuple(sorted(_one(rng, self.words).items())))
        if edit == "cross":
            return Candidate(parent.instruction, _one(rng, parents).words)
        return None

    def _paraphrase(self, writer: Engine, parent: Candidate, seed: int) -> str:
        asked = f"Say this instruction in other words. Keep what stands in braces as it is.\n\nInstruction: {parent.instruction}"
        shared: dict[str, Any] = {"max_tokens": 96, "temperature": 1.0, "seed": seed}
        if self.form == "chat":
            request = Request(messages=[{"role": "user", "content": asked}], **shared)
        else:
            request = Request(prompt=f"{asked}\nIn other words:", stop=("\n",), **shared)
        (answer,) = writer.generate_batch([request])
        return " ".join(answer.text.split()).removeprefix("Instruction:").strip().strip('"')


def _worded(method: InContext, candidate: Candidate) -> InContext:
    changes = {"instruction": candidate.instruction, "words": dict(candidate.words)}
    return method.model_copy(update={"template": method.template.model_copy(update=changes)})


def _one(rng: np.random.Generator, some: Sequence[T]) -> T:
    return some[int(rng.integers(len(some)))]


def _run(rng: np.random.Generator, length: int) -> tuple[int, int]:
    """Draw a run of one to three words, never all of them."""
    size = int(rng.integers(1, min(3, length - 1) + 1))
    begin = int(rng.integers(0, length - size + 1))
    return begin, begin + size


class _Journal:
    """What was found out, a JSON line each, written when it is known. Without a folder it is kept in memory alone."""

    def __init__(self, folder: str | Path | None, head: dict[str, Any]) -> None:
        self._known: dict[str, Any] = {}
        self._path = None if folder is None else Path(folder) / "search.jsonl"
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if not self._path.exists():
            self._write(head)
            return
        text = self._path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]  # a line that a kill cut off is not one
        if whole != text:
            self._path.write_text(whole, encoding="utf-8")
        lines = [json.loads(line) for line in whole.splitlines()]
        if not lines:
            self._write(head)
        elif lines[0] != json.loads(json.dumps(head)):
            other = [name for name in head if lines[0].get(name) != json.loads(json.dumps(head[name]))]
            raise SeptetError(
                f"{self._path} holds another search: its {' and '.join(other)} differ from this one's. Name another folder."
            )
        self._known = {json.dumps(line["of"], sort_keys=True): line["found"] for line in lines[1:]}

    def get(self, of: dict[str, Any], ask: Callable[[], Any]) -> Any:
        """Return what was found out about something, or find it out now and keep it."""
        name = json.dumps(of, sort_keys=True)
        if name not in self._known:
            self._known[name] = ask()
            self._write({"of": of, "found": self._known[name]})
        return self._known[name]

    def _write(self, line: dict[str, Any]) -> None:
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
