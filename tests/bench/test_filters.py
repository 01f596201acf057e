"""The benchmark of the quality filters counts what they drop, and draws it to scale.

python -m pytest tests/bench/test_filters.py
"""

from __future__ import annotations

import importlib
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import pytest

from septet.data.documents import Document


@pytest.fixture
def filters(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "bench"))
    return importlib.import_module("filters")


def test_pieces_keep_every_line(filters: ModuleType):
    lines = [f"line {number} " + "x" * 90 for number in range(200)]
    pieces = list(filters.cut(lines))
    assert "\n".join(pieces).split("\n") == lines
    assert all(len(piece) >= filters.PIECE for piece in pieces[:-1])
    wrapped = "It was a dark\nand stormy night.\n\n“Who is\nthere?” she said.\n"
    assert list(filters.novel(wrapped)) == ["It was a dark and stormy night.\n“Who is there?” she said.\n"]


def test_rates_and_their_picture_are_what_the_filters_drop(filters: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(filters, "FILTERS", {"fineweb": "fineweb", "c4-tfds": "c4-tfds"})
    good = "This line is long enough for any rule. It says something. It says a bit more than that."
    texts = {
        "bad": [Document(id="1", text="no"), Document(id="2", text=good), Document(id="3", text=" ")],
        "good": [Document(id="1", text=good)],
    }
    rows = filters.measure(texts, 3)
    assert [(row["filter"], row["text"], row["dropped_%"]) for row in rows] == [
        ("fineweb", "bad", 66.7),
        ("fineweb", "good", 0.0),
        ("c4-tfds", "bad", 66.7),
        ("c4-tfds", "good", 0.0),
    ]
    rates = {(label, rule): shares for label, rule, shares in filters.rates(rows)}
    assert rates == {
        ("fineweb", "too few lines that end in punctuation"): {"bad": pytest.approx(1 / 3), "good": 0},
        ("fineweb", "no text"): {"bad": pytest.approx(1 / 3), "good": 0},
        ("c4-tfds", "fewer than 3 sentences"): {"bad": pytest.approx(2 / 3), "good": 0},
    }
    svg = "{http://www.w3.org/2000/svg}"
    bars = [
        float(bar.get("width", ""))
        for bar in ET.fromstring(filters.picture(rows)).iter(f"{svg}rect")
        if bar.get("width") not in ("100%", "10")
    ]
    assert bars == [
        pytest.approx(165),
        pytest.approx(165),
        pytest.approx(330),
    ]  # the longest is as wide as there is room
