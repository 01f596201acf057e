"""Surveys: twins, families, and that shards and ranges leave no trace.

python -m pytest tests/data/test_survey.py
"""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from septet.data.documents import Document
from septet.data.filter import Filter
from septet.data.survey import as_keys, hashed, key_table, smallest_stays, sorted_keys, twins


def table(*keys: tuple[int, int, int]) -> np.ndarray:
    return sorted_keys([np.array(keys, np.uint64).reshape(-1, 3).T])


def test_twins_by_hand():
    # units 3 and 7 share the key (5, 1) with unit 2; (5, 2) is another key, (9, 9) stands alone
    pairs = twins([table((5, 1, 7), (5, 1, 2), (9, 9, 4)), table((5, 2, 1), (5, 1, 3))])
    assert pairs.tolist() == [[3, 7], [2, 2]]
    assert twins([table((1, 1, 1), (2, 1, 2))]).shape == (2, 0)
    assert twins([]).shape == (2, 0)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2), st.integers(0, 40)), max_size=60), st.integers(1, 5))
def test_ranges_and_parts_leave_no_trace(keys: list[tuple[int, int, int]], count: int):
    spread = [(high << 61, low, unit) for high, low, unit in keys]
    whole = twins([table(*spread)]) if spread else twins([])
    parts = [table(*spread[n::count]) if spread[n::count] else np.empty((3, 0), np.uint64) for n in range(count)]
    step = 2**64 // count
    bounds = [(n * step, 2**64 if n == count - 1 else (n + 1) * step) for n in range(count)]
    found = np.concatenate([twins(parts, low, high) for low, high in bounds], axis=1)
    assert {tuple(pair) for pair in found.T.tolist()} == {tuple(pair) for pair in whole.T.tolist()}


def test_families_are_chains_and_the_smallest_name_stays():
    # 1-2, 2-3 and 8-9: two families; by name unit 3 ("a") is the smallest of the first
    names = {1: "c", 2: "b", 3: "a", 8: "y", 9: "z"}
    pairs = np.array([[2, 3, 9], [1, 2, 8]], np.uint64)
    assert smallest_stays(pairs, names.__getitem__).T.tolist() == [[1, 3], [2, 3], [9, 8]]


def test_keys_of_hashes():
    keys = key_table(as_keys([hashed("a"), hashed("b"), hashed("a")]), np.array([0, 1, 2]), 10)
    assert keys.shape == (3, 3)
    assert twins([sorted_keys([keys])]).tolist() == [[12], [10]]
    assert as_keys([]).shape == (0, 2)


def run(spec: object, docs: list[Document]) -> tuple[list[Document], list[tuple[str, str]]]:
    dropped: list[tuple[str, str]] = []
    kept = list(Filter.parse(spec).apply(iter(docs), lambda doc, reason: dropped.append((doc.id, reason))))
    return kept, dropped


def test_lines_that_stand_elsewhere_are_taken_out():
    docs = [
        Document(id="a", text="A line of five words.\nshort\nAnother line with five words."),
        Document(id="b", text="short\na LINE of  five words.\nWhat only this one has to say."),
        Document(id="c", text="Another line with five words."),
    ]
    kept, dropped = run({"kind": "exact-dedup", "of": "line"}, docs)
    assert [doc.text for doc in kept] == [docs[0].text, "short\nWhat only this one has to say."]
    assert dropped == [("c", "every line stands in other documents")]


def test_paragraphs_that_stand_elsewhere_are_taken_out():
    docs = [
        Document(id="a", text="One two three four five.\nsix\n\nUnique words are here, all five."),
        Document(id="b", text="Head\n\nOne two three four five. six\n\n\nTail"),
    ]
    kept, _ = run({"kind": "exact-dedup", "of": "paragraph"}, docs)
    assert [doc.text for doc in kept] == [docs[0].text, "Head\n\nTail"]


def test_near_duplicates_keep_the_smallest_id_whatever_the_order():
    words = [f"word{n}" for n in range(400)]
    docs = []
    for number in range(6):
        changed = list(words)
        changed[50 * number + 7] = f"other{number}"
        docs.append(Document(id=f"{9 - number}", text=" ".join(changed)))
    docs += [Document(id="x", text="Something else altogether, said in quite other words than the rest of them.")]
    docs += [Document(id="y", text="..."), Document(id="z", text="!!!")]
    for seed in range(4):
        random.Random(seed).shuffle(docs)
        kept, dropped = run("minhash-dedup", docs)
        assert {doc.id for doc in kept} == {"4", "x", "y", "z"}
        assert sorted(dropped) == [(f"{n}", "nearly the same text as 4") for n in range(5, 10)]
