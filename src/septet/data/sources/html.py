"""Pages of HTML: the main text of each, without navigation, headers and footers.

The title is the document's name. The encoding is the page's own: its byte-order mark, what its `meta` says, or a guess from the
bytes. It fetches nothing and runs no scripts; pages of a crawl are read by `warc`.

    septet corpus --source '{kind: html, path: site/}'
"""

from __future__ import annotations

from collections.abc import Iterator

from septet.data.documents import Document
from septet.data.files import File, FileSource, Pattern
from septet.data.html import read_page
from septet.data.source import Bad

__all__ = ["Html"]


class Html(FileSource):
    """Documents from HTML files."""

    pattern: Pattern = "**/*.{html,htm,xhtml}*"
    """Which files of the folder or archive are read: `*` within a name, `**/` any folders, `{a,b}` either."""

    def documents(self, file: File, bad: Bad) -> Iterator[Document]:
        """One document, or none where the page has no main text."""
        raw = file.whole(bad)
        if raw is None:
            return
        try:
            page = read_page(raw)
        except ValueError as error:
            bad(file.name, f"not HTML that can be read ({error})")
            return
        if not page.text:
            bad(file.name, "no main text in the page")
            return
        name = file.name
        yield Document(
            id=name, text=page.text, name=page.title or name, group=name, file=name, line=1, licence=page.licence,
            meta={"type": "page"},
        )  # fmt: skip
