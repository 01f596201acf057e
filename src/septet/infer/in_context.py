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
from typing import Any, Literal

import numpy as np
from pydantic import Field

from septet.core.component import Component
from septet.core.errors import SeptetError
from septet.infer.calibration import NO_CONTENT, calibrate, probabilities
from septet.infer.choosing import Chooser, Embed, Pool
from septet.infer.engine import ContextError, Engine, EngineError, Message, Request
from septet.infer.wording import Row, Task, Template, Wording

__all__ = ["InContext", "Predicted", "Prediction"]

Prompt = str | list[Message]

SCORED_TOGETHER = 64
"""Rows that are scored in one call, between two calls of `tell`."""


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


class InContext(Component):
    """Show examples, ask the next one."""

    task: Task
    """What the rows are."""
    k: int = Field(default=8, ge=0)
    """Examples in a prompt; 0: none (zero-shot)."""
    examples: Chooser = Field(default_factory=lambda: Chooser.parse("random"))
    """How they are chosen."""
    order: Literal["as-is", "similar-last", "random"] = "as-is"
    """As they were chosen; the most similar to the query next to it; or shuffled for each query by `seed`."""
    seed: int = 0
    """For `order: random`."""
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
    rows of this call (Zhou et al. 2023), which then depend on one another."""
    max_tokens: int = Field(default=64, ge=1)
    """The longest written answer."""
    too_long: Literal["refuse", "skip"] = "refuse"
    """What happens to a row that does not fit without any example: an error that names it, or no answer, counted."""

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
        """Answer all rows.

        examples: answered rows to choose from. labels: those to choose from; None takes the examples'. embed: vectors for
        `similar`, `diverse` and `similar-last`; without it words are compared. tell: called with how much is done, and of how much.
        Errors: DataError for a row that lacks a field, by its number; ContextError for one that does not fit; EngineError.
        """
        wording = Wording(self.task, self.template, self._labels(examples, labels))
        scores = self._scores(engine)
        for number, row in enumerate(examples, 1):
            wording.check(row, number, answered=True)
        for number, row in enumerate(rows, 1):
            wording.check(row, number, answered=False)
        chosen = self._choose(wording, rows, examples, embed)
        asked: list[_Asked | None] = []
        for number, (row, one) in enumerate(zip(rows, chosen, strict=True), 1):
            try:
                asked.append(self._fit(engine, wording, row, one, examples, scores))
            except ContextError as error:
                if self.too_long == "refuse":
                    raise ContextError(f"rows, row {number}: {error}") from None
                asked.append(None)
        going = [place for place, one in enumerate(asked) if one is not None]
        answer = self._score if scores else self._generate
        prompts = [one for one in asked if one is not None]
        answers = answer(engine, wording, [rows[place] for place in going], prompts, examples, tell)
        found = [Prediction(None, understood=True, skipped=True)] * len(rows)
        for place, prediction in zip(going, answers, strict=True):
            found[place] = prediction
        return Predicted(tuple(found), scores)

    def prompt(
        self,
        rows: Sequence[Row],
        *,
        examples: Sequence[Row] = (),
        labels: Sequence[str] | None = None,
        embed: Embed | None = None,
    ) -> list[Prompt]:
        """Return the prompts for rows as they would be asked of a model with room for all examples; to look at."""
        wording = Wording(self.task, self.template, self._labels(examples, labels))
        chosen = self._choose(wording, rows, examples, embed)
        return [
            self._write(
                wording, row, [examples[place] for place in self._ordered(wording.key(row), one, len(one.places))]
            )
            for row, one in zip(rows, chosen, strict=True)
        ]

    # -- what is asked ------------------------------------------------------------------------------------------------

    def _labels(self, examples: Sequence[Row], labels: Sequence[str] | None) -> list[str]:
        if self.task not in ("classification", "tagging"):
            return []
        if labels is None:
            said = ([row.get("label")] if self.task == "classification" else row.get("tags") or [] for row in examples)
            labels = sorted({str(label) for some in said for label in some if label is not None})
        found = [label for label in labels if label != "O"]
        if len(found) < (2 if self.task == "classification" else 1):
            raise SeptetError(
                f"{self.task} has {len(found)} labels to choose from; give `labels`, or examples that have more of them."
            )
        return list(found)

    def _scores(self, engine: Engine) -> bool:
        able = self.task == "classification" and "score" in engine.can
        if self.decide == "score" and not able:
            why = f"{self.task} writes its answers" if self.task != "classification" else f"{engine.name} cannot score"
            raise EngineError(f"decide: score does not fit: {why}. Use decide: generate.")
        scores = able and self.decide != "generate"
        if self.calibration != "none" and not scores:
            raise EngineError(
                "calibration divides probabilities of labels, which a written answer has not; set it to none."
            )
        return scores

    def _choose(
        self, wording: Wording, rows: Sequence[Row], examples: Sequence[Row], embed: Embed | None
    ) -> list[_Chosen]:
        labels = [str(row["label"]) for row in examples] if self.task == "classification" else None
        pool = Pool([wording.key(row) for row in examples], labels, embed=embed)
        if self.k and not examples:
            raise SeptetError(f"k is {self.k}, and there are no examples to show; give some, or set k to 0.")
        if not self.k:
            return [_Chosen([], []) for _ in rows]
        queries = [wording.key(row) for row in rows]
        chosen = self.examples.choose(pool, queries, self.k)
        if self.order != "similar-last" or self.examples.nearest_first:
            return [_Chosen(places, [-float(rank) for rank in range(len(places))]) for places in chosen]
        likeness = zip(chosen, pool.likeness(queries), strict=True)
        return [_Chosen(places, [float(cosine_N[place]) for place in places]) for places, cosine_N in likeness]

    def _ordered(self, query: str, chosen: _Chosen, count: int) -> list[int]:
        """Return the `count` most useful examples in the prompt's order."""
        places = chosen.places[:count]
        if self.order == "as-is":
            return places
        if self.order == "similar-last":
            return [places[at] for at in sorted(range(count), key=lambda at: chosen.likeness[at])]
        # by the query itself, so that a row is asked in the same way whatever stands beside it
        seed = int.from_bytes(hashlib.sha256(f"{self.seed} {query}".encode("utf-8", "replace")).digest()[:8], "big")
        return [places[at] for at in np.random.default_rng(seed).permutation(len(places))]

    def _write(self, wording: Wording, row: Row, shown: Sequence[Row]) -> Prompt:
        instruction = wording.instruction
        if self.form == "text":
            before = wording.before
            parts = [instruction] if instruction else []
            parts += [f"{wording.ask(example)}{before}{wording.answer(example)}" for example in shown]
            return self.template.separator.join([*parts, wording.ask(row)])
        turns: list[Message] = [{"role": "system", "content": instruction}] if instruction else []
        for example in shown:
            turns.append({"role": "user", "content": wording.ask(example)})
            turns.append({"role": "assistant", "content": wording.answer(example)})
        return [*turns, {"role": "user", "content": wording.ask(row)}]

    def _fit(
        self,
        engine: Engine,
        wording: Wording,
        row: Row,
        chosen: _Chosen,
        examples: Sequence[Row],
        scores: bool,
    ) -> _Asked:
        room = max(engine.length(word) for word in wording.words.values()) if scores else self.max_tokens
        for shown in range(len(chosen.places), -1, -1):
            ordered = self._ordered(wording.key(row), chosen, shown)
            prompt = self._write(wording, row, [examples[place] for place in ordered])
            if not engine.context or engine.length(prompt) + room <= engine.context:
                return _Asked(prompt, tuple(ordered), len(chosen.places) - shown)
        raise ContextError(
            f"without any example its prompt has {engine.length(prompt)} tokens, and its answer needs up to {room} more; this "
            f"model reads {engine.context}. Shorten it, lower max_tokens, or set too_long to skip."
        )

    # -- answers ------------------------------------------------------------------------------------------------------

    def _generate(
        self,
        engine: Engine,
        wording: Wording,
        rows: Sequence[Row],
        asked: Sequence[_Asked],
        examples: Sequence[Row],
        tell: Callable[[int, int], None],
    ) -> list[Prediction]:
        requests = []
        for one in asked:
            if isinstance(one.prompt, str):
                requests.append(Request(prompt=one.prompt, max_tokens=self.max_tokens, stop=wording.stop))
            else:
                requests.append(Request(messages=one.prompt, max_tokens=self.max_tokens))
        found: list[Prediction] = []
        for start in range(0, len(requests), SCORED_TOGETHER):
            part = slice(start, start + SCORED_TOGETHER)
            answers = engine.generate_batch(requests[part])
            for answer, row, one in zip(answers, rows[part], asked[part], strict=True):
                value, understood = wording.read(answer.text, row)
                found.append(
                    Prediction(value, answer.text, examples=one.examples, dropped=one.dropped, understood=understood)
                )
            tell(len(found), len(requests))
        return found

    def _score(
        self,
        engine: Engine,
        wording: Wording,
        rows: Sequence[Row],
        asked: Sequence[_Asked],
        examples: Sequence[Row],
        tell: Callable[[int, int], None],
    ) -> list[Prediction]:
        known: dict[str, np.ndarray] = {}
        p_NL = np.zeros((len(rows), len(wording.labels)))
        prior_NL = np.ones_like(p_NL)
        for start in range(0, len(rows), SCORED_TOGETHER):
            part = range(start, min(start + SCORED_TOGETHER, len(rows)))
            p_NL[part] = self._probabilities(engine, wording, [asked[place].prompt for place in part])
            if self.calibration == "contextual":
                for place in part:
                    shown = [examples[at] for at in asked[place].examples]
                    empty = [wording.without_content(rows[place], text) for text in NO_CONTENT]
                    prompts = [self._write(wording, row, shown) for row in empty]
                    name = repr(prompts)
                    if name not in known:  # examples that are the same for every row are asked about once
                        known[name] = self._probabilities(engine, wording, prompts).mean(axis=0)
                    prior_NL[place] = known[name]
            tell(part.stop, len(rows))
        if self.calibration == "batch" and len(rows):
            prior_NL[:] = p_NL.mean(axis=0)
        q_NL = p_NL if self.calibration == "none" else calibrate(p_NL, prior_NL)
        return [
            Prediction(
                wording.labels[int(q_L.argmax())],
                probabilities=dict(zip(wording.labels, map(float, q_L), strict=True)),
                examples=one.examples,
                dropped=one.dropped,
            )
            for q_L, one in zip(q_NL, asked, strict=True)
        ]

    def _probabilities(self, engine: Engine, wording: Wording, prompts: Sequence[Prompt]) -> np.ndarray:
        """Return p [N, L] of the labels after each prompt."""
        before = wording.before if self.form == "text" else ""
        said = [before + word for word in wording.words.values()]
        scored = engine.score([(prompt, word) for prompt in prompts for word in said])
        rows = (scored[start : start + len(said)] for start in range(0, len(scored), len(said)))
        return np.array([probabilities(row, by_length=self.by_length) for row in rows]).reshape(-1, len(said))
