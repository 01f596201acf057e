"""One's own files: every .txt and .md below a folder; Markdown is cut at its headings.

A section is named by its headings, "Guide > Installing > Linux"; a text file by its path. Hidden files and folders are not
read, nor is anything that a link points to outside the folder; files that are not UTF-8 are left out and named in the
corpus report. It reads no PDF and no office formats: convert them to text first.

    septet corpus --source '{kind: folder, path: docs/}'
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from septet.core.component import InputPath
from septet.core.errors import DataError
from septet.data.documents import Document
from septet.data.source import Bad, Source, stop

__all__ = ["Folder", "sections"]

SUFFIXES = (".md", ".markdown", ".txt")


class Folder(Source):
    """Documents from text and Markdown files."""

    path: InputPath
    """The folder."""

    def read(self, part: str = "", *, bad: Bad = stop) -> Iterator[Document]:
        """Sections of Markdown files and whole text files, in the order of the paths. Errors: DataError for no files."""
        root = Path(self.path)
        files, skipped = self._files()
        if not files:
            named = "".join(f" {name}: {reason}." for name, reason in skipped[:5])
            raise DataError(f"The folder has no .txt or .md file that can be read.{named}", file=root)
        for place, reason in skipped:
            bad(place, reason)
        for relative in files:
            try:
                text = (root / relative).read_bytes().decode("utf-8-sig")
            except UnicodeDecodeError as error:
                bad(relative, f"not UTF-8 ({error.reason} at byte {error.start})")
                continue
            text = text.replace("\r\n", "\n").replace("\r", "\n")
            if relative.endswith(".txt"):
                meta = {"type": "text", "doc": text}
                yield Document(id=relative, text=text, name=relative, group=relative, file=relative, line=1, meta=meta)
            else:
                yield from _markdown(relative, text)

    def fingerprint(self) -> str:
        """Hash of the relative names and bytes of the files read."""
        total = hashlib.sha256()
        for relative in self._files()[0]:
            total.update(relative.encode("utf-8", "surrogateescape") + b"\0")
            total.update(hashlib.sha256(Path(self.path, relative).read_bytes()).digest())
        return total.hexdigest()

    def identity(self, ids: Mapping[str, str] | None = None) -> dict[str, Any]:
        """As for any component, without the hash of the folder: the fingerprint covers the files that are read."""
        return {key: value for key, value in super().identity(ids).items() if key != "path"}

    def _files(self) -> tuple[list[str], list[tuple[str, str]]]:
        root = Path(self.path)
        if not root.is_dir():
            raise DataError(
                "This is a file; the source 'folder' expects a folder (for rows of JSON use 'jsonl').", file=root
            )
        real_root = root.resolve()
        found, skipped = [], []
        for folder, folders, files in os.walk(root):  # links to folders are not followed
            here = Path(folder)
            for name in sorted(folders):
                if not name.startswith(".") and (here / name).is_symlink():
                    skipped.append(((here / name).relative_to(root).as_posix(), "a link to a folder"))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                path = here / name
                if name.startswith(".") or path.suffix.lower() not in SUFFIXES:
                    continue
                relative = path.relative_to(root).as_posix()
                if path.is_symlink() and not path.resolve().is_relative_to(real_root):
                    skipped.append((relative, "a link that leads outside the folder"))
                elif not path.is_file():
                    skipped.append((relative, "not a file, or a link to nothing"))
                else:
                    found.append(relative)
        return sorted(found), skipped


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
        heading = re.match(r" {0,3}(#{1,6})(?:[ \t]+(.*?))??(?:[ \t]+#+)?[ \t]*$", line)
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
