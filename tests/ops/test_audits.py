"""The audit's part of a report: what it shows, and that nothing of a corpus becomes markup.

python -m pytest tests/ops/test_audits.py
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from septet.data.audits.identity import Identity
from septet.data.documents import Document
from septet.data.filters.counterfactual import Counterfactual
from septet.ops.report.audits import page, sections
from septet.ops.report.charts import Span, spans
from septet.ops.report.html import join

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def audits() -> dict:
    docs = [
        Document(
            id=f"d{i}",
            text="The nurse was knitting her kind hat. A man was fighting his dog. Some Germans came to a bad Muslim.",
            source=("web", EVIL)[i % 2],
        )
        for i in range(40)
    ]
    one = Identity(prior=10.0)
    before = one.report(one.look(docs))
    after = one.report(one.look(Counterfactual().apply(docs, lambda *_: None)), beside=before)
    return {"identity": {"before": before, "after": after}}


class Balance(HTMLParser):
    """Fails where a tag is closed that is not the last one opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "br", "hr", "img", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_parts_hold_charts_tables_and_what_changed(audits: dict):
    before = audits["identity"]["before"]  # after the swap no word sets women and men apart
    assert "set a group apart: gender" not in join(*sections(audits))
    text = join(*sections({"identity": {"before": before, "after": before}}))
    for words in (
        "Gender: mentions", "Gender: sentiment of their sentences", "Gender: words that set a group apart", "knitting",
        "Occupations beside words for women and men", "nurse", "Religion: mentions", "Feminine share before and after", "By source",
        "share of pronouns",
        "cannot be told apart", "No mention of Christian",
    ):  # fmt: skip
        assert words in text, words
    assert "Never mentioned: ethnicity, age" in text
    charts = text.split("<svg")[1:]
    for chart in charts:
        ET.fromstring("<svg" + chart.split("</svg>")[0] + "</svg>")
    assert len(charts) == 8  # gender: three; nationality and religion: two each; occupations


def test_nothing_of_a_corpus_becomes_markup(audits: dict):
    whole = page(audits)
    assert EVIL not in whole
    assert "&lt;script&gt;" in whole
    reader = Balance()
    reader.feed(whole)
    assert reader.open == []


def test_kinds_that_are_unknown_stay_out(audits: dict):
    assert sections({"other": {}}) == []
    assert len(sections({**audits, "other": {}})) == len(sections(audits))


def test_an_empty_corpus_has_a_page():
    one = Identity()
    empty = one.report(one.look([]))
    assert "0 documents" in page({"identity": {"before": empty, "after": empty}})


def test_a_chart_with_values_below_nought_begins_at_nought():
    drawn = spans([Span("a", -2.0, -3.0, -1.0), Span("b", -1.0)], title="t", unit="u")
    root = ET.fromstring(drawn)
    stems = [line for line in root.iter("line") if "stem" in line.get("class", "")]
    assert {stem.get("x1") for stem in stems} == {"770.0"}  # nought is at the right end: 960 - 190
    assert all(float(stem.get("x2")) < 770 for stem in stems)
