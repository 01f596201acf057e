"""How rows are divided into training, validation and test rows where the files do not say.

Rows that are given the same text always fall on one side, whatever their answers: a held-out row was never trained on. The same
rows and seed give the same sides, whatever the order of the rows. It does not look for near duplicates: `septet.data.review` does.

    python -m pytest tests/data/test_divide.py
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from septet.core.errors import DataError
from septet.data.builder import Row
from septet.data.examples import asked, given, labels_of
from septet.data.labelled import hash_text
from septet.data.split import fill

__all__ = ["Division", "Found", "divide"]

By = Literal["auto", "label", "group", "time", "hash"]


@dataclass(frozen=True, slots=True)
class Found:
    """A row, where it was found ("rows.csv, row 7"), and when it is from (seconds, or any number) where that is known."""

    row: Row
    place: str
    when: float | None = None


class Division(BaseModel):
    """What share of the training rows becomes validation and test rows, for parts that have no files of their own."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    validation: float = Field(default=0.1, ge=0, le=0.5)
    """Share of the rows that choices are made on."""
    test: float = Field(default=0.0, ge=0, le=0.5)
    """Share of the rows that are looked at once, at the end."""
    by: By = "auto"
    """label: the same share of each. group: whole groups. time: the last rows. hash: any. auto: group, else label, else hash."""

    @model_validator(mode="after")
    def _something_is_left(self) -> Division:
        if self.validation + self.test >= 0.95:
            raise ValueError(
                f"validation {self.validation:g} and test {self.test:g} leave too little to train on; less than 0.95 is expected."
            )
        return self


@dataclass(frozen=True, slots=True)
class _Unit:
    """Rows that stay together."""

    key: str
    rows: tuple[int, ...]


def divide(found: Sequence[Found], how: Division, *, seed: int) -> tuple[dict[str, list[Found]], str]:
    """Return the rows of "train", "validation" and "test", each in its order, and by what they were divided.

    Errors: DataError where rows have no group or time and the division asks for it, or where nothing is left to train on.
    """
    by = _by(found, how.by)
    units = _units(found)
    chosen: dict[str, list[_Unit]] = {}
    left = units
    for part, share in (("test", how.test), ("validation", how.validation)):
        # of what is left, so that it is that share of all
        rows = sum(len(unit.rows) for unit in left)
        wanted = share * len(found) / max(rows, 1)
        if by == "time":
            taken = _last(found, left, wanted)
        elif by == "group":
            names = fill({unit.key: len(unit.rows) for unit in left}, wanted, seed)
            taken = [unit for unit in left if unit.key in names]
        else:
            taken = _even(found, left, wanted, seed, by_label=by == "label")
        chosen[part] = taken
        keys = {unit.key for unit in taken}
        left = [unit for unit in left if unit.key not in keys]
    chosen["train"] = left
    if found and not left:
        raise DataError(
            f"Divided by {by}, no row is left to train on: {len(found)} rows are {len(units)} units that stay together."
            " Divide by something else, or give the parts as files."
        )
    rows_of = {part: sorted(place for unit in taken for place in unit.rows) for part, taken in chosen.items()}
    return {part: [found[place] for place in places] for part, places in rows_of.items()}, by


def _has_groups(found: Iterable[Found]) -> bool:
    return any("group" in item.row for item in found)


def _by(found: Sequence[Found], by: By) -> str:
    groups = len({item.row.get("group", "") for item in found})
    if by == "auto":
        if _has_groups(found) and groups > 1:
            return "group"
        return "label" if any(labels_of(item.row) for item in found) else "hash"
    if by == "label" and not any(labels_of(item.row) for item in found):
        raise DataError("The rows have no labels to divide by; divide by group, time or hash.")
    if by == "group" and not _has_groups(found):
        raise DataError("The rows have no groups to divide by; name the column of the group: columns: {group: ...}.")
    if by == "group" and groups < 2:
        raise DataError("All rows are of one group; divide by label or hash instead, or give the parts as files.")
    without = next((item for item in found if item.when is None), None)
    if by == "time" and without is not None:
        raise DataError(f"{without.place}: the row has no time to divide by; name its column: columns: {{time: ...}}.")
    return by


def _units(found: Sequence[Found]) -> list[_Unit]:
    """Join rows that are given the same, and rows of one group."""
    parent = list(range(len(found)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    whole = len({item.row.get("group", "") for item in found}) > 1  # one group alone says nothing
    first: dict[tuple[str, str], int] = {}
    for place, item in enumerate(found):
        keys = [("given", given(item.row))]
        if whole and "group" in item.row:
            keys.append(("group", str(item.row["group"])))
        for key in keys:
            parent[root(place)] = root(first.setdefault(key, place))
    members: dict[int, list[int]] = {}
    for place in range(len(found)):
        members.setdefault(root(place), []).append(place)
    # named by its smallest row, so that the order of the rows does not matter
    named = [
        (min(f"{given(found[place].row)}\0{asked(found[place].row)}" for place in places), tuple(places))
        for places in members.values()
    ]
    return [_Unit(key, places) for key, places in sorted(named)]


def _even(found: Sequence[Found], units: Sequence[_Unit], share: float, seed: int, *, by_label: bool) -> list[_Unit]:
    """Choose the same share of every stratum, within a row; what rounding left over goes to the next stratum.

    The stratum of a unit is the rarest of its labels. The last unit of a stratum always stays.
    """
    often = Counter(label for item in found for label in labels_of(item.row)) if by_label else Counter()
    strata: dict[str, list[_Unit]] = {}
    for unit in units:
        labels = {label for place in unit.rows for label in labels_of(found[place].row)} if by_label else set()
        strata.setdefault(min(labels, key=lambda label: (often[label], label), default=""), []).append(unit)
    taken: list[_Unit] = []
    wanted, got = 0.0, 0
    for label in sorted(strata):
        stratum = sorted(strata[label], key=lambda unit: hash_text(unit.key, seed))
        rows = sum(len(unit.rows) for unit in stratum)
        wanted += share * rows
        quota = min(math.floor(wanted - got + 0.5), math.ceil(share * rows))
        for unit in stratum[:-1]:
            if len(unit.rows) <= quota:
                taken.append(unit)
                quota -= len(unit.rows)
                got += len(unit.rows)
    return taken


def _last(found: Sequence[Found], units: Sequence[_Unit], share: float) -> list[_Unit]:
    """Choose the latest units; those of one time stay together, and a unit is as late as its latest row."""
    by_time: dict[float, list[_Unit]] = {}
    for unit in units:
        by_time.setdefault(max(found[place].when or 0.0 for place in unit.rows), []).append(unit)
    target = share * sum(len(unit.rows) for unit in units)
    taken: list[_Unit] = []
    got = 0
    for when in sorted(by_time, reverse=True):
        rows = sum(len(unit.rows) for unit in by_time[when])
        # the time that crosses the mark is taken where that comes nearer to the share
        if got + rows / 2 > target:
            break
        taken += by_time[when]
        got += rows
    return taken
