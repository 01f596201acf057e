"""Which texts share runs of words with evaluation sets: n-grams as 64-bit hashes, in one sorted array.

Texts are compared without case, punctuation and white space (Unicode NFKC, case-folded); Chinese and Japanese characters count as
one word each. An evaluation item gives the n-grams of its texts; an item whose texts are all shorter gives its texts of MIN_WORDS
words or more whole, and an item with nothing that long cannot be recognised: it is counted. Two different runs of words have the
same hash with a probability of about 2^-64 for each pair compared.

What it is not: a test for paraphrases or translations. A changed word hides the n-grams that it is in; n - 1 words on either side.

    python -c "from septet.data.ngrams import words; print(words('Hello, big  WORLD!'))"
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from septet.core.errors import DataError
from septet.data.documents import JsonValue, read_rows
from septet.data.labelled import read_text

__all__ = [
    "MIN_WORDS",
    "Item",
    "Matches",
    "Overlap",
    "Targets",
    "overlap",
    "read_items",
    "targets",
    "word_places",
    "words",
]

Array = np.ndarray[Any, np.dtype[Any]]

MIN_WORDS = 8
"""Shorter texts are too common to say anything: "What is the capital of France?" is not contamination by itself."""

_SINGLE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# accents that are characters of their own belong to the word before them
_WORD = re.compile(rf"[{_SINGLE}]|(?:[^\W_{_SINGLE}]|[\u0300-\u036f])+")
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying by it modulo 2^64 loses nothing
_REMEMBERED = 1 << 20
_IDS = ("id", "idx", "task_id", "example_id")


def words(text: str) -> list[str]:
    """The words that are compared.

    >>> words("It's  re-used: ＡＢＣ 東京")
    ['it', 's', 're', 'used', 'abc', '東', '京']
    """
    return [_normal(word) for word in _WORD.findall(text)]


def word_places(text: str) -> Array:
    """Where the words of a text are: int64 [words, 2], start and end."""
    return np.asarray([match.span() for match in _WORD.finditer(text)], np.int64).reshape(-1, 2)


def _normal(word: str) -> str:
    return word.lower() if word.isascii() else unicodedata.normalize("NFKC", word).casefold()


# -- evaluation items ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Item:
    """One item of an evaluation set: its texts are compared apart from each other."""

    id: str
    texts: tuple[str, ...]


def read_items(path: str | Path) -> Iterator[Item]:
    """The items of an evaluation set; a file may be .gz, of a folder all .jsonl, .json, .csv, .tsv and .txt files are read.

    json, jsonl: a row (of a list, or one a line) is an item with every text in it at any depth: questions with choices, messages,
    pairs need no settings. SQuAD's layout: each paragraph and each question. csv, tsv: a row, the header too. Everything else: a
    line. Ids are the row's own ("id", "idx", "task_id", "example_id"), or its number.
    Errors: DataError with file and row for what cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(
            p for p in path.rglob("*") if p.is_file() and _ending(p) in (".jsonl", ".json", ".csv", ".tsv", ".txt")
        )
        if not files:
            raise DataError("The folder holds no .jsonl, .json, .csv, .tsv or .txt file.", file=path)
        for file in files:
            for item in read_items(file):
                yield Item(f"{file.relative_to(path).as_posix()}:{item.id}", item.texts)
        return
    ending = _ending(path)
    if ending in (".json", ".jsonl"):
        yield from _json(path)
    elif ending in (".csv", ".tsv"):
        csv.field_size_limit(1 << 30)
        table = csv.reader(io.StringIO(read_text(path), newline=""), delimiter="," if ending == ".csv" else "\t")
        for number, row in enumerate(table, start=1):
            yield Item(str(number), tuple(row))
    else:
        for number, line in enumerate(read_text(path).splitlines(), start=1):
            if line.strip():
                yield Item(str(number), (line,))


def _ending(path: Path) -> str:
    return (Path(path.stem).suffix if path.suffix == ".gz" else path.suffix).lower()


def _json(path: Path) -> Iterator[Item]:
    try:
        whole = json.loads(read_text(path))
    except json.JSONDecodeError:
        rows: Iterable[tuple[int, JsonValue]] = read_rows(path)  # an object a line
    else:
        if isinstance(whole, dict) and _is_squad(whole.get("data")):
            yield from _squad(path, whole["data"])
            return
        rows = enumerate(whole if isinstance(whole, list) else [whole], start=1)
    for number, row in rows:
        own = [row[key] for key in _IDS if isinstance(row.get(key), str | int)] if isinstance(row, dict) else []
        yield Item(str([*own, number][0]), tuple(_texts(row)))


def _is_squad(articles: JsonValue) -> bool:
    return (
        isinstance(articles, list) and bool(articles) and isinstance(articles[0], dict) and "paragraphs" in articles[0]
    )


def _squad(path: Path, articles: JsonValue) -> Iterator[Item]:
    try:
        paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
        for number, paragraph in enumerate(paragraphs, start=1):
            yield Item(f"paragraph {number}", (paragraph["context"],))
            for question in paragraph["qas"]:
                yield Item(f"question {question['id']}", (question["question"],))
    except (KeyError, TypeError) as error:
        raise DataError(
            f"The file does not have SQuAD's layout (data, paragraphs, qas): {error!r}.", file=path
        ) from None


def _texts(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


# -- hashes -------------------------------------------------------------------------------------------------------------


class _Words(dict[str, int]):
    """64-bit hash of a word as it is written, remembered."""

    def __missing__(self, word: str) -> int:
        if len(self) > _REMEMBERED:
            self.clear()
        plain = _normal(word).encode("utf-8", "surrogatepass")
        found = int.from_bytes(hashlib.blake2b(plain, digest_size=8).digest(), "little")
        self[word] = found
        return found


_HASHES = _Words()


def _hash_words(known: Sequence[str]) -> Array:
    return np.fromiter(map(_HASHES.__getitem__, known), np.uint64, len(known))


def _grams(hashes: Array, lengths: Sequence[int]) -> Iterator[tuple[int, Array]]:
    """(n, hashes of the n-grams) for each of the lengths, ascending, that the text reaches.

    h(w_1..w_n) = sum_k F^k h(w_k) modulo 2^64, spread once more; n enters as well. All lengths in one pass up to the longest.
    """
    total, factor = np.zeros(len(hashes), np.uint64), _FACTOR
    for n in range(1, min(max(lengths), len(hashes)) + 1):
        # total[i] becomes the hash of the n words from i on
        total = total[: len(hashes) - n + 1] + hashes[n - 1 :] * factor
        factor = np.uint64(int(factor) * int(_FACTOR) & 0xFFFFFFFFFFFFFFFF)
        if n in lengths:
            mixed = (total ^ (total >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9) + np.uint64(n)
            yield n, mixed ^ (mixed >> np.uint64(29))


@dataclass(frozen=True, slots=True)
class Matches:
    """What a text shares: where its matching n-grams start and how many words each has, and the items met."""

    starts: Array
    sizes: Array
    items: tuple[int, ...]

    @property
    def hits(self) -> int:
        return len(self.starts)


@dataclass(frozen=True, slots=True)
class Targets:
    """Evaluation sets, ready to be looked for.

    names: of the items, "file:id". sets: the set of each item. hashes: sorted uint64 [G]; items of hashes[g] are
    owners[first[g] : first[g + 1]]. lengths: the n that occur. ignored: by set, items too short to be recognised.
    """

    names: tuple[str, ...]
    sets: tuple[str, ...]
    hashes: Array
    first: Array
    owners: Array
    lengths: tuple[int, ...]
    ignored: dict[str, int]
    bits: int = field(init=False)
    leading: Array = field(init=False, repr=False)
    """bool [2^bits]: whether some hash begins with these bits; about one in sixteen does."""

    def __post_init__(self) -> None:
        bits = min(len(self.hashes).bit_length() + 4, 28)
        leading = np.zeros(1 << bits, np.bool_)
        leading[self.hashes >> np.uint64(64 - bits)] = True
        object.__setattr__(self, "bits", bits)
        object.__setattr__(self, "leading", leading)

    def match(self, text: str) -> Matches | None:
        """What a text shares with the sets, or None."""
        known = _WORD.findall(text)
        if not self.lengths or len(known) < self.lengths[0]:
            return None
        starts, sizes, met = [], [], []
        for n, grams in _grams(_hash_words(known), self.lengths):
            # the leading bits rule most of them out: five times as fast as a search in a million hashes for each
            maybe = np.flatnonzero(self.leading[grams >> np.uint64(64 - self.bits)])
            if not len(maybe):
                continue
            place = np.searchsorted(self.hashes, grams[maybe])
            place[place == len(self.hashes)] = 0
            hit = self.hashes[place] == grams[maybe]
            if hit.any():
                starts.append(maybe[hit])
                sizes.append(np.full(int(hit.sum()), n))
                met += [self.owners[self.first[g] : self.first[g + 1]] for g in np.unique(place[hit])]
        if not starts:
            return None
        start = np.concatenate(starts)
        order = np.argsort(start, kind="stable")
        owners = np.unique(np.concatenate(met))
        return Matches(start[order], np.concatenate(sizes)[order], tuple(owners.tolist()))


def targets(paths: Sequence[str | Path], *, ngram: int = 13, too_common: int | None = None) -> Targets:
    """Read evaluation sets. too_common: n-grams of more items than this are left out, such as a prompt that all items share.

    The same files are read once for a process: what is found is kept for the last two calls.
    Errors: DataError for what cannot be read.
    """
    known = tuple((str(path), *_stamp(Path(path))) for path in paths)
    return _targets(known, ngram, too_common)


def _stamp(path: Path) -> tuple[int, int]:
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    found = [p.stat() for p in files]
    return max((one.st_mtime_ns for one in found), default=0), sum(one.st_size for one in found)


@lru_cache(maxsize=2)
def _targets(paths: tuple[tuple[str, int, int], ...], ngram: int, too_common: int | None) -> Targets:
    names: list[str] = []
    sets: list[str] = []
    grams: list[Array] = []
    owners: list[Array] = []
    ignored: dict[str, int] = {}
    lengths: set[int] = set()
    for label, path in zip(_labels([path for path, *_ in paths]), (path for path, *_ in paths), strict=True):
        for item in read_items(path):
            texts = [_WORD.findall(text) for text in item.texts]
            chosen = [(ngram, text) for text in texts if len(text) >= ngram]
            chosen = chosen or [(len(text), text) for text in texts if len(text) >= MIN_WORDS]
            names.append(f"{label}:{item.id}")
            sets.append(label)
            ignored[label] = ignored.get(label, 0) + (not chosen)
            for n, text in chosen:
                lengths.add(n)
                ((_, found),) = _grams(_hash_words(text), (n,))
                grams.append(np.unique(found))
                owners.append(np.full(len(grams[-1]), len(names) - 1))
    if not names:
        raise DataError("There are no evaluation items in the files given.", file=", ".join(path for path, *_ in paths))
    pairs = (
        np.stack([np.concatenate(grams), np.concatenate(owners).astype(np.uint64)])
        if grams
        else np.zeros((2, 0), np.uint64)
    )
    pairs = np.unique(pairs, axis=1)  # sorted by hash, then by item; an item counts once for a hash
    hashes, first, count = np.unique(pairs[0], return_index=True, return_counts=True)
    if too_common is not None:
        rare = count <= too_common
        owned = np.repeat(rare, count)
        pairs, hashes, count = pairs[:, owned], hashes[rare], count[rare]
        first = np.cumsum(count) - count
    bounds = np.append(first, pairs.shape[1])
    return Targets(
        tuple(names), tuple(sets), hashes, bounds, pairs[1].astype(np.int64), tuple(sorted(lengths)), ignored
    )


def _labels(paths: Sequence[str]) -> list[str]:
    """File names, with as many folders before them as keep them apart."""
    parts = [Path(path).parts for path in paths]
    found = []
    for own in parts:
        depth = 1
        while depth < len(own) and sum(other[-depth:] == own[-depth:] for other in parts) > 1:
            depth += 1
        found.append("/".join(own[-depth:]))
    return found


# -- the report ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Overlap:
    """Of one evaluation set: its items, how many are too short to be recognised, and those that a corpus holds."""

    items: int
    ignored: int
    seen: tuple[str, ...]

    @property
    def share(self) -> float:
        """Seen items of those that can be recognised."""
        return len(self.seen) / max(self.items - self.ignored, 1)


def overlap(found: Targets, texts: Iterable[str]) -> dict[str, Overlap]:
    """How many items of each set are met in the texts: an item is, where one of its n-grams is."""
    seen: set[int] = set()
    for text in texts:
        matches = found.match(text)
        seen.update(matches.items if matches else ())
    total = Counter(found.sets)
    return {
        name: Overlap(
            total[name],
            found.ignored[name],
            tuple(found.names[item].removeprefix(f"{name}:") for item in sorted(seen) if found.sets[item] == name),
        )
        for name in total
    }
