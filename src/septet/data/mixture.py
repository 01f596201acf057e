"""A mixture: in which order the rows of several sources are read, how often each, and in which shares.

The order is a permutation that is computed, not stored: one asks for the place n of the mixture and gets (source, row). So it is
the same for any number of workers, costs no memory, and goes on at any place. Shares come from weights, from passes ("epochs")
or from the sizes; a curriculum has stages, each with shares of its own; a source goes on where the stage before left it.

What it is not: a sampler with replacement: within a pass every row of a source comes once.

    python -m pytest tests/data/test_mixture.py
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from septet.core.errors import ComponentError, nearest
from septet.data.bits import stirred

__all__ = ["Mixture", "Order", "Sizes", "Stage", "permuted"]


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a source holds: rows, tokens that are learned, documents."""

    rows: int
    tokens: int
    documents: int


class Stage(BaseModel):
    """A part of the training with shares of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    share: float = Field(gt=0, le=1)
    """The share of all rows that this stage takes; the shares of all stages add up to 1."""
    weights: dict[str, float] = {}
    """As `weights` of the mixture; a source that is not named has the weight 0."""


class Mixture(BaseModel):
    """How the sources are mixed."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    weights: dict[str, float] = {}
    """Share of each source, in any unit; a source that is not named has the weight 0. Empty: as large as each source is."""
    by: Literal["tokens", "documents"] = "tokens"
    """What the weights are shares of. A source with long documents has a smaller share of documents than of tokens."""
    temperature: float = Field(default=1.0, gt=0)
    """Shares are raised to 1/temperature: above 1 small sources get more (Conneau et al. 2020, section 3)."""
    epochs: dict[str, float] = {}
    """Passes over each source, in place of weights; a source that is not named has 1."""
    stages: tuple[Stage, ...] = ()
    """A curriculum: stages in order, in place of weights."""
    rows: int | None = Field(default=None, ge=1)
    """Rows in all; without it, as many as the sources hold (with `epochs`: what they add up to)."""
    seed: int = Field(default=0, ge=0)
    """Draws the order."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [name for name in ("weights", "epochs", "stages") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are given; one of weights, epochs and stages says what is wanted.")
        if self.stages and not math.isclose(total := sum(stage.share for stage in self.stages), 1, abs_tol=1e-6):
            raise ValueError(f"the shares of the stages add up to {total:g}; 1 is expected.")
        everything = {
            **self.weights,
            **self.epochs,
            **{k: v for stage in self.stages for k, v in stage.weights.items()},
        }
        for name, value in everything.items():
            if value < 0 or not math.isfinite(value):
                raise ValueError(f"the weight of {name!r} is {value}; a number of 0 or more is expected.")
        return self

    def order(self, sizes: Mapping[str, Sizes]) -> Order:
        """Return the order over sources of these sizes, which come in the order of their names.

        Errors: ComponentError for a weight of an unknown source, or where nothing is left to mix.
        """
        names = sorted(name for name, size in sizes.items() if size.rows)
        self._know(names)
        if not names:
            raise ComponentError("there are no rows to mix; look at the report of the corpus.")
        rows = np.array([sizes[name].rows for name in names], np.int64)
        if self.epochs:
            passes = np.array([self.epochs.get(name, 1.0) for name in names])
            counts = [np.floor(rows * passes + 0.5).astype(np.int64)]
            if self.rows is not None:
                counts = [_apportion(self.rows, counts[0] / max(counts[0].sum(), 1))]
        else:
            total = self.rows or int(rows.sum())
            stages = self.stages or (Stage(share=1.0, weights=self.weights),)
            ends = [round(total * sum(stage.share for stage in stages[: n + 1])) for n in range(len(stages))]
            counts = [
                _apportion(end - start, self._shares(stage.weights, names, sizes))
                for start, end, stage in zip([0, *ends], ends, stages, strict=False)
            ]
        if not sum(int(count.sum()) for count in counts):
            raise ComponentError("the weights leave no rows; at least one source needs a weight above 0.")
        return Order(tuple(names), rows, np.stack(counts), self.seed)

    def _know(self, names: Sequence[str]) -> None:
        for given in (self.weights, self.epochs, *(stage.weights for stage in self.stages)):
            for name in given:
                if name not in names:
                    raise ComponentError(
                        f"the mixture weighs {name!r}, which is no source of the corpus.{nearest(name, names)}"
                    )

    def _shares(self, weights: Mapping[str, float], names: Sequence[str], sizes: Mapping[str, Sizes]) -> np.ndarray:
        rows = np.array([sizes[name].rows for name in names], float)
        if not weights:
            shares = rows
        else:
            shares = np.array([weights.get(name, 0.0) for name in names])
            if self.by == "documents":
                # a share of the documents is a share of the rows times how many rows a document fills
                shares = shares * rows / [max(sizes[name].documents, 1) for name in names]
        shares = shares ** (1 / self.temperature)
        return shares / max(shares.sum(), 1e-300)


@dataclass(frozen=True)
class Order:
    """The order itself. rows: int64 [S], in each source; counts: int64 [stages, S], rows of each source in each stage."""

    names: tuple[str, ...]
    rows: np.ndarray
    counts: np.ndarray
    seed: int

    def __len__(self) -> int:
        return int(self.counts.sum())

    def epochs(self) -> dict[str, float]:
        """Passes over each source."""
        return {
            name: round(float(count / size), 4)
            for name, count, size in zip(self.names, self.counts.sum(0), self.rows, strict=True)
        }

    def at(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (source numbers, row numbers), int64 [stop - start], for the places from start to stop.

        Past the end the mixture begins again, with another order.
        """
        places = np.arange(start, stop, dtype=np.int64)
        again, places = places // len(self), places % len(self)
        source = np.empty(len(places), np.int64)
        row = np.empty(len(places), np.int64)
        ends = np.cumsum(self.counts.sum(1))
        stage = np.searchsorted(ends, places, side="right")
        for lap in np.unique(again):
            for number in np.unique(stage[again == lap]):
                here = np.flatnonzero((again == lap) & (stage == number))
                counts = self.counts[number]
                place = places[here] - (ends[number] - counts.sum())
                drawn = permuted(place, int(counts.sum()), (self.seed, int(lap), int(number), 0))
                bounds = np.cumsum(counts)
                source[here] = which = np.searchsorted(bounds, drawn, side="right")
                # the n-th row that this source gives, counted over all stages and laps
                before = self.counts[:number].sum(0) + lap * self.counts.sum(0)
                nth = drawn - (bounds - counts)[which] + before[which]
                for one in np.unique(which):
                    mine = here[which == one]
                    taken = nth[which == one]
                    size = int(self.rows[one])
                    for epoch in np.unique(taken // size):
                        part = taken // size == epoch
                        row[mine[part]] = permuted(taken[part] % size, size, (self.seed, int(epoch), int(one), 1))
        return source, row


def _apportion(total: int, shares: np.ndarray) -> np.ndarray:
    """Whole numbers that add up to `total` and are nearest to the shares (largest remainders; ties to the first)."""
    exact = total * shares
    whole = np.floor(exact + 1e-9).astype(np.int64)
    rest = total - int(whole.sum())
    order = np.argsort(-(exact - whole), kind="stable")[:rest]
    whole[order] += 1
    return whole if shares.sum() else np.zeros_like(whole)


ROUNDS = 6


def permuted(places: np.ndarray, size: int, key: Sequence[int]) -> np.ndarray:
    """Return where a permutation of range(size) that `key` draws sends each place, int64, without making the permutation.

    A Feistel network over the smallest even number of bits that holds `size`, walked in cycles until the result is below `size`
    (Black and Rogaway 2002, section 4). Six rounds, with splitmix64's finaliser as the round function.
    """
    bits = max(2, (max(size - 1, 1)).bit_length())
    half = np.uint64((bits + 1) // 2)
    mask = np.uint64((1 << int(half)) - 1)
    keys = np.random.default_rng(key).integers(0, 2**64, ROUNDS, np.uint64)

    def once(x: np.ndarray) -> np.ndarray:
        left, right = x >> half, x & mask
        for round_key in keys:
            left, right = right, left ^ (stirred(right ^ round_key) & mask)
        return (left << half) | right

    found = once(places.astype(np.uint64))
    while (outside := found >= np.uint64(size)).any():
        found[outside] = once(found[outside])
    return found.astype(np.int64)
