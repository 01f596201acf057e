"""Web archives: WARC files of a crawl, the main text of each page; and WET files, whose text is already extracted.

Read are responses with status 200 that hold HTML, and `conversion` records of plain text. Each keeps its address and date, and
is named by its title; its group is the host, so that a held-out part shares no site with the training text. Records are
framed by their Content-Length; where that is wrong the record is named and left out, and reading goes on at the next one.

    septet corpus --source '{kind: warc, path: crawl.warc.gz}'
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any, ClassVar
from urllib.parse import urlsplit

from septet.core.extras import need
from septet.data.documents import Document
from septet.data.files import MAX_RECORD, File, FileSource, Pattern, decode
from septet.data.html import Page, read_page
from septet.data.source import Bad

__all__ = ["Warc"]

MAX_HEADER = 1 << 16  # bytes
HTML = ("text/html", "application/xhtml+xml")
BEGIN = re.compile(rb"WARC/[01]\.\d+\r?\n(?=[\w-]+:)")
END = re.compile(rb"\r?\n\r?\n")
LENGTH = re.compile(rb"^content-length:[ \t]*(\d{1,18})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)


class Warc(FileSource):
    """Documents from the pages of web archives."""

    nothing_inside: ClassVar[str] = "the file holds no page"

    pattern: Pattern = "**/*.{warc,wet}*"
    """Which files of the folder or archive are read: `*` within a name, `**/` any folders, `{a,b}` either."""

    def documents(self, file: File, bad: Bad) -> Iterator[Document]:
        """One document a page with text."""
        ids: set[str] = set()
        for offset, raw in _records(file, bad):
            place = f"{file.name}, byte {offset}"
            try:
                doc = _document(raw, file.name, offset, place, bad)
            except (ValueError, OSError, RuntimeError) as error:
                bad(place, f"the record cannot be read ({error})")
                continue
            if doc is None:
                continue
            if doc.id in ids:  # a copy of a record keeps its id, so that it needs another one here
                bad(place, "another record of the file has the same WARC-Record-ID")
                continue
            ids.add(doc.id)
            yield doc


def _document(raw: bytes, file: str, offset: int, place: str, bad: Bad) -> Document | None:
    warc = need("fastwarc.warc", "corpus")  # 10 ms
    wanted = warc.WarcRecordType.response | warc.WarcRecordType.conversion
    archive = warc.ArchiveIterator(
        io.BytesIO(raw), record_types=wanted, parse_http=True, auto_decode="all", fsspec_args=False
    )
    record: Any = next(iter(archive), None)
    if record is None:
        return None
    if record.record_type == warc.WarcRecordType.response:
        http = record.http_headers
        if http is None or http.status_code != 200 or (record.http_content_type or "").lower() not in HTML:
            return None
    body = record.reader.read(MAX_RECORD + 1)
    if len(body) > MAX_RECORD:
        bad(place, f"the page unpacks to more than {MAX_RECORD >> 20} MiB")
        return None
    if record.record_type == warc.WarcRecordType.response:
        page = read_page(body, record.http_charset or "")
    else:
        page = Page(text=(decode(body, "utf-8") or "").strip())
    if not page.text:
        bad(place, "no main text in the page")
        return None
    url = (record.headers.get("WARC-Target-URI") or "").strip("<>")
    unique = (record.record_id or "").strip("<>").removeprefix("urn:uuid:").lower() or f"byte-{offset}"
    meta: dict[str, Any] = {"type": "page", "url": url}
    if record.record_date is not None:
        meta["date"] = record.record_date.isoformat()
    return Document(
        id=f"{file}#{unique}", text=page.text, name=page.title or url, group=_host(url) or file, file=file, meta=meta,
        licence=page.licence,
    )  # fmt: skip


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


class _Window:
    """The bytes at hand of an unpacked file, up to its end or to damage."""

    def __init__(self, pieces: Iterator[bytes | None]) -> None:
        self._pieces = pieces
        self.data = bytearray()
        self.at = 0
        self.over = self.broken = False

    def more(self) -> bool:
        """Read on; False at the end of the file (`over`) and at damage (`broken`)."""
        if self.over or self.broken:
            return False
        for piece in self._pieces:
            if piece is None:
                self.broken = True
                return False
            if piece:
                self.data += piece
                return True
        self.over = True
        return False

    def upto(self, size: int) -> bool:
        """Whether so many bytes are at hand."""
        while len(self.data) < size:
            if not self.more():
                return False
        return True

    def drop(self, count: int) -> None:
        count = min(count, len(self.data))
        del self.data[:count]
        self.at += count


def _records(file: File, bad: Bad) -> Iterator[tuple[int, bytes]]:
    """(byte where it begins, bytes) of every record whose length is right."""
    window = _Window(file.pieces(bad))
    while True:
        while _next(window):
            header = _header(window)
            place = f"{file.name}, byte {window.at}"
            length = LENGTH.search(window.data, 0, header) if header else None
            end = header + int(length[1]) if length else 0
            if length is None:
                problem = "the record has no Content-Length"
            elif end - header > MAX_RECORD:
                problem = f"the record is larger than {MAX_RECORD >> 20} MiB"
            elif not window.upto(end):
                problem = "the record ends early, or its Content-Length is wrong"
            elif not _closed(window, end):
                problem = "the Content-Length of the record is wrong"
            else:
                yield window.at, bytes(memoryview(window.data)[:end])
                window.drop(end)
                continue
            if not window.broken:  # what damage cut off was named already
                bad(place, problem)
            window.drop(max(header, 5))
        if window.over:
            return
        window.drop(len(window.data))
        window.broken = False


def _next(window: _Window) -> bool:
    """Drop what stands before the next record."""
    while True:
        match = BEGIN.search(window.data)
        if match:
            window.drop(match.start())
            return True
        window.drop(max(len(window.data) - 128, 0))  # the beginning of one may stand at the end
        if not window.more():
            return False


def _header(window: _Window) -> int:
    """Bytes of the record's header with the empty line after it, 0 where it does not end."""
    while True:
        match = END.search(window.data, 0, MAX_HEADER)
        if match or len(window.data) >= MAX_HEADER or not window.more():
            return match.end() if match else 0


def _closed(window: _Window, end: int) -> bool:
    """Whether nothing but newlines stands between the record's end and the next record, or the end of the file."""
    window.upto(end + 16)
    rest = bytes(window.data[end : end + 16])
    after = rest.lstrip(b"\r\n")
    return len(after) < len(rest) and after.startswith(b"WARC/") if after else True
