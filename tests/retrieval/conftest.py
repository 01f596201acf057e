"""A small corpus and a small real encoder: hashed letters, so that texts with the same letters lie close."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from septet.data.documents import Document
from septet.retrieval.index import SearchIndex, build_index


class LetterEncoder:
    """Counts of hashed three-letter pieces, scaled to unit length."""

    dim, key = 32, "letters 3"

    def __init__(self) -> None:
        self.calls = 0

    def lengths(self, texts: Sequence[str]) -> list[int]:
        return [len(text) + 1 for text in texts]

    def encode(self, texts: Sequence[str], *, fast: bool = False) -> np.ndarray:
        self.calls += 1
        out = np.full((len(texts), self.dim), 1e-3, np.float32)
        for row, text in enumerate(texts):
            for start in range(len(text) - 2):
                digest = hashlib.sha256(text[start : start + 3].lower().encode()).digest()
                out[row, digest[0] % self.dim] += 1
        return out / np.linalg.norm(out, axis=1, keepdims=True)


def document(name: str, doc: str, **more: object) -> Document:
    meta = {"doc": doc, **more.pop("meta", {})}  # type: ignore[dict-item]
    return Document(id=name, name=name, text=f"{name}\n\n{doc}", group=name.split(".")[0], meta=meta, **more)  # type: ignore[arg-type]


DOCUMENTS = [
    document(
        "os.path.join",
        "Join two or more pathname components.",
        aliases=("posixpath.join",),
        file="posixpath.py",
        line=71,
    ),
    document("os.remove", "Remove a file. Same as unlink()."),
    document("shutil.rmtree", "Recursively delete a directory tree.\n\nIf ignore_errors is set, errors are ignored."),
    document("str.join", "Concatenate any number of strings."),
    document("os._secret", "Join two secret pathname components of the vault.", public=False),
]


@pytest.fixture
def letters() -> LetterEncoder:
    return LetterEncoder()


@pytest.fixture
def words_only(tmp_path: Path) -> SearchIndex:
    build_index(tmp_path / "words", DOCUMENTS, described={"encoder": {"kind": "none"}})
    return SearchIndex(tmp_path / "words")


@pytest.fixture
def both(tmp_path: Path, letters: LetterEncoder, monkeypatch: pytest.MonkeyPatch) -> SearchIndex:
    build_index(tmp_path / "both", DOCUMENTS, encoder=letters, described={"encoder": {"kind": "none"}})
    index = SearchIndex(tmp_path / "both")
    monkeypatch.setattr(index, "_open_encoder", lambda: letters)
    return index
