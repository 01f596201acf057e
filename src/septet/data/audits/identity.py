"""Counts how often groups of people are named, how the sentences speak that name them, and which words stand beside them.

By source and over all: mentions per million words; the sentiment of their sentences against that of all sentences; the words that
set a group apart from the other groups of its axis (a group is one of gender, religion, nationality, ...); the share of feminine
pronouns; occupations beside gendered words. Every figure has a 95% interval that takes documents as the units that vary. A
document with `meta["weight"]` counts as often as a training run would read it.

Without a trained classifier, sentiment is a list of good and bad words: rough, and blind to irony. The terms are English; documents
of another known language are counted and left alone. Names of persons are not looked at. Counting is not judging.

    septet audit --corpus text --audits identity
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, PrivateAttr

from septet.core.component import ClassifierRef, InputPath, hash_path
from septet.data.audit import Audit, Report, Tally
from septet.data.cooccurrence import LogOdds, WordCounts, level_of, log_odds
from septet.data.documents import Document
from septet.data.gender import PATH, gendered
from septet.data.intervals import Figure, Z, add, change, mean, rate, share, together
from septet.data.lexicon import OCCUPATION, Lexicon, digest, function_words, plain, polarity, sentences, words
from septet.data.weights import repetitions

__all__ = ["Identity"]

WOMEN, MEN = "gender/women", "gender/men"
PRONOUNS = {**dict.fromkeys(("she", "her", "hers", "herself"), 1), **dict.fromkeys(("he", "him", "his", "himself"), 0)}
THOUSANDTHS = 1000  # sentiment is tallied in whole thousandths, so that sums do not depend on their order
PER = 1_000_000
TOLD = 2.0  # the z from which on a word is named; among thousands of words some reach it by chance
ENOUGH = 30  # sentences of a group, or pronouns beside an occupation, from which on a figure is compared with others
SOURCES = 20  # the largest ones that a report has figures of their own for
BATCH = 2048  # sentences that a classifier reads at a time


class Identity(Audit):
    """How often groups of people are named, and how."""

    lexicon: InputPath | None = None
    """A lexicon of your own in place of the one that comes along (see `lexicons/identity.yaml` for its form)."""
    sentiment: ClassifierRef | None = None
    """A trained classifier that reads the sentences; none: a list of good and bad words."""
    label: str = ""
    """The label whose probability is the sentiment; none: the classifier's positive one."""
    share: float = Field(default=1.0, gt=0, le=1)
    """Share of the sentences that a classifier reads, chosen by a hash; a list of words reads all of them."""
    top: int = Field(default=12, ge=1, le=1000)
    """Words that are named for each group."""
    least: int = Field(default=5, ge=1)
    """A word that stands beside a group less often than this is not named."""
    prior: float = Field(default=1000.0, gt=0)
    """Strength of the prior of the log-odds, in words: the larger, the more a rare word has to prove."""
    limit: int = Field(default=500_000, ge=1)
    """Counts (group, word) that are held; with more, words are counted in a half, a quarter, ... of the documents."""

    _folders: dict[str, Path] = PrivateAttr(default_factory=dict)
    _classifier: Any = PrivateAttr(default=None)

    KEYS: ClassVar[tuple[str, ...]] = ("units", "documents", "words", "words2", "sentences")

    def fingerprint(self) -> str:
        return digest(self.lexicon) + hash_path(PATH)

    def given(self, folders: Mapping[str, Path]) -> None:
        self._folders.update(folders)

    # -- looking ----------------------------------------------------------------------------------------------------------

    def look(self, docs: Iterable[Document]) -> Tally:
        """Errors: DataError for a lexicon or a weight that cannot be used."""
        lexicon = self._lexicon()
        seen = _Seen(WordCounts(self.limit))
        waiting: list[_Pending] = []
        for doc in docs:
            if doc.language not in ("", "en"):
                seen.other_languages += 1
                continue
            times = repetitions(doc)
            if times:
                pending = self._read(doc, times, lexicon, seen)
                if self.sentiment is None:
                    seen.fold(pending)
                    continue
                waiting.append(pending)
                if sum(len(one.sentences) for one in waiting) >= BATCH:
                    self._classify(waiting, seen)
        if waiting:
            self._classify(waiting, seen)
        return seen.to_json()

    def _read(self, doc: Document, times: int, lexicon: Lexicon, seen: _Seen) -> _Pending:
        made = _Pending(doc.source, times)
        level = level_of(doc.id)
        number_of_words = number = 0
        scores, listed = made.scores, self.sentiment is None
        everything, keys = scores.setdefault("", [0, 0]), lexicon.keys
        for number, sentence in enumerate(sentences(doc.text), start=1):
            tokens = words(sentence)
            low = plain(tokens)
            number_of_words += len(tokens)
            groups: set[str] = set()
            if not keys.isdisjoint(low):
                groups = self._mentions(tokens, low, level, lexicon, made, seen)
            if listed:
                score = polarity(low) * THOUSANDTHS
                everything[0] += 1
                everything[1] += score
                for key in groups:
                    own = scores.setdefault(key, [0, 0])
                    own[0] += 1
                    own[1] += score
            elif self.share == 1.0 or zlib.crc32(f"{doc.id}\0{number}".encode("utf-8", "replace")) < self.share * 2**32:
                made.sentences.append((sentence, groups))
        made.words, made.number = number_of_words, number
        return made

    def _mentions(
        self,
        tokens: Sequence[str],
        low: Sequence[str],
        level: int,
        lexicon: Lexicon,
        made: _Pending,
        seen: _Seen,
    ) -> set[str]:
        """Count the mentions of a sentence; return the groups that it names, as axis/group."""
        groups: dict[str, str] = {}
        occupations: set[str] = set()
        for _, _, axis, group, key, term in lexicon.find(tokens, low):
            if axis == OCCUPATION:
                occupations.add(group)
                continue
            groups[key] = axis
            made.mentions[key] += 1
            seen.terms[key][term] += made.times
            if term in PRONOUNS and axis == "gender":
                made.pronouns[0] += 1
                made.pronouns[1] += PRONOUNS[term]
        if occupations and (WOMEN in groups) != (MEN in groups):
            for name in occupations:
                beside = made.occupations.setdefault(name, [0, 0])
                beside[0] += 1
                beside[1] += WOMEN in groups
        if groups and level >= seen.counts.level:
            # words in small letters without an apostrophe: a capital mostly marks a name, and names of persons are left out
            content = set(tokens).intersection(low)
            for key, axis in groups.items():
                seen.counts.add(level, key, content - lexicon.own[axis], made.times)
        return set(groups)

    def _classify(self, waiting: list[_Pending], seen: _Seen) -> None:
        if self._classifier is None:
            from septet.data.linear import Classifier  # loads scipy: 0.3 s

            assert self.sentiment is not None
            self._classifier = Classifier.open(self._folders[self.sentiment])
        column = self._classifier.column(self.label)
        seen.label = self._classifier.labels[column]
        texts = [sentence for one in waiting for sentence, _ in one.sentences]
        found = iter(self._classifier.probabilities(texts)[:, column] if texts else ())
        for one in waiting:
            for _, groups in one.sentences:
                score = round(float(next(found)) * THOUSANDTHS)
                for key in ("", *groups):
                    own = one.scores.setdefault(key, [0, 0])
                    own[0] += 1
                    own[1] += score
            seen.fold(one)
        waiting.clear()

    def _lexicon(self) -> Lexicon:
        return Lexicon.read(Path(self.lexicon) if self.lexicon else None, occupations=True)

    # -- adding up --------------------------------------------------------------------------------------------------------

    def merge(self, tallies: Iterable[Tally]) -> Tally:
        seen = _Seen(WordCounts(self.limit))
        for tally in tallies:
            seen.merge(tally)
        return seen.to_json()

    # -- telling ----------------------------------------------------------------------------------------------------------

    def report(self, tally: Tally, beside: Report | None = None) -> Report:
        lexicon = self._lexicon()
        sources: dict[str, Any] = tally["sources"]
        total = _total(sources.values())
        shown = sorted(sources, key=lambda name: (-sources[name]["words"], name))[:SOURCES] if len(sources) > 1 else []
        keys = [f"{axis}/{group}" for axis, groups in lexicon.axes.items() for group in groups]
        groups = [_group(key, total, {name: sources[name] for name in shown}, tally["terms"]) for key in keys]
        named = {f"{row['axis']}/{row['group']}": row for row in (beside or {}).get("groups", [])}
        for row, found in zip(groups, self._apart(tally["words"], lexicon, named), strict=True):
            row.update(found)
        return {
            "documents": total["documents"],
            "words": total["words"],
            "sentences": total["sentences"],
            "other_languages": tally["other_languages"],
            "sentiment": {
                "by": "list of words" if self.sentiment is None else "classifier",
                "label": tally["label"],
                "mean": _mean(total["sentiment"].get("")),
            },
            "sources": {name: {key: sources[name][key] for key in ("documents", "words")} for name in shown},
            "groups": groups,
            "gaps": _gaps(groups),
            "pronouns": {
                "feminine": _share(total["pronouns"]),
                "by_source": {name: _share(sources[name]["pronouns"]) for name in shown},
            },
            "occupations": sorted(
                (
                    {"occupation": name, "feminine": share(sums).to_json()}
                    for name, sums in total["occupations"].items()
                ),
                key=lambda row: (-row["feminine"]["n"], row["occupation"]),
            ),
            "words_read_in": 0.5 ** tally["words"]["level"],
        }

    def _apart(self, tally: Mapping[str, Any], lexicon: Lexicon, named: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """For each group of each axis, the words that set it apart, and those that an earlier report named."""
        counts = WordCounts(self.limit)
        counts.merge(tally)
        table = counts.total()
        background: Counter[str] = Counter()
        for found in table.values():
            background.update(found)
        for axis, groups in lexicon.axes.items():
            pooled: Counter[str] = Counter()
            unnamed = function_words() | (gendered() if axis == "gender" else set())
            for group in groups:
                pooled.update(table.get(f"{axis}/{group}", {}))
            for group in groups:
                own = table.get(f"{axis}/{group}", Counter())
                others = pooled - own
                if not own or not others or len(background) < 2:
                    yield {"words": [], "compared": []}
                    continue
                often = sorted(w for w, count in own.items() if count >= self.least and len(w) > 2 and w not in unnamed)
                scored = log_odds(own, others, background, words=often, prior=self.prior)
                best = sorted((one for one in scored if one.z > TOLD), key=lambda one: (-one.z, one.word))[: self.top]
                asked = [row["word"] for row in named.get(f"{axis}/{group}", {}).get("words", [])]
                again = log_odds(own, others, background, words=asked, prior=self.prior)
                yield {"words": [_word(one) for one in best], "compared": [_word(one) for one in again]}


@dataclass
class _Pending:
    """What one document holds. scores: group, or "" for all, -> [sentences, sum of scores]."""

    source: str
    times: int
    words: int = 0
    number: int = 0
    mentions: Counter[str] = field(default_factory=Counter)
    scores: dict[str, list[int]] = field(default_factory=dict)
    pronouns: list[int] = field(default_factory=lambda: [0, 0])
    occupations: dict[str, list[int]] = field(default_factory=dict)
    sentences: list[tuple[str, set[str]]] = field(default_factory=list)


def _empty() -> dict[str, Any]:
    return {
        **dict.fromkeys(Identity.KEYS, 0),
        "mentions": {},
        "sentiment": {},
        "pronouns": [0] * 6,
        "occupations": {},
    }


@dataclass
class _Seen:
    """The tally while it grows. mentions: axis/group -> [documents, sum y, sum words * y, sum y^2]; others: six sums."""

    counts: WordCounts
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    terms: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    other_languages: int = 0
    label: str = ""
    """The classifier's label whose probability is the sentiment."""

    def fold(self, doc: _Pending) -> None:
        times, size = doc.times, doc.words * doc.times
        source = self.sources.setdefault(doc.source, _empty())
        for key, value in zip(Identity.KEYS, (1, times, size, size * size, doc.number * times), strict=True):
            source[key] += value
        for key, count in doc.mentions.items():
            sums, y = source["mentions"].setdefault(key, [0] * 4), count * times
            for place, value in enumerate((1, y, size * y, y * y)):
                sums[place] += value
        for key, (x, y) in doc.scores.items():
            if x:
                add(source["sentiment"].setdefault(key, [0] * 6), x, y, times)
        if doc.pronouns[0]:
            add(source["pronouns"], doc.pronouns[0], doc.pronouns[1], times)
        for name, (x, y) in doc.occupations.items():
            add(source["occupations"].setdefault(name, [0] * 6), x, y, times)

    def merge(self, tally: Tally) -> None:
        for name, other in tally["sources"].items():
            self.sources[name] = _total((self.sources.get(name, _empty()), other))
        for key, counts in tally["terms"].items():
            self.terms[key].update(counts)
        self.other_languages += tally["other_languages"]
        self.label = self.label or tally["label"]
        self.counts.merge(tally["words"])

    def to_json(self) -> Tally:
        return {
            "sources": {
                name: {key: dict(sorted(v.items())) if isinstance(v, dict) else v for key, v in source.items()}
                for name, source in sorted(self.sources.items())
            },
            "terms": {key: dict(sorted(counts.items())) for key, counts in sorted(self.terms.items())},
            "other_languages": self.other_languages,
            "label": self.label,
            "words": self.counts.to_json(),
        }


def _total(sources: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    found = _empty()
    for source in sources:
        for key in Identity.KEYS:
            found[key] += source[key]
        found["pronouns"] = together((found["pronouns"], source["pronouns"]))
        for part, size in (("mentions", 4), ("sentiment", 6), ("occupations", 6)):
            for key, sums in source[part].items():
                mine = found[part].get(key, [0] * size)
                found[part][key] = [a + b for a, b in zip(mine, sums, strict=True)]
    return found


# -- figures --------------------------------------------------------------------------------------------------------------


def _rate(source: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    _, y, xy, yy = source["mentions"].get(key, [0] * 4)
    if not source["words"]:
        return None
    return rate((source["units"], source["words"], y, source["words2"], xy, yy), PER).to_json()


def _mean(sums: Sequence[int] | None) -> dict[str, Any] | None:
    return mean(sums, THOUSANDTHS).to_json() if sums and sums[1] else None


def _share(sums: Sequence[int]) -> dict[str, Any] | None:
    return share(sums).to_json() if sums[1] else None


def _group(
    key: str, total: Mapping[str, Any], sources: Mapping[str, Any], terms: Mapping[str, Mapping[str, int]]
) -> dict[str, Any]:
    axis, _, group = key.partition("/")
    everything, own = _mean(total["sentiment"].get("")), _mean(total["sentiment"].get(key))
    against = change(Figure(**everything), Figure(**own)).to_json() if everything and own else None
    used = sorted(terms.get(key, {}).items(), key=lambda item: (-item[1], item[0]))
    return {
        "axis": axis,
        "group": group,
        "documents": total["mentions"].get(key, [0])[0],
        "rate": _rate(total, key),
        "by_source": {name: _rate(source, key) for name, source in sources.items()},
        "sentiment": own,
        "against": against,
        "terms": [[term, count] for term, count in used[:8]],
    }


def _gaps(groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Axis -> the group with the highest sentiment minus the one with the lowest, of those with enough sentences."""
    found = {}
    for axis in dict.fromkeys(row["axis"] for row in groups):
        able = [row for row in groups if row["axis"] == axis and row["sentiment"] and row["sentiment"]["n"] >= ENOUGH]
        if len(able) > 1:
            highest = max(able, key=lambda row: (row["sentiment"]["value"], row["group"]))
            lowest = min(able, key=lambda row: (row["sentiment"]["value"], row["group"]))
            gap = change(Figure(**lowest["sentiment"]), Figure(**highest["sentiment"]))
            found[axis] = {"highest": highest["group"], "lowest": lowest["group"], "gap": gap.to_json()}
    return found


def _word(one: LogOdds) -> dict[str, Any]:
    reach = Z * one.error
    figure = Figure(one.value, one.value - reach, one.value + reach, one.count)
    return {"word": one.word, "z": round(one.z, 3), "others": one.others, **figure.to_json()}
