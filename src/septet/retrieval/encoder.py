"""The family of text encoders: text in, unit vectors out; and encoding a whole corpus so that a kill loses little.

An encoder kind is configuration (`Encoder`); `open()` gives a running one (`TextEncoder`) or None for "no encoder". `resolve()`
is what "auto" stands for on this machine; what it resolves to enters an index's id.

What it is not: a language model. It never writes text, and nothing here reaches for the network.

    septet index --corpus text --encoder minilm
"""

from __future__ import annotations

import hashlib
import io
import os
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from septet.core.component import Component

__all__ = ["Encoder", "TextEncoder", "encode_all"]


class TextEncoder(Protocol):
    """A loaded encoder."""

    dim: int
    key: str
    """What the vectors depend on besides the text: weights, precision, length."""

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text after truncation."""
        ...

    def encode(self, texts: Sequence[str], *, fast: bool = False) -> np.ndarray:
        """Return one vector of unit length for each text, float32. `fast` may use lower precision inside."""
        ...


class Encoder(Component):
    """How texts become vectors."""

    drawer: ClassVar[str] = "septet.retrieval.encoders"

    def resolve(self) -> Encoder:
        """Return the encoder that really runs here; only "auto" stands for another one."""
        return self

    @abstractmethod
    def open(self, *, threads: int | None = None) -> TextEncoder | None:
        """Load the weights, or return None where there is no encoder. Raises ComponentError if they are not the expected ones."""


def encode_all(
    encoder: TextEncoder,
    texts: Sequence[str],
    *,
    state: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    budget: int = 4096,
    block: int = 16,
) -> np.ndarray:
    """Return the vectors of all texts, [len(texts), encoder.dim]; what is finished stays in `state` through a kill.

    Texts are sorted by length and cut into batches of at most `budget` padded tokens; `block` batches make one file. The cut
    depends on the texts alone, so a resumed encoding is the uninterrupted one, bit for bit. Files of other texts are ignored.
    """
    if not texts:
        return np.zeros((0, encoder.dim), np.float32)
    lengths = encoder.lengths(texts)
    order = sorted(range(len(texts)), key=lambda i: (lengths[i], i))
    batches: list[list[int]] = [[]]
    for i in order:  # ascending, so the newest text is the longest of its batch
        if batches[-1] and (len(batches[-1]) + 1) * lengths[i] > budget:
            batches.append([])
        batches[-1].append(i)

    content = hashlib.sha256(f"{encoder.key}\0{budget}\0{block}\0".encode())
    for text in texts:
        content.update(text.encode("utf-8", "surrogatepass") + b"\0")
    folder = state / f"vectors-{content.hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)

    vectors, done = np.zeros((len(texts), encoder.dim), np.float32), 0
    for start in range(0, len(batches), block):
        part = batches[start : start + block]
        rows = [i for batch in part for i in batch]
        path = folder / f"{start // block:05d}.npy"
        if path.exists():
            vectors[rows] = np.load(path, allow_pickle=False)
        else:
            made = np.concatenate([encoder.encode([texts[i] for i in batch], fast=True) for batch in part])
            _save(path, made)
            vectors[rows] = made
        done += len(rows)
        progress(done, len(texts))
    return vectors


def _save(path: Path, array: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(buffer.getvalue())
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
