"""What a data set is, in the terms in which a model is chosen: how many rows, how long, in which languages, with which labels.

Tokens are estimated from words and marks, without a tokenizer: 1.25 for each in English (four vocabularies gave 1.04 to 1.40 on
four sets of rows), 1.6 in other languages that put blanks between words (1.5 to 1.8 in German with vocabularies that know it),
and one for each character where there are no blanks (Chinese, Japanese, Thai). Languages are told by py3langid, on rows joined
to texts that are long enough for it; where it is not installed they are not known.

What it is not: a review of what is wrong with rows; that is `septet dataset show`.

    python -m pytest tests/data/test_profile.py
"""

from __future__ import annotations

import random
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from septet.core.errors import SeptetError
from septet.data.builder import Row
from septet.data.documents import Document
from septet.data.examples import labels_of, texts
from septet.data.quality import words

__all__ = ["Length", "Profile", "profile", "share_longer", "tokens_of"]

ENGLISH, OTHER = 1.25, 1.6
UNSPACED = frozenset({"zh", "ja", "th", "km", "lo", "my"})
"""Languages whose writing puts no blanks between words; their tokens are counted by characters."""
WRITTEN = {"text-to-text": "target", "completion": "completion"}
"""What is written, of tasks whose rows name it; of a conversation it is the last message."""
MOST_ROWS = 20_000
"""Rows that are measured; of more, this many at equal distances."""
TEXTS, LONG = 20, 300  # texts that are asked for their language, and the characters that rows are joined to
SURE = 0.5  # of those texts, what the commonest language must have


@dataclass(frozen=True, slots=True)
class Length:
    """Words as people count them (pieces between blanks), and estimated tokens."""

    median: float
    p95: int
    longest: int
    tokens_median: int
    tokens_p95: int
    tokens_longest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A data set for a task. rows: to train on. parts: rows of each part. labels: label -> training rows that have it.

    lengths: by the name of a text, in a row's order. read, written: estimated tokens of what a model reads of a row and what it
    writes, row by row (of `MOST_ROWS` at most); written is empty where labels, tags, spans or vectors are asked for. language:
    of what is read; written_in: of what is written; None where it is not known. shares: language -> share of the texts asked.
    """

    task: str
    rows: int
    parts: Mapping[str, int]
    labels: Mapping[str, int] = field(default_factory=dict)
    lengths: Mapping[str, Length] = field(default_factory=dict)
    read: Sequence[int] = ()
    written: Sequence[int] = ()
    language: str | None = None
    written_in: str | None = None
    shares: Mapping[str, float] = field(default_factory=dict)

    @property
    def purpose(self) -> str:
        """The task, and of text to text what it looks like: translation (two languages), summarisation (a third or less is written
        of what is read), or rewriting."""
        if self.task != "text-to-text":
            return self.task
        if self.language and self.written_in and self.language != self.written_in:
            return "translation"
        read, written = sum(self.read), sum(self.written)
        return "summarisation" if written * 3 <= read else "rewriting"

    @property
    def whole(self) -> Sequence[int]:
        """Tokens of what is read and what is written of each row together, as a decoder has them."""
        return [a + b for a, b in zip(self.read, self.written, strict=True)] if self.written else self.read


def profile(task: str, parts: Mapping[str, Sequence[Row]], *, language: str | None = None) -> Profile:
    """Return what the rows of a data set are like. language: of what is read, where it is known better than by looking."""
    train = parts["train"]
    step = max(1, len(train) / MOST_ROWS)
    some = [train[int(place * step)] for place in range(min(len(train), MOST_ROWS))]
    shares = _shares([_read(row) for row in some])
    spoken = language or _commonest(shares)
    answers = [_written(row, task) for row in some]
    written_in = _commonest(_shares([text for text in answers if text])) if any(answers) else None
    by_name: dict[str, list[str]] = {}
    for row in some:
        for name, text in texts(row).items():
            by_name.setdefault(name, []).append(text)
    counted = {
        name: [tokens_of(text, written_in if name == WRITTEN.get(task) else spoken) for text in found]
        for name, found in by_name.items()
    }
    return Profile(
        task=task,
        rows=len(train),
        parts={name: len(rows) for name, rows in parts.items() if rows},
        labels=dict(Counter(label for row in train for label in labels_of(row)).most_common()),
        lengths={name: _length(found, counted[name]) for name, found in by_name.items()},
        read=[tokens_of(_read(row), spoken) for row in some],
        written=[tokens_of(text, written_in) for text in answers] if any(answers) else (),
        language=spoken,
        written_in=written_in,
        shares=shares,
    )


def tokens_of(text: str, language: str | None) -> int:
    """Return about how many tokens a text is.

    >>> tokens_of("It is a fine film.", "en"), tokens_of("一部好电影", "zh")
    (8, 5)
    """
    if language in UNSPACED:
        return len("".join(text.split()))
    each = ENGLISH if language in ("en", None) else OTHER
    return -int(-each * len(words(text)) // 1)


def share_longer(tokens: Sequence[int], room: int) -> float:
    """Return the share of rows that are longer than `room` tokens."""
    return sum(count > room for count in tokens) / max(1, len(tokens))


def _read(row: Row) -> str:
    """What a model reads of a row."""
    if "messages" in row:
        return "\n".join(message["content"] for message in row["messages"][:-1])
    skipped = ("target", "completion", "negative")
    return "\n".join(text for name, text in texts(row).items() if name not in skipped)


def _written(row: Row, task: str) -> str:
    if "messages" in row:
        return row["messages"][-1]["content"]
    return row[WRITTEN[task]] if task in WRITTEN else ""


def _length(found: Sequence[str], tokens: Sequence[int]) -> Length:
    sizes, counts = sorted(len(text.split()) for text in found), sorted(tokens)
    place = min(int(0.95 * len(sizes)), len(sizes) - 1)
    return Length(
        statistics.median(sizes), sizes[place], sizes[-1], round(statistics.median(counts)), counts[place], counts[-1]
    )


def _shares(found: Sequence[str]) -> dict[str, float]:
    """Return the share of each language, the commonest first; empty where nothing can tell them."""
    chosen = list(found)
    random.Random(0).shuffle(chosen)
    joined, part = [], ""
    for text in chosen:
        part = f"{part}\n{text}" if part else text
        if len(part) >= LONG:
            joined.append(part)
            part = ""
        if len(joined) == TEXTS:
            break
    joined = joined or ([part] if part else [])
    from septet.data.filters.language import Language  # asked only here; its model takes 0.7 s

    documents = [Document(id=str(number), text=text, source="rows") for number, text in enumerate(joined)]
    try:
        told: list[Any] = [doc.language for doc in Language(min_probability=0).apply(documents, lambda *args: None)]
    except SeptetError:  # py3langid is not installed
        return {}
    return {code: count / len(told) for code, count in Counter(told).most_common()}


def _commonest(shares: Mapping[str, float]) -> str | None:
    code = next(iter(shares), None)
    return code if code is not None and shares[code] >= SURE else None
