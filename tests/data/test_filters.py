"""Filters.

python -m pytest tests/data/test_filters.py
"""

from __future__ import annotations

import gzip
import json
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
from septet.data.filters.pii import find_emails
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


# -- pii ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Guido van Rossum <guido@python.org>", ["guido@python.org"]),
        ("mail a.b+c@sub.example.co.uk, or x_y@ex-ample.com.", ["a.b+c@sub.example.co.uk", "x_y@ex-ample.com"]),
        ("mailto:me@example.com?subject=x", ["me@example.com"]),
        ("jürgen@müller.de und 用户@例子.公司", ["jürgen@müller.de", "用户@例子.公司"]),
        ("@property\ndef f(): a @ b; M@N; x@y", []),
        ("git@github.com:a/b.git", ["git@github.com"]),
        ("user@localhost root@127.0.0.1 @name.com", []),
        ("a@b.c", []),
    ],
)
def test_addresses(text: str, found: list[str]):
    assert [text[start:end] for start, end in find_emails(text)] == found


def test_what_is_done_with_addresses():
    one = doc("By a@example.org and b@example.org.", meta={"doc": "By a@example.org."})
    kept, _ = apply("pii", one)
    assert kept[0].text == "By [email] and [email]."
    assert kept[0].meta == {"doc": "By [email].", "emails": 2}
    assert apply({"kind": "pii", "on_match": "drop"}, one) == ([], [("a", "holds an e-mail address")])
    kept, _ = apply({"kind": "pii", "on_match": "keep"}, one)
    assert kept[0].text == one.text
    assert kept[0].meta["emails"] == 2
    with pytest.raises(ComponentError, match="on_match"):
        Filter.parse({"kind": "pii", "on_match": "hide"})


def test_addresses_are_found_in_time():
    find_emails("a@" * 20_000 + "a." * 20_000)
    find_emails("x" * 200_000 + "@" + "y-" * 100_000)


def test_real_addresses(real_data: Path):
    rows = json.loads(gzip.decompress((real_data / "pii/presidio_synthetic/generated_large.json.gz").read_bytes()))
    gold = found = right = 0
    for row in rows:
        spans = {(s["start_position"], s["end_position"]) for s in row["spans"] if "EMAIL" in s["entity_type"]}
        ours = set(find_emails(row["full_text"]))
        gold, found, right = gold + len(spans), found + len(ours), right + len(spans & ours)
    assert gold > 20
    assert right / gold > 0.95
    assert right / found > 0.95


# -- length ---------------------------------------------------------------------------------------------------------


def test_length():
    spec = {"kind": "length", "min_words": 2, "max_words": 3}
    kept, dropped = apply(spec, doc("one", "1"), doc("one two", "2"), doc("1 2 3", "3"), doc("1 2 3 4", "4"))
    assert [one.id for one in kept] == ["2", "3"]
    assert dropped == [("1", "fewer than 2 words"), ("4", "more than 3 words")]
    with pytest.raises(ComponentError, match="nothing would be left"):
        Filter.parse({"kind": "length", "min_words": 5, "max_words": 3})
