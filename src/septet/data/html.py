"""The main text of a page of HTML, shared by the sources `html` and `warc`.

`resiliparse` parses the page and leaves out navigation, headers, footers and scripts. What this adds is the page's encoding
(byte-order mark, what the server or the page says, else detection) and its title.

What it is not: a browser. Text that scripts would write is not there.

    python -c "from septet.data.html import main_text; print(main_text(b'<title>A</title><article>Some text.</article>'))"
"""

from __future__ import annotations

import codecs
import re

from septet.core.extras import need

__all__ = ["main_text"]

_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]{1,40})""", re.IGNORECASE)
_HEAD = 4096  # bytes of a page in which its charset may stand (the HTML standard asks for the first 1024)


def main_text(raw: bytes, declared: str = "") -> tuple[str, str]:
    """(title, main text) of a page. `declared` is the charset that the server gave, "" for none. Both may be empty.

    Errors: ValueError for what cannot be parsed.
    """
    need("resiliparse", "corpus")
    from resiliparse.extract.html2text import extract_plain_text  # 30 ms
    from resiliparse.parse.html import HTMLTree

    tree = HTMLTree.parse(_text(raw, declared))
    title = " ".join((tree.title or "").split())
    text = extract_plain_text(tree, main_content=True, preserve_formatting=True, alt_texts=False)
    return title, text.strip()


def _text(raw: bytes, declared: str) -> str:
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    for mark, name in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if raw.startswith(mark):
            return bytes_to_str(raw[len(mark) :], name)
    said = _CHARSET.search(raw, 0, _HEAD)
    for name in (declared, said[1].decode("ascii") if said else "", "utf-8"):
        try:
            # the web standard reads a page that says latin-1 as cp1252, and a page cannot say in ASCII that it is UTF-16
            name = {"iso-8859-1": "cp1252", "latin-1": "cp1252", "us-ascii": "cp1252"}.get(name.lower(), name)
            if name and not name.lower().startswith("utf-16"):
                return raw.decode(name)
        except (LookupError, UnicodeDecodeError):
            continue
    return bytes_to_str(raw, detect_encoding(raw))
