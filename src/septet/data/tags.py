"""Tags of entities: which scheme they are written in, and the same in BIO.

BIO (IOB2: every entity begins with B-), IOB1 (B- is needed only between entities that touch, as in CoNLL-2003) or BIOES (S- for
entities of one word, E- for the last), told apart by how the tags are used. It is no reader: `conll`, `table` and `hub` of
`septet.data.builders` bring the tags.

    python -c "from septet.data.tags import to_bio; print(to_bio(['I-PER', 'B-PER', 'O'], 'iob1'))"
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

__all__ = ["Scheme", "cannot_stand", "no_tag", "scheme_of", "to_bio"]

Scheme = Literal["auto", "bio", "iob1", "bioes"]
LETTERS = {"bio": "BI", "iob1": "BI", "bioes": "BIES"}
SAME = {"L": "E", "U": "S", "M": "I", "W": "S"}  # BILOU, BMES, BMEWO: other letters for the same


def _parts(tag: str) -> tuple[str, str]:
    """Prefix and type; ("O", "") outside."""
    prefix, _, kind = tag.partition("-")
    return SAME.get(prefix, prefix), kind


def no_tag(tag: str) -> str:
    """Return what is wrong with what should be a tag in any of the schemes; "" for nothing.

    >>> no_tag("B-PER"), no_tag("O"), no_tag("PER")
    ('', '', "the tag 'PER' is neither O nor a prefix and a type such as B-PER")
    """
    prefix, kind = _parts(tag)
    if tag == "O" or (kind and prefix in LETTERS["bioes"]):
        return ""
    return f"the tag {tag!r} is neither O nor a prefix and a type such as B-PER"


def cannot_stand(tags: Sequence[str], place: int, scheme: str) -> str:
    """Return in words that the tag at `place` cannot stand where it stands, and what to do about it."""
    before = f" after {tags[place - 1]!r}" if place else " at the beginning of a sentence"
    advice = "set on_malformed: repair to read it as the beginning of an entity"
    return f"the tag {tags[place]!r} cannot stand{before} in {scheme}; {advice}"


def scheme_of(sentences: Iterable[Sequence[str]]) -> str:
    """Return "bio", "iob1" or "bioes", by how the tags are used.

    IOB1 where more entities begin with I- than with a B- that follows no tag of its own type; BIOES where a tag is E- or S-.

    >>> scheme_of([["I-PER", "I-PER", "B-PER", "O"]]), scheme_of([["B-PER", "I-PER"]]), scheme_of([["S-PER"]])
    ('iob1', 'bio', 'bioes')
    """
    begins_inside = begins_apart = 0
    for tags in sentences:
        before = ""
        for prefix, kind in map(_parts, tags):
            if prefix in "ES":
                return "bioes"
            begins_inside += prefix == "I" and kind != before
            begins_apart += prefix == "B" and kind != before
            before = kind
    return "iob1" if begins_inside > begins_apart else "bio"


def to_bio(tags: Sequence[str], scheme: str) -> tuple[list[str], list[int]]:
    """Return the tags in BIO, and the places of those that cannot stand where they stand.

    What does not go on with the entity before it begins one, as in conlleval.

    >>> to_bio(["I-PER", "B-PER", "O"], "iob1"), to_bio(["I-PER"], "bio"), to_bio(["B-PER", "E-PER", "S-LOC"], "bioes")
    ((['B-PER', 'B-PER', 'O'], []), (['B-PER'], [0]), (['B-PER', 'I-PER', 'B-LOC'], []))
    """
    found: list[str] = []
    wrong: list[int] = []
    open_type = ""  # of the entity that the next word may go on with
    for place, (prefix, kind) in enumerate(map(_parts, tags)):
        goes_on = prefix in ("I", "E") and kind == open_type
        if prefix not in ("O", *LETTERS[scheme]):
            wrong.append(place)
        elif scheme == "bio":
            if prefix == "I" and not goes_on:
                wrong.append(place)
        elif scheme == "bioes" and not goes_on and (open_type or prefix in ("I", "E")):
            wrong.append(place)
        found.append("O" if prefix == "O" else f"{'I' if goes_on else 'B'}-{kind}")
        # in BIOES nothing goes on after the last word of an entity
        open_type = "" if prefix == "O" or (scheme == "bioes" and prefix in ("E", "S")) else kind
    if scheme == "bioes" and open_type:
        wrong.append(len(tags) - 1)
    return found, sorted(set(wrong))
