"""What to know of a data set before training on it: labels, lengths, rows that two parts share, labels that look wrong.

Counted on the rows alone, without a tokenizer or a model. Nearly equal texts are found by MinHash (septet.data.minhash, trigrams of
words, 20 bands of 5) and then compared: the share of trigrams in common is 0.7 or more. A hint is a hint: two texts that are equal
but for their label may both be right.

What it is not: a filter. Nothing is taken out.

    septet dataset show questions
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from septet.data.builder import Row
from septet.data.examples import asked, given, labels_of, texts
from septet.data.minhash import band_keys, shingle_text, signatures

__all__ = ["remarks", "review"]

NGRAM, BANDS, ROWS, NEAR = 3, 20, 5, 0.7
BATCH = 2000
EXAMPLES = 5
SHOWN = 100
MOST_LABELS = 500  # labels that are compared with each other


def review(parts: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
    """Return the facts of a data set as JSON values, from the rows of each part by name; parts without rows may be left out.

    rows: part -> count. labels: label -> part -> count. lengths: text -> characters and words, each median, p95, longest and a
    histogram {b: count} of 2^(b-1) to 2^b - 1. shared: for each two parts, how many rows of the second are given a text that the
    first has, or a nearly equal one. repeated: training rows that came before. contradicted: texts with several labels.
    alike: pairs of labels that look like one. constant: fields with one value. no_answer: questions without one.
    """
    filled = {part: rows for part, rows in parts.items() if rows}
    every = [row for rows in filled.values() for row in rows]
    train = filled.get("train", [])
    labels: dict[str, dict[str, int]] = defaultdict(dict)
    for part, rows in filled.items():
        for label, count in Counter(label for row in rows for label in labels_of(row)).items():
            labels[label][part] = count
    pairs = Counter((given(row), asked(row)) for row in train)
    found: dict[str, Any] = {
        "rows": {part: len(rows) for part, rows in filled.items()},
        "labels": dict(sorted(labels.items(), key=lambda item: (-sum(item[1].values()), item[0]))),
        "lengths": _lengths(every),
        "shared": _shared(filled),
        "repeated": sum(count - 1 for count in pairs.values()),
        "contradicted": _contradicted(every)
        if "label" in (every[0] if every else {})
        else {"texts": 0, "examples": []},
        "alike": _alike(labels),
        "constant": _constant(every),
    }
    if every and "answers" in every[0]:
        found["no_answer"] = {part: sum(not row["answers"] for row in rows) for part, rows in filled.items()}
    return found


def remarks(found: Mapping[str, Any]) -> list[str]:
    """Return what of a review deserves attention, a line each."""
    lines = []
    for shared in found["shared"]:
        if shared["equal"] or shared["near"]:
            rows = found["rows"][shared["second"]]
            lines.append(
                f"{shared['equal']:,} of {rows:,} {_name(shared['second'])} rows are given a text of the {_name(shared['first'])}"
                f" rows, and {shared['near']:,} a nearly equal one; scores on them flatter."
            )
    if found["repeated"]:
        lines.append(f"{found['repeated']:,} training rows are repetitions of another.")
    if found["contradicted"]["texts"]:
        lines.append(f"{found['contradicted']['texts']:,} texts come with different labels; look for wrong ones.")
    for one, other in found["alike"][:EXAMPLES]:
        lines.append(f"The labels {one!r} and {other!r} look like one and the same.")
    for name in found["constant"]:
        lines.append(f"{name!r} is the same in all rows.")
    counts = {label: sum(by.values()) for label, by in found["labels"].items()}
    if len(counts) > 1 and max(counts.values()) > 20 * max(min(counts.values()), 1):
        most, least = max(counts, key=lambda label: counts[label]), min(counts, key=lambda label: counts[label])
        lines.append(f"The labels are unequal: {counts[most]:,} of {most!r} and {counts[least]:,} of {least!r}.")
    unseen = [label for label, by in found["labels"].items() if "train" not in by]
    if unseen:
        lines.append(
            f"No training row has the label {unseen[0]!r}" + (f", nor {len(unseen) - 1:,} more." if unseen[1:] else ".")
        )
    return lines


def _name(part: str) -> str:
    return {"train": "training", "held_out": "held-out"}.get(part, part)


def _lengths(rows: Sequence[Row]) -> dict[str, Any]:
    lengths: dict[str, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for row in rows:
        for name, text in texts(row).items():
            lengths[name][0].append(len(text))
            lengths[name][1].append(len(text.split()))
    return {name: {"characters": _summary(chars), "words": _summary(words)} for name, (chars, words) in lengths.items()}


def _summary(sizes: list[int]) -> dict[str, Any]:
    ordered = sorted(sizes)
    return {
        "median": statistics.median(ordered),
        "p95": ordered[min(int(0.95 * len(ordered)), len(ordered) - 1)],
        "longest": ordered[-1],
        "histogram": {str(bits): count for bits, count in sorted(Counter(size.bit_length() for size in sizes).items())},
    }


def _shared(parts: Mapping[str, Sequence[Row]]) -> list[dict[str, Any]]:
    names = list(parts)
    pairs = [(first, second) for place, first in enumerate(names) for second in names[place + 1 :]]
    return [{"first": one, "second": other, **_leaks(parts[one], parts[other])} for one, other in pairs]


def _leaks(first: Sequence[Row], second: Sequence[Row]) -> dict[str, Any]:
    """How many rows of the second part are given a text that the first part has, and how many a nearly equal one; examples."""
    texts = [given(row) for row in second]
    seen = {given(row) for row in first}
    equal = {place for place, text in enumerate(texts) if text in seen}
    near: dict[int, str] = {}
    places = [place for place in range(len(texts)) if place not in equal]
    caught: dict[bytes, list[int]] = defaultdict(list)
    for batch in _batches(places):
        for place, keys in zip(batch, _keys([texts[place] for place in batch]), strict=True):
            for key in keys:
                caught[key].append(place)
    trigrams = {place: _trigrams(texts[place]) for place in places}
    for batch in _batches(first) if caught else ():
        written = [given(row) for row in batch]
        for text, keys in zip(written, _keys(written), strict=True):
            for place in {place for key in keys for place in caught.get(key, ())} - near.keys():
                one, other = _trigrams(text), trigrams[place]
                if one and other and len(one & other) >= NEAR * len(one | other):
                    near[place] = text
    examples = [{"first": near[place][:SHOWN], "second": texts[place][:SHOWN]} for place in sorted(near)[:EXAMPLES]]
    return {"equal": len(equal), "near": len(near), "examples": examples}


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


def _keys(written: Sequence[str]) -> list[list[bytes]]:
    """The keys of the bands of each text; none for a text without words."""
    bands = band_keys(signatures(written, ngram=NGRAM, permutations=BANDS * ROWS), BANDS, ROWS)
    return [
        [np.ascontiguousarray(key).tobytes() for key in row] if shingle_text(text) else []
        for row, text in zip(bands, written, strict=True)
    ]


def _trigrams(text: str) -> set[tuple[str, ...]]:
    words = shingle_text(text).split()
    return {tuple(words[place : place + NGRAM]) for place in range(max(len(words) - NGRAM + 1, 1))} if words else set()


def _contradicted(rows: Sequence[Row]) -> dict[str, Any]:
    answers: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        answers[" ".join(given(row).lower().split())].add(row["label"])
    several = {text: sorted(found) for text, found in answers.items() if len(found) > 1}
    return {
        "texts": len(several),
        "examples": [{"text": text[:SHOWN], "labels": several[text]} for text in sorted(several)[:EXAMPLES]],
    }


def _alike(labels: Mapping[str, Mapping[str, int]]) -> list[list[str]]:
    """Pairs of labels that are equal but for case and signs, or of which the much rarer one differs by a slip."""
    names = sorted(labels)[:MOST_LABELS]
    often = {name: sum(labels[name].values()) for name in names}
    found = []
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            bare = [shingle_text(name.replace("_", " ")).replace(" ", "") for name in (one, other)]
            if bare[0] and bare[0] == bare[1]:
                found.append([one, other])
                continue
            rare, usual = sorted((often[one], often[other]))
            long = min(map(len, bare)) >= 4 and not any(map(str.isdecimal, bare))
            if long and usual >= 10 * rare and SequenceMatcher(None, *bare, autojunk=False).ratio() >= 0.8:
                found.append([one, other])
    return found


def _constant(rows: Sequence[Row]) -> list[str]:
    """Text fields that hold one value in all rows, where there are several rows."""
    if len(rows) < 2:
        return []
    return [
        name
        for name, value in rows[0].items()
        if isinstance(value, str) and name not in ("group", "kind") and all(row.get(name) == value for row in rows)
        and (value or name != "prompt")
    ]  # fmt: skip
