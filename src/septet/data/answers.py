"""Answers that stand in a passage: each is looked for where it is said to be.

Read are the forms in use: a list of {"text", "answer_start"}, as in SQuAD's files (Rajpurkar et al. 2016, 2018), {"text": [...],
"answer_start": [...]} as on the hub, and a text alone where it stands only once. Where only white space differs an answer is put
right. It is no reader: `squad`, `table` and `hub` of `septet.data.builders` bring the answers.

    python -c "from septet.data.answers import locate; print(locate('b c', 2, 'a b c'))"
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["Answers", "answers_in", "locate"]

MOST = 5  # characters of white space by which an answer may be off
NO_FORM = "its answers are no list of texts and where they start, nor a text; an empty list says that there is none"
ALONE = object()
"""In the place of the start of an answer that is a text and nothing else."""
Answers = list[dict[str, Any]]


def answers_in(given: Any, context: str) -> tuple[Answers, int, str]:
    """Return the answers where they stand, how many were put right, and why they cannot be used, if they cannot.

    An empty list says that the passage does not answer.

    >>> answers_in([{"text": "b", "answer_start": 2}], "a b c")
    ([{'text': 'b', 'start': 2}], 0, '')
    >>> answers_in({"text": ["c"], "answer_start": [0]}, "a b c")[2]
    "the context has 'a' at 0, and the answer is 'c'; it stands at 4"
    """
    found: Answers = []
    moved = 0
    listed = _listed(given)
    if listed is None:
        return [], 0, NO_FORM
    for text, start in listed:
        if not isinstance(text, str) or not text.strip():
            return [], 0, "an answer is empty"
        if start is ALONE:
            times = context.count(text)
            if times != 1:
                where = f"{times} times, and nothing says which is meant" if times else "nowhere"
                return [], 0, f"the answer {text!r} stands in the context {where}"
            start = context.index(text)
        if type(start) is not int:
            return [], 0, f"the answer {text!r} has no whole number 'answer_start'"
        place = locate(text, start, context)
        if place is None:
            stands = context.find(text)
            where = f"; it stands at {stands}" if stands >= 0 else "; it stands nowhere in it"
            shown = context[start : start + len(text)] if start >= 0 else ""
            return [], 0, f"the context has {shown!r} at {start}, and the answer is {text!r}{where}"
        begin, end = place
        moved += (begin, context[begin:end]) != (start, text)
        one = {"text": context[begin:end], "start": begin}
        if one not in found:
            found.append(one)
    return found, moved, ""


def _listed(given: Any) -> list[tuple[Any, Any]] | None:
    """(text, start) of each answer, as they stand; the start of a text alone is ALONE. None for what has no known form."""
    if isinstance(given, Mapping):
        texts, starts = given.get("text"), _start(given)
        if isinstance(texts, str):
            texts, starts = [texts], [starts]
        if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
            return None
        return list(zip(texts, starts, strict=True))
    if not isinstance(given, str | list):
        return None
    several = [given] if isinstance(given, str) else given
    return [(one.get("text"), _start(one)) if isinstance(one, Mapping) else (one, ALONE) for one in several]


def _start(answer: Mapping[str, Any]) -> Any:
    return answer.get("answer_start", answer.get("start"))


def locate(text: str, start: int, context: str) -> tuple[int, int] | None:
    """Where an answer stands, (start, end), if that is where it is said to be but for white space; else None.

    >>> locate("b c", 2, "a b c"), locate(" b c ", 1, "a b  c"), locate("c", 0, "a b c")
    ((2, 5), (2, 6), None)
    """
    if start < 0:
        return None
    if text == text.strip() and context.startswith(text, start):
        return start, start + len(text)
    pattern = re.compile(r"\s+".join(map(re.escape, text.split())))
    for begin in sorted(
        range(max(start - MOST, 0), min(start + MOST, len(context)) + 1), key=lambda place: abs(place - start)
    ):
        between = context[min(begin, start) : max(begin, start)]
        match = pattern.match(context, begin) if not between.strip() else None
        if match:
            return match.span()
    return None
