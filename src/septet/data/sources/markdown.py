"""Markdown files: cut at the headings, one document a section.

A section is named by its headings from the outermost in, "Guide > Installing > Linux", and its text begins with that name. Both
forms of headings count (# and underlined); what stands in fenced code or front matter is no heading. Links and emphasis stay
as they are written.

    septet corpus --source '{kind: markdown, path: docs/}'
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from septet.data.documents import Document
from septet.data.files import Encoding, File, FileSource, Pattern, decode, newlines, not_text
from septet.data.source import Bad

__all__ = ["Markdown", "sections"]


LONGEST = 1000  # characters of a heading; looking for one takes time that grows with the square


class Markdown(FileSource):
    """Documents from the sections of Markdown files."""

    pattern: Pattern = "**/*.{md,markdown}*"
    """Which files of the folder or archive are read: `*` within a name, `**/` any folders, `{a,b}` either."""
    encoding: Encoding = "utf-8"
    """What the text is where it has no byte-order mark and is not UTF-8."""

    def documents(self, file: File, bad: Bad) -> Iterator[Document]:
        """Every section that has text; the group of each is its file."""
        raw = file.whole(bad)
        if raw is None:
            return
        text = decode(raw, self.encoding)
        if text is None:
            bad(file.name, not_text(raw, self.encoding))
            return
        yield from _markdown(file.name, newlines(text))


def _markdown(relative: str, text: str) -> Iterator[Document]:
    used: dict[str, int] = {}
    for headings, line, body in sections(text):
        name = " > ".join(headings) or relative
        slug = "/".join(re.sub(r"[^\w]+", "-", heading.lower()).strip("-") for heading in headings)
        doc_id = f"{relative}#{slug}" if slug else relative
        used[doc_id] = used.get(doc_id, 0) + 1
        if used[doc_id] > 1:
            doc_id = f"{doc_id}-{used[doc_id]}"
        yield Document(
            id=doc_id, text=f"{name}\n\n{body}" if headings else body, name=name, group=relative, file=relative, line=line,
            meta={"type": "section", "doc": body},
        )  # fmt: skip


def sections(text: str) -> list[tuple[tuple[str, ...], int, str]]:
    """(headings from the outermost in, line of the innermost, body) of every section with a body.

    Both forms of headings count (# and underlined); what stands in fenced code or front matter is no heading.
    """
    lines = text.split("\n")
    start = 0
    if lines[0].strip() == "---":
        closing = next((i for i, line in enumerate(lines[1:], start=1) if line.strip() in ("---", "...")), None)
        start = closing + 1 if closing is not None else 0
    found: list[tuple[tuple[str, ...], int, str]] = []
    stack: list[tuple[int, str]] = []
    body: list[str] = []
    line_of_heading = start + 1
    fence = ""

    def close() -> None:
        content = "\n".join(body).strip("\n")
        if content.strip():
            found.append((tuple(title for _, title in stack), line_of_heading, content))
        body.clear()

    for number, line in enumerate(lines[start:], start=start + 1):
        marker = re.match(r" {0,3}(`{3,}|~{3,})", line)
        if fence:
            if marker and marker.group(1).startswith(fence) and not line.strip(" `~"):
                fence = ""
            body.append(line)
            continue
        if marker:
            fence = marker.group(1)
            body.append(line)
            continue
        title, level = "", 0
        heading = len(line) <= LONGEST and re.match(r" {0,3}(#{1,6})(?:[ \t]+(.*?))??(?:[ \t]+#+)?[ \t]*$", line)
        underline = re.match(r" {0,3}(=+|-+)[ \t]*$", line)
        at = number
        if heading and (heading.group(2) or "").strip():
            title, level = heading.group(2).strip(), len(heading.group(1))
        elif underline and body and body[-1].strip() and not re.match(r"\s*([-*+>|#]|\d+[.)])", body[-1]):
            before = body[-2] if len(body) > 1 else ""
            if not before.strip():
                title, level = body.pop().strip(), 1 if underline.group(1).startswith("=") else 2
                at = number - 1
        if not title:
            body.append(line)
            continue
        close()
        while stack and stack[-1][0] >= level:
            stack.pop()
        stack.append((level, title))
        line_of_heading = at
    close()
    return found
