"""Judged questions: how often the right document is found, cited first, and how well the unanswerable is refused.

A question file has one JSON object a line: {"question", "gold": [names], "half": "tune" or "test"}; `gold` is every name that a
reasonable person would accept, and empty where the documents do not cover the question. Choices are made on the tune half.
Proportions carry Wilson's 95% interval, means and AUROC a percentile bootstrap over questions (1,000 draws, seeded).

What it is not: a judge of prose. It looks at what is cited, and at whether an answer is refused.

    python -m septet.retrieval.judge QUESTIONS.jsonl INDEX_FOLDER --half test
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from septet.core.errors import DataError, SeptetError
from septet.retrieval.answer import Answerer
from septet.retrieval.index import SearchIndex
from septet.retrieval.retriever import Hit, Retriever

__all__ = ["Figure", "Question", "Verdict", "auroc", "figures", "judge", "read_questions", "wilson"]

DEPTH = 10


@dataclass(frozen=True, slots=True)
class Question:
    """A question with the names that answer it; none where the documents do not cover it."""

    question: str
    gold: tuple[str, ...]
    half: str = "test"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one question.

    ranks: for each retriever, the place (from 1) of the first gold name among the first 10, or None. cited: the names cited.
    correct: the first citation is gold, under its name or an alias. confidence: what the threshold is compared with.
    """

    question: str
    gold: tuple[str, ...]
    half: str
    ranks: dict[str, int | None]
    confidence: float
    refused: bool
    cited: tuple[str, ...]
    correct: bool


@dataclass(frozen=True, slots=True)
class Figure:
    """One number with its 95% interval and the number of questions behind it."""

    metric: str
    value: float
    low: float
    high: float
    n: int


def read_questions(path: str | Path) -> list[Question]:
    """Read a question file. Raises DataError, with the row, for a row that is not a question."""
    found = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"this is not JSON ({error.msg}).", file=path, row=number) from None
            fits = (
                isinstance(row, dict)
                and isinstance(row.get("question"), str)
                and isinstance(row.get("gold"), list)
                and all(isinstance(name, str) for name in row["gold"])
                and row.get("half", "test") in {"tune", "test"}
            )
            if not fits:
                expected = '{"question": text, "gold": [names], "half": "tune" or "test"}'
                raise DataError(f"a question was expected, {expected}; got {line.strip()[:80]}", file=path, row=number)
            found.append(Question(row["question"], tuple(row["gold"]), row.get("half", "test")))
    if not found:
        raise DataError("there is no question in it; one JSON object a line was expected.", file=path)
    return found


def _first(hits: Sequence[Hit], gold: Sequence[str]) -> int | None:
    wanted = set(gold)
    for place, hit in enumerate(hits, 1):
        if wanted & {hit.document.name, *hit.document.aliases}:
            return place
    return None


def judge(
    questions: Sequence[Question],
    answerer: Answerer,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
    batch: int = 64,
) -> list[Verdict]:
    """Ask every question and return a verdict each, in order; also of BM25 and the vectors alone where the index has them."""
    index, verdicts = answerer.index, []
    alone = {"bm25": Retriever.parse("bm25"), **({"dense": Retriever.parse("dense")} if answerer.by != "words" else {})}
    for start in range(0, len(questions), batch):
        part = questions[start : start + batch]
        texts = [item.question for item in part]
        found = {name: retriever.search(index, texts, DEPTH) for name, retriever in alone.items()}
        found["hybrid"] = index.search(texts, DEPTH)
        for position, (item, answer) in enumerate(zip(part, answerer.ask_all(texts), strict=True)):
            best = found["hybrid"][position][:1]
            verdicts.append(
                Verdict(
                    question=item.question,
                    gold=item.gold,
                    half=item.half,
                    ranks={name: _first(hits[position], item.gold) for name, hits in found.items()},
                    confidence=answer.confidence,
                    refused=not answer.supported,
                    cited=tuple(citation.name for citation in answer.citations),
                    correct=bool(answer.supported and best and _first(best, item.gold) == 1),
                )
            )
        progress(start + len(part), len(questions))
    return verdicts


def wilson(hits: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Return Wilson's score interval for a proportion of `hits` in `n` (Wilson 1927).

    >>> tuple(round(end, 4) for end in wilson(8, 10))
    (0.4902, 0.9433)
    """
    if n == 0:
        return 0.0, 1.0
    p = hits / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def auroc(positive: npt.ArrayLike, negative: npt.ArrayLike) -> float:
    """Return the probability that a positive scores above a negative, ties counting half (Mann-Whitney).

    >>> auroc([0.9, 0.4], [0.4, 0.1])
    0.875
    """
    a, b = np.asarray(positive)[:, None], np.asarray(negative)[None, :]
    return float(((a > b) + 0.5 * (a == b)).mean())


def _bootstrap(draw: Callable[[np.random.Generator], float], seed: int = 0, draws: int = 1000) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    low, high = np.percentile([draw(rng) for _ in range(draws)], [2.5, 97.5])
    return float(low), float(high)


def figures(verdicts: Sequence[Verdict]) -> list[Figure]:
    """Return the figures: recall and reciprocal rank per retriever, first citation, refusing."""
    return list(_figures(verdicts))


def _figures(verdicts: Sequence[Verdict]) -> Iterator[Figure]:
    asked = [v for v in verdicts if v.gold]
    outside = [v for v in verdicts if not v.gold]

    def proportion(metric: str, flags: list[bool]) -> Figure:
        return Figure(metric, sum(flags) / max(len(flags), 1), *wilson(sum(flags), len(flags)), len(flags))

    if asked:
        yield proportion("first citation accuracy", [v.correct for v in asked])
        for name in asked[0].ranks:
            places = [v.ranks[name] for v in asked]
            for k in (1, 5, 10):
                yield proportion(f"{name} recall@{k}", [place is not None and place <= k for place in places])
            inverse = np.array([1 / place if place else 0.0 for place in places])
            ends = _bootstrap(lambda rng, x=inverse: float(rng.choice(x, len(x)).mean()))
            yield Figure(f"{name} MRR@{DEPTH}", float(inverse.mean()), *ends, len(inverse))
    if asked and outside:
        sure = np.array([v.confidence for v in asked])
        unsure = np.array([v.confidence for v in outside])
        ends = _bootstrap(lambda rng: auroc(rng.choice(sure, len(sure)), rng.choice(unsure, len(unsure))))
        yield Figure("AUROC of refusing", auroc(sure, unsure), *ends, len(verdicts))
        yield proportion("answered or refused rightly", [v.refused != bool(v.gold) for v in verdicts])
        yield proportion("refused when not covered", [v.refused for v in outside])
        yield proportion("answered when covered", [not v.refused for v in asked])


def main(arguments: Sequence[str]) -> int:
    """Print the figures of a question file over an index, a tab-separated line each."""
    import argparse

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("questions")
    parser.add_argument("index")
    parser.add_argument("--half", choices=["tune", "test"], default="test")
    given = parser.parse_args(arguments)
    try:
        questions = [item for item in read_questions(given.questions) if item.half == given.half]
        with SearchIndex(given.index) as index:
            found = figures(judge(questions, Answerer(index)))
    except SeptetError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    for figure in found:
        print(f"{figure.metric}\t{figure.value:.3f}\t[{figure.low:.3f}, {figure.high:.3f}]\tn = {figure.n}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
