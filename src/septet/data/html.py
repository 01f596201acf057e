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

MAX_PAGE = 8 << 20  # bytes; Common Crawl keeps no more than 5 MiB of a page
MAX_DEPTH = 512  # elements inside one another: the time of the extraction grows with their number times their depth
_TAG = re.compile(r"<(/?)([a-zA-Z][\w-]*)")
# elements that have no end, or whose end people leave out
_UNCLOSED = frozenset(
    "area base br col colgroup dd dt embed hr img input li link meta option p param rp rt source tbody td tfoot th thead"
    " tr track wbr".split()
)
MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CREATIVE_COMMONS = re.compile(r"//creativecommons\.org/(licenses|publicdomain)/([a-z-]+)/(\d\.\d)")


@dataclass(frozen=True, slots=True)
class Page:
    """What a page says: its title, its main text, and the SPDX name of its licence, each "" where there is none."""

    title: str = ""
    text: str = ""
    licence: str = ""


def read_page(raw: bytes, declared: str = "") -> Page:
    """Read a page of HTML. `declared` is the charset that the server gave, "" for none.

    Errors: ValueError for what cannot be parsed, is larger than 8 MiB, or would take too long.
    """
    if len(raw) > MAX_PAGE:
        raise ValueError(f"larger than {MAX_PAGE >> 20} MiB")
    extract, html = need("resiliparse.extract.html2text", "corpus"), need("resiliparse.parse.html", "corpus")  # 30 ms
    written = _text(raw, declared)
    if _depth(written) > MAX_DEPTH:
        raise ValueError(f"elements are nested more than {MAX_DEPTH} deep")
    tree = html.HTMLTree.parse(written)
    text = extract.extract_plain_text(tree, main_content=True, preserve_formatting=True, alt_texts=False).strip()
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


def _depth(written: str) -> int:
    """How deep elements are nested at most, counted by their tags."""
    depth = deepest = 0
    for match in _TAG.finditer(written):
        if match[2].lower() not in _UNCLOSED:
            depth = max(depth - 1, 0) if match[1] else depth + 1
            deepest = max(deepest, depth)
    return deepest


def _text(raw: bytes, declared: str) -> str:
    encoding = need("resiliparse.parse.encoding", "corpus")
    if declared and not raw.startswith(MARKS):
        name = encoding.map_encoding_to_html5(declared)  # as browsers do: latin-1 is cp1252, what is unknown is UTF-8
    else:
        name = encoding.detect_encoding(raw, from_html_meta=True)
    return encoding.bytes_to_str(raw, name)
