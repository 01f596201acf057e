"""The main text of a page of HTML, shared by the sources `html` and `warc`.

`resiliparse` parses the page and leaves out navigation, headers, footers and scripts. What this adds is the page's encoding
(byte-order mark, what the server or the page says, else detection), its title, and the Creative Commons licence that it links
to with `rel="license"`.

What it is not: a browser. Text that scripts would write is not there.

    python -c "from septet.data.html import read_page; print(read_page(b'<title>A</title><article>Some text.</article>'))"
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from septet.core.extras import need

__all__ = ["Page", "read_page"]

_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]{1,40})""", re.IGNORECASE)
_CREATIVE_COMMONS = re.compile(r"//creativecommons\.org/(licenses|publicdomain)/([a-z-]+)/(\d\.\d)")
_HEAD = 4096  # bytes of a page in which its charset may stand (the HTML standard asks for the first 1024)


@dataclass(frozen=True, slots=True)
class Page:
    """What a page says: its title, its main text, and the SPDX name of its licence, each "" where there is none."""

    title: str = ""
    text: str = ""
    licence: str = ""


def read_page(raw: bytes, declared: str = "") -> Page:
    """Read a page of HTML. `declared` is the charset that the server gave, "" for none.

    Errors: ValueError for what cannot be parsed.
    """
    need("resiliparse", "corpus")
    from resiliparse.extract.html2text import extract_plain_text  # 30 ms
    from resiliparse.parse.html import HTMLTree

    tree = HTMLTree.parse(_text(raw, declared))
    text = extract_plain_text(tree, main_content=True, preserve_formatting=True, alt_texts=False).strip()
    links = tree.document.query_selector_all('a[rel~="license"], link[rel~="license"]') if tree.document else ()
    licences = {_licence(link.getattr("href") or "") for link in links} - {""}
    return Page(
        title=" ".join((tree.title or "").split()), text=text, licence=licences.pop() if len(licences) == 1 else ""
    )


def _licence(address: str) -> str:
    """CC-BY-SA-4.0 for https://creativecommons.org/licenses/by-sa/4.0/; "" for what is no such address."""
    match = _CREATIVE_COMMONS.search(address)
    if not match:
        return ""
    if match[1] == "publicdomain":
        return {"zero": f"CC0-{match[3]}", "mark": "CC-PDM-1.0"}.get(match[2], "")
    return f"CC-{match[2].upper()}-{match[3]}"


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
