"""What the sources that read files share: which files of a folder, how they are opened, and lines of bounded length.

Files are read as they are stored, unpacked from .gz, .zst and .zstd on the way; the members of a .zip are read like the files
of a folder. Hidden files are not read. A link that leads out of the folder, a link to a folder and a link that leads nowhere
are named and not followed. No record, whatever it is (a line, a page, a file of text), is larger than 64 MiB: what is larger is
named and left out, so that memory is bounded.

What it is not: a format. Those are the kinds in `septet.data.sources`; each reads one `File` at a time.

    python -m pytest tests/data/test_files.py
"""

from __future__ import annotations

import codecs
import hashlib
import itertools
import os
import re
import stat
import tempfile
import zipfile
import zlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, BinaryIO, ClassVar

from pydantic import AfterValidator

from septet.core.component import InputPath, hash_path
from septet.core.errors import DataError
from septet.data.documents import Document
from septet.data.source import Bad, Part, Source, stop
from septet.data.unpack import packing, unpack

__all__ = [
    "MAX_RECORD",
    "Encoding",
    "File",
    "FileSource",
    "PathSource",
    "Pattern",
    "decode",
    "decode_line",
    "is_inside",
    "is_wide",
    "lines",
    "matcher",
    "newlines",
    "not_text",
    "readable_as",
]

MAX_RECORD = 64 << 20  # bytes
CUT = 64 << 20  # bytes of a part of a large file of lines
PIECE = 1 << 18  # bytes read at a time
MAX_TEMPORARY = 4 << 30  # bytes that a packed file of a format that needs its end first may unpack to, on disk
BOMB = 200  # times: text packs to a tenth; what unpacks to more than this many times its size is no text
HIDDEN = (".", "__MACOSX")
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
GUESSES = ("cp1252", "latin-1", "cp1250", "cp1251", "shift_jis", "gb18030", "big5", "euc_kr")
WIDE = (  # the longer marks first: one of UTF-32 begins like one of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


# -- fields -------------------------------------------------------------------------------------------------------------


def _known_encoding(name: str) -> str:
    try:
        "".encode(name)
    except LookupError:
        raise ValueError(
            f"there is no text encoding {name!r}; names are such as utf-8, latin-1, cp1252, shift_jis."
        ) from None
    return name


def _below(pattern: str) -> str:
    if not pattern or pattern.startswith(("/", "~")) or ".." in pattern.split("/"):
        raise ValueError(
            f"the pattern {pattern!r} must stay below the path, without '..' and without '/' at its start."
        )
    return pattern


Encoding = Annotated[str, AfterValidator(_known_encoding)]
"""The name of a text encoding that Python knows."""
Pattern = Annotated[str, AfterValidator(_below)]
"""A glob of paths below a folder: `*` and `?` stay within a name, `**/` is any number of folders, `{a,b}` is either."""


@cache
def matcher(pattern: str) -> re.Pattern[str]:
    """The regular expression of a `Pattern`."""
    written, depth = "", 0
    place = 0
    while place < len(pattern):
        if pattern.startswith("**/", place):
            written, place = written + "(?:[^/]+/)*", place + 3
            continue
        if pattern.startswith("**", place):
            written, place = written + ".*", place + 2
            continue
        letter = pattern[place]
        closing = pattern.find("]", place + 2) if letter == "[" else -1
        if closing > 0:
            inside = pattern[place + 1 : closing].replace("\\", "\\\\").replace("[", "\\[")
            written += "[" + ("^" + inside[1:] if inside[0] in "!^" else inside) + "]"
            place = closing
        elif letter == "{" and "}" in pattern[place:]:
            written, depth = written + "(?:", depth + 1
        elif letter == "}" and depth:
            written, depth = written + ")", depth - 1
        elif letter == "," and depth:
            written += "|"
        else:
            written += {"*": "[^/]*", "?": "[^/]"}.get(letter, re.escape(letter))
        place += 1
    return re.compile(written, re.DOTALL)


# -- one file -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class File:
    """A file to read, by itself or as a member of a zip archive; with `end`, the lines that begin from `start` on below it."""

    name: str
    path: Path
    archive: zipfile.ZipFile | None = None
    member: zipfile.ZipInfo | None = None
    start: int = 0
    end: int = 0

    def place(self, row: int, offset: int) -> str:
        """How a row is named to people: by its number, or by its place where only a part of the file is known."""
        return f"{self.name}, byte {offset}" if self.end else f"{self.name}, row {row}"

    def id(self, row: int, offset: int) -> str:
        """The id of a row without one: `file:row`, or `file@byte` in a file that is read in parts."""
        return f"{self.name}@{offset}" if self.end else f"{self.name}:{row}"

    def pieces(self, bad: Bad) -> Iterator[bytes | None]:
        """The unpacked bytes from the beginning, or from just before `start`; None where something is missing."""
        return unpack(self.name, self._stored(bad), bad)

    def whole(self, bad: Bad) -> bytes | None:
        """All bytes of a file that is one record; None, after `bad`, for one that is damaged, too large or empty."""
        taken: list[bytes] = []
        size = 0
        for piece in self.pieces(bad):
            if piece is None:
                return None
            size += len(piece)
            if size > MAX_RECORD:
                bad(self.name, f"larger than {MAX_RECORD >> 20} MiB")
                return None
            taken.append(piece)
        if not size and not packing(self.name):
            bad(self.name, "the file is empty")
        return b"".join(taken) or None

    @contextmanager
    def seekable(self, bad: Bad) -> Iterator[BinaryIO | None]:
        """The file opened for reading anywhere; what is packed goes to a temporary file first. None after `bad`."""
        if self.archive is None and not packing(self.name):
            with self.path.open("rb") as file:
                yield file
            return
        with tempfile.TemporaryFile() as file:
            size, complete = 0, True
            for piece in self.pieces(bad):
                if piece is None:
                    complete = False
                    break
                size += len(piece)
                if size > MAX_TEMPORARY:
                    bad(self.name, f"it unpacks to more than {MAX_TEMPORARY >> 30} GiB; unpack it yourself")
                    complete = False
                    break
                file.write(piece)
            file.seek(0)
            yield file if complete else None

    def _stored(self, bad: Bad) -> Iterator[bytes | None]:
        if self.archive is None or self.member is None:
            with self.path.open("rb") as file:
                file.seek(max(self.start - 1, 0))
                while piece := file.read(PIECE):
                    yield piece
            return
        try:
            with self.archive.open(self.member) as file:
                while piece := file.read(PIECE):
                    yield piece
        except ZIP_ERRORS as error:
            bad(self.name, f"the member of the archive cannot be read ({error})")
            yield None


def decode(raw: bytes, encoding: str) -> str | None:
    """Text of a whole file: by its byte-order mark, else as UTF-8, else as `encoding`; None where it is none of these.

    UTF-16 and UTF-32 are believed at once: their bytes are UTF-8 as well, with zeros between the letters.
    """
    wide = is_wide(raw[:4], encoding)
    if wide:
        return _decoded(_unmarked(raw), wide)
    return decode_line(raw.removeprefix(codecs.BOM_UTF8), encoding)


def decode_line(raw: bytes, encoding: str) -> str | None:
    """Text of what `lines` gives: UTF-8, else `encoding`; None where it is neither."""
    text = _decoded(raw, "utf-8")
    return text if text is not None or encoding.lower() in ("utf-8", "utf8") else _decoded(raw, encoding)


def _unmarked(raw: bytes) -> bytes:
    return next((raw[len(mark) :] for mark, _ in WIDE if raw.startswith(mark)), raw)


def not_text(raw: bytes, encoding: str) -> str:
    """Why bytes are not text, for `bad`."""
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        also = "" if encoding.lower() in ("utf-8", "utf8") else f" and not {encoding}"
        return f"not UTF-8 ({error.reason} at byte {error.start}){also}"
    return "not text in the encoding of its byte-order mark"


def readable_as(raw: bytes) -> list[str]:
    """Names of encodings in which all bytes are characters that can be seen, the likelier ones first.

    >>> readable_as("naïve".encode("cp1252"))[:2]
    ['cp1252', 'latin-1']
    """
    texts = ((name, _decoded(raw, name)) for name in GUESSES)
    return [name for name, text in texts if text is not None and all(c.isprintable() or c.isspace() for c in text)]


def _decoded(raw: bytes, encoding: str) -> str | None:
    try:
        return raw.decode(encoding)
    except UnicodeError:
        return None


def newlines(text: str) -> str:
    """The text with \\n at the end of every line."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def is_wide(beginning: bytes, encoding: str) -> str:
    """The encoding, where it is one in which a line does not end with the byte \\n (UTF-16, UTF-32); else ""."""
    for mark, wide in WIDE:
        if beginning.startswith(mark):
            return wide
    return "" if _decoded(b"\n", encoding) == "\n" else encoding


def lines(file: File, bad: Bad, *, encoding: str = "utf-8") -> Iterator[tuple[int, int, bytes]]:
    """(row number from 1, byte where it begins, its bytes without the line end) of every line of at most 64 MiB.

    A longer line goes to `bad` and is skipped without being held; for the unfinished line before damage there is an empty one.
    Text in UTF-16 or UTF-32, by mark or by `encoding`, comes as UTF-8. In a part of a file, row numbers count from its start.
    """
    row, offset, size = 0, max(file.start - 1, 0), 0
    begun: list[bytes] = []
    inside = file.start > 0  # the line that holds the byte before `start` belongs to the part before
    for piece in _narrow(file, file.pieces(bad), encoding, bad):
        if piece is None:
            row, offset, size = row + 1, offset + size, 0
            begun.clear()
            yield row, offset, b""  # ends what consists of several lines
            continue
        ends = piece.split(b"\n")
        for part in ends[:-1]:
            size += len(part)
            if inside:
                inside = False
            elif size > MAX_RECORD:
                row += 1
                bad(file.place(row, offset), f"the line is longer than {MAX_RECORD >> 20} MiB")
            else:
                row += 1
                if file.end and offset >= file.end:
                    return
                begun.append(part)
                yield row, offset, _ended(begun, offset)
            begun.clear()
            offset, size = offset + size + 1, 0
        if file.end and offset >= file.end:
            return
        size += len(ends[-1])
        if inside and offset + size >= file.end:
            return
        if size > MAX_RECORD or inside:
            begun.clear()
        else:
            begun.append(ends[-1])
    if size > MAX_RECORD:
        bad(file.place(row + 1, offset), f"the line is longer than {MAX_RECORD >> 20} MiB")
    elif size and not inside and not (file.end and offset >= file.end):
        yield row + 1, offset, _ended(begun, offset)


def _ended(begun: list[bytes], offset: int) -> bytes:
    """A line without its end, and without the mark at the beginning of a file."""
    line = b"".join(begun)
    if offset == 0:
        line = line.removeprefix(codecs.BOM_UTF8)
    return line[:-1] if line.endswith(b"\r") else line


def _narrow(file: File, pieces: Iterator[bytes | None], encoding: str, bad: Bad) -> Iterator[bytes | None]:
    """The pieces in an encoding in which lines end with \\n."""
    if file.start:
        yield from pieces
        return
    beginning = b""
    for piece in pieces:
        beginning += piece or b""
        if piece is None or len(beginning) >= 4:
            pieces = itertools.chain((None,) if piece is None else (), pieces)
            break
    wide = is_wide(beginning, encoding)
    if not wide:
        yield beginning
        yield from pieces
        return
    beginning = _unmarked(beginning)
    decoder = codecs.getincrementaldecoder(wide)()
    try:
        yield decoder.decode(beginning).encode()
        for piece in pieces:
            yield None if piece is None else decoder.decode(piece).encode()
        yield decoder.decode(b"", final=True).encode()
    except UnicodeError as error:
        bad(file.name, f"not {wide.upper()} ({error}); the rest is not read")


# -- the base of the kinds ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file below the path, its size in bytes, and why it cannot be read, if it cannot."""

    name: str
    size: int = 0
    problem: str = ""


class PathSource(Source):
    """A source of files on this machine."""

    path: InputPath
    """A file, a .zip archive, or a folder."""
    licence: str = ""
    """The licence that all documents carry unless one says otherwise."""

    def identity(self, ids: Mapping[str, str] | None = None) -> dict[str, Any]:
        """As for any component, without the hash of the path: the fingerprint covers the files that are read."""
        plain = self.model_copy(update={"path": str(self.path)})  # a plain string is not hashed as a path is
        return {key: value for key, value in super(PathSource, plain).identity(ids).items() if key != "path"}


class FileSource(PathSource):
    """A source of files: one, or those below a folder that match a pattern."""

    pattern: Pattern = "**/*"
    """Which files of the folder or archive are read: `*` within a name, `**/` any folders, `{a,b}` either."""

    nothing_inside: ClassVar[str] = "the file holds no text"
    """What is said of a file without documents of which nothing else was said."""

    @abstractmethod
    def documents(self, file: File, bad: Bad) -> Iterator[Document]:
        """The documents of one file."""

    def wants(self, name: str) -> bool:
        """Whether a file of the folder or archive is read, by its path there."""
        return matcher(self.pattern).fullmatch(name) is not None

    def nothing(self) -> str:
        """What is said of a folder without a file that is wanted."""
        return f"No file of the folder matches {self.pattern!r}; give the pattern of your files."

    def can_cut(self, beginning: bytes) -> bool:
        """Whether a file with these first bytes may be read in parts that begin at lines."""
        return False

    def parts(self) -> Sequence[Part]:
        """One part a file, in the order of the names; a large file of lines is several, `file@first-end` in bytes."""
        return tuple(part for entry in self._entries() for part in self._cut(entry))

    def read(self, part: str = "", *, bad: Bad = stop) -> Iterator[Document]:
        """The documents, file by file. Errors: DataError where no file matches, or where rows lack a named field."""
        for name in [part] if part else [item.name for item in self.parts()]:
            for doc in self._read(name, bad):
                yield replace(doc, licence=self.licence) if self.licence and not doc.licence else doc

    def fingerprint(self) -> str:
        """Hash of the names and bytes of the files read."""
        total = hashlib.sha256()
        for entry in self._entries():
            total.update(entry.name.encode("utf-8", "surrogateescape") + b"\0")
            total.update((entry.problem or self._digest(entry.name)).encode())
        return total.hexdigest()

    def _digest(self, name: str) -> str:
        try:
            return hash_path(self._full(name))
        except OSError as error:  # reading will name it
            return f"it cannot be read ({error.strerror})"

    # -- which files ------------------------------------------------------------------------------------------------

    def _root(self) -> Path:
        path = Path(self.path)
        return path if path.is_dir() else path.parent

    def _full(self, name: str) -> Path:
        return self._root() / name

    def _entries(self) -> list[_Entry]:
        """What is below the path, sorted by name. Errors: DataError where nothing matches."""
        path = Path(self.path)
        if not path.is_dir():
            return [self._entry(path.name)]
        found: list[_Entry] = []
        for here, folders, files in os.walk(path):  # which does not follow links to folders
            below = Path(here).relative_to(path)
            shown = [(below / name).as_posix() for name in sorted(folders) if not name.startswith(HIDDEN)]
            found += [self._entry(name) for name in shown if (path / name).is_symlink()]
            folders[:] = [name.rpartition("/")[2] for name in shown]
            names = [(below / name).as_posix() for name in files if not name.startswith(HIDDEN)]
            found += [self._entry(name) for name in names if name.lower().endswith(".zip") or self.wants(name)]
        if not found:
            raise DataError(self.nothing(), file=path)
        return sorted(found, key=lambda entry: entry.name)

    def _entry(self, name: str) -> _Entry:
        path = self._full(name)
        if not _is_text(name):
            return _Entry(name, problem="its name is not UTF-8")
        if path.is_dir():
            return _Entry(name, problem="a link to a folder" if path.is_symlink() else "a folder")
        if Path(self.path).is_dir() and not is_inside(path, self._root()):
            return _Entry(name, problem="a link that leads outside the folder")
        try:
            state = path.stat()
        except OSError:  # a loop of links too
            return _Entry(name, problem="not a file, or a link to nothing")
        if not stat.S_ISREG(state.st_mode):
            return _Entry(name, problem="not a file, or a link to nothing")
        return _Entry(name, size=state.st_size)

    def _cut(self, entry: _Entry) -> list[Part]:
        if entry.size > CUT and not packing(entry.name) and not entry.name.lower().endswith(".zip"):
            beginning = self._beginning(entry.name)
            if beginning and self.can_cut(beginning):
                starts = range(0, entry.size, CUT)
                ends = [min(start + CUT, entry.size) for start in starts]
                return [
                    Part(f"{entry.name}@{start}-{end}", end - start) for start, end in zip(starts, ends, strict=True)
                ]
        return [Part(entry.name, entry.size)]

    def _beginning(self, name: str) -> bytes:
        try:
            with self._full(name).open("rb") as file:
                return file.read(1 << 12)
        except OSError:
            return b""

    # -- reading ----------------------------------------------------------------------------------------------------

    def files(self, bad: Bad) -> Iterator[File]:
        """The files, one after the other, as they are read; those of archives too. What cannot be opened goes to `bad`."""
        for part in self.parts():
            yield from self._files(part.name, bad)

    def _read(self, part: str, bad: Bad) -> Iterator[Document]:
        try:
            for file in self._files(part, bad):
                yield from self._documents(file, bad)
        except OSError as error:
            bad(
                _range(part)[0] if not os.path.lexists(self._full(part)) else part,
                f"it cannot be read ({error.strerror or error})",
            )

    def _files(self, part: str, bad: Bad) -> Iterator[File]:
        name, start, end = _range(part) if not os.path.lexists(self._full(part)) else (part, 0, 0)
        entry = self._entry(name)
        if entry.problem:
            bad(name.encode("utf-8", "backslashreplace").decode(), entry.problem)
        elif name.lower().endswith(".zip"):
            yield from self._archive(name, bad)
        else:
            yield File(name, self._full(name), start=start, end=end)

    def _documents(self, file: File, bad: Bad) -> Iterator[Document]:
        silent = True

        def tell(place: str, reason: str) -> None:
            nonlocal silent
            silent = False
            bad(place, reason)

        for doc in self.documents(file, tell):
            silent = False
            yield doc
        if silent and not file.end:
            bad(file.name, self.nothing_inside)

    def _archive(self, name: str, bad: Bad) -> Iterator[File]:
        try:
            archive = zipfile.ZipFile(self._full(name))
        except ZIP_ERRORS as error:
            bad(name, f"not a zip archive that can be read ({error})")
            return
        with archive:
            infos = archive.infolist()
            size, packed = sum(info.file_size for info in infos), self._full(name).stat().st_size
            if size > MAX_RECORD and size > BOMB * packed:
                bad(name, f"the archive claims to unpack to {BOMB} times its size or more; it is not read")
                return
            taken: set[str] = set()
            for info in sorted(infos, key=lambda info: info.filename):
                steps = info.filename.split("/")
                if not steps[-1] or any(step.startswith(HIDDEN) for step in steps if step != ".."):
                    continue
                inner = f"{name}!{info.filename}"
                if ".." in steps or info.filename.startswith("/"):
                    bad(inner, "its name leads outside the archive")
                elif not self.wants(info.filename):
                    continue
                elif stat.S_ISLNK(info.external_attr >> 16):
                    bad(inner, "a link inside an archive")
                elif info.filename in taken:
                    bad(inner, "another member of the archive has the same name")
                else:
                    taken.add(info.filename)
                    yield File(inner, self._full(name), archive, info)


def _is_text(name: str) -> bool:
    """Whether a name consists of characters; bytes that are none come as lone surrogates."""
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def is_inside(path: Path, root: Path) -> bool:
    real, base = os.path.realpath(path), os.path.realpath(root)
    return real == base or real.startswith(base.rstrip("/") + "/")


def _range(part: str) -> tuple[str, int, int]:
    match = re.fullmatch(r"(.*)@(\d+)-(\d+)", part, re.DOTALL)
    return (match[1], int(match[2]), int(match[3])) if match else (part, 0, 0)
