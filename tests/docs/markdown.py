"""What the tests of the documentation read in a Markdown file: fences, links and headings.

What it is not: a Markdown parser; it knows what our pages use.

    python -m pytest tests/docs
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUN = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(p for d in ("guides", "learn") for p in sorted((ROOT / "docs" / d).glob("*.md"))),
]
"""Pages whose bash and python blocks are run."""
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]

LANGUAGES = frozenset({"bash", "python", "yaml", "json", "toml", "text", "make", "html", "diff"})


@dataclass(frozen=True)
class Fence:
    """A fenced block. info: what follows the opening fence; line: where its first line of content stands, from 1."""

    file: Path
    line: int
    info: str
    content: str

    @property
    def language(self) -> str:
        return self.info.split(" ", 1)[0]

    @property
    def note(self) -> str:
        """What follows the language: "", "not-run: reason", or "file: path" for a block that is a file."""
        return self.info.partition(" ")[2].strip()

    @property
    def place(self) -> str:
        return f"{self.file.relative_to(ROOT).as_posix()}:{self.line}"


def fences(file: Path) -> list[Fence]:
    """Return the fenced blocks of a file in order; a fence that never closes is an error."""
    found, opened = [], None
    lines = file.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines, start=1):
        mark = re.match(r" {0,3}(`{3,}|~{3,})(.*)$", line)
        if opened is None and mark:
            opened = (mark.group(1), mark.group(2).strip(), number + 1)
        elif opened is not None and mark and mark.group(1).startswith(opened[0]) and not mark.group(2).strip():
            content = "\n".join(lines[opened[2] - 1 : number - 1]) + "\n"
            found.append(Fence(file, opened[2], opened[1], content))
            opened = None
    assert opened is None, f"{file.name}: the fence opened before line {opened and opened[2]} is never closed"
    return found


def prose(file: Path) -> str:
    """Return a page without its fenced blocks; their lines are left empty, so that line numbers stay."""
    text = file.read_text(encoding="utf-8").split("\n")
    for fence in fences(file):
        for number in range(fence.line - 1, fence.line + fence.content.count("\n")):
            text[number - 1] = ""
    return "\n".join(text)


def links(file: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, target) of every link and picture of a page, code excepted."""
    for number, line in enumerate(prose(file).split("\n"), start=1):
        plain = re.sub(r"`[^`]*`", "", line)
        for found in re.finditer(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", plain):
            yield number, found.group(1) or found.group(2)


def anchors(file: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for line in prose(file).split("\n"):
        heading = re.match(r"#{1,6}\s+(.*)$", line)
        if heading:
            slug = re.sub(r"[^\w\- ]", "", heading.group(1).strip().lower()).replace(" ", "-")
            name, more = slug, 0
            while name in found:
                more += 1
                name = f"{slug}-{more}"
            found.add(name)
    return found
