"""Makes preference pairs from a data set: the right answer against a wrong one.

Two kinds. "weaker": what a weaker model wrote to the question. "neighbour": the right answer to a near question about another
document (near by the words of names and questions), which is fluent, of the same form, and wrong here. Pairs whose answers
are equal are dropped and counted. Nobody judges the answers: the data set's answer is taken as right.

    septet pairs --data questions --strong chat --weak base
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from septet.core.artifact import Artifact, Fact, write_json
from septet.core.component import DatasetRef, ModelRef
from septet.core.errors import DataError
from septet.core.step import Step, Work
from septet.data.documents import write_rows
from septet.steps.finetune import read_some

__all__ = ["Pairs", "neighbours"]

BLOCK = 32
"""Questions that are answered together and kept together: what a killed run loses at most."""
JUDGED = 128
"""Held-out pairs of which the strong model says which answer it finds likelier."""


class Pairs(Step):
    """Make preference pairs: the right answer against a weaker model's words, and against a near neighbour's answer."""

    produces: ClassVar[str] = "pairs"

    data: DatasetRef
    """Questions with right answers."""
    weak: ModelRef
    """The model whose words are the wrong answers of the kind "weaker"."""
    strong: ModelRef | None = None
    """The model that will be aligned; the facts then say how often it already finds the right answer likelier."""
    share: float = Field(default=0.5, ge=0.0, le=1.0)
    """Share of the questions that get the kind "weaker"; the others get "neighbour"."""
    limit: int | None = Field(default=1000, ge=1)
    """At most so many training questions, and a fifth of it held out; none: all."""
    max_tokens: int = Field(default=48, ge=1)
    """Longest answer of the weaker model."""
    temperature: float = Field(default=0.7, ge=0.0)
    """How freely the weaker model writes; 0 takes the likeliest words, which in small models go round in circles."""
    seed: int = 0
    """Chooses the questions of each kind and the weaker model's words."""

    def run(self, work: Work, **inputs: Artifact) -> dict[str, Fact]:
        """Errors: DataError for a row without question and answer, and where no pair comes about."""
        folder = inputs["data"].path
        limits = {"train": self.limit, "held_out": None if self.limit is None else max(self.limit // 5, 1)}
        asked = {
            part: [_question(row, path, number) for number, row in read_some(path, limit)]
            for part, limit in limits.items()
            for path in [folder / f"{part}.jsonl"]
        }
        if not asked["train"]:
            raise DataError("it has no rows, so there is nothing to make pairs of.", file=folder / "train.jsonl")
        todo = {part: self._of_weaker(len(rows), part) for part, rows in asked.items()}
        written = self._ask_weaker(work, inputs["weak"], asked, todo)
        facts: dict[str, Fact] = {}
        made: dict[str, list[dict[str, Any]]] = {}
        for part, rows in asked.items():
            dropped: Counter[str] = Counter()
            near = neighbours(rows)
            pairs = []
            for place, row in enumerate(rows):
                kind = "weaker" if place in todo[part] else "neighbour"
                rejected = written[part][place] if kind == "weaker" else near[place]
                if not rejected:
                    dropped["weaker_wrote_nothing" if kind == "weaker" else "no_neighbour"] += 1
                elif _same(rejected, row["chosen"]):
                    dropped["equal"] += 1
                else:
                    pairs.append({**row, "rejected": rejected, "kind": kind})
            made[part] = pairs
            facts[f"{part}_pairs"] = len(pairs)
            facts[f"{part}_kinds"] = dict(sorted(Counter(pair["kind"] for pair in pairs).items()))
            facts[f"{part}_dropped"] = dict(sorted(dropped.items()))
        if not made["train"]:
            raise DataError(
                f"No pair came about from {len(asked['train'])} questions: {facts['train_dropped']}. More questions, or another "
                "share of the kinds, may help.",
                file=folder / "train.jsonl",
            )
        for part, pairs in made.items():
            write_rows(work.out / f"{part}.jsonl", _in_order(pairs))
        if "strong" in inputs and made["held_out"]:
            facts["strong_prefers_right"] = _opinion(inputs["strong"].path, made["held_out"][:JUDGED], work)
        return facts

    def _of_weaker(self, count: int, part: str) -> frozenset[int]:
        """Return the places of the questions that get the kind "weaker"."""
        import numpy as np

        order = np.random.default_rng([self.seed, len(part)]).permutation(count)
        return frozenset(order[: round(self.share * count)].tolist())

    def _ask_weaker(
        self, work: Work, weak: Artifact, asked: dict[str, list[dict[str, Any]]], todo: dict[str, frozenset[int]]
    ) -> dict[str, dict[int, str]]:
        """Return the weaker model's answers by part and place. Blocks of questions are fixed by their order, each is answered in
        one batch and written to `work.state`, so that a run that goes on gives the same answers."""
        from septet.infer.engines.torch import Torch  # torch and transformers: 3 s
        from septet.train.runtime import settle

        found: dict[str, dict[int, str]] = {part: {} for part in asked}
        blocks = [
            (part, places[start : start + BLOCK])
            for part in asked
            for places in [sorted(todo[part])]
            for start in range(0, len(places), BLOCK)
        ]
        if not blocks:
            return found
        settled = settle(work.runtime)
        _forget_other_worlds(work, device=settled.device.type, threads=settled.threads)
        with Torch().open(weak.path, device=work.runtime.device) as engine:
            for number, (part, places) in enumerate(blocks):
                path = work.state / f"weaker-{number:05d}.json"
                answers = _read_block(path)
                if answers is None:
                    requests = [
                        _request(engine, asked[part][place], self, seed=_seed_of(self.seed, part, place))
                        for place in places
                    ]
                    answers = [_tidy(answer.text) for answer in engine.generate_batch(requests, batch_size=BLOCK)]
                    write_json(path, answers)
                found[part].update(zip(places, answers, strict=True))
                work.progress(number + 1, len(blocks), "blocks")
        return found


def _question(row: dict[str, Any], file: Path, number: int) -> dict[str, Any]:
    messages = row.get("messages")
    if (
        not isinstance(messages, list)
        or len(messages) < 2
        or not all(isinstance(message, dict) for message in messages)
        or messages[-1].get("role") != "assistant"
        or not str(messages[-1].get("content") or "").strip()
    ):
        raise DataError(
            'a pair needs a question with its answer: "messages" that end with one of the assistant.',
            file=file,
            row=number,
        )
    return {
        "prompt": messages[:-1],
        "chosen": messages[-1]["content"],
        "document": str(row.get("document", "")),
        "asks": str(row.get("kind", "")),
    }


def _in_order(pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = ("prompt", "chosen", "rejected", "kind", "document")
    return [{name: pair[name] for name in names} for pair in pairs]


def _seed_of(seed: int, part: str, place: int) -> int:
    """Return a seed for one question that depends on nothing but these three."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{part}/{place}".encode()).digest()[:7], "big")


def _request(engine: Any, row: dict[str, Any], step: Pairs, *, seed: int) -> Any:
    from septet.infer.engine import Request

    options = {"max_tokens": step.max_tokens, "temperature": step.temperature, "seed": seed, "truncate": True}
    if engine.tokenizer.chat_template is not None:
        return Request(messages=row["prompt"], **options)
    # a model that was never taught to chat gets the words of the conversation and goes on from there
    said = "\n\n".join(message["content"] for message in row["prompt"])
    return Request(prompt=f"{said}\n\n", stop=("\n\n",), **options)


def _tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def _same(one: str, other: str) -> bool:
    return one.split() == other.split()


def _forget_other_worlds(work: Work, **machine: object) -> None:
    """Drop blocks that were written with other versions or threads: mixed with new ones they would be no one's answers."""
    import torch
    import transformers

    world = {"torch": torch.__version__, "transformers": transformers.__version__, **machine}
    path = work.state / "world.json"
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != world:
        work.log("The answers so far were written with other versions or threads; starting again from the beginning.")
        for block in work.state.glob("weaker-*.json"):
            block.unlink()
    write_json(path, world)


def _read_block(path: Path) -> list[str] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _opinion(folder: Path, pairs: Sequence[dict[str, Any]], work: Work) -> dict[str, dict[str, float]]:
    """Return by kind: n, and the share in which the model finds the right answer likelier as a whole."""
    from septet.infer.engines.torch import Torch

    with Torch().open(folder, device=work.runtime.device) as engine:
        fits = engine.context - 1  # an answer that fills the context leaves nothing to condition on
        pairs = [p for p in pairs if max(len(engine.chat.answer(p[side])) for side in ("chosen", "rejected")) < fits]
        right, wrong = (
            engine.score([(pair["prompt"], pair[side]) for pair in pairs], end=True, truncate=True)
            for side in ("chosen", "rejected")
        )
    by_kind: dict[str, list[bool]] = {}
    for pair, one, other in zip(pairs, right, wrong, strict=True):
        by_kind.setdefault(pair["kind"], []).append(one.logprob > other.logprob)
    return {kind: {"n": len(v), "share": round(sum(v) / len(v), 4)} for kind, v in sorted(by_kind.items())}


def neighbours(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return for each row the answer of the nearest row that asks the same kind of thing about another document, or "".

    Near: cosine of the rarity-weighted words of name and question (`os.path.joinPath` has the words os, path, join); of equally
    near rows the first, so that where no words are shared at all it is simply another row. The answer must differ from the own.
    """
    import numpy as np
    from scipy.sparse import csr_matrix

    found = [""] * len(rows)
    for kind in sorted({row["asks"] for row in rows}):
        places = [place for place, row in enumerate(rows) if row["asks"] == kind]
        vocabulary: dict[str, int] = {}
        words = [sorted(set(_words(rows[place]))) for place in places]
        for some in words:
            for word in some:
                vocabulary.setdefault(word, len(vocabulary))
        columns = np.array([vocabulary[word] for some in words for word in some], dtype=np.int64)
        starts = np.cumsum([0, *(len(some) for some in words)])
        # a word that every row has says nothing: log(1) = 0
        rarity = np.log(len(places) / np.maximum(np.bincount(columns, minlength=len(vocabulary)), 1))
        matrix = csr_matrix((rarity[columns], columns, starts), shape=(len(places), len(vocabulary)))
        lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
        matrix = matrix.multiply(1 / np.maximum(lengths, 1e-12)[:, None]).tocsr()
        for start in range(0, len(places), 256):
            block = (matrix[start : start + 256] @ matrix.T).toarray()
            for offset, near in enumerate(block.round(9)):
                own = rows[places[start + offset]]
                for candidate in np.argsort(-near, kind="stable"):
                    other = rows[places[candidate]]
                    if other["document"] != own["document"] and not _same(other["chosen"], own["chosen"]):
                        found[places[start + offset]] = other["chosen"]
                        break
    return found


_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\W\d_a-zA-Z]+")


def _words(row: dict[str, Any]) -> list[str]:
    return [part.lower() for text in (row["document"], row["prompt"][-1]["content"]) for part in _PARTS.findall(text)]
