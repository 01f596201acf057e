"""Bytes as people write them.

python -m pytest tests/core/test_quantities.py
"""

from __future__ import annotations

import pytest

from septet.core.errors import ComponentError
from septet.core.quantities import memory_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("24GB", 24e9),
        ("24G", 24e9),
        ("24 GiB", 24 * 2**30),
        ("512mib", 2**29),
        ("2e9", 2e9),
        ("80kB", 8e4),
        ("1TiB", 2**40),
    ],
)
def test_bytes(text, expected):
    assert memory_of(text, "--memory") == expected


@pytest.mark.parametrize("text", ["", "much", "0GB", "24Gi", "-1GB", "3PB"])
def test_what_is_no_number_of_bytes_is_said(text):
    with pytest.raises(ComponentError, match="--memory: bytes above 0 are expected, such as 24GB, 24GiB"):
        memory_of(text, "--memory")
