"""A data set as the `datasets` library of Hugging Face saves it (`save_to_disk`), one document a row.

The folder holds `state.json` and Arrow files; or, for several splits, `dataset_dict.json` and one such folder for each. The files
are read with pyarrow. It reads no cache folders and no data sets whose rows were chosen but not written (`flatten_indices`).

    septet corpus --source '{kind: datasets-folder, path: saved/, split: train}'
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from septet.core.component import InputPath, hash_path
from septet.core.errors import DataError, nearest
from septet.core.extras import need
from septet.data.documents import Document
from septet.data.files import PathSource, is_inside
from septet.data.rows import Ids, RowSource, batch_rows, first_line
from septet.data.source import Bad, Part, stop

__all__ = ["DatasetsFolder"]


class DatasetsFolder(RowSource, PathSource):
    """Documents from the rows of a saved data set."""

    path: InputPath
    """The folder that was saved."""
    split: str = "train"
    """The split to read, of a data set that has several."""

    def parts(self) -> Sequence[Part]:
        """One part an Arrow file, in the order of the data set. Errors: DataError for a folder that is no data set."""
        folder = self._folder()
        names = [item["filename"] for item in self._state(folder)["_data_files"]]
        sizes = ((folder / name).stat().st_size if (folder / name).is_file() else 0 for name in names)
        return tuple(Part(name, size) for name, size in zip(names, sizes, strict=True))

    def read(self, part: str = "", *, bad: Bad = stop) -> Iterator[Document]:
        """One document a row. Errors: DataError for a folder that is no data set, or has no column of a named field."""
        folder = self._folder()
        licence = self.licence or self._stated_licence(folder)
        for name in [part] if part else [item.name for item in self.parts()]:
            ids = Ids()
            for number, row in self._rows(folder, name, bad):
                doc = self.document(
                    row, file=name, line=number, place=f"{name}, row {number}", row_id=f"{name}:{number}", ids=ids, bad=bad
                )  # fmt: skip
                if doc is not None:
                    yield replace(doc, licence=licence) if licence and not doc.licence else doc

    def fingerprint(self) -> str:
        """Hash of the names and bytes of the Arrow files, and of what the data set says of itself."""
        folder = self._folder()
        total = hashlib.sha256(self._stated_licence(folder).encode())
        for part in self.parts():
            total.update(part.name.encode() + b"\0")
            total.update(hash_path(folder / part.name).encode() if (folder / part.name).is_file() else b"")
        return total.hexdigest()

    def _folder(self) -> Path:
        """The folder of the split. Errors: DataError where there is none."""
        root = Path(self.path)
        several = root / "dataset_dict.json"
        if not several.is_file():
            return root
        splits = _read_json(several).get("splits")
        if not isinstance(splits, list) or not all(isinstance(name, str) for name in splits):
            raise DataError("A list 'splits' is expected.", file=several)
        if self.split not in splits:
            raise DataError(f"The data set has no split {self.split!r}.{nearest(self.split, splits)}", file=root)
        return root / self.split

    def _state(self, folder: Path) -> dict[str, Any]:
        path = folder / "state.json"
        if not path.is_file():
            raise DataError(
                "There is no state.json here: a folder that `save_to_disk` wrote is expected (for Parquet files use"
                " 'parquet').",
                file=folder,
            )
        state = _read_json(path)
        files = state.get("_data_files")
        if not isinstance(files, list) or not all(
            isinstance(f, dict) and isinstance(f.get("filename"), str) for f in files
        ):
            raise DataError("A list '_data_files' of objects with 'filename' is expected.", file=path)
        if state.get("_indices_data_files"):
            raise DataError(
                "The rows were chosen and not written; save `flatten_indices()` of the data set.", file=path
            )
        return state

    def _stated_licence(self, folder: Path) -> str:
        path = folder / "dataset_info.json"
        said = _read_json(path).get("license") if path.is_file() else ""
        return said if isinstance(said, str) else ""

    def _rows(self, folder: Path, name: str, bad: Bad) -> Iterator[tuple[int, dict[str, Any]]]:
        pyarrow = need("pyarrow", "corpus")  # 120 ms
        path = folder / name
        if not is_inside(path, Path(self.path)):
            bad(name, "a link or a name that leads outside the folder")
            return
        number, broken = 0, (pyarrow.ArrowException, OSError, UnicodeDecodeError)
        try:
            with pyarrow.memory_map(str(path)) as file, pyarrow.ipc.open_stream(file) as stream:
                self.require(stream.schema.names, name)
                for batch in stream:
                    first, number = number + 1, number + len(batch)
                    batch = batch.select(self.named())
                    try:
                        _check(batch, pyarrow)
                    except broken as error:
                        bad(f"{name}, rows {first} to {number}", f"the batch is damaged ({first_line(error)})")
                        continue
                    yield from batch_rows(batch, first, name, bad)
        except broken as error:
            bad(f"{name}, after row {number}", f"the Arrow file is damaged ({first_line(error)})")


def _check(batch: Any, pyarrow: Any) -> None:
    """Errors: ArrowInvalid where values do not lie inside the batch: reading them would end the process."""
    plain = {pyarrow.string(): pyarrow.binary(), pyarrow.large_string(): pyarrow.large_binary()}
    for column in batch.columns:
        # as bytes, since one text that is not UTF-8 is no reason to lose the others
        kind = plain.get(column.type)
        (column if kind is None else column.cast(kind)).validate(full=True)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise DataError(f"not JSON that can be read ({error})", file=path) from None
    if not isinstance(content, dict):
        raise DataError("One JSON object is expected.", file=path)
    return content
