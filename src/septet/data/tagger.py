"""A tagger for names and other entities: a linear chain over hashed features, trained as an averaged structured perceptron.

    score(y, x) = sum_i W[f(x, i), y_i] + T[y_{i-1}, y_i]        the best y by Viterbi; on a mistake W and T move towards the gold
    tags and away from the best ones; what is kept is the mean over all steps (Collins 2002, EMNLP, algorithm of figure 1)

f looks at the word (itself, its beginnings and ends, its shape), at two words on either side, and at pairs of neighbours. Every
feature but the pairs belongs to one word, so the scores of a word are computed once and looked up from then on; sentences are
decoded many at a time. The folder holds `recogniser.json` and `recogniser.safetensors`. It knows no gazetteers and gives no
probabilities.

    python -m pytest tests/data/test_tagger.py
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from septet.core.artifact import write_json
from septet.core.errors import DataError
from septet.data.entities import Entity, Tagged, spans, tokenize
from septet.data.saved import open_settings

__all__ = ["Tagger", "train", "viterbi"]

Array = np.ndarray[Any, np.dtype[Any]]

SETTINGS, WEIGHTS = "recogniser.json", "recogniser.safetensors"
FORMAT = 1
REMEMBERED = 200_000  # words whose scores are kept: 70 MB with nine tags
BATCH = 128  # sentences decoded at a time
LONGEST = 128  # words of a stretch of text that is read as one sentence
FORBIDDEN = -1e6
AFFIX = 4

# -- features -----------------------------------------------------------------------------------------------------------

CONTEXT = (-2, -1, 1, 2)
SHARED = 3  # the first features of a word are looked at from its neighbours as well: lower case, shape, ending
PAIRS = 5
_OUTSIDE = 0  # the word that stands before and after a sentence
_RUNS = re.compile(r"(.)\1+")


def _word_features(word: str) -> list[str]:
    """What is said of one word; the first SHARED are what its neighbours see."""
    lower = word.lower()
    shape = "".join(
        "A" if letter.isupper() else "a" if letter.isalpha() else "0" if letter.isdigit() else letter
        for letter in word[:24]
    )
    short = _RUNS.sub(r"\1", shape)
    found = [f"l={lower}", f"h={short}", f"e={lower[-3:]}", f"w={word}", f"s={shape}", "b"]
    found += [f"p{n}={lower[:n]}" for n in range(1, AFFIX + 1)]
    found += [f"x{n}={lower[-n:]}" for n in range(1, AFFIX + 1)]
    return found


FEATURES = len(_word_features("a"))


class _Lexicon:
    """Words as numbers, and the hashes of their features: uint32 [words, FEATURES]. Number 0 is outside of every sentence."""

    def __init__(self) -> None:
        self.number: dict[str, int] = {"\0outside": _OUTSIDE}
        self.hashes = np.zeros((1024, FEATURES), np.uint32)
        self.hashes[0] = _hash(_word_features("\0outside"))

    def numbers(self, words: Iterable[str]) -> list[int]:
        known, found = self.number, []
        for word in words:
            place = known.get(word)
            if place is None:
                place = known[word] = len(known)
                if place == len(self.hashes):
                    self.hashes = np.concatenate([self.hashes, np.zeros_like(self.hashes)])
                self.hashes[place] = _hash(_word_features(word))
            found.append(place)
        return found


def _hash(features: list[str]) -> list[int]:
    return [zlib.crc32(one.encode("utf-8", "surrogatepass")) for one in features]


def _row(hashes: Array, place: int, bits: int) -> Array:
    """Rows of the weights for hashed features seen from `place` words away (multiplicative hashing: Knuth 6.4)."""
    salted = (hashes ^ np.uint32((place * 0x9E3779B1) & 0xFFFFFFFF)) * np.uint32(0x85EBCA6B)
    salted ^= salted >> np.uint32(15)
    return ((salted * np.uint32(0xC2B2AE35)) >> np.uint32(32 - bits)).astype(np.int64)


def _pair_rows(hashes: Array, left: Array, here: Array, right: Array, bits: int) -> Array:
    """Rows [N, PAIRS] for pairs of neighbours: words or shapes of hashes [N, SHARED] looked up by number."""
    lower, shape = hashes[:, 0], hashes[:, 1]
    turn = np.uint32(0x27D4EB2F)
    pairs = (
        (lower[left], lower[here]),
        (lower[left], shape[here]),
        (shape[left], shape[here]),
        (shape[here], shape[right]),
        (shape[here], lower[right]),
    )
    return np.stack([_row(a * turn + b, 16 + n, bits) for n, (a, b) in enumerate(pairs)], axis=1)


# -- decoding -----------------------------------------------------------------------------------------------------------


def viterbi(emissions: Array, transitions: Array, lengths: Array) -> Array:
    """The best tags of B sentences: int64 [B, L], after a sentence's end meaningless.

    emissions: [L, B, T]. transitions: [T + 1, T], from row to column; the last row begins a sentence. lengths: [B].
    """
    longest, count, tags = emissions.shape
    into = np.ascontiguousarray(transitions[:-1].T)  # [to, from], so that the maximum runs over neighbouring numbers
    back = np.empty((longest, count, tags), np.int64)
    score = transitions[-1] + emissions[0]
    last = np.zeros(count, np.int64)
    for place in range(1, longest + 1):
        ended = lengths == place
        if ended.any():
            last[ended] = score[ended].argmax(axis=1)
        if place == longest:
            break
        through = score[:, None, :] + into
        back[place] = through.argmax(axis=2)
        score = np.take_along_axis(through, back[place][:, :, None], axis=2)[:, :, 0] + emissions[place]
    found = np.zeros((count, longest), np.int64)
    rows = np.arange(count)
    for place in range(longest - 1, -1, -1):
        at_end = lengths == place + 1
        if place < longest - 1:
            current = back[place + 1][rows, found[:, place + 1]]
            found[:, place] = np.where(at_end, last, current)
        else:
            found[:, place] = last
    return found


def _allowed(tags: Sequence[str]) -> Array:
    """[T + 1, T]: 0, or FORBIDDEN for I-x after anything but B-x and I-x."""
    found = np.zeros((len(tags) + 1, len(tags)))
    for column, tag in enumerate(tags):
        if tag.startswith("I-"):
            for row, before in enumerate([*tags, "O"]):
                if before[2:] != tag[2:]:
                    found[row, column] = FORBIDDEN
    return found


# -- the tagger ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Tagger:
    """A trained tagger. tags: O and B-, I- of each entity. weight: float32 [2^bits, T]. transition: float32 [T + 1, T]."""

    tags: tuple[str, ...]
    weight: Array
    transition: Array
    _lexicon: _Lexicon = field(init=False, repr=False)
    _scores: Array = field(init=False, repr=False)
    _scored: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._forget()

    @property
    def entities(self) -> tuple[str, ...]:
        """The types of entities that it knows."""
        return tuple(tag[2:] for tag in self.tags if tag.startswith("B-"))

    @property
    def bits(self) -> int:
        return len(self.weight).bit_length() - 1

    def tag(self, sentences: Sequence[Sequence[str]]) -> list[list[str]]:
        """BIO tags for the words of each sentence."""
        found: list[list[str]] = [[] for _ in sentences]
        # sentences of like length together, so that little is padded
        order = sorted((n for n, words in enumerate(sentences) if words), key=lambda n: len(sentences[n]))
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            best = self._decode([sentences[n] for n in chosen])
            for n, row in zip(chosen, best, strict=True):
                found[n] = [self.tags[tag] for tag in row[: len(sentences[n])].tolist()]
        return found

    def find(self, text: str) -> list[Entity]:
        """The entities of a text, by characters, in order."""
        stretches = _sentences(text, tokenize(text))
        tagged = self.tag([[text[a:b] for a, b in places] for places in stretches])
        return [
            Entity(places[one.start][0], places[one.end - 1][1], one.label)
            for places, tags in zip(stretches, tagged, strict=True)
            for one in spans(tags)
        ]

    def _decode(self, sentences: Sequence[Sequence[str]]) -> Array:
        if len(self._lexicon.number) > REMEMBERED:
            self._forget()
        numbers = [_OUTSIDE, _OUTSIDE]
        for words in sentences:
            numbers += [*self._lexicon.numbers(words), _OUTSIDE, _OUTSIDE]
        self._score_new_words()
        lengths = np.asarray([len(words) for words in sentences])
        here = np.asarray([*numbers, _OUTSIDE, _OUTSIDE])[2:-2]
        around = np.asarray([*numbers, _OUTSIDE, _OUTSIDE])
        total = self._scores[0][here]
        for slot, place in enumerate(CONTEXT, start=1):
            total = total + self._scores[slot][around[2 + place : len(around) - 2 + place]]
        pairs = _pair_rows(self._lexicon.hashes, around[1:-3], here, around[3:-1], self.bits)
        total = total + self.weight[pairs].sum(axis=1)
        emissions = np.zeros((int(lengths.max()), len(sentences), len(self.tags)), np.float32)
        starts = np.concatenate([[0], np.cumsum(lengths + 2)[:-1]])
        sentence = np.repeat(np.arange(len(sentences)), lengths)
        place = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        emissions[place, sentence] = total[np.repeat(starts, lengths) + place]
        return viterbi(emissions, self.transition, lengths)

    def _forget(self) -> None:
        self._lexicon = _Lexicon()
        self._scores = np.zeros((1 + len(CONTEXT), 0, len(self.tags)), np.float32)
        self._scored = 0

    def _score_new_words(self) -> None:
        known = len(self._lexicon.number)
        if known == self._scored:
            return
        if known > self._scores.shape[1]:
            grown = np.zeros((len(self._scores), len(self._lexicon.hashes), len(self.tags)), np.float32)
            grown[:, : self._scored] = self._scores[:, : self._scored]
            self._scores = grown
        new = self._lexicon.hashes[self._scored : known]
        self._scores[0, self._scored : known] = self.weight[_row(new, 0, self.bits)].sum(axis=1)
        for slot, place in enumerate(CONTEXT, start=1):
            rows = _row(new[:, :SHARED], place, self.bits)
            self._scores[slot, self._scored : known] = self.weight[rows].sum(axis=1)
        self._scored = known

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        save_file({"weight": self.weight, "transition": self.transition}, folder / WEIGHTS)
        write_json(folder / SETTINGS, {"format": FORMAT, "tags": self.tags})

    @classmethod
    def open(cls, folder: Path) -> Tagger:
        """Read a folder that `save` wrote. Errors: StoreError where it is none."""
        from safetensors.numpy import load_file

        settings = open_settings(folder / SETTINGS, FORMAT, "recogniser")
        return cls(tuple(settings["tags"]), **load_file(folder / WEIGHTS))


def _sentences(text: str, places: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """The words in stretches that end with a sentence, an empty line, or after LONGEST words."""
    found: list[list[tuple[int, int]]] = [[]]
    for start, end in places:
        if found[-1]:
            before = found[-1][-1]
            gap = text[before[1] : start]
            ends = text[before[0] : before[1]] in (".", "!", "?") and gap
            if ends or gap.count("\n") > 1 or len(found[-1]) == LONGEST:
                found.append([])
        found[-1].append((start, end))
    return found if found[0] else []


# -- training -----------------------------------------------------------------------------------------------------------


def train(
    sentences: Sequence[Tagged],
    *,
    epochs: int = 10,
    bits: int = 18,
    seed: int = 0,
    tell: Callable[[int, float], None] = lambda epoch, wrong: None,
) -> Tagger:
    """Train on sentences with BIO tags. tell: called after each epoch with its number and the share of wrong tags in it.

    Errors: DataError where no entity is marked.
    """
    types = sorted({tag[2:] for one in sentences for tag in one.tags if tag != "O"})
    if not types:
        raise DataError("The training sentences mark no entities.")
    tags = ("O", *(f"{begin}-{name}" for name in types for begin in "BI"))
    rows, starts = _training_rows(sentences, bits)
    column = {tag: place for place, tag in enumerate(tags)}
    gold = [np.asarray([column[tag] for tag in one.tags]) for one in sentences]
    allowed, count = _allowed(tags), len(tags)
    weight, transition = np.zeros(count << bits), np.zeros_like(allowed)
    # the mean of the weights after each step is weight - late / steps: a change at step t is missing from t - 1 of them
    late_weight, late_transition = np.zeros_like(weight), np.zeros_like(transition)
    rng, step = np.random.default_rng(seed), 0
    table = weight.reshape(-1, count)
    for epoch in range(epochs):
        wrong = total = 0
        for n in rng.permutation(len(sentences)):
            step += 1
            own, right = rows[starts[n] : starts[n + 1]], gold[n]
            length = len(right)
            if not length:
                continue
            found = _best(table[own].sum(axis=1), transition + allowed)
            missed = np.flatnonzero(found != right)
            wrong, total = wrong + len(missed), total + length
            if not len(missed):
                continue
            for tagging, by in ((right, 1.0), (found, -1.0)):
                places = (own[missed] * count + tagging[missed, None]).ravel()
                np.add.at(weight, places, by)
                np.add.at(late_weight, places, by * (step - 1))
                before = np.concatenate([[count], tagging[:-1]])
                np.add.at(transition, (before, tagging), by)
                np.add.at(late_transition, (before, tagging), by * (step - 1))
        tell(epoch + 1, wrong / max(total, 1))
        if not wrong:
            break
    mean = (weight - late_weight / max(step, 1)).reshape(-1, count).astype(np.float32)
    return Tagger(tags, mean, (transition - late_transition / max(step, 1) + allowed).astype(np.float32))


def _best(emissions: Array, transitions: Array) -> Array:
    """The best tags of one sentence [L, T]: `viterbi` without the cost of a batch."""
    length = len(emissions)
    back = np.empty(emissions.shape, np.int64)
    score = transitions[-1] + emissions[0]
    inner, columns = transitions[:-1], np.arange(emissions.shape[1])
    for place in range(1, length):
        through = score[:, None] + inner
        back[place] = through.argmax(axis=0)
        score = through[back[place], columns] + emissions[place]
    found = np.empty(length, np.int64)
    found[-1] = score.argmax()
    for place in range(length - 1, 0, -1):
        found[place - 1] = back[place, found[place]]
    return found


def _training_rows(sentences: Sequence[Tagged], bits: int) -> tuple[Array, Array]:
    """Rows of the weights [words, features] of all sentences, and where each sentence starts [N + 1]."""
    lexicon = _Lexicon()
    numbers = [_OUTSIDE, _OUTSIDE]
    for one in sentences:
        numbers += [*lexicon.numbers(one.words), _OUTSIDE, _OUTSIDE]
    around = np.asarray(numbers)
    lengths = np.asarray([len(one.words) for one in sentences])
    inside = np.concatenate([[2], 2 + np.cumsum(lengths + 2)[:-1]])
    places = np.repeat(inside - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths) + np.arange(lengths.sum())
    hashes = lexicon.hashes
    found = [_row(hashes[around[places]], 0, bits)]
    found += [_row(hashes[around[places + shift], :SHARED], shift, bits) for shift in CONTEXT]
    found.append(_pair_rows(hashes, around[places - 1], around[places], around[places + 1], bits))
    return np.concatenate(found, axis=1), np.concatenate([[0], np.cumsum(lengths)])
