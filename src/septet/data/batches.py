"""Batches in a fixed order: a seeded permutation for each epoch, and a cursor that can be kept and restored.

A batch is the rows of one optimizer step. Each has the same number of rows: one that reaches the end of an epoch is filled
from the beginning of the next. Asking for the n-th batch after `restore` gives what an uninterrupted run would have given.

What it is not: a collator. Rows may be anything; an objective's `prepare` makes tensors of them.

    python -m pytest tests/data/test_batches.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from septet.core.errors import DataError

__all__ = ["Batches", "Partnered", "Stream"]


class Stream(Protocol):
    """What the training loop needs of its batches; `Batches` is one, rollouts from a running model another."""

    def next(self) -> Sequence[Any]: ...
    def state(self) -> dict[str, Any]: ...
    def restore(self, state: dict[str, Any]) -> None: ...


class Batches:
    """Endless batches of `size` rows. `state()` is JSON; `restore` takes it back."""

    def __init__(self, rows: Sequence[Any], size: int, *, seed: int = 0) -> None:
        if not len(rows):
            raise DataError("there are no rows to train on; look at the report of the step that made the data.")
        assert size > 0, "a batch has at least one row"
        self.rows, self.size, self.seed = rows, size, seed
        self.epoch = self.place = 0
        self._order = self._permutation(0)

    def _permutation(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.rows))

    def next(self) -> list[Any]:
        """Return the next `size` rows."""
        found: list[Any] = []
        while len(found) < self.size:
            if self.place == len(self.rows):
                self.epoch, self.place = self.epoch + 1, 0
                self._order = self._permutation(self.epoch)
            end = min(self.place + self.size - len(found), len(self.rows))
            found += [self.rows[index] for index in self._order[self.place : end]]
            self.place = end
        return found

    def state(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "place": self.place}

    def restore(self, state: dict[str, Any]) -> None:
        self.epoch, self.place = int(state["epoch"]), int(state["place"])
        self._order = self._permutation(self.epoch)


class Partnered:
    """Batches of pairs (row, other row): a row of one stream and one of another, which is elsewhere in the same text."""

    def __init__(self, rows: Stream, others: Stream) -> None:
        self.rows, self.others = rows, others

    def next(self) -> list[tuple[Any, Any]]:
        """Return the next pairs."""
        return list(zip(self.rows.next(), self.others.next(), strict=True))

    def state(self) -> dict[str, Any]:
        return {"rows": self.rows.state(), "others": self.others.state()}

    def restore(self, state: dict[str, Any]) -> None:
        self.rows.restore(state["rows"])
        self.others.restore(state["others"])
