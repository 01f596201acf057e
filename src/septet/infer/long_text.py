"""Summaries of texts longer than a model reads: windows, a summary of each, and summaries of the summaries until one is left.

    text -> windows -> a summary each -> joined -> windows -> ... -> one window -> the summary

A window ends where a line ends (a turn of a conversation), or else a sentence, a word, in the last resort a character; the windows
put together are the text, so everything is read. (Map and reduce, as Wu et al. 2021, https://arxiv.org/abs/2109.10862, do with
books.)

What it is not: a translator of long texts; what windows say is shortened again, not put together. Nor retrieval.

    python -m pytest tests/infer/test_long_text.py
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from septet.core.errors import SeptetError

__all__ = ["Folded", "first_sentences", "fold", "windows"]

Size = Callable[[str], int]
"""How long a text is to the model, in tokens, with all that is put around it."""

_ENDS = (
    re.compile(r"\n\s*"),  # of a line
    # of a sentence: a mark and a blank, or a mark of a script without blanks
    re.compile(r"(?:[.!?…][\"'”’»)\]]*\s|[。！？][”’」』)]*)\s*"),
    re.compile(r"\s+"),  # of a word
)


@dataclass(frozen=True, slots=True)
class Folded:
    """A summary, the windows of the text itself, and how many windows were read in all, those of summaries too."""

    text: str
    windows: int
    read: int


def first_sentences(text: str, count: int) -> str:
    """Return the first sentences of a text, as it has them; the end of a line ends a sentence too.

    >>> first_sentences("It rained. We left. Why?", 2), first_sentences("Ann: Hi!\\nBob: Hi.", 1)
    ('It rained. We left.', 'Ann: Hi!')
    """
    text = text.strip()
    ends = sorted({found.end() for pattern in _ENDS[:2] for found in pattern.finditer(text)})
    return text[: ends[count - 1]].rstrip() if len(ends) >= count else text


def windows(text: str, *, size: Size, limit: int) -> list[str]:
    """Return the text in as few consecutive parts as fit: each of a size of at most `limit`. Put together they are the text.

    Raises SeptetError where not even one character fits.
    """
    found: list[str] = []
    for piece in _pieces(text, 0, size, limit):
        if found and size(found[-1] + piece) <= limit:
            found[-1] += piece
        else:
            found.append(piece)
    return found


def _pieces(text: str, level: int, size: Size, limit: int) -> Iterator[str]:
    """Yield consecutive parts of a text that end at the coarsest borders at which they fit."""
    if size(text) <= limit:
        yield text
    elif level < len(_ENDS):
        start = 0
        for end in [*(found.end() for found in _ENDS[level].finditer(text)), len(text)]:
            if end > start:
                yield from _pieces(text[start:end], level + 1, size, limit)
            start = end
    elif len(text) > 1:
        half = len(text) // 2
        yield from _pieces(text[:half], level, size, limit)
        yield from _pieces(text[half:], level, size, limit)
    else:
        raise SeptetError(
            f"a window of {limit} tokens does not hold the character {text!r} with what is put around it ({size(text)} tokens). "
            "Take a model with a longer context, or a shorter prefix."
        )


def fold(
    texts: Sequence[str], *, size: Size, limit: int, summarise: Callable[[Sequence[str]], Sequence[str]]
) -> list[Folded]:
    """Return a summary of each text. `summarise` gets the windows of all texts of a round at once, and returns one for each.

    A text that fits is summarised as it is. Raises SeptetError where summaries do not get shorter: their windows must become fewer
    with each round.
    """
    now: dict[int, list[str]] = {place: windows(text, size=size, limit=limit) for place, text in enumerate(texts)}
    first = {place: len(parts) for place, parts in now.items()}
    read = dict.fromkeys(now, 0)
    done: dict[int, Folded] = {}
    while now:
        todo = [(place, part) for place, parts in now.items() for part in parts if part.strip()]
        said = summarise([part.strip() for _, part in todo])
        found: dict[int, list[str]] = {place: [] for place in now}
        for (place, _), summary in zip(todo, said, strict=True):
            read[place] += 1
            found[place].append(summary.strip())
        later: dict[int, list[str]] = {}
        for place, summaries in found.items():
            text = "\n".join(filter(None, summaries))
            if len(now[place]) == 1 or not text:
                done[place] = Folded(text, first[place], read[place])
                continue
            later[place] = windows(text, size=size, limit=limit)
            if len(later[place]) >= len(now[place]):
                raise SeptetError(
                    f"the summaries of {len(now[place])} windows fill {len(later[place])} windows of {limit} tokens, so they would "
                    "never come down to one. Let summaries be shorter (max_new_tokens), or take a model with a longer context."
                )
        now = later
    return [done[place] for place in range(len(texts))]
