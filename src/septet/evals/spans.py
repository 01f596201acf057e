"""Entities in a sequence of BIO tags, as conlleval reads them, also where the tags are malformed.

    B-PER I-PER O I-LOC B-LOC      ->  PER 0..2, LOC 3..4, LOC 4..5

An I- that does not continue an entity of its own type (at the start, after O, after another type) begins one, as in conlleval and
in seqeval's default mode. What is neither O nor B-TYPE nor I-TYPE belongs to no entity.

What it is not: a reader of other schemes; IOB1 and IOBES are converted when the data are prepared.

    python -m pytest tests/evals/scorers/test_entity_f1.py
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["malformed", "spans"]


def spans(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """Return (type, first word, word after the last) for each entity, in order."""
    found: list[tuple[str, int, int]] = []
    for place, (mark, kind) in enumerate(map(_parts, tags)):
        if not kind:
            continue
        if mark == "I" and found and found[-1][0] == kind and found[-1][2] == place:
            found[-1] = (kind, found[-1][1], place + 1)
        else:
            found.append((kind, place, place + 1))
    return found


def malformed(tags: Sequence[str]) -> list[int]:
    """Return the places of tags that BIO does not allow there: an I- that continues nothing, and what is no tag."""
    found, before = [], ""
    for place, (mark, kind) in enumerate(map(_parts, tags)):
        if not mark or (mark == "I" and kind != before):
            found.append(place)
        before = kind
    return found


def _parts(tag: str) -> tuple[str, str]:
    """Return ("B" or "I", type), ("O", ""), or ("", "") for what is no tag."""
    if tag == "O":
        return "O", ""
    mark, _, kind = tag.partition("-")
    return (mark, kind) if mark in ("B", "I") and kind else ("", "")
