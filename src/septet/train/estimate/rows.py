"""The rows that a training will see, packed as the run packs them, where the corpus and the tokenizer exist.

What it is not: for large corpora; above `MOST_BYTES` of text only sizes are told, since packing takes as long as in the run.

    python -m pytest tests/train/test_estimate.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from septet.core.artifact import Artifact
from septet.data.documents import read_documents
from septet.data.packing import Row, pack, text_samples
from septet.nn.family import Dial
from septet.train.objective import Objective

__all__ = ["MOST_BYTES", "Rows", "known_rows"]

MOST_BYTES = 20_000_000
"""Text that is packed for a forecast, about 10 s of work."""


@dataclass(frozen=True, slots=True)
class Rows:
    """rows: of the training part. targets: positions that predict a token. text: bytes. held_out: rows of the held-out part."""

    rows: Sequence[Row]
    targets: int
    text: int
    held_out: int

    def used(self, steps: int, size: int, seed: int) -> list[int]:
        """Return the positions that hold text in every row of so many steps of `size` rows, in the order of the run."""
        from septet.data.batches import Batches

        batches = Batches(self.rows, size, seed=seed)
        return [row.used for _ in range(steps) for row in batches.next()]


def known_rows(made: Mapping[str, Artifact], tokenizer: Any, dial: Dial, objective: Objective) -> Rows | None:
    """Pack the corpus of `made` as the run will; None where it is not there, is packed already, or is large."""
    if "corpus" not in made or "packed" in made:
        return None
    folder = made["corpus"].path
    if (folder / "train.jsonl").stat().st_size > MOST_BYTES:
        return None
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    room = dial.context - objective.around
    texts = [document.text for document in read_documents(folder / "train.jsonl")]
    held = [document.text for document in read_documents(folder / "held_out.jsonl")]
    rows, report = pack(text_samples(texts, tokenizer), room, pad=pad)
    if not rows:
        return None
    held_rows, _ = pack(text_samples(held, tokenizer), room, pad=pad)
    return Rows(rows, report.targets, sum(len(text) for text in texts), len(held_rows))
