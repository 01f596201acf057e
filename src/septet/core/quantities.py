"""Large numbers as people write and read them: 70B, 2T tokens, 3.4e+21 operations, 2h, 12.3 GB.

What it is not: a library of units.

    python -c "from septet.core.quantities import number; print(number('1.5T', '--tokens'))"
"""

from __future__ import annotations

import re

from septet.core.errors import ComponentError

__all__ = ["amount", "budget_of", "flops", "memory_of", "number", "size"]

_SCALES = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12}
_BYTES = {
    unit: base**power
    for power, letter in enumerate("KMGT", start=1)
    for base, units in ((1000.0, (letter, f"{letter}B")), (1024.0, (f"{letter}IB",)))
    for unit in units
} | {"": 1.0, "B": 1.0}
_SPANS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = re.compile(r"([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]*)")


def number(text: str, name: str) -> float:
    """Return the number that `70B`, `2T`, `4M`, `1e9` or `500000` means; `name` is who asks, for the message.

    >>> number("1.5T", "--tokens")
    1500000000000.0
    """
    found = _NUMBER.fullmatch(text.strip().replace(",", "").replace("_", ""))
    if found is None or found[2].upper() not in _SCALES or float(found[1]) <= 0:
        raise ComponentError(f"{name}: a number above 0 is expected, such as 500000, 4M, 70B or 2T; got '{text}'.")
    return float(found[1]) * _SCALES[found[2].upper()]


def memory_of(text: str, name: str) -> float:
    """Return the bytes that `24GB`, `24GiB` (powers of 1024), `500M` or `2e9` means; `name` is who asks, for the message.

    >>> memory_of("24GB", "--memory"), memory_of("1.5 GiB", "--memory")
    (24000000000.0, 1610612736.0)
    """
    found = _NUMBER.fullmatch(text.strip())
    if found is None or found[2].upper() not in _BYTES or float(found[1]) <= 0:
        raise ComponentError(f"{name}: bytes above 0 are expected, such as 24GB, 24GiB or 500MB; got '{text}'.")
    return float(found[1]) * _BYTES[found[2].upper()]


def budget_of(text: str) -> tuple[float, bool]:
    """Return (seconds, True) for a time such as 2h, or (operations, False) for a number such as 1e18.

    >>> budget_of("2h"), budget_of("1e18")
    ((7200.0, True), (1e+18, False))
    """
    found = _NUMBER.fullmatch(text.strip())
    if found is not None and float(found[1]) > 0:
        if found[2] in _SPANS:
            return float(found[1]) * _SPANS[found[2]], True
        if not found[2]:
            return float(found[1]), False
    raise ComponentError(f"--budget: a time (30m, 2h, 3d) or a number of operations (1e18) is expected; got '{text}'.")


def amount(value: float) -> str:
    """Return a large number with three digits.

    >>> amount(70_553_706_496), amount(512)
    ('70.6B', '512')
    """
    scaled, unit = _scaled(value, ("", "K", "M", "B", "T"))
    return f"{scaled}{unit}"


def flops(value: float) -> str:
    """Return a number of operations.

    >>> flops(2.58e10), flops(3.8e25)
    ('25.8 GFLOP', '3.8e+25 FLOP')
    """
    if value >= 999.5e15:
        return f"{value:.3g} FLOP"
    return " ".join(_scaled(value, ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP")))


def size(value: float) -> str:
    """Return bytes, with three digits.

    >>> size(25_348_608), size(8.0e10)
    ('25.3 MB', '80 GB')
    """
    return " ".join(_scaled(value, ("B", "kB", "MB", "GB", "TB")))


def _scaled(value: float, units: tuple[str, ...]) -> tuple[str, str]:
    """Return three digits, and the first unit with which there are no more before the point, else the last."""
    for unit in units[:-1]:
        if abs(value) < 999.5:
            return f"{value:.3g}", unit
        value /= 1000
    return f"{value:,.3g}", units[-1]
