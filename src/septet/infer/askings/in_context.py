"""In-context learning: a model is shown k answered examples and asked the next one. Nothing is trained.

    method = InContext(task="classification", k=8, examples={"kind": "balanced"}, calibration="contextual")
    found = method.predict(engine, rows, examples=train_rows)
    found.values, found.facts()

Labels are chosen by their log-likelihood where the engine can score (the local torch engine; a remote one with `offers: [score]`),
else read from what the model writes. k = 0 is zero-shot: the instruction and the row alone. A prompt that would not leave room for
the answer loses whole examples, the least useful first, and they are counted.

What it is not: a search for better words (the template is the user's), nor a metric; `values` go where every other method's go.

    python -m pytest tests/infer/test_in_context.py
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from septet.core.errors import SeptetError
from septet.infer.asking import Material, Showing
from septet.infer.calibration import NO_CONTENT, calibrate, probabilities
from septet.infer.choosing import Embed, Pool
from septet.infer.engine import ContextError, Engine, EngineError, Message, Request
from septet.infer.wording import Row, Wording

__all__ = ["Asker", "InContext", "Predicted", "Prediction"]

Prompt = str | list[Message]

SCORED_TOGETHER = 64
"""Rows that are scored in one call, between two calls of `tell`."""
LONGEST = 64
"""The longest written answer, in tokens, where nothing says otherwise."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one row.

    value: a label, tags or a text; None where a label could not be read, or the row was skipped. text: what the model wrote; empty
    where labels were scored. probabilities: by label, where they were. examples: places of the examples shown, in the prompt's
    order. dropped: examples left out for want of room. understood: False where (part of) the text could not be read.
    """

    value: Any
    text: str = ""
    probabilities: dict[str, float] | None = None
    examples: tuple[int, ...] = ()
    dropped: int = 0
    understood: bool = True
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class Predicted:
    """The answers for all rows, in order. scored: labels were chosen by their likelihood, not read from text."""

    predictions: tuple[Prediction, ...]
    scored: bool

    @property
    def values(self) -> list[Any]:
        return [one.value for one in self.predictions]

    def facts(self) -> dict[str, int | bool]:
        """Return what was counted: rows, rows not understood, rows skipped, rows with fewer examples, examples dropped."""
        found = self.predictions
        return {
            "rows": len(found),
            "scored": self.scored,
            "not_understood": sum(not one.understood for one in found),
            "skipped": sum(one.skipped for one in found),
            "rows_with_fewer_examples": sum(one.dropped > 0 for one in found),
            "examples_dropped": sum(one.dropped for one in found),
        }


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The examples for one row, the most useful first, and how like the row each is."""

    places: list[int]
    likeness: list[float]


@dataclass(frozen=True, slots=True)
class _Asked:
    """One row's prompt, and what it was made of."""

    prompt: Prompt
    examples: tuple[int, ...]
    dropped: int


class InContext(Showing):
    """Show examples, ask the next one."""

    k: int = Field(default=8, ge=0)
    """Examples in a prompt; 0: none (zero-shot)."""

    @property
    def draws(self) -> bool:
        return self.k > 0 and (self.order == "random" or "seed" in type(self.examples).model_fields)

    def method(self, material: Material) -> InContext:
        """Return this with what the material settles: the task, its longest answer, and other draws for another seed."""
        changes = {
            "task": self.task or material.task,
            "max_tokens": self.max_tokens or material.max_tokens,
            "seed": self.seed + material.seed,
        }
        if "seed" in type(self.examples).model_fields:
            own = self.examples.model_dump()["seed"]
            changes["examples"] = self.examples.model_copy(update={"seed": own + material.seed})
        return self.model_copy(update=changes)

    def ready(self, engine: Engine, material: Material) -> Asker:
        examples = material.rows if self.k else ()
        return self.method(material).over(engine, examples=examples, labels=material.labels or None)

    def over(
        self,
        engine: Engine,
        *,
        examples: Sequence[Row] = (),
        labels: Sequence[str] | None = None,
        embed: Embed | None = None,
    ) -> Asker:
        """Return what answers rows, ready for many calls.

        examples: answered rows to choose from. labels: those to choose from; None takes the examples'. embed: vectors for
        `similar`, `diverse` and `similar-last`; without it words are compared. Errors: DataError for an example that lacks a field,
        by its number; EngineError for a decision that the engine cannot make.
        """
        return Asker(self, engine, examples, labels, embed)

    def predict(
        self,
        engine: Engine,
        rows: Sequence[Row],
        *,
        examples: Sequence[Row] = (),
        labels: Sequence[str] | None = None,
        embed: Embed | None = None,
        tell: Callable[[int, int], None] = lambda done, total: None,
    ) -> Predicted:
        """Answer all rows: `over`, for one call."""
        return self.over(engine, examples=examples, labels=labels, embed=embed).predict(rows, tell=tell)

    def prompt(
        self,
        rows: Sequence[Row],
        *,
        examples: Sequence[Row] = (),
        labels: Sequence[str] | None = None,
        embed: Embed | None = None,
    ) -> list[Prompt]:
        """Return the prompts for rows as they would be asked of a model with room for all examples; to look at."""
        return Asker(self, None, examples, labels, embed).prompts(rows)


class Asker:
    """A method with its engine and its examples: asks about rows, and reads the answers."""

    def __init__(
        self,
        method: InContext,
        engine: Engine | None,
        examples: Sequence[Row],
        labels: Sequence[str] | None,
        embed: Embed | None,
    ) -> None:
        if method.task is None:
            raise SeptetError(
                "task: it is not known what the rows are; say InContext(task='classification'), or another."
            )
        self.method, self.engine, self.examples, self.task = method, engine, examples, method.task
        self.wording = Wording(self.task, method.template, self._labels(labels))
        self.scores = engine is not None and self._able(engine)
        for number, row in enumerate(examples, 1):
            self.wording.check(row, number, answered=True)
        kinds = [str(row["label"]) for row in examples] if self.task == "classification" else None
        self.pool = Pool([self.wording.key(row) for row in examples], kinds, embed=embed)
        if method.k and not examples:
            raise SeptetError(f"k is {method.k}, and there are no examples to show; give some, or set k to 0.")

    def predict(self, rows: Sequence[Row], *, tell: Callable[[int, int], None] = lambda done, total: None) -> Predicted:
        """Answer all rows. tell: called with how much is done, and of how much.

        Errors: DataError for a row that lacks a field, by its number; ContextError for one that does not fit; EngineError.
        """
        for number, row in enumerate(rows, 1):
            self.wording.check(row, number, answered=False)
        asked: list[_Asked | None] = []
        for number, (row, one) in enumerate(zip(rows, self._choose(rows), strict=True), 1):
            try:
                asked.append(self._fit(row, one))
            except ContextError as error:
                if self.method.too_long == "refuse":
                    raise ContextError(f"rows, row {number}: {error}") from None
                asked.append(None)
        going = [place for place, one in enumerate(asked) if one is not None]
        answer = self._score if self.scores else self._generate
        answers = answer([rows[place] for place in going], [one for one in asked if one is not None], tell)
        found = [Prediction(None, understood=True, skipped=True)] * len(rows)
        for place, prediction in zip(going, answers, strict=True):
            found[place] = prediction
        return Predicted(tuple(found), self.scores)

    def prompts(self, rows: Sequence[Row]) -> list[Prompt]:
        """Return the prompts for rows with all their examples."""
        return [
            self._write(row, self._ordered(self.wording.key(row), one, len(one.places)))
            for row, one in zip(rows, self._choose(rows), strict=True)
        ]

    # -- what is asked ------------------------------------------------------------------------------------------------

    def _labels(self, labels: Sequence[str] | None) -> list[str]:
        if self.task not in ("classification", "tagging"):
            return []
        if labels is None:
            tagged = self.task == "tagging"
            said = (row.get("tags") or [] if tagged else [row.get("label")] for row in self.examples)
            labels = sorted({str(label) for some in said for label in some if label is not None})
        found = [label for label in labels if label != "O"]
        if len(found) < (2 if self.task == "classification" else 1):
            raise SeptetError(
                f"{self.task} has {len(found)} labels to choose from; give `labels`, or examples that have more of them."
            )
        return found

    def _able(self, engine: Engine) -> bool:
        """Return whether labels are scored. Raises EngineError for a decision that cannot be made."""
        decide = self.method.decide
        able = self.task == "classification" and "score" in engine.can
        if decide == "score" and not able:
            why = f"{self.task} writes its answers" if self.task != "classification" else f"{engine.name} cannot score"
            raise EngineError(f"decide: score does not fit: {why}. Use decide: generate.")
        scores = able and decide != "generate"
        if self.method.calibration != "none" and not scores:
            raise EngineError(
                "calibration divides probabilities of labels, which a written answer has not; set it to none."
            )
        return scores

    def _choose(self, rows: Sequence[Row]) -> list[_Chosen]:
        method = self.method
        if not method.k:
            return [_Chosen([], []) for _ in rows]
        queries = [self.wording.key(row) for row in rows]
        chosen = method.examples.choose(self.pool, queries, method.k)
        if method.order != "similar-last" or method.examples.nearest_first:
            return [_Chosen(places, [-float(rank) for rank in range(len(places))]) for places in chosen]
        likeness = zip(chosen, self.pool.likeness(queries), strict=True)
        return [_Chosen(places, [float(cosine_N[place]) for place in places]) for places, cosine_N in likeness]

    def _ordered(self, query: str, chosen: _Chosen, count: int) -> list[int]:
        """Return the `count` most useful examples in the prompt's order."""
        places, order = chosen.places[:count], self.method.order
        if order == "as-is":
            return places
        if order == "similar-last":
            return [places[at] for at in sorted(range(count), key=lambda at: chosen.likeness[at])]
        # by the query itself, so that a row is asked in the same way whatever stands beside it
        text = f"{self.method.seed} {query}".encode("utf-8", "replace")
        seed = int.from_bytes(hashlib.sha256(text).digest()[:8], "big")
        return [places[at] for at in np.random.default_rng(seed).permutation(len(places))]

    def _write(self, row: Row, places: Sequence[int]) -> Prompt:
        wording, instruction = self.wording, self.wording.instruction
        shown = [self.examples[place] for place in places]
        if self.method.form == "text":
            parts = [instruction] if instruction else []
            parts += [f"{wording.ask(example)}{wording.before}{wording.answer(example)}" for example in shown]
            return self.method.template.separator.join([*parts, wording.ask(row)])
        turns: list[Message] = [{"role": "system", "content": instruction}] if instruction else []
        if self.task == "chat":  # its rows are turns already
            return [*turns, *(turn for example in shown for turn in example["messages"]), *row["messages"][:-1]]
        for example in shown:
            turns.append({"role": "user", "content": wording.ask(example)})
            turns.append({"role": "assistant", "content": wording.answer(example)})
        return [*turns, {"role": "user", "content": wording.ask(row)}]

    def _fit(self, row: Row, chosen: _Chosen) -> _Asked:
        engine = self._engine
        room = max(engine.length(word) for word in self.wording.words.values()) if self.scores else self._most
        if engine.reads_apart:
            room = 0
        for shown in range(len(chosen.places), -1, -1):
            places = self._ordered(self.wording.key(row), chosen, shown)
            prompt = self._write(row, places)
            if not engine.context or engine.length(prompt) + room <= engine.context:
                return _Asked(prompt, tuple(places), len(chosen.places) - shown)
        raise ContextError(
            f"without any example its prompt has {engine.length(prompt)} tokens, and its answer needs up to {room} more; this "
            f"model reads {engine.context}. Shorten it, lower max_tokens, or set too_long to skip."
        )

    @property
    def _engine(self) -> Engine:
        assert self.engine is not None, "prompts alone need no engine; answers do"
        return self.engine

    @property
    def _most(self) -> int:
        return self.method.max_tokens or LONGEST

    # -- answers ------------------------------------------------------------------------------------------------------

    def _generate(
        self, rows: Sequence[Row], asked: Sequence[_Asked], tell: Callable[[int, int], None]
    ) -> list[Prediction]:
        requests = []
        for one in asked:
            if isinstance(one.prompt, str):
                requests.append(Request(prompt=one.prompt, max_tokens=self._most, stop=self.wording.stop))
            else:
                requests.append(Request(messages=one.prompt, max_tokens=self._most))
        found: list[Prediction] = []
        for start in range(0, len(requests), SCORED_TOGETHER):
            part = slice(start, start + SCORED_TOGETHER)
            answers = self._engine.generate_batch(requests[part])
            for answer, row, one in zip(answers, rows[part], asked[part], strict=True):
                value, understood = self.wording.read(answer.text, row)
                found.append(
                    Prediction(value, answer.text, examples=one.examples, dropped=one.dropped, understood=understood)
                )
            tell(len(found), len(requests))
        return found

    def _score(
        self, rows: Sequence[Row], asked: Sequence[_Asked], tell: Callable[[int, int], None]
    ) -> list[Prediction]:
        known: dict[str, np.ndarray] = {}
        labels, calibration = self.wording.labels, self.method.calibration
        p_NL = np.zeros((len(rows), len(labels)))
        prior_NL = np.ones_like(p_NL)
        for start in range(0, len(rows), SCORED_TOGETHER):
            part = range(start, min(start + SCORED_TOGETHER, len(rows)))
            p_NL[part] = self._probabilities([asked[place].prompt for place in part])
            if calibration == "contextual":
                for place in part:
                    empty = [self.wording.without_content(rows[place], text) for text in NO_CONTENT]
                    prompts = [self._write(row, asked[place].examples) for row in empty]
                    name = repr(prompts)
                    if name not in known:  # examples that are the same for every row are asked about once
                        known[name] = self._probabilities(prompts).mean(axis=0)
                    prior_NL[place] = known[name]
            tell(part.stop, len(rows))
        if calibration == "batch" and len(rows):
            prior_NL[:] = p_NL.mean(axis=0)
        q_NL = p_NL if calibration == "none" else calibrate(p_NL, prior_NL)
        return [
            Prediction(
                labels[int(q_L.argmax())],
                probabilities=dict(zip(labels, map(float, q_L), strict=True)),
                examples=one.examples,
                dropped=one.dropped,
            )
            for q_L, one in zip(q_NL, asked, strict=True)
        ]

    def _probabilities(self, prompts: Sequence[Prompt]) -> np.ndarray:
        """Return p [N, L] of the labels after each prompt."""
        before = self.wording.before if self.method.form == "text" else ""
        said = [before + word for word in self.wording.words.values()]
        scored = self._engine.score([(prompt, word) for prompt in prompts for word in said])
        rows = (scored[start : start + len(said)] for start in range(0, len(scored), len(said)))
        return np.array([probabilities(row, by_length=self.method.by_length) for row in rows]).reshape(-1, len(said))
