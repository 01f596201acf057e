"""HTML and SVG from plain calls, escaped by default.

`tag("p", text, class_="note")` escapes every text and every attribute; only what `tag` made is taken as it is. There is no way to
insert ready HTML from outside, so nothing that a corpus or a model wrote can become markup.

What it is not: a template language.

    python -m pytest tests/ops/test_report.py
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

__all__ = ["Markup", "document", "join", "table", "tag"]

_VOID = frozenset({"br", "hr", "img", "link", "meta"})
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
"""Characters that HTML does not admit; shown as the replacement character."""


class Markup(str):
    """Text that is HTML already. Only this module makes it."""

    __slots__ = ()


Child = Any  # text, a number, Markup, None (nothing), or an iterable of these


def tag(name: str, /, *children: Child, **attributes: Any) -> Markup:
    """Return an element. A trailing `_` of an attribute's name is dropped and inner ones become `-`; None leaves it out."""
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_clean(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{shown}>")
    return Markup(f"<{name}{shown}>{join(*children)}</{name}>")


def join(*children: Child) -> Markup:
    """Return the children one after the other, escaped unless they are Markup."""
    parts = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Markup):
            parts.append(str(child))
        elif isinstance(child, Iterable) and not isinstance(child, str):
            parts.append(str(join(*child)))
        else:
            parts.append(_clean(str(child)))
    return Markup("".join(parts))


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], caption: str, *, numbers: Collection[int] = ()) -> Markup:
    """Return a table whose first column names its rows; `numbers`: the columns that are set to the right."""

    def style(column: int) -> str | None:
        return "n" if column in numbers else None

    top = tag("tr", *(tag("th", text, scope="col", class_=style(i)) for i, text in enumerate(head)))
    body = [
        tag(
            "tr",
            tag("th", row[0], scope="row"),
            *(tag("td", cell, class_=style(i)) for i, cell in enumerate(row[1:], 1)),
        )
        for row in rows
    ]
    return tag("table", tag("caption", caption), tag("thead", top), tag("tbody", *body))


def document(title: str, *body: Child) -> str:
    """Return a whole page, with the reports' style sheet in it; it needs no other file."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        # the style sheet is ours and holds no markup, so it goes in as it is
        Markup(f"<style>{Path(__file__).with_name('page.css').read_text(encoding='utf-8')}</style>"),
    )
    return f"<!doctype html>\n{tag('html', head, tag('body', *body), lang='en')}\n"


def _clean(text: str) -> str:
    return escape(_FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text), quote=True)
