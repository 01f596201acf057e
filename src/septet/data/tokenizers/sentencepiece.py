"""Read a SentencePiece model: its pieces and the settings that decide how it cuts text.

The file is one protocol-buffer message (sentencepiece_model.proto of google/sentencepiece, Apache-2.0); the few fields needed are
read here, so that neither protobuf nor sentencepiece has to be installed.

What it is not: an encoder; `foreign` makes one of what is read here.

    python -m pytest tests/data/test_tokenizer_import.py
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from septet.core.errors import DataError

__all__ = ["Piece", "SentencePiece", "parse_sentencepiece"]

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
UNIGRAM, BPE, WORD, CHAR = 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class Piece:
    """A token with its score; kind is one of NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE."""

    text: str
    score: float
    kind: int


@dataclass(slots=True)
class SentencePiece:
    """What a model file says. charsmap: the compiled table of character replacements, empty where text is kept."""

    pieces: list[Piece] = field(default_factory=list)
    model: int = UNIGRAM
    byte_fallback: bool = False
    space_behind: bool = False
    charsmap: bytes = b""
    dummy_prefix: bool = True
    remove_spaces: bool = True
    escape_spaces: bool = True
    names: dict[str, str] = field(default_factory=lambda: {"unk": "<unk>", "bos": "<s>", "eos": "</s>", "pad": "<pad>"})


def parse_sentencepiece(raw: bytes) -> SentencePiece:
    """The content of a model file. Errors: DataError where the bytes are none, or end too early."""
    found = SentencePiece()
    try:
        for number, value in _fields(raw):
            if number == 1 and isinstance(value, bytes):
                found.pieces.append(_piece(value))
            elif number == 2 and isinstance(value, bytes):
                _trainer(found, value)
            elif number == 3 and isinstance(value, bytes):
                _normaliser(found, value)
    except (ValueError, IndexError, struct.error) as error:
        raise DataError(f"the file is not a SentencePiece model ({error}).") from None
    if not found.pieces:
        raise DataError("the file is not a SentencePiece model (it has no pieces).")
    return found


def _piece(raw: bytes) -> Piece:
    text, score, kind = "", 0.0, NORMAL
    for number, value in _fields(raw):
        if number == 1 and isinstance(value, bytes):
            text = value.decode("utf-8")
        elif number == 2 and isinstance(value, bytes):
            (score,) = struct.unpack("<f", value)
        elif number == 3 and isinstance(value, int):
            kind = value
    return Piece(text, score, kind)


def _trainer(found: SentencePiece, raw: bytes) -> None:
    names = {45: "unk", 46: "bos", 47: "eos", 48: "pad"}
    for number, value in _fields(raw):
        if number == 3 and isinstance(value, int):
            found.model = value
        elif number == 24:
            found.space_behind = bool(value)
        elif number == 35:
            found.byte_fallback = bool(value)
        elif number in names and isinstance(value, bytes):
            found.names[names[number]] = value.decode("utf-8")


def _normaliser(found: SentencePiece, raw: bytes) -> None:
    for number, value in _fields(raw):
        if number == 2 and isinstance(value, bytes):
            found.charsmap = value
        elif number == 3:
            found.dummy_prefix = bool(value)
        elif number == 4:
            found.remove_spaces = bool(value)
        elif number == 5:
            found.escape_spaces = bool(value)


def _fields(raw: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) of a message: whole numbers as int, everything else as its bytes."""
    place = 0
    while place < len(raw):
        key, place = _varint(raw, place)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, place = _varint(raw, place)
            yield number, value
            continue
        if wire == 2:
            size, place = _varint(raw, place)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"an unknown wire type at byte {place}")
        if place + size > len(raw):
            raise ValueError(f"it ends inside a field at byte {place}")
        yield number, raw[place : place + size]
        place += size


def _varint(raw: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError(f"a number too long at byte {place}")
