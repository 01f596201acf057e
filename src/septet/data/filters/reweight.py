"""Gives documents a weight, so that the groups of an axis are mentioned in the shares you ask for.

    weight = sum_g (share of the document's mentions that are of g) * target_g / share_g of the corpus, within [1/most, most]

A document that mentions nobody of the axis keeps its weight. The shares of the corpus come from an audit of it, or are given as
counts. Where each document mentions one group alone the target is reached; where documents mention several, the weights lead
part of the way. Nothing is rewritten: rare groups are read oftener, with whatever is said of them. Audit the result.

    septet corpus --source '{kind: folder, path: texts/}' --filters '{kind: reweight, counts: {women: 1000, men: 3000}}'
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from septet.core.component import InputPath, ReportRef
from septet.core.errors import DataError, nearest
from septet.data.documents import Document
from septet.data.filter import Drop, Filter, count
from septet.data.lexicon import Lexicon, digest
from septet.data.weights import repetitions

__all__ = ["Reweight"]


class Reweight(Filter):
    """How often a document counts, by whom it mentions."""

    axis: str = "gender"
    """The axis of the lexicon."""
    target: dict[str, float] = Field(default_factory=dict)
    """The shares that are aimed at, by group; they are scaled to 1. None: equal shares of all groups that were counted."""
    audit: ReportRef | None = None
    """The audit whose counts of mentions are taken: of the corpus without this filter."""
    side: Literal["before", "after"] = "after"
    """Which of the two sides of the audit."""
    counts: dict[str, int] = Field(default_factory=dict)
    """The counts of mentions by group; where given, no audit is asked."""
    most: float = Field(default=4.0, gt=1, le=100)
    """The largest factor; the smallest is its reciprocal."""
    how: Literal["weight", "repeat"] = "weight"
    """weight: as meta["weight"], which mixtures and audits read; repeat: documents are left out or repeated here."""
    seed: int = 0
    """Decides by a hash about the fractional part of a weight, where documents are repeated."""
    lexicon: InputPath | None = None
    """A lexicon of your own, the same as the audit's."""

    _folders: dict[str, Path] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if self.audit is None and not self.counts:
            raise ValueError(
                "the shares of the corpus are unknown; give audit (an audit of it) or counts (mentions by group)."
            )
        for name in ("target", "counts"):
            negative = [group for group, value in getattr(self, name).items() if value < 0]
            if negative or (getattr(self, name) and not sum(getattr(self, name).values())):
                raise ValueError(f"{name} needs numbers from 0 up, and one above 0; see {negative or 'its sum'}.")
        return self

    def fingerprint(self) -> str:
        return digest(self.lexicon)

    def given(self, folders: Mapping[str, Path]) -> None:
        self._folders.update(folders)

    def apply(self, docs: Iterable[Document], drop: Drop) -> Iterator[Document]:
        """Errors: DataError for an axis or a group that the lexicon lacks, and for a target that was never mentioned."""
        lexicon = Lexicon.read(Path(self.lexicon) if self.lexicon else None)
        factors = self._factors(lexicon.axis(self.axis))
        for doc in docs:
            mentions: Counter[str] = Counter()
            if doc.language in ("", "en"):
                for _, found in lexicon.mentions(doc.text):
                    mentions.update(one.group for one in found if one.axis == self.axis and one.group in factors)
            if mentions:
                weight = sum(number * factors[group] for group, number in mentions.items()) / mentions.total()
                weight = min(max(weight, 1 / self.most), self.most) * doc.meta.get("weight", 1)
                doc = replace(doc, meta={**doc.meta, "weight": round(weight, 4)})
                count(drop, "documents weighted")
            if self.how == "weight":
                yield doc
            else:
                yield from self._repeated(doc, drop)

    def _repeated(self, doc: Document, drop: Drop) -> Iterator[Document]:
        times = repetitions(doc, self.seed)
        if not times:
            drop(doc, "not drawn: a weight below 1")
            return
        plain = replace(doc, meta={key: value for key, value in doc.meta.items() if key != "weight"})
        yield plain
        for number in range(2, times + 1):
            count(drop, "copies")
            yield replace(plain, id=f"{doc.id}#{number}", group=doc.group or doc.id, aliases=())

    def _factors(self, groups: tuple[str, ...]) -> dict[str, float]:
        """Group -> target share / share of the corpus."""
        counts = dict(self.counts) or self._counted()
        for what, named in (("counts", counts), ("target", self.target)):
            for group in named:
                if group not in groups:
                    raise DataError(f"{what}: the axis {self.axis!r} has no group {group!r}.{nearest(group, groups)}")
        target = self.target or {group: 1.0 for group, number in counts.items() if number}
        never = [group for group, share in target.items() if share and not counts.get(group)]
        if never:
            raise DataError(
                f"{', '.join(never)}: never mentioned in the corpus, so that no weight reaches a target above 0."
            )
        whole, aim = sum(counts.get(group, 0) for group in target), sum(target.values())
        return {group: share / aim * whole / counts[group] for group, share in target.items() if counts.get(group)}

    def _counted(self) -> dict[str, int]:
        assert self.audit is not None
        path = self._folders[self.audit] / "audits.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            rows = content["identity"][self.side]["groups"]
        except (FileNotFoundError, KeyError):
            raise DataError(
                "The report holds no audit of identity; one made by the step 'audit' is expected.", file=path
            ) from None
        return {row["group"]: row["rate"]["n"] for row in rows if row["axis"] == self.axis and row["rate"]}
