"""Personal data in a text: where it is, and of which kind. Patterns with checks; names are a recogniser's work.

    email         local@domain.tld                                     the top-level domain has letters
    phone         as phonenumbers (libphonenumber) reads it            "possible": length; "valid": the numbering plan
    ip            IPv4, IPv6                                           not a version number; public only, or all
    iban          ISO 13616                                            the country's length; remainder 1 of 97 (ISO 7064)
    card          12 to 19 digits                                      issuer's prefix and length; Luhn (ISO/IEC 7812-1)
    national-id   US SSN, UK NINO, Spanish DNI and NIE,                unassigned numbers (US, UK), check digits (the others)
                  German Steuer-ID, French NIR
    secret        user:password@ of a URL, private keys, keys of       what their owners say they begin with
                  AWS, GitHub, Google and Slack

What overlaps is decided once: the longest hit stays, among equals the one that comes first in `KINDS`. It finds nothing that is
spelt out or broken over lines, and no postal addresses.

    python -c "from septet.data.personal import Finder; print(Finder(('card',)).find('pay 4111 1111 1111 1111'))"
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, NamedTuple, get_args

from septet.core.errors import ComponentError, nearest
from septet.core.extras import need

__all__ = ["KINDS", "Finder", "Hit", "Kind"]

Kind = Literal["email", "secret", "iban", "card", "national-id", "ip", "phone", "name"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""In the order of precedence, among hits of equal length."""

Span = tuple[int, int]


class Hit(NamedTuple):
    """text[start:end] is personal data of this kind."""

    start: int
    end: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class Finder:
    """Looks for some kinds. names: gives the spans of names in a text; needed for the kind "name" only."""

    kinds: tuple[Kind, ...] = ("email",)
    regions: tuple[str, ...] = ("US",)
    phones: Literal["valid", "possible"] = "valid"
    ips: Literal["public", "all"] = "public"
    names: Callable[[str], Iterable[Span]] | None = None
    _by_kind: dict[Kind, Callable[[str], Iterable[Span]]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_kind", {kind: self._looking_for(kind) for kind in self.kinds})

    def _looking_for(self, kind: Kind) -> Callable[[str], Iterable[Span]]:
        if kind == "phone":
            return _phones(self.regions, self.phones)
        if kind == "ip":
            return partial(_ips, public=self.ips == "public")
        if kind == "name":
            assert self.names is not None, "names come from a recogniser"
            return self.names
        known = {"email": _emails, "secret": _secrets, "iban": _ibans, "card": _cards, "national-id": _national}
        return known[kind]

    def find(self, text: str) -> list[Hit]:
        """The hits in the order of the text; none overlaps another."""
        hits = [Hit(start, end, kind) for kind, spans in self._by_kind.items() for start, end in spans(text)]
        if len(hits) > 1:
            hits.sort(key=lambda hit: (hit.start - hit.end, KINDS.index(hit.kind), hit.start))
            kept: list[Hit] = []
            taken = bytearray(len(text))
            for hit in hits:
                if not any(taken[hit.start : hit.end]):
                    taken[hit.start : hit.end] = b"\1" * (hit.end - hit.start)
                    kept.append(hit)
            hits = sorted(kept)
        return hits


# -- e-mail -------------------------------------------------------------------------------------------------------------

_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_EMAIL = re.compile(
    rf"(?<![\w.+%-])(?P<local>[\w!#$%&'*+/=?^`{{|}}~-]+(?:\.[\w!#$%&'*+/=?^`{{|}}~-]+)*)"
    rf"@(?P<domain>(?:{_LABEL}\.)+(?P<top>[^\W\d_]{{2,24}}|xn--[a-z0-9-]{{2,59}}))(?![\w-])",
    re.IGNORECASE,
)


# Each kind looks first for something that is cheap to find and that most texts lack: a pattern that begins with a digit runs at
# 50 MB/s and more, one that begins with a look behind at 10.


def _emails(text: str) -> Iterator[Span]:
    if "@" in text:
        yield from (match.span() for match in _EMAIL.finditer(text))


# -- numbers that are something else ------------------------------------------------------------------------------------

_CATALOGUE = re.compile(r"\bis[bs]n|\bdoi\b|\b10\.\d{4,9}/|\barxiv\b|\bpmid\b", re.IGNORECASE)
_VERSION = re.compile(
    r"(?:\bv|\b(?:versions?|ver|release[sd]?|builds?|firmware|driver|kernel|section|chapter|clause|rule|§)\b\.?)\W{0,3}$",
    re.IGNORECASE,
)
AROUND = 50
"""Characters before and after a number in which "ISBN", "DOI" and the like say that it is one of those."""


def _is_catalogue_number(text: str, span: Span) -> bool:
    start, end = span
    return bool(_CATALOGUE.search(text, max(0, start - AROUND), min(len(text), end + AROUND)))


# -- telephone ----------------------------------------------------------------------------------------------------------

# At least seven digits with what people put between them. libphonenumber is slow, so it reads nothing but these pieces.
_DIALLED = re.compile(
    r"(?<![\w.,@/=#$€£+-])[+(]?\d(?:[ \xa0().\-/]{0,3}\d){6,19}(?:\s?(?:x|ext\.?)\s?\d{1,6})?(?![\w%])", re.I
)
_SEVEN = re.compile(r"\d(?:[ \xa0().\-/]{0,3}\d){6}")
_NOT_DIALLED = re.compile(
    r"(?:19|20)\d\d[-/.](?:0?[1-9]|1[0-2])[-/.]\d"  # a date
    r"|\d{1,2}[/.]\d{1,2}[/.](?:19|20)\d\d"
    r"|(?:1[5-9]|20)\d\d\s?[-/]\s?(?:1[5-9]|20)\d\d(?!\d)"  # years from to
    r"|\d+\.\d+$"  # a decimal number
)


def _phones(regions: tuple[str, ...], leniency: str) -> Callable[[str], Iterator[Span]]:
    library = need("phonenumbers", "corpus")
    for region in regions:
        if region not in library.SUPPORTED_REGIONS:
            raise ComponentError(
                f"There is no telephone region {region!r}.{nearest(region, library.SUPPORTED_REGIONS)}"
            )
    level = library.Leniency.VALID if leniency == "valid" else library.Leniency.POSSIBLE

    def spans(text: str) -> Iterator[Span]:
        for match in _DIALLED.finditer(text) if _SEVEN.search(text) else ():
            start, piece = match.start(), match.group()
            if _NOT_DIALLED.match(piece) or _is_catalogue_number(text, match.span()):
                continue
            # an international number means the same from everywhere
            for region in regions[:1] if piece.startswith("+") else regions:
                for found in library.PhoneNumberMatcher(piece, region, leniency=level):
                    yield start + found.start, start + found.end

    return spans


# -- internet addresses -------------------------------------------------------------------------------------------------

_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = re.compile(rf"(?<![\w.])(?<![A-Za-z]-)(?:{_OCTET}\.){{3}}{_OCTET}(?![\w-]|\.\w)")
_IPV6 = re.compile(
    r"(?<![\w:.])(?:[0-9a-f]{1,4}:){2,7}(?::?[0-9a-f]{1,4}|:)(?:(?::[0-9a-f]{1,4}){0,5})(?![\w:])|"
    r"(?<![\w:.])[0-9a-f]{1,4}::(?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){0,5})(?![\w:])",
    re.IGNORECASE,
)


_DOTTED = re.compile(r"\d\.\d{1,3}\.\d{1,3}\.\d")
_COLONS = re.compile(r"::|:[0-9a-fA-F]{1,4}:")


def _ips(text: str, *, public: bool) -> Iterator[Span]:
    spans = [match.span() for match in _IPV4.finditer(text)] if _DOTTED.search(text) else []
    if _COLONS.search(text):
        spans += [match.span() for match in _IPV6.finditer(text) if _is_ipv6(match.group())]
    for start, end in spans:
        if _VERSION.search(text, max(0, start - 20), start) or _is_catalogue_number(text, (start, end)):
            continue
        if not public or ipaddress.ip_address(text[start:end]).is_global:
            yield start, end


def _is_ipv6(text: str) -> bool:
    """Whether it is an address, and not `dead::beef` of a program: whole, or of the ranges that are in use."""
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    first = text.split(":", 1)[0].lower()
    return text.count(":") == 7 or (len(first) == 4 and first[0] in "23") or first in ("fe80", "fc00", "fd00")


# -- bank accounts ------------------------------------------------------------------------------------------------------

# length by country, from the IBAN registry (ISO 13616)
_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK", 21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
        29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip
_IBAN = re.compile(r"(?<![\w])[A-Za-z]{2}\d{2}(?=[ -]?[A-Za-z0-9]{4}[ -]?[A-Za-z0-9]{4})")


_AFTER_COUNTRY = re.compile(r"\d\d[ -]?[A-Za-z0-9]{4}[ -]?[A-Za-z0-9]{4}")


def _ibans(text: str) -> Iterator[Span]:
    for match in _IBAN.finditer(text) if _AFTER_COUNTRY.search(text) else ():
        length = _IBAN_LENGTHS.get(match.group()[:2].upper())
        end = _take(text, match.start(), length) if length else None
        if end is not None and _mod_97(text[match.start() : end]) == 1:
            yield match.start(), end


def _take(text: str, start: int, count: int) -> int | None:
    """The end of `count` letters and digits with single spaces or hyphens between them, if a word ends there."""
    end = start
    while count:
        if end < len(text) and text[end] in " -" and end > start and text[end - 1] not in " -":
            end += 1
        if end >= len(text) or not (text[end].isascii() and text[end].isalnum()):
            return None
        end, count = end + 1, count - 1
    return end if end == len(text) or not (text[end].isalnum() or text[end] == "_") else None


def _mod_97(iban: str) -> int:
    """The remainder of ISO 7064 mod 97-10: the first four characters go last, letters are 10 to 35."""
    plain = re.sub("[ -]", "", iban).upper()
    return int("".join(str(int(letter, 36)) for letter in plain[4:] + plain[:4])) % 97


# -- payment cards ------------------------------------------------------------------------------------------------------

# in one piece, or in the groups that are printed on cards; each may begin where another ends, hence the look ahead
_CARDS = tuple(
    re.compile(rf"(?<![\w.,-])(?=({layout})(?![\w]|-\d|[.,]\d))")
    for layout in (
        r"\d{12,19}",
        r"\d{4}(?P<m>[ -])\d{4}(?P=m)\d{4}(?P=m)\d{4}",
        r"\d{4}(?P<m>[ -])\d{4}(?P=m)\d{4}(?P=m)\d{4}(?P=m)\d{3}",
        r"\d{4}(?P<m>[ -])\d{6}(?P=m)\d{4,5}",
    )
)
_EIGHT = re.compile(r"\d{4}[ -]?\d{4}")
# (first and last prefix, lengths), as the issuers publish them
_ISSUERS = tuple(
    (low, high, frozenset(lengths))
    for low, high, lengths in (
        ("4", "4", (13, 16, 19)), ("51", "55", (16,)), ("2221", "2720", (16,)), ("34", "34", (15,)), ("37", "37", (15,)),
        ("6011", "6011", range(16, 20)), ("644", "649", range(16, 20)), ("65", "65", range(16, 20)),
        ("300", "305", (14, 16)), ("36", "36", (14, 16)), ("38", "39", (14, 16)), ("3528", "3589", range(16, 20)),
        ("2131", "2131", (15,)), ("1800", "1800", (15,)), ("62", "62", range(16, 20)), ("2200", "2204", range(16, 20)),
        ("50", "50", range(12, 20)), ("56", "58", range(12, 20)), ("60", "69", range(12, 20)),
    )
)  # fmt: skip


def _cards(text: str) -> Iterator[Span]:
    for pattern in _CARDS if _EIGHT.search(text) else ():
        for match in pattern.finditer(text):
            digits = re.sub("[ -]", "", match[1])
            if _issued(digits) and _luhn(digits) and not _is_catalogue_number(text, match.span(1)):
                yield match.span(1)


def _issued(digits: str) -> bool:
    return any(low <= digits[: len(low)] <= high and len(digits) in lengths for low, high, lengths in _ISSUERS)


def _luhn(digits: str) -> bool:
    """Whether the sum ends in 0 when every second digit from the right is doubled, and 9 taken off above 9."""
    doubled = (int(digit) * 2 for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(n - 9 if n > 9 else n for n in doubled)) % 10 == 0


# -- national numbers ---------------------------------------------------------------------------------------------------

_SSN = re.compile(r"(?<![\w-])(?!000|666|9)\d{3}(?P<mark>[- ]?)(?!00)\d{2}(?P=mark)(?!0000)\d{4}(?![\w-]|[.,]\d)")
_SSN_NAMED = re.compile(r"\bssn\b|social security", re.IGNORECASE)
_NINO = re.compile(r"(?<!\w)(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d\d ?\d\d ?\d\d ?[A-D](?!\w)")
_DNI = re.compile(r"(?<![\w.-])(?:\d{8}|\d\d\.\d{3}\.\d{3}|[XYZ]-?\d{7})-?[A-Z](?!\w)")
_STEUER_ID = re.compile(r"(?<![\w.,+-])[1-9]\d( ?)\d{3}\1\d{3}\1\d{3}(?![\w-]|[.,]\d)")
_NIR = re.compile(
    r"(?<![\w.,+-])[12] ?\d\d ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d\d|2[AB]) ?\d{3} ?\d{3} ?\d\d(?![\w-]|[.,]\d)"
)


_SIX = re.compile(r"\d(?:[ .-]?\d){5}")


def _national(text: str) -> Iterator[Span]:
    if not _SIX.search(text):
        return
    for match in _SSN.finditer(text):
        # without its hyphens it is any nine digits, so the words before it must say what it is
        if match["mark"] == "-" or _SSN_NAMED.search(text, max(0, match.start() - 40), match.start()):
            yield match.span()
    for pattern, check in ((_NINO, None), (_DNI, _is_dni), (_STEUER_ID, _is_steuer_id), (_NIR, _is_nir)):
        for match in pattern.finditer(text):
            if check is None or check(re.sub("[ .-]", "", match.group())):
                yield match.span()


def _is_dni(plain: str) -> bool:
    """The letter is the number modulo 23; X, Y and Z of a foreigner's number stand for 0, 1 and 2."""
    number = int(plain[:-1].translate(str.maketrans("XYZ", "012")))
    return plain[-1] == "TRWAGMYFPDXBNJZSQVHLCKE"[number % 23]


def _is_steuer_id(plain: str) -> bool:
    """ISO 7064 mod 11,10; and of the first ten digits exactly one occurs twice or three times."""
    counts = [plain[:10].count(digit) for digit in set(plain[:10])]
    if sorted(counts)[-1] not in (2, 3) or sum(count > 1 for count in counts) != 1:
        return False
    product = 10
    for digit in plain[:10]:
        product = (((int(digit) + product) % 10 or 10) * 2) % 11
    return (11 - product) % 10 == int(plain[10])


def _is_nir(plain: str) -> bool:
    """The last two digits are 97 minus the rest modulo 97; Corsica's 2A and 2B count as 19 and 18."""
    number = int(plain[:13].replace("2A", "19").replace("2B", "18"))
    return 97 - number % 97 == int(plain[13:])


# -- secrets ------------------------------------------------------------------------------------------------------------

_SECRETS: tuple[tuple[tuple[str, ...], re.Pattern[str]], ...] = (
    (("://",), re.compile(r"(?<=://)[^\s/:@\"'<>]{1,64}:[^\s/@\"'<>]{1,128}(?=@[\w\[])")),
    (
        (" PRIVATE KEY-----",),
        re.compile(
            r"-----BEGIN (?:[A-Z]{2,10} )?PRIVATE KEY-----[\s\S]{1,8000}?-----END (?:[A-Z]{2,10} )?PRIVATE KEY-----"
        ),
    ),
    (("AKIA", "ASIA"), re.compile(r"(?<!\w)(?:AKIA|ASIA)[0-9A-Z]{16}(?!\w)")),
    (("AIza",), re.compile(r"(?<![\w-])AIza[\w-]{35}(?![\w-])")),
    (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), re.compile(r"(?<!\w)gh[pousr]_[A-Za-z0-9]{36,255}(?!\w)")),
    (("xox",), re.compile(r"(?<!\w)xox[abprs]-[\w-]{10,250}(?![\w-])")),
)


def _secrets(text: str) -> Iterator[Span]:
    for parts, pattern in _SECRETS:
        if any(part in text for part in parts):
            yield from (match.span() for match in pattern.finditer(text))
