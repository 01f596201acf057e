"""Whatever is damaged: every source ends, and raises nothing but a DataError for a column that the damage renamed.

python -m pytest tests/data/test_damage.py
"""

from __future__ import annotations

import gzip
import random
import warnings
from pathlib import Path

import pytest
from tests.data.samples import LONG, html, page, pdf, record, save, table

from septet.core.errors import DataError
from septet.data.source import Source


def whole_file(kind: str, folder: Path) -> Path:
    """A small whole file of the kind."""
    names = {
        "text": "a.txt.gz",
        "pdf": "a.pdf",
        "parquet": "a.parquet",
        "warc": "a.warc.gz",
        "csv": "a.csv",
        "html": "a.html",
    }
    path = folder / names.get(kind, f"a.{kind}")
    if kind == "datasets-folder":
        return next(save(folder / "set", [{"text": f"Text {i}."} for i in range(50)]).glob("*.arrow"))
    path.write_bytes({
        "text": lambda: gzip.compress(b"Some text.\n" * 50) * 3,
        "pdf": lambda: pdf("First page.", "Second page.", title="Title"),
        "parquet": lambda: table(*({"text": f"Row {i}.", "n": i} for i in range(100)), group=20),
        "warc": lambda: b"".join(gzip.compress(record(i, html(i))) for i in range(4)),
        "csv": lambda: b"text,n\n" + b'"some, text",1\nother,2\n' * 30,
        "jsonl": lambda: b'{"text": "some \\u00e9 text"}\n' * 50,
        "html": lambda: page("Title", LONG).encode(),
    }[kind]())  # fmt: skip
    return path


def damaged(raw: bytes, chosen: random.Random) -> bytes:
    """The bytes with up to six changed, taken out or put in."""
    changed = bytearray(raw)
    for _ in range(chosen.randint(1, 6)):
        place, how = chosen.randrange(len(changed)), chosen.random()
        if how < 0.6:
            changed[place] = chosen.randrange(256)
        elif how < 0.8:
            del changed[place : place + chosen.randint(1, 30)]
        else:
            changed[place:place] = chosen.randbytes(chosen.randint(1, 20))
    return bytes(changed)


@pytest.mark.parametrize("kind", ["text", "pdf", "parquet", "warc", "csv", "jsonl", "html", "datasets-folder"])
def test_damage_is_named_and_nothing_else_happens(tmp_path: Path, kind: str):
    path = whole_file(kind, tmp_path)
    raw = path.read_bytes()
    source = Source.parse({"kind": kind, "path": str(path.parent)})
    intact = list(source.read())
    chosen, different, mistaken = random.Random(kind), 0, []
    for _ in range(60):
        path.write_bytes(damaged(raw, chosen))
        told: list[str] = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                docs = list(source.read(bad=lambda place, reason, told=told: told.append(place)))
            except DataError as error:
                docs, told = [], [str(error)]
                mistaken.append(str(error))
        assert docs or told
        different += docs != intact
    assert all("There is no column" in what or "The field 'text'" in what for what in mistaken), mistaken
    assert different > 10  # the damage does something
