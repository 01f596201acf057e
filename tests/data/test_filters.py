"""Filters.

python -m pytest tests/data/test_filters.py
"""

from __future__ import annotations

import gzip
import random
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from septet.core.errors import ComponentError
from septet.data.documents import Document
from septet.data.filter import Filter
from septet.data.filters.normalise import normalise
from septet.data.special import RESERVED, without_reserved


def apply(spec: object, *docs: Document) -> tuple[list[Document], list[tuple[str, str]]]:
    dropped: list[tuple[str, str]] = []
    kept = list(Filter.parse(spec).apply(iter(docs), lambda doc, reason: dropped.append((doc.id, reason))))
    return kept, dropped


def doc(text: str, id: str = "a", **fields) -> Document:
    return Document(id=id, text=text, **fields)


# -- normalise ------------------------------------------------------------------------------------------------------


def test_normalise():
    kept, dropped = apply(
        "normalise",
        doc("cafe\u0301 \t\r\n  x = 1\x00\x1b[0m\n\n\n\n\n\nend<|endoftext|>\n", meta={"doc": "a \r\n", "line": "b "}),
        doc(" \n\x07\n", id="b"),
    )
    assert kept[0].text == "café\n  x = 1[0m\n\n\nend"
    assert kept[0].meta == {"doc": "a", "line": "b "}
    assert dropped == [("b", "no text")]


@given(st.text(st.characters(exclude_categories=[])))
def test_normalising_twice_changes_nothing_more(text: str):
    once = normalise(text)
    assert normalise(once) == once
    assert unicodedata.is_normalized("NFC", once)
    once.encode("utf-8")
    assert not any(token in once for token in RESERVED)


def test_reserved_tokens_cannot_be_smuggled():
    assert without_reserved("<|e<|end|>nd|>x") == "x"


# -- docstrings -----------------------------------------------------------------------------------------------------


def test_docstrings_keeps_short_words_and_drops_code():
    kept, dropped = apply(
        "docstrings",
        doc("f()\n\nJoin.", id="short", meta={"type": "function", "doc": "Join."}),
        doc("import os", id="code", meta={"type": "code"}, public=False),
        doc("x\n\n1 | 2 | 3 == 4", id="signs", meta={"doc": "1 | 2 | 3 == 4"}),
        doc("x\n\n12", id="none", meta={"doc": "12"}),
        doc("Private words here.", id="private", public=False),
    )
    assert [one.id for one in kept] == ["short", "private"]
    assert dropped == [
        ("code", "source code"),
        ("signs", "mostly signs and numbers"),
        ("none", "no words"),
    ] or dropped == [
        ("code", "source code"),
        ("signs", "no words"),
        ("none", "no words"),
    ]
    assert apply({"kind": "docstrings", "private": False}, doc("Words.", public=False))[1] == [("a", "private name")]


# -- exact-dedup ----------------------------------------------------------------------------------------------------


def test_the_smallest_id_stays_whatever_the_order():
    docs = [doc("Same  text", id="c"), doc("same\ntext", id="a"), doc("other", id="d"), doc("SAME TEXT", id="b")]
    for seed in range(5):
        random.Random(seed).shuffle(docs)
        kept, dropped = apply("exact-dedup", *docs)
        assert {one.id for one in kept} == {"a", "d"}
        assert sorted(dropped) == [("b", "same text as a"), ("c", "same text as a")]
        assert [one.id for one in kept] == [one.id for one in docs if one.id in ("a", "d")]


def test_docstrings_can_be_compared_without_their_names():
    docs = [doc("a()\n\nGo.", id="a", meta={"doc": "Go."}), doc("b()\n\nGo.", id="b", meta={"doc": "Go."})]
    assert len(apply("exact-dedup", *docs)[0]) == 2
    assert len(apply({"kind": "exact-dedup", "of": "doc"}, *docs)[0]) == 1


def test_real_duplicates(real_data: Path):
    folder = real_data / "pretraining" / "tinyshakespeare"
    texts = {path.name: gzip.decompress(path.read_bytes()).decode() for path in sorted(folder.glob("*.gz"))}
    assert len(texts) == 2
    kept, dropped = apply("exact-dedup", *(doc(text, id=name) for name, text in texts.items()))
    assert len(kept) == 1
    assert len(dropped) == 1


# -- length ---------------------------------------------------------------------------------------------------------


def test_length():
    spec = {"kind": "length", "min_words": 2, "max_words": 3}
    kept, dropped = apply(spec, doc("one", "1"), doc("one two", "2"), doc("1 2 3", "3"), doc("1 2 3 4", "4"))
    assert [one.id for one in kept] == ["2", "3"]
    assert dropped == [("1", "fewer than 2 words"), ("4", "more than 3 words")]
    with pytest.raises(ComponentError, match="nothing would be left"):
        Filter.parse({"kind": "length", "min_words": 5, "max_words": 3})
