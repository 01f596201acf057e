"""What a tokenizer does to a text: how many tokens it takes, for which language and source, and what does not come back.

Fertility is tokens a word, where a word is a run of letters, marks and digits; for a language that writes no spaces it says little,
and bytes a token and tokens a character say more. Source of the measures: Rust et al. 2021 (fertility); Petrov et al. 2023.

What it is not: a judgement; which figure matters depends on the use.

    septet tokenizer show NAME
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from septet.data.documents import Document
from septet.data.encode import Encoder
from septet.data.tokenizers.folder import Parts
from septet.data.tokenizers.spelling import BYTES, byte_names

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["Measure", "Tally", "describe"]

_WORD = re.compile(r"\w+")
_ROUND_TRIPS = 16_000_000
"""Bytes of text that are decoded again; decoding is several times slower than encoding."""
_SHOWN = 5


@dataclass(slots=True)
class Tally:
    """Sums over some documents."""

    documents: int = 0
    bytes: int = 0
    characters: int = 0
    words: int = 0
    tokens: int = 0

    def add(self, text: str, tokens: int) -> None:
        self.documents += 1
        self.bytes += len(text.encode("utf-8"))
        self.characters += len(text)
        self.words += sum(1 for _ in _WORD.finditer(text))
        self.tokens += tokens

    def figures(self) -> dict[str, Any]:
        return {
            "documents": self.documents,
            "bytes": self.bytes,
            "words": self.words,
            "tokens": self.tokens,
            "tokens_per_word": _ratio(self.tokens, self.words),
            "tokens_per_character": _ratio(self.tokens, self.characters),
            "bytes_per_token": _ratio(self.bytes, self.tokens),
        }


def _ratio(above: int, below: int) -> float | None:
    return round(above / below, 4) if below else None


@dataclass(slots=True)
class Measure:
    """Goes over documents and keeps sums; nothing of the text stays in memory but a few examples."""

    encoder: Encoder
    decoder: Tokenizer
    parts: dict[str, Tally] = field(default_factory=dict)
    languages: dict[str, Tally] = field(default_factory=dict)
    sources: dict[str, Tally] = field(default_factory=dict)
    trips: int = 0
    returned: int = 0
    examples: list[dict[str, str]] = field(default_factory=list)
    _used: np.ndarray | None = None
    _decoded: int = 0

    @property
    def used(self) -> np.ndarray:
        """How often each id occurred, int64 [size]."""
        if self._used is None:
            self._used = np.zeros(self.encoder.size, dtype=np.int64)
        return self._used

    def add(self, docs: Iterable[Document], part: str) -> None:
        """Measure the documents of one part of a corpus: train or held_out."""
        whole = self.parts.setdefault(part, Tally())
        for batch in _batches(docs):
            ids = self.encoder.encode_batch([doc.text for doc in batch])
            for doc, found in zip(batch, ids, strict=True):
                whole.add(doc.text, len(found))
                self.languages.setdefault(doc.language, Tally()).add(doc.text, len(found))
                self.sources.setdefault(doc.source, Tally()).add(doc.text, len(found))
                if part == "train":
                    counts = np.bincount(found, minlength=self.encoder.size)
                    if len(counts) > len(self.used):
                        self._used = np.pad(self.used, (0, len(counts) - len(self.used)))
                    self.used[:] += counts
                self._round_trip(doc, found)

    def _round_trip(self, doc: Document, ids: np.ndarray) -> None:
        if self._decoded >= _ROUND_TRIPS:
            return
        self._decoded += len(doc.text)
        self.trips += 1
        back = self.decoder.decode(ids.tolist(), skip_special_tokens=False)
        if back == doc.text:
            self.returned += 1
        elif len(self.examples) < _SHOWN:
            place = next(
                (i for i, (a, b) in enumerate(zip(doc.text, back, strict=False)) if a != b),
                min(len(back), len(doc.text)),
            )
            start = max(0, place - 20)
            self.examples.append({"id": doc.id, "text": doc.text[start : place + 20], "back": back[start : place + 20]})


def _batches(docs: Iterable[Document], size: int = 256) -> Iterator[list[Document]]:
    batch: list[Document] = []
    for doc in docs:
        batch.append(doc)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def describe(parts: Parts, measure: Measure | None) -> dict[str, Any]:
    """The report as one JSON value; without a measure, what the vocabulary alone says."""
    encoder = parts.encoder
    names = {number: token for token, number in encoder.get_vocab().items()}
    special = parts.special
    model = type(encoder.model).__name__
    byte_level = type(encoder.decoder).__name__ == "ByteLevel"
    single = {number for number, token in names.items() if token in (_HIGH_BYTES if byte_level else BYTES)}
    ordinary = [number for number in names if number not in set(special.values())]
    # the longest first: what is odd in a vocabulary is seldom short
    ordinary.sort(key=lambda number: (-len(names[number]), number))
    found: dict[str, Any] = {
        "model": model,
        "tokens": encoder.get_vocab_size(),
        "special": special,
        "roles": dict(parts.roles),
        "longest": [_text(names[number], encoder) for number in ordinary[:20]],
    }
    if measure is None:
        return found
    used = measure.used
    total = int(used.sum())
    unused = [number for number in ordinary if number >= len(used) or not used[number]]
    return found | {
        "encoded_by": measure.encoder.backend,
        **({"not_by_tiktoken": measure.encoder.reason} if measure.encoder.reason else {}),
        "parts": {name: tally.figures() for name, tally in measure.parts.items()},
        "by_language": _sorted(measure.languages),
        "by_source": _sorted(measure.sources),
        "unused": {"count": len(unused), "examples": [_text(names[number], encoder) for number in unused[:20]]},
        "single_byte_share": round(sum(int(used[n]) for n in single if n < len(used)) / total, 6) if total else None,
        "unknown_share": _unknown(parts, used, total),
        "round_trip": {"documents": measure.trips, "same": measure.returned, "examples": measure.examples},
    }


_HIGH_BYTES = frozenset(name for byte, name in enumerate(byte_names()) if byte >= 128)
"""Byte-level tokens that stand for a single byte of a character of several bytes."""


def _unknown(parts: Parts, used: np.ndarray, total: int) -> float | None:
    unknown = parts.roles.get("unk")
    number = None if unknown is None else parts.encoder.token_to_id(unknown)
    return round(int(used[number]) / total, 6) if number is not None and total else None


def _text(token: str, encoder: Tokenizer) -> str:
    """The token as people write it, where it stands for whole characters."""
    decoder = encoder.decoder
    text = token if decoder is None else decoder.decode([token])
    return token if "\ufffd" in text or not text else text


def _sorted(tallies: dict[str, Tally]) -> dict[str, Any]:
    order = sorted(tallies.items(), key=lambda item: (-item[1].bytes, item[0]))
    return {name: tally.figures() for name, tally in order}
