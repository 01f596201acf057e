"""A data set of the Hugging Face hub, read as it streams: Parquet or JSON lines, one document a row.

`name` is a repository (`org/name`) or a ready name: c4, bookcorpus, the-pile, openwebtext, fineweb, wikipedia. The commit that is
read is found on first use and kept in the store's `pins.json`, so that later runs read the same. Nothing is kept on disk but the
documents themselves. It runs no loading scripts: a repository without Parquet or JSON files cannot be read.

    septet corpus --source '{kind: hub, name: wikipedia, config: 20231101.simple, limit: 1000}'
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from pydantic import Field, field_validator

from septet.core import pins
from septet.core.errors import DataError, nearest
from septet.data import hub
from septet.data.documents import Document, JsonValue
from septet.data.files import Pattern, matcher
from septet.data.rows import Columns, EveryColumn, Ids, Row, RowSource, class_names, json_rows, parquet_rows
from septet.data.source import Bad, Part, stop
from septet.data.unpack import plain_name

__all__ = ["READY", "Hub"]

SUFFIXES = (".parquet", ".jsonl", ".ndjson", ".json")
COMMIT = re.compile(r"[0-9a-f]{40}")


class NoFileError(DataError):
    """The repository has no file that is asked for."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Where a well-known data set is: files have `CONFIG` and `SPLIT` for what the recipe says, and `config` if it says none."""

    repo: str
    files: str
    size: str
    licence: str = ""
    config: str = ""
    revision: str = "main"
    name_field: str | None = None


READY = {
    "c4": Ready(
        "allenai/c4", "CONFIG/c4-SPLIT.*.json.gz", "305 GB packed for 'en'", licence="ODC-By-1.0", config="en"
    ),
    "bookcorpus": Ready(
        "bookcorpus/bookcorpus", "CONFIG/SPLIT/*.parquet", "1.2 GB packed, 74,004,228 rows of one sentence",
        config="plain_text", revision="refs/convert/parquet",
    ),
    "the-pile": Ready(
        "monology/pile-uncopyrighted", "SPLIT{,/*}.jsonl.zst", "hundreds of GB packed; without the parts under copyright"
    ),
    "openwebtext": Ready("Skylion007/openwebtext", "**/*SPLIT*.parquet", "about 24 GB packed", licence="CC0-1.0"),
    "fineweb": Ready(
        "HuggingFaceFW/fineweb", "CONFIG/*.parquet", "about 30 GB packed for 'sample/10BT'", licence="ODC-By-1.0",
        config="sample/10BT",
    ),
    "wikipedia": Ready(
        "wikimedia/wikipedia", "CONFIG/SPLIT-*.parquet", "about 12 GB packed for '20231101.en'", licence="CC-BY-SA-3.0",
        config="20231101.en", name_field="title",
    ),
}  # fmt: skip


class Hub(RowSource):
    """Documents from the rows of a data set on the hub."""

    name: str
    """A repository, `org/name`, or a ready name: c4, bookcorpus, the-pile, openwebtext, fineweb, wikipedia."""
    config: str | None = None
    """The part of the data set: a language of c4, a dump of wikipedia, a folder of another repository."""
    split: str = "train"
    """The split; without `data_files`, the files whose path names it."""
    data_files: Pattern | None = None
    """Which files of the repository are read: `*` within a name, `**/` any folders, `{a,b}` either."""
    revision: str | None = None
    """A branch, tag or commit; without it, the commit of the main branch at the first use."""
    limit: int | None = Field(default=None, gt=0)
    """Read no more documents than this, the first ones."""
    licence: str = ""
    """The licence that all documents carry unless one says otherwise; without it, that of a ready name."""

    @field_validator("name")
    @classmethod
    def _a_repository(cls, name: str) -> str:
        if name not in READY and not re.fullmatch(r"[\w][\w.-]*/[\w][\w.-]*", name):
            raise ValueError(f"{name!r} is no repository such as 'org/name', and no ready name.{nearest(name, READY)}")
        return name

    def parts(self) -> Sequence[Part]:
        """One part a file, `path@commit`; with `limit`, one part in all. Errors: DataError where nothing matches."""
        commit = self._commit()
        if self.limit is not None:
            return (Part(f"@{commit}"),)
        return tuple(Part(f"{path}@{commit}", size) for path, size in self._files(commit).items())

    def read(self, part: str = "", *, bad: Bad = stop) -> Iterator[Document]:
        """One document a row. Errors: DataError offline, for what the hub does not have, and for a column that is not there."""
        for name in [part] if part else [item.name for item in self.parts()]:
            path, _, commit = name.rpartition("@")
            paths = [path] if path else list(self._files(commit))
            docs = (doc for path in paths for doc in self._documents(path, commit, bad))
            yield from islice(docs, self.limit)

    def rows(
        self, bad: Bad = stop, *, classes: dict[str, list[str]] | None = None
    ) -> Iterator[tuple[str, Mapping[str, JsonValue]]]:
        """(place, all fields) of every row of the split, at most `limit`; the names of numbered classes come to `classes`.

        Errors: DataError offline, and for what the hub does not have.
        """
        commit, repo = self._commit(), self._ready().repo

        def found() -> Iterator[tuple[str, Mapping[str, JsonValue]]]:
            for path in self._files(commit):
                if classes is not None and not classes and path.lower().endswith(".parquet"):
                    # each file of a data set says the same
                    with hub.open_file(repo, commit, path) as stream:
                        classes.update(class_names(stream))
                for number, _, row in self._rows(path, commit, EveryColumn(), bad):
                    yield f"{path}, row {number}", row

        try:
            yield from islice(found(), self.limit)
        except hub.Unreachable as error:
            raise self._offline(error) from None

    def folders(self, *, hint: str = "Give 'data_files'.") -> list[str]:
        """Return the folders in which files of the split lie. Errors: DataError offline; with the hint, where none is."""
        return sorted({path.rpartition("/")[0] or "." for path in self._files(self._commit(), hint=hint)})

    def has_split(self) -> bool:
        """Whether some file is of the split. Errors: DataError offline."""
        try:
            return bool(self._files(self._commit()))
        except NoFileError:
            return False

    def fingerprint(self) -> str:
        """The commit that is read."""
        return hashlib.sha256(f"{self._ready().repo}@{self._commit()}".encode()).hexdigest()

    def _ready(self) -> Ready:
        return READY.get(self.name) or Ready(self.name, "", "of unknown size")

    def _commit(self) -> str:
        ready = self._ready()
        revision = self.revision or ready.revision
        if COMMIT.fullmatch(revision):
            return revision
        try:
            return pins.pin(f"hub/{ready.repo}@{revision}", lambda: hub.commit_of(ready.repo, revision))
        except hub.Unreachable as error:
            raise self._offline(error) from None

    def _pattern(self) -> str:
        """The glob of the files, "" where they are found by the split's name."""
        ready = self._ready()
        return self.data_files or ready.files.replace("CONFIG", self.config or ready.config).replace(
            "SPLIT", self.split
        )

    def _files(self, commit: str, *, hint: str = "Give 'data_files'.") -> dict[str, int]:
        """Bytes by path, sorted. Errors: DataError where there are none."""
        repo, pattern = self._ready().repo, self._pattern()
        folder = re.split(r"[*?\[{]", pattern)[0].rpartition("/")[0] if pattern else self.config or ""
        try:
            found = hub.files_of(repo, commit, folder)
        except hub.Unreachable as error:
            raise self._offline(error) from None
        known = {path: size for path, size in sorted(found.items()) if plain_name(path).lower().endswith(SUFFIXES)}
        if pattern:
            chosen = {path: size for path, size in known.items() if matcher(pattern).fullmatch(path)}
        else:
            named = re.compile(rf"(?:.*[/._-])?{re.escape(self.split)}(?:[/._-].*)?", re.DOTALL)
            chosen = {path: size for path, size in known.items() if named.fullmatch(path)}
            if not chosen and self.split == "train":
                chosen = known  # nothing is called so where there is one split
        if not chosen:
            some = ", ".join(islice(known or found, 10)) or "nothing"
            what = f"matches {pattern!r}" if pattern else f"is of the split {self.split!r}"
            where = f" below {folder}/" if folder else ""
            raise NoFileError(f"No Parquet or JSON file{where} {what}. There is: {some}. {hint}", file=repo)
        return chosen

    def _documents(self, path: str, commit: str, bad: Bad) -> Iterator[Document]:
        ready, ids = self._ready(), Ids()
        mapped = self.model_copy(update={"name_field": self.name_field or ready.name_field})
        licence = self.licence or ready.licence
        try:
            for number, row in ((number, row) for number, _, row in self._rows(path, commit, mapped, bad)):
                doc = mapped.document(
                    row, file=path, line=number, place=f"{path}, row {number}", row_id=f"{path}:{number}", ids=ids, bad=bad
                )  # fmt: skip
                if doc is not None:
                    yield replace(doc, licence=licence) if licence and not doc.licence else doc
        except hub.Unreachable as error:
            raise self._offline(error) from None

    def _rows(self, path: str, commit: str, mapped: Columns, bad: Bad) -> Iterator[Row]:
        repo = self._ready().repo
        if path.lower().endswith(".parquet"):
            with hub.open_file(repo, commit, path) as stream:
                yield from parquet_rows(stream, path, mapped, bad)
        else:
            yield from json_rows(hub.HubFile(path, Path(path), opened=lambda: hub.open_file(repo, commit, path)), bad)

    def _offline(self, error: hub.Unreachable) -> DataError:
        """What would be read, and how to bring it here."""
        ready, pattern = self._ready(), self._pattern()
        revision = self.revision or ready.revision
        pattern = pattern or f"{self.config or '*'}*"
        include = re.sub(r"\{[^}]*\}", "*", pattern.replace("**/", "*"))
        at = "" if revision == "main" else f" --revision {revision}"
        kind = "jsonl" if ".json" in pattern else "parquet"
        return DataError(
            f"{error}, and this source reads the data set {ready.repo} at {revision}, the files {pattern} ({ready.size}). Where"
            f" there is a network, bring them here: hf download {ready.repo} --repo-type dataset{at} --include '{include}'"
            f" --local-dir {self.name.rpartition('/')[2]} . Then read them: {{kind: {kind}, path: {self.name.rpartition('/')[2]}}}"
        )
