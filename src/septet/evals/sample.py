"""What an evaluation passes around: a sample, what a system made of it, and a scorer's verdict on that.

A sample is a held-out document, a question with its reference answer, a pair of answers, or a row of a classic task. It is not tied
to a model: the same sample goes to every system compared, which is what makes comparisons paired.

    python -m pytest tests/evals/test_sample.py
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

__all__ = ["Output", "Sample", "Score", "pick"]

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Sample:
    """One thing to be judged on.

    group: samples of one group (a module) resemble each other and are resampled together; empty means a group of its own.
    kind: the slice that a scorer may report apart. reference: the text to be predicted, or the right answer. expected: what is
    right, as JSON, by what a scorer reads:

        label     "positive"                                  labels    ["sport", "money"]
        value     3.5                                         tags      ["B-PER", "I-PER", "O"]
        span      every right answer, [] where there is none  text      several right answers, of which `reference` is the first
    """

    id: str
    reference: str = ""
    group: str = ""
    kind: str = ""
    prompt: tuple[Mapping[str, str], ...] = ()
    rejected: str = ""
    expected: Any = None

    @property
    def references(self) -> tuple[str, ...]:
        """Every right text: `expected` where it is a list that is not empty, else `reference` alone."""
        return tuple(self.expected) if isinstance(self.expected, list | tuple) and self.expected else (self.reference,)

    @property
    def cluster(self) -> str:
        """The group, or the sample itself where it has none."""
        return self.group or f"sample {self.id}"


@dataclass(frozen=True, slots=True)
class Output:
    """What a system made of a sample; only what its task asks for is filled.

    text: the generated answer. nll: -log p(reference), in nats, with the separator or end token; num_tokens: in how many
    tokens (0 for a system without tokens). chosen, rejected: log p of the two answers, in nats, and their tokens. prediction: in
    the shape of the sample's `expected`, but for a label None where none could be read, and for a span {"text": the answer or
    "", "no_answer": larger where there is more likely none}. probabilities: by label; empty where a system has none.
    """

    text: str = ""
    nll: float = 0.0
    num_tokens: int = 0
    chosen: float = 0.0
    rejected: float = 0.0
    chosen_tokens: int = 0
    rejected_tokens: int = 0
    prediction: Any = None
    probabilities: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Score:
    """A scorer's verdict on one output: numbers by name, for people and for `reduce`. `parts` holds what only `reduce` needs,
    such as n-gram counts or the two labels."""

    sample: Sample
    values: Mapping[str, float]
    parts: Sequence[Any] = field(default=())


def pick(
    items: Iterable[Item],
    *,
    seed: int,
    key: Callable[[Item], str],
    limit: int,
    cost: Callable[[Item], int] = lambda item: 1,
) -> list[Item]:
    """Return a random part of the items whose cost is at most `limit`, in their own order.

    Drawn by the hash of seed and key, so an item's fate does not depend on which others are there. At least one is returned
    where there are any.
    """
    known: list[Any] = list(items)
    order = sorted(range(len(known)), key=lambda i: hashlib.sha256(f"{seed}:{key(known[i])}".encode()).digest())
    taken, spent = [], 0
    for place in order:
        spent += cost(known[place])
        if spent > limit and taken:
            break
        taken.append(place)
    return [known[place] for place in sorted(taken)]
