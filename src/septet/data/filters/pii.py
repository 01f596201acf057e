"""Finds personal data: redacts it, masks it, replaces it by a keyed hash, drops its document, or only counts it.

Kinds: e-mail addresses (the default), telephone numbers, IP addresses, IBANs, payment cards, national numbers, secrets such as
keys, and names where a recogniser is given; how each is found is told in `septet.data.personal`. What is spelt out ("name at
example dot org") or broken over lines is not found, nor are postal addresses; a text without hits is not thereby anonymous. An
index keeps the text as read.

    septet corpus --source python-docs --filters '{kind: pii, kinds: [email, phone], on_match: {email: redact, phone: mask}}'
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal, Self, get_args

from pydantic import Field, PrivateAttr, field_validator, model_validator

from septet.core.component import InputPath, RecogniserRef
from septet.core.errors import ComponentError, DataError
from septet.data.documents import Document
from septet.data.filter import Drop, Filter, count
from septet.data.personal import Finder, Hit, Kind

__all__ = ["Mode", "Pii", "mask"]

Mode = Literal["redact", "mask", "hash", "drop", "keep"]
SALT_BYTES = 16
CALLED: dict[Kind, str] = {
    "email": "an e-mail address",
    "phone": "a telephone number",
    "ip": "an IP address",
    "iban": "an IBAN",
    "card": "a card number",
    "national-id": "a national number",
    "secret": "a secret",
    "name": "a name",
}


class Pii(Filter):
    """What personal data is looked for, and what is done with it."""

    version: ClassVar[int] = 2  # meta says how many hits of each kind there are, not only how many e-mail addresses

    kinds: tuple[Kind, ...] = Field(default=("email",), min_length=1)
    """What is looked for. "name" needs a recogniser."""
    on_match: Mode | dict[Kind, Mode] = "redact"
    """One for all kinds, or by kind (kinds that are not named are redacted). redact: "[email]". mask: "j***@e***.org", the shape
    stays. hash: "[email:3f2a90c41b7d]", the same value gives the same token. drop: leave the document out. keep: count only."""
    regions: tuple[str, ...] = Field(default=("US",), min_length=1)
    """Telephone numbers without a country code are read as people there dial them, such as US, GB, DE; each costs time."""
    phones: Literal["valid", "possible"] = "valid"
    """valid: numbers that the numbering plan assigns. possible: every number of a usual length; many that are none."""
    ips: Literal["public", "all"] = "public"
    """public: addresses that are reached from everywhere. all: private and reserved ones too."""
    recogniser: RecogniserRef | None = None
    """The recogniser that finds names."""
    name_labels: tuple[str, ...] = ("name", "PER", "PERSON", "person")
    """What the recogniser calls a person's name; of these it must know at least one."""
    salt: InputPath | None = None
    """A file with the secret key of "hash", 16 bytes or more, best random ones: who has it can test whether somebody occurs."""

    _finder: Finder | None = PrivateAttr(default=None)

    @field_validator("kinds")
    @classmethod
    def _each_once(cls, kinds: tuple[Kind, ...]) -> tuple[Kind, ...]:
        return tuple(dict.fromkeys(kinds))

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        if "name" in self.kinds and self.recogniser is None:
            raise ValueError("the kind 'name' needs a recogniser; name one: recogniser: $names")
        if not isinstance(self.on_match, str):
            unused = sorted(set(self.on_match) - set(self.kinds))
            if unused:
                raise ValueError(
                    f"on_match speaks of {', '.join(unused)}, which kinds does not list: {', '.join(self.kinds)}."
                )
        if "hash" in map(self.mode, self.kinds) and self.salt is None:
            raise ValueError("the mode 'hash' needs a key; name a file that holds it: salt: pii.key")
        return self

    def mode(self, kind: Kind) -> Mode:
        """What is done with hits of a kind."""
        return self.on_match if isinstance(self.on_match, str) else self.on_match.get(kind, "redact")

    def given(self, folders: Mapping[str, Path]) -> None:
        """Errors: StoreError where the folder holds no recogniser; ComponentError where it knows no names."""
        if self.recogniser is None or "name" not in self.kinds:
            return
        from septet.data.tagger import Tagger  # numpy takes 0.1 s to import, and most recipes look for addresses only

        tagger, wanted = Tagger.open(folders[self.recogniser]), frozenset(self.name_labels)
        if not wanted & set(tagger.entities):
            raise ComponentError(
                f"The recogniser knows {', '.join(tagger.entities)}, and none of name_labels ({', '.join(self.name_labels)})."
            )
        self._finder = self._looking(lambda text: [(e.start, e.end) for e in tagger.find(text) if e.label in wanted])

    def _looking(self, names: Callable[[str], list[tuple[int, int]]] | None = None) -> Finder:
        return Finder(self.kinds, regions=self.regions, phones=self.phones, ips=self.ips, names=names)

    def apply(self, docs: Iterable[Document], drop: Drop) -> Iterator[Document]:
        """meta["pii"] of a document with hits is their number by kind. Errors: ComponentError for an unknown region; DataError
        for a key that is too short."""
        finder, change = self._finder or self._looking(), self._changer()
        for doc in docs:
            hits = finder.find(doc.text)
            found = Counter(hit.kind for hit in hits)
            for kind in sorted(found):
                count(drop, kind, found[kind])
            reason: Kind | None = next(
                (kind for kind in self.kinds if kind in found and self.mode(kind) == "drop"), None
            )
            if reason is not None:
                # the report shows examples of what was dropped: not with what it was dropped for
                drop(doc.with_text(lambda text: _replace(text, finder.find(text), _redact)), f"holds {CALLED[reason]}")
            elif found:
                changed = doc.with_text(lambda text: _replace(text, finder.find(text), change))
                yield replace(changed, meta={**changed.meta, "pii": dict(sorted(found.items()))})
            else:
                yield doc

    def _changer(self) -> Callable[[str, Kind], str]:
        """What is written in place of a value of a kind."""
        key = self._key()
        by_mode: dict[Mode, Callable[[str, Kind], str]] = {
            "redact": _redact,
            "mask": mask,
            "hash": lambda value, kind: f"[{kind}:{_token(value, kind, key)}]",
            "keep": lambda value, kind: value,
        }
        return lambda value, kind: by_mode[self.mode(kind)](value, kind)

    def _key(self) -> bytes:
        if self.salt is None:
            return b""
        key = Path(self.salt).read_bytes().strip()
        if len(key) < SALT_BYTES:
            raise DataError(f"The key has {len(key)} bytes; {SALT_BYTES} or more are expected.", file=self.salt)
        return key


def _replace(text: str, hits: Iterable[Hit], change: Callable[[str, Kind], str]) -> str:
    parts, end = [], 0
    for hit in hits:
        parts += [text[end : hit.start], change(text[hit.start : hit.end], hit.kind)]
        end = hit.end
    return "".join([*parts, text[end:]])


def _redact(value: str, kind: Kind) -> str:
    return f"[{kind}]"


def mask(value: str, kind: Kind) -> str:
    """The value with its letters and digits hidden, so that its shape stays.

    Of an e-mail address the first letters and the top-level domain stay, of cards and IBANs the last four characters, of names the
    initials.

    >>> mask("jane@example.org", "email"), mask("4111 1111 1111 1111", "card"), mask("Jane Doe", "name")
    ('j***@e***.org', '**** **** **** 1111', 'J*** D**')
    """
    if kind == "email":
        local, _, domain = value.rpartition("@")
        return f"{local[:1]}***@{domain[:1]}***.{domain.rpartition('.')[2]}"
    if kind == "name":
        return re.sub(r"(?<=\w)\w", "*", value)
    last = r"(?=(?:\W*\w){4})" if kind in ("card", "iban") else ""
    return re.sub(rf"\w{last}", "*", value)


def _token(value: str, kind: Kind, key: bytes) -> str:
    """HMAC-SHA-256 of the kind and the value, 48 bits of it. How a number is spaced, and the case of an address, change nothing."""
    plain = " ".join(value.split()) if kind in ("name", "secret") else re.sub(r"[\s().\-]", "", value).lower()
    if kind in ("email", "ip"):
        plain = value.lower()
    return hmac.new(key, f"{kind}\0{plain}".encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:12]


assert set(CALLED) == set(get_args(Kind))
