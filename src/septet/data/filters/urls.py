"""Drops documents that come from the web domains of a list, subdomains too.

The list is a file with a domain a line ("example.com"); text after "#" is a comment, and lines of a hosts file ("0.0.0.0
example.com") are understood. A document's address is its `meta["url"]`. Paths and words in addresses are not looked at, and no list
comes with it.

    septet corpus --source '{kind: jsonl, path: pages.jsonl}' --filters '{kind: urls, block: domains.txt}'
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal
from urllib.parse import urlsplit

from pydantic import PrivateAttr

from septet.core.component import InputPath
from septet.core.errors import DataError
from septet.data.documents import Document
from septet.data.filter import Drop, Filter
from septet.data.quality import read_list

__all__ = ["Urls"]

_DOMAIN = re.compile(r"[^\s/:@?#]+")
_ADDRESS = re.compile(r"(?:\d+\.){3}\d+|[0-9a-f:]*::[0-9a-f:]*")


class Urls(Filter):
    """A block list of domains."""

    block: InputPath
    """The list, a domain a line; "example.com" also stands for "www.example.com", and "com" for all of .com."""
    without_url: Literal["keep", "drop"] = "keep"
    """What happens to documents without an address."""

    _domains: frozenset[str] | None = PrivateAttr(default=None)

    def apply(self, docs: Iterable[Document], drop: Drop) -> Iterator[Document]:
        """Errors: DataError, with the row, for a line of the list that is not a domain."""
        if self._domains is None:
            self._domains = _read(self.block)
        blocked = self._domains
        for doc in docs:
            host = _host(doc.meta.get("url"))
            if not host:
                if self.without_url == "drop":
                    drop(doc, "no address")
                else:
                    yield doc
            elif any(domain in blocked for domain in _upwards(host)):
                drop(doc, "domain on the block list")
            else:
                yield doc


def _read(path: str) -> frozenset[str]:
    domains = set()
    for row, line in enumerate(read_list(path), start=1):
        entry = line.partition("#")[0].split()
        if len(entry) == 2 and _ADDRESS.fullmatch(entry[0]):
            entry = entry[1:]
        if not entry:
            continue
        if len(entry) != 1 or not _DOMAIN.fullmatch(entry[0]):
            raise DataError(
                f"{line.strip()[:80]!r} is not a domain; one such as example.com is expected.", file=path, row=row
            )
        domains.add(_plain(entry[0]))
    return frozenset(domains)


def _host(url: object) -> str:
    """The host of an address in the form of the list, or "".

    >>> _host("HTTPS://user@www.Example.com.:8080/a?b"), _host("example.com/a"), _host("//[broken")
    ('www.example.com', 'example.com', '')
    """
    if not isinstance(url, str) or not url.strip():
        return ""
    url = url.strip()
    try:
        return _plain(urlsplit(url if "//" in url.partition("?")[0] else f"//{url}").hostname or "")
    except ValueError:  # not an address after all
        return ""


def _plain(domain: str) -> str:
    """Small letters, no dot at the end, and the ASCII form of an international name."""
    domain = domain.lower().strip(".")
    if domain.isascii():
        return domain
    try:
        return domain.encode("idna").decode()
    except UnicodeError:
        return domain


def _upwards(host: str) -> Iterator[str]:
    """A host and everything above it: a.b.c, b.c, c."""
    yield host
    while "." in host:
        host = host.partition(".")[2]
        yield host
