"""Unpack gzip and zstd streams piece by piece, and go on after damage at the next member or frame.

Both formats are chains: a .gz file is one or more members, a .zst file one or more frames, each readable by itself. A member
that unpacks to at most 8 MiB is given only when it proved whole, so that no garbled text slips through before the damage shows;
of a larger one, what was read before the damage has been given. Of data that merely ends early, everything before is given.

What it is not: a way around `zlib` and `zstandard`, which do the unpacking; and it repairs nothing.

    python -m pytest tests/data/test_files.py -k "gzip or zstd"
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Generator, Iterable, Iterator
from typing import Any, ClassVar

from septet.core.extras import need
from septet.data.source import Bad

__all__ = ["PACKED", "packing", "plain_name", "unpack"]

PACKED = (".gz", ".zst", ".zstd")
HELD = 8 << 20  # bytes of a member that wait for its end to prove whole
OUT = 1 << 20  # bytes unpacked at a time
TRIES = 1000  # places after damage where something looks like a beginning and is none, before the file is given up


def packing(name: str) -> str:
    """The suffix that says how a file is packed, "" for one that is not."""
    return next((suffix for suffix in PACKED if name.lower().endswith(suffix)), "")


def plain_name(name: str) -> str:
    """The name without the suffix of its packing."""
    return name[: len(name) - len(packing(name))]


def unpack(name: str, pieces: Iterable[bytes | None], bad: Bad) -> Iterator[bytes | None]:
    """The unpacked bytes of a stored file, piece by piece; None where something is missing because of damage.

    A name without the suffix of a packing gives the pieces as they are. A piece that is None is missing already.
    """
    suffix = packing(name)
    if not suffix:
        yield from pieces
        return
    decoder = _Gzip if suffix == ".gz" else _Zstd
    stored = _Stored(pieces)
    lost, tries = False, 0
    while True:
        before = stored.at
        found, junk = stored.find(decoder.magic)
        if junk and not lost:
            bad(f"{name}, byte {before}", f"not {decoder.what} data")
            lost = True
            yield None
        if not found:
            if stored.at == 0:
                bad(name, "the file is empty")
            return
        start = stored.at
        damage = yield from _member(stored, decoder(), proven=not lost)
        if not damage:
            lost = False
            continue
        if not lost:
            bad(f"{name}, byte {start}", f"{decoder.what} data: {damage}")
            lost = True
            yield None
        tries += 1
        if tries > TRIES:
            bad(f"{name}, byte {start}", f"too much damage in the {decoder.what} data; the rest is not read")
            return


def _member(stored: _Stored, decoder: _Gzip | _Zstd, *, proven: bool) -> Generator[bytes, None, str]:
    """One member's bytes; returns what is wrong with it, "" for nothing. `proven`: that a member begins here is certain."""
    held: list[bytes] = []
    size, holding, fed = 0, True, 0
    while not decoder.eof:
        if fed == len(stored.data) and not stored.more():
            if proven and holding:
                yield b"".join(held)
            if proven or not holding:
                yield decoder.rest()
            stored.drop(len(stored.data))
            return "it ends early"
        data = bytes(stored.data[fed : fed + decoder.step])
        try:
            for out in decoder.feed(data):
                if not holding:
                    yield out
                    continue
                held.append(out)
                size += len(out)
                if max(size, fed) > HELD:
                    holding = False
                    yield b"".join(held)
                    held.clear()
        except decoder.error as error:
            # the search for the next beginning starts inside this member: damage may have hidden its end
            stored.drop(1)
            return f"it is damaged ({str(error).removeprefix('Error ')})"
        fed += len(data) - decoder.unused
        if not holding:
            stored.drop(fed)
            fed = 0
    yield b"".join(held)
    stored.drop(fed)
    return ""


class _Stored:
    """The bytes as stored, from where reading stands; `at` is the place of the first one in the file."""

    def __init__(self, pieces: Iterable[bytes | None]) -> None:
        self._pieces = iter(pieces)
        self.data = bytearray()
        self.at = 0

    def more(self) -> bool:
        for piece in self._pieces:
            if piece:
                self.data += piece
                return True
        return False

    def drop(self, count: int) -> None:
        count = min(count, len(self.data))
        del self.data[:count]
        self.at += count

    def find(self, magic: re.Pattern[bytes]) -> tuple[bool, bool]:
        """Drop what stands before the next match: (was there one, was something other than padding dropped)."""
        junk = False
        while True:
            match = magic.search(self.data)
            end = match.start() if match else max(len(self.data) - 3, 0)
            junk = junk or bool(self.data[:end].strip(b"\0"))
            self.drop(end)
            if match:
                return True, junk
            if not self.more():
                junk = junk or bool(self.data.strip(b"\0"))
                self.drop(len(self.data))
                return False, junk


class _Gzip:
    """One gzip member (RFC 1952): the checksum at its end is compared by zlib."""

    what: ClassVar[str] = "gzip"
    magic: ClassVar[re.Pattern[bytes]] = re.compile(rb"\x1f\x8b\x08[\x00-\x1f]", re.DOTALL)
    step: ClassVar[int] = 1 << 16
    error: ClassVar[type[Exception]] = zlib.error

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(wbits=31)

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            yield self._decoder.decompress(data, OUT)
            data = self._decoder.unconsumed_tail

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def unused(self) -> int:
        return len(self._decoder.unused_data)

    def rest(self) -> bytes:
        return self._decoder.flush()


class _Zstd:
    """One zstd frame (RFC 8878), or one skippable frame."""

    what: ClassVar[str] = "zstd"
    magic: ClassVar[re.Pattern[bytes]] = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18", re.DOTALL)
    step: ClassVar[int] = 1 << 11  # 4 bytes can stand for a block of 128 KiB: at most 64 MiB come out at once

    def __init__(self) -> None:
        zstandard = need("zstandard", "corpus")  # 3 ms
        self.error: type[Exception] = zstandard.ZstdError
        self._decoder: Any = zstandard.ZstdDecompressor().decompressobj()

    def feed(self, data: bytes) -> Iterator[bytes]:
        yield self._decoder.decompress(data)

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def unused(self) -> int:
        return len(self._decoder.unused_data)

    def rest(self) -> bytes:
        return b""
