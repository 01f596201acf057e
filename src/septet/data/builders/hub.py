"""Rows of a data set of the Hugging Face hub, for any task: its splits, their columns mapped to what the task needs.

Task and columns are inferred from the names and values of the training rows, told, and can be given instead; names of numbered
labels are those that the data set brings. The commit that is read is found on first use and kept in the store's `pins.json`. Rows
are held in memory. It runs no loading scripts: a repository without Parquet or JSON files cannot be read.

    septet dataset --builder '{kind: hub, name: stanfordnlp/sst2, limit: 2000}'
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import Field, field_validator

from septet.core.errors import DataError
from septet.data.parts import PARTS, Gathered, Problems
from septet.data.sources.hub import Hub as Source
from septet.data.tabular import Placed, TabularBuilder

__all__ = ["Hub"]

USUAL = {"validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
"""How splits are called where nobody says; the first that there is."""


class Hub(TabularBuilder):
    """Rows of a data set on the hub."""

    name: str
    """A repository: `org/name`."""
    config: str | None = None
    """The part of the data set: a folder of the repository; needed where the split stands in several."""
    train: str = "train"
    """The split with the rows to train on."""
    validation: str | None = None
    """The split that choices are made on; none: the one called validation, valid, val or dev, or what `split` takes."""
    test: str | None = None
    """The split that is looked at once, at the end; none: the one called test, or what `split` takes."""
    revision: str | None = None
    """A branch, tag or commit; without it, the commit of the main branch at the first use."""
    limit: int | None = Field(default=None, gt=0)
    """Read no more rows of each split than this, the first ones."""

    @field_validator("name")
    @classmethod
    def _a_repository(cls, name: str) -> str:
        Source(name=name)
        return name

    def fingerprint(self) -> str:
        """The commit that is read."""
        return self._source(self.train).fingerprint()

    def given(self) -> Mapping[str, tuple[str, ...]]:
        return {part: (f"{self.name}/{split}",) for part, split in self._splits()}

    def gather(self, parts: Mapping[str, tuple[str, ...]], problems: Problems) -> Gathered:
        """Errors: DataError offline, for what the hub does not have, and for columns that do not say what the rows are for."""
        classes: dict[str, list[str]] = {}
        rows: dict[str, list[Placed]] = {}
        for part, (place,) in parts.items():
            split = place.removeprefix(f"{self.name}/")
            source = self._source(split)
            folders = source.folders(hint="Name a split that is there.")
            if self.config is None and len(folders) > 1:
                raise DataError(
                    f"The split '{split}' stands in several folders, which may be different data: {', '.join(folders)}. "
                    "Name one of them with config.",
                    file=self.name,
                )
            rows[part] = list(source.rows(problems, classes=classes))
        return self.shape(rows, problems, place=parts["train"][0], classes=classes)

    def _splits(self) -> Iterator[tuple[str, str]]:
        """(part, split) of those that are given, or that have a usual name."""
        for part in PARTS:
            named = getattr(self, part)
            usual = (split for split in USUAL.get(part, ()) if self._source(split).has_split())
            if (split := named or next(usual, None)) is not None:
                yield part, split

    def _source(self, split: str) -> Source:
        return Source(name=self.name, config=self.config, split=split, revision=self.revision, limit=self.limit)
