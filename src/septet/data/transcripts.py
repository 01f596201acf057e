"""Transcripts of speech, WebVTT and SubRip (SRT): what was said, by whom, and when.

WebVTT as in the W3C recommendation (sections 4 and 6): comments, styles and regions are passed over; `<v Name>` names the speaker,
other tags are taken out. SRT has no standard; files are read as players do. In both, "Name: ..." at the beginning of a cue names
the speaker. Captions that roll, each repeating the lines of the one before, are read once.

What it is not: a recogniser of speech.

    python -m pytest tests/data/test_transcripts.py
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from septet.core.errors import DataError

__all__ = ["Said", "as_text", "is_transcript", "read_transcript"]

_TIME = r"(?:(\d+):)?([0-5]?\d):([0-5]\d)[.,](\d{1,3})"
_CUE = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?$")
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]+)>")
_TAG = re.compile(r"</?(?:[a-z]+(?:\.[^\s>]*)?(?:\s[^>]*)?|\d[\d:.]*|font[^>]*)>|\{\\[^}]*\}", re.IGNORECASE)
_SPEAKER = re.compile(r"((?:[A-Z][\w.'-]*|SPEAKER[_ ]?\d+)(?: (?:[A-Z][\w.'-]*|\d+)){0,3}):\s+(?=\S)")
_SKIPPED = ("NOTE", "STYLE", "REGION")


@dataclass(frozen=True, slots=True)
class Said:
    """What one speaker said in one go; times in seconds, speaker "" where nobody is named."""

    start: float
    end: float
    speaker: str
    text: str


def is_transcript(name: str) -> bool:
    """Whether a text is the name of a transcript's file."""
    name = name.strip()
    return "\n" not in name and len(name) < 1000 and name.lower().endswith((".vtt", ".srt"))


def read_transcript(text: str, file: object) -> list[Said]:
    """Return what was said, in order; what one speaker says in cues that follow each other is one piece.

    Errors: DataError with file and line for a file without cues, a time that cannot be read, a cue that ends before it begins.
    """
    found: list[Said] = []
    before: list[str] = []
    speaker = ""
    for start, end, written in _cues(text, file):
        fresh = [line for line in written if line not in before]
        before = written
        for line in fresh:
            for name, words in _voices(line):
                # a line without a name goes on with the speaker before; a dash says that it is another
                speaker = speaker if name is None else name
                if not words:
                    continue
                last = found[-1] if found else None
                if last is not None and name != "" and last.speaker == speaker:
                    found[-1] = replace(last, end=end, text=f"{last.text} {words}")
                else:
                    found.append(Said(start, end, speaker, words))
    if not found:
        raise DataError('The transcript has no cue; lines such as "00:01.000 --> 00:04.000" are expected.', file=file)
    return found


def as_text(said: Iterable[Said], *, times: bool = False) -> str:
    """Return one line a piece: "Name: words", with `times` "[0:01:05] Name: words".

    >>> as_text([Said(65, 66, "Ann", "Hello."), Said(67, 68, "", "Yes.")], times=True)
    '[0:01:05] Ann: Hello.\\n[0:01:07] Yes.'
    """
    lines = []
    for one in said:
        minutes, seconds = divmod(int(one.start), 60)
        stamp = f"[{minutes // 60}:{minutes % 60:02}:{seconds:02}] " if times else ""
        lines.append(f"{stamp}{one.speaker}: {one.text}" if one.speaker else f"{stamp}{one.text}")
    return "\n".join(lines)


def _cues(text: str, file: object) -> Iterator[tuple[float, float, list[str]]]:
    """(start, end, lines that are not blank) of every cue."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    place, skipping = 0, lines[0].startswith("WEBVTT")
    while place < len(lines):
        line = lines[place]
        place += 1
        if not line.strip():
            skipping = False
            continue
        if skipping or line.split()[0].rstrip(":") in _SKIPPED:
            skipping = True
            continue
        if "-->" not in line:
            continue  # the number or the name of a cue
        match = _CUE.match(line)
        if match is None:
            message = f"{line.strip()!r} is no timing; such as 00:01.000 --> 00:04.000 is expected."
            raise DataError(message, file=file, row=place)
        start, end = _seconds(match.groups()[:4]), _seconds(match.groups()[4:])
        if end < start:
            raise DataError(f"The cue ends before it begins ({line.strip()}).", file=file, row=place)
        written = []
        while place < len(lines) and lines[place].strip():
            written.append(lines[place].strip())
            place += 1
        yield start, end, written


def _seconds(parts: Iterable[str | None]) -> float:
    hours, minutes, seconds, fraction = parts
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0) + float(f"0.{fraction}")


def _voices(line: str) -> Iterator[tuple[str | None, str]]:
    """(speaker, words) of every voice in a line; None where nobody is named, "" where it is another who has no name."""
    pieces = _VOICE.split(line)  # words, name, words, name, words
    for place in range(0, len(pieces), 2):
        words = (
            html.unescape(_TAG.sub("", pieces[place]).replace("</v>", "")).replace("\u200e", "").replace("\u200f", "")
        )
        words = " ".join(words.split())
        name = html.unescape(pieces[place - 1]).strip() if place else None
        if name is None and words:
            dashed = re.match(r"(?:[-\u2013\u2014]|>>)\s*(?=\S)", words)
            named = _SPEAKER.match(words[dashed.end() :] if dashed else words)
            words = words[dashed.end() :] if dashed else words
            if named:
                name, words = named[1], words[named.end() :]
            elif dashed:
                name = ""
        if name is not None or words:
            yield name, words
