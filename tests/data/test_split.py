"""The held-out split.

python -m pytest tests/data/test_split.py
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from septet.data.documents import Document
from septet.data.split import HeldOut


def documents(*sizes: int, groups: int) -> list[Document]:
    return [Document(id=f"d{place}", text="x" * size, group=f"g{place % groups}") for place, size in enumerate(sizes)]


def ids(docs) -> set[str]:
    return {doc.id for doc in docs}


@given(
    sizes=st.lists(st.integers(1, 50), min_size=2, max_size=60),
    groups=st.integers(2, 20),
    seed=st.integers(0, 5),
    share=st.sampled_from([0.05, 0.1, 0.3]),
)
def test_groups_stay_together_and_order_does_not_matter(sizes: list[int], groups: int, seed: int, share: float):
    docs = documents(*sizes, groups=min(groups, len(sizes)))
    split = HeldOut(share=share, seed=seed).split(docs)
    assert not {doc.group for doc in split.train} & {doc.group for doc in split.held_out}
    assert ids(split.train) | ids(split.held_out) == ids(docs)
    assert split.train
    assert split.held_out
    shuffled = docs[:]
    random.Random(1).shuffle(shuffled)
    assert ids(HeldOut(share=share, seed=seed).split(shuffled).held_out) == ids(split.held_out)


def test_share_is_near_the_target_in_bytes():
    rng = random.Random(0)
    docs = documents(*(rng.randint(10, 400) for _ in range(4000)), groups=300)
    total = sum(len(doc.text) for doc in docs)
    for seed in range(5):
        held = HeldOut(share=0.1, seed=seed).split(docs).held_out
        assert 0.095 < sum(len(doc.text) for doc in held) / total < 0.111
    assert ids(HeldOut(seed=0).split(docs).held_out) != ids(HeldOut(seed=1).split(docs).held_out)


def test_module_means_group_and_documents_can_stand_alone():
    docs = documents(*[10] * 100, groups=10)
    assert HeldOut(by="module").split(docs) == HeldOut(by="group").split(docs)
    alone = HeldOut(by="document").split(docs)
    assert len(alone.held_out) == 10 or len(alone.held_out) == 11
    assert len({doc.group for doc in alone.held_out}) > 1


def test_one_group_is_split_by_document_and_says_so():
    split = HeldOut(share=0.2).split(documents(*[10] * 20, groups=1))
    assert split.by == "document"
    assert len(split.held_out) == 4


def test_edges():
    assert HeldOut(share=0).split(documents(1, 2, groups=2)).held_out == ()
    assert HeldOut().split(documents(5, groups=1)).held_out == ()
    big = HeldOut(share=0.1).split(documents(100, 60, groups=2))
    assert ids(big.held_out) == {"d1"}
    with pytest.raises(ValidationError):
        HeldOut(share=0.9)


def test_with_very_many_groups_a_threshold_takes_the_place_of_the_order(monkeypatch):
    from septet.data import split

    docs = [Document(id=f"{n}", text="x" * (n % 50 + 1)) for n in range(4000)]
    monkeypatch.setattr(split, "MOST", 100)
    found = HeldOut(share=0.1).split(docs)
    held = sum(len(doc.text) for doc in found.held_out) / sum(len(doc.text) for doc in docs)
    assert 0.09 < held <= 0.1
    assert len(found.train) + len(found.held_out) == len(docs)
    # one document's side does not hang on the others, but for the place of the threshold
    again = HeldOut(share=0.1).split(docs[:3000])
    both = {doc.id for doc in found.held_out} & {doc.id for doc in docs[:3000]}
    assert len(both ^ {doc.id for doc in again.held_out}) < 40
    assert HeldOut(share=0.1, seed=1).split(docs).held_out != found.held_out
