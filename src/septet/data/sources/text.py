"""One's own plain text: one document a file, a line or a paragraph.

Text is UTF-8 unless a byte-order mark or `encoding` says otherwise. It looks for no structure; Markdown is cut at its headings
by `markdown`.

    septet corpus --source '{kind: text, path: novels/, licence: CC0-1.0}'
    septet corpus --source '{kind: text, path: wiki.txt.gz, split: line}'
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from septet.data.documents import Document
from septet.data.files import (
    MAX_RECORD,
    Encoding,
    File,
    FileSource,
    Pattern,
    decode,
    decode_line,
    is_wide,
    lines,
    newlines,
    not_text,
)
from septet.data.source import Bad

__all__ = ["Text"]


class Text(FileSource):
    """Documents from files of plain text."""

    pattern: Pattern = "**/*.{txt,text}*"
    """Which files of the folder or archive are read: `*` within a name, `**/` any folders, `{a,b}` either."""
    split: Literal["file", "line", "paragraph"] = "file"
    """What is one document: a file, a line that is not blank, or lines up to a blank one."""
    encoding: Encoding = "utf-8"
    """What the text is where it has no byte-order mark and is not UTF-8."""

    def documents(self, file: File, bad: Bad) -> Iterator[Document]:
        """Whole files, lines or paragraphs; the group of each is its file."""
        if self.split == "file":
            raw = file.whole(bad)
            text = None if raw is None else decode(raw, self.encoding)
            if text is not None:
                text, name = newlines(text), file.name
                yield Document(id=name, text=text, name=name, group=name, file=name, line=1, meta={"type": "text"})
            elif raw is not None:
                bad(file.name, not_text(raw, self.encoding))
            return
        for number, offset, raw in self._pieces(file, bad):
            text = decode_line(raw, self.encoding)
            if text is None:
                bad(file.place(number, offset), not_text(raw, self.encoding))
                continue
            doc_id = file.id(number, offset)
            line = 0 if file.end else number
            yield Document(
                id=doc_id, text=newlines(text), name=doc_id, group=file.name, file=file.name, line=line, meta={"type": "text"}
            )  # fmt: skip

    def can_cut(self, beginning: bytes) -> bool:
        """Lines may be read in parts where each ends with the byte of a newline."""
        return self.split == "line" and not is_wide(beginning, self.encoding)

    def _pieces(self, file: File, bad: Bad) -> Iterator[tuple[int, int, bytes]]:
        """(number of the first line, byte where it begins, bytes) of every line, or of every paragraph of lines."""
        every = lines(file, bad, encoding=self.encoding)
        if self.split == "line":
            yield from (item for item in every if item[2].strip())
            return
        first = (0, 0)
        held: list[bytes] = []
        size = 0
        for number, offset, raw in every:
            if raw.strip():
                first = first if held or size else (number, offset)
                size += len(raw) + 1
                if size > MAX_RECORD:
                    held.clear()
                else:
                    held.append(raw)
                continue
            if size > MAX_RECORD:
                bad(file.place(*first), f"the paragraph is longer than {MAX_RECORD >> 20} MiB")
            elif held:
                yield first[0], first[1], b"\n".join(held)
            held.clear()
            size = 0
        if size > MAX_RECORD:
            bad(file.place(*first), f"the paragraph is longer than {MAX_RECORD >> 20} MiB")
        elif held:
            yield first[0], first[1], b"\n".join(held)
