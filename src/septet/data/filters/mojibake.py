"""Repairs text that was decoded with the wrong encoding ("doesnâ€™t" for "doesn't"), and nothing else.

HTML entities, straight and curly quotes, ligatures, control characters and newlines stay as they are unless a field says otherwise,
so that code keeps its meaning. What was lost in the wrong decoding cannot be brought back: it becomes U+FFFD, the sign for an
unknown character. Lines with nothing beyond ASCII but typographic quotes, dashes and dots are passed over.

    septet corpus --source '{kind: jsonl, path: rows.jsonl}' --filters mojibake --filters normalise
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from septet.core.extras import need
from septet.data.documents import Document
from septet.data.filter import Drop, Filter, count

__all__ = ["Mojibake"]

_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
# Without any other character beyond ASCII, these are no sign of a wrong decoding: ftfy's pattern for such signs needs one.
_ODD = re.compile(r"[^\x00-\x7f\u2013\u2014\u2018\u2019\u201c\u201d\u2022\u2026]")


class Mojibake(Filter):
    """ftfy with its gentlest settings."""

    html_entities: bool = False
    """Also turn &amp; and the like into their characters."""
    straight_quotes: bool = False
    """Also turn curly quotes into straight ones."""
    plain_letters: bool = False
    """Also turn ligatures and full-width letters into plain ones."""

    def fingerprint(self) -> str:
        """The version of ftfy, whose rules change. Errors: SeptetError where it is not installed."""
        return f"ftfy {need('ftfy', 'corpus').__version__}"

    def apply(self, docs: Iterable[Document], drop: Drop) -> Iterator[Document]:
        """Counts the lines that it changed. Errors: SeptetError where ftfy is not installed."""
        repair = self._repair()
        for doc in docs:
            mended = doc.with_text(repair)
            if mended.text != doc.text:
                lines = zip(doc.text.split("\n"), mended.text.split("\n"), strict=True)
                count(drop, "lines repaired", sum(before != after for before, after in lines))
            yield mended

    def _repair(self) -> Callable[[str], str]:
        """What mends a text, line by line."""
        ftfy = need("ftfy", "corpus")  # 60 ms
        config = ftfy.TextFixerConfig(
            unescape_html=self.html_entities,
            uncurl_quotes=self.straight_quotes,
            fix_latin_ligatures=self.plain_letters,
            fix_character_width=self.plain_letters,
            remove_terminal_escapes=False,
            fix_line_breaks=False,
            remove_control_chars=False,
            normalization=None,
            explain=False,
        )

        odd = _BEYOND_ASCII if self.straight_quotes else _ODD

        def line(text: str) -> str:
            return ftfy.fix_text(text, config) if self.html_entities or odd.search(text) else text

        def lines(text: str) -> str:
            if text.isascii() and not self.html_entities:  # known at once: Python keeps it with the text
                return text
            return "\n".join(map(line, text.split("\n")))

        return lines
