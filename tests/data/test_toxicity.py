"""The toxicity filter: windows by hand, and what a classifier trained on real comments drops.

python -m pytest tests/data/test_toxicity.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from septet.core.errors import DataError, StoreError
from septet.data.documents import Document
from septet.data.filter import Filter
from septet.data.filters.toxicity import windows
from septet.data.linear import Features, train


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    texts = [f"you {'vile idiot' if n % 2 else 'kind friend'} number {n}" for n in range(40)]
    labels = ["toxic" if n % 2 else "fine" for n in range(40)]
    train(texts, labels, features=Features(bits=12), positive="toxic").classifier.save(tmp_path)
    return tmp_path


def apply(folder: Path, texts: list[str], **fields) -> tuple[list[Document], list[tuple[str, str]]]:
    made, dropped = Filter.parse({"kind": "toxicity", "model": "$toxic", **fields}), []
    made.given({"$toxic": folder})
    docs = (Document(str(n), text) for n, text in enumerate(texts))
    return list(made.apply(docs, lambda doc, reason: dropped.append((doc.id, reason)))), dropped


def test_windows():
    words = [str(n) for n in range(25)]
    assert windows(" ".join(words), 10) == [" ".join(words[a : a + 10]) for a in (0, 10, 15)]
    assert windows(" ".join(words[:20]), 10) == [" ".join(words[a : a + 10]) for a in (0, 10)]
    assert windows("  a\nb ", 10) == ["  a\nb "]
    assert windows("", 10) == [""]


def test_toxic_documents_leave(folder: Path):
    kept, dropped = apply(folder, ["you kind friend", "you vile idiot", "a friend"])
    assert [doc.id for doc in kept] == ["0", "2"]
    assert dropped == [("1", "more toxic than the threshold")]
    assert 0 <= kept[0].meta["toxicity"] < 0.5
    assert [doc.id for doc in apply(folder, ["you kind friend", "you vile idiot"], label="fine")[0]] == ["1"]
    assert len(apply(folder, ["you vile idiot"], threshold=1.0)[0]) == 1


def test_the_worst_window_counts(folder: Path):
    page = "you kind friend " * 300 + "vile idiot " * 10 + "you kind friend " * 300
    assert apply(folder, [page], window=20)[1]
    assert not apply(folder, [page], window=5000)[1]


def test_many_documents_come_in_their_order(folder: Path):
    def endless() -> Iterator[Document]:
        for n in range(10**9):
            yield Document(str(n), f"you kind friend {n}")

    made = Filter.parse({"kind": "toxicity", "model": "$toxic"})
    made.given({"$toxic": folder})
    stream = made.apply(endless(), lambda doc, reason: None)
    assert [next(stream).id for _ in range(200)] == [str(n) for n in range(200)]


def test_what_cannot_be_used(folder: Path, tmp_path: Path):
    with pytest.raises(DataError, match="no label 'rude'"):
        apply(folder, ["a"], label="rude")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="step 'classifier'"):
        apply(tmp_path / "empty", ["a"])
