"""Rows of tables: which column is what, CSV, Parquet, saved data sets.

python -m pytest tests/data/test_row_sources.py
"""

from __future__ import annotations

import gzip
import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from tests.data.memory import read_apart
from tests.data.samples import save, table

from septet.core.errors import ComponentError, DataError
from septet.data import files, rows
from septet.data.documents import Document
from septet.data.source import Source


def source(kind: str, path: Path, **fields: Any) -> Source:
    return Source.parse({"kind": kind, "path": str(path), **fields})


def read(one: Source, part: str = "") -> tuple[list[Document], dict[str, str]]:
    bad: dict[str, str] = {}
    return list(one.read(part, bad=bad.__setitem__)), bad


# -- which column is what -------------------------------------------------------------------------------------------

ROW = {"body": "Text.", "key": 7, "title": "T", "site": "s", "terms": "MIT"}
FIELDS = {
    "text_field": "body",
    "id_field": "key",
    "name_field": "title",
    "group_field": "site",
    "licence_field": "terms",
}


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_columns_are_the_same_for_every_format(tmp_path: Path, kind: str):
    content = {
        "jsonl": json.dumps(ROW).encode(),
        "csv": (",".join(ROW) + "\n" + ",".join(map(str, ROW.values()))).encode(),
        "parquet": table(ROW),
    }
    (tmp_path / f"a.{kind}").write_bytes(content[kind])
    (doc,) = source(kind, tmp_path, licence="CC0-1.0", **FIELDS).read()
    assert (doc.id, doc.text, doc.name, doc.group, doc.licence) == ("7", "Text.", "T", "s", "MIT")
    (plain,) = source(kind, tmp_path, licence="CC0-1.0", text_field="body").read()
    number = 2 if kind == "csv" else 1
    assert (plain.id, plain.name, plain.group, plain.licence) == (
        f"a.{kind}:{number}",
        f"a.{kind}:{number}",
        "",
        "CC0-1.0",
    )


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("on_missing", ["stop", "skip"])
def test_a_column_that_is_not_there_always_stops(tmp_path: Path, kind: str, on_missing: str):
    (tmp_path / f"a.{kind}").write_bytes(b"tekst,n\nx,1\n" if kind == "csv" else table({"tekst": "x", "n": 1}))
    with pytest.raises(
        DataError, match=rf"a\.{kind}: There is no column 'text'. Say .* text_field\. Did you mean 'tekst'"
    ):
        read(source(kind, tmp_path, on_missing=on_missing))
    with pytest.raises(DataError, match=r"There is no column 'nn'\. Did you mean 'n'"):
        read(source(kind, tmp_path, on_missing=on_missing, text_field="tekst", name_field="nn"))


def test_rows_without_a_field_may_be_skipped(tmp_path: Path):
    lines = [
        {"text": "a", "id": 1},
        {"txt": "b", "id": 2},
        {"text": None, "id": 3},
        {"text": "d"},
        {"text": "e", "id": 5},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    docs, bad = read(source("jsonl", tmp_path, id_field="id", on_missing="skip"))
    assert [doc.id for doc in docs] == ["1", "5"]
    assert list(bad) == ["a.jsonl, row 2", "a.jsonl, row 3", "a.jsonl, row 4"]
    assert bad["a.jsonl, row 3"] == "The field 'text' holds NoneType; a string, or a list of sentences, is expected."
    with pytest.raises(DataError, match=r"row 2: The field 'text' is missing.*Did you mean 'txt'"):
        read(source("jsonl", tmp_path))


def test_sentences_become_one_text(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"text": ["One.", "Two."]}\n{"text": ["One.", 2]}\n{"text": []}')
    docs, bad = read(source("jsonl", tmp_path, on_missing="skip"))
    assert [doc.text for doc in docs] == ["One. Two."]
    assert list(bad) == ["a.jsonl, row 2", "a.jsonl, row 3"]


def test_rows_that_are_no_rows_are_named_and_the_others_are_read(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(
        b'{"text": "one"}\n{"text": "caf\xe9"}\n{"text": \n\n[1]\n"x"\n' + b"[" * 100_000 + b"\n"
        b'{"text": "n", "n": ' + b"9" * 5000 + b'}\n{"text": "two"}'
    )
    docs, bad = read(source("jsonl", tmp_path))
    assert [(doc.text, doc.line) for doc in docs] == [("one", 1), ("two", 9)]
    assert [place.rpartition(" ")[2] for place in bad] == ["2", "3", "5", "6", "7", "8"]
    assert bad["a.jsonl, row 2"] == "not UTF-8 (invalid continuation byte at byte 13 of the row)"
    with pytest.raises(DataError, match=r"a\.jsonl, row 2: not UTF-8"):
        list(source("jsonl", tmp_path).read())


def test_a_list_of_objects(tmp_path: Path):
    (tmp_path / "a.json").write_text('\ufeff [{"text": "a"},\n 3, {"text": "b"}]')
    docs, bad = read(source("jsonl", tmp_path))
    assert [doc.id for doc in docs] == ["a.json:1", "a.json:3"]
    assert bad == {"a.json, row 2": "a JSON int; an object is expected"}
    (tmp_path / "a.json").write_text('[{"text": "a"}, ')
    docs, bad = read(source("jsonl", tmp_path))
    assert docs == []
    assert bad["a.json"].startswith("not JSON")


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_a_text_that_is_too_long_is_named(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch):
    items = [{"text": "x" * 500}, {"text": "y"}]
    content = {
        "jsonl": "\n".join(map(json.dumps, items)).encode(),
        "csv": f"text\n{'x' * 500}\ny".encode(),
        "parquet": table(*items),
    }
    (tmp_path / f"a.{kind}").write_bytes(content[kind])
    monkeypatch.setattr(rows, "MAX_RECORD", 400)
    monkeypatch.setattr(files, "MAX_RECORD", 400)
    docs, bad = read(source(kind, tmp_path))
    assert [doc.text for doc in docs] == ["y"]
    assert len(bad) == 1


# -- csv ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_or_given(tmp_path: Path, mark: str):
    text = f'"a,;|b"{mark}text{mark}c\n1{mark}"one{mark} two, three; four|five"{mark}x\n'
    (tmp_path / "a.csv").write_text(text)
    for fields in ({}, {"delimiter": mark}):
        assert [doc.text for doc in source("csv", tmp_path, **fields).read()] == [f"one{mark} two, three; four|five"]


def test_a_single_column_has_no_delimiter(tmp_path: Path):
    (tmp_path / "a.csv").write_text("text\none word\n\nthree\n")
    assert [(doc.text, doc.line) for doc in source("csv", tmp_path).read()] == [("one word", 2), ("three", 4)]


def test_rows_of_csv(tmp_path: Path):
    (tmp_path / "a.csv").write_bytes(
        b"\xef\xbb\xbftitle,text\r\n"
        b'a,"two ""quoted""\r\nlines"\r\n'
        b"b,too,many\r\n"
        b"c\r\n"
        b"d,caf\xe9\r\n"
        b'e,"not closed\r\n'
        b"f,six\r\n"
        b"g,seven"
    )
    docs, bad = read(source("csv", tmp_path, name_field="title"))
    assert [(doc.name, doc.text, doc.line) for doc in docs] == [
        ("a", 'two "quoted"\nlines', 2), ("f", "six", 8), ("g", "seven", 9)
    ]  # fmt: skip
    assert bad == {
        "a.csv, row 4": "the row has 3 fields and there are 2 columns",
        "a.csv, row 5": "the row has 1 fields and there are 2 columns",
        "a.csv, row 6": "not UTF-8 (unexpected end of data at byte 5)",
        "a.csv, row 7": "a quote that is opened here is not closed",
    }
    assert read(source("csv", tmp_path, name_field="title", encoding="cp1252"))[0][1].text == "café"


def test_a_row_that_is_too_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.csv").write_text('text,n\n"' + "many\n" * 100 + "text,1\nlast,2\n")
    monkeypatch.setattr("septet.data.delimited.MAX_RECORD", 300)
    docs, bad = read(source("csv", tmp_path))
    assert bad["a.csv, row 2"].startswith("the row is longer than")
    assert [(doc.text, doc.line) for doc in docs] == [("text", 102), ("last", 103)]


def test_many_open_quotes_end_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each of them is looked for to the end of the file, so that only so many are."""
    monkeypatch.setattr("septet.data.delimited.TRIES", 5)
    (tmp_path / "a.csv").write_text("text,n\nfirst,1\n" + '"open ,2\n' * 9 + "last,3\n")
    docs, bad = read(source("csv", tmp_path))
    assert docs[0].text == "first"
    assert sum("not closed" in reason for reason in bad.values()) <= 6
    monkeypatch.setattr("septet.data.delimited.TRIES", 50)
    docs, bad = read(source("csv", tmp_path))
    assert [doc.text for doc in docs][-1] == "last"


def test_fields_of_csv(tmp_path: Path):
    (tmp_path / "a.csv").write_text("x")
    with pytest.raises(ComponentError, match="the delimiter must be one character"):
        source("csv", tmp_path, delimiter="::")
    with pytest.raises(DataError, match="There is no column 'text'"):
        list(source("csv", tmp_path, columns=["a", "b"]).read())


def test_real_tables(real_data: Path):
    news = source(
        "csv", real_data / "classification" / "ag_news_test" / "test.csv.gz", columns=["class", "title", "text"]
    )
    docs, bad = read(news)
    assert (len(docs), bad) == (7600, {})
    assert docs[0].text.startswith("Unions representing workers at Turner")
    mmlu = source("csv", real_data / "lm_eval" / "mmlu", text_field="question")
    assert (len(read(mmlu)[0]), read(mmlu)[1]) == (14327, {})


# -- parquet --------------------------------------------------------------------------------------------------------


def test_tables_packed_in_archives_and_in_folders(tmp_path: Path):
    (tmp_path / "b").mkdir()
    (tmp_path / "a.parquet").write_bytes(table({"text": "a", "n": 1}))
    (tmp_path / "b" / "c.parquet.gz").write_bytes(gzip.compress(table({"text": "c"})))
    docs, bad = read(source("parquet", tmp_path))
    assert [(doc.id, doc.text) for doc in docs] == [("a.parquet:1", "a"), ("b/c.parquet.gz:1", "c")]
    assert bad == {}


def test_truncated_and_damaged_tables(tmp_path: Path):
    items = [{"text": f"Text number {i}."} for i in range(40)]
    whole = table(*items, group=10)
    (tmp_path / "a.parquet").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b.parquet").write_bytes(whole)
    second = pyarrow.parquet.ParquetFile(io.BytesIO(whole)).metadata.row_group(1).column(0)
    damaged = bytearray(whole)
    start = second.dictionary_page_offset or second.data_page_offset
    damaged[start : start + 40] = b"\xff" * 40
    (tmp_path / "c.parquet").write_bytes(damaged)
    (tmp_path / "d.parquet").write_bytes(b"PAR1 no table PAR1")
    docs, bad = read(source("parquet", tmp_path))
    assert [doc.text for doc in docs if doc.file == "b.parquet"] == [item["text"] for item in items]
    kept = [*range(10), *range(20, 40)]
    assert [(doc.text, doc.line) for doc in docs if doc.file == "c.parquet"] == [
        (items[i]["text"], i + 1) for i in kept
    ]
    assert list(bad) == ["a.parquet", "c.parquet, rows 11 to 20", "d.parquet"]
    assert bad["a.parquet"].startswith("not a Parquet file that can be read")


def test_one_text_that_is_not_utf_8(tmp_path: Path):
    raw = table(*({"text": f"Text number {i}."} for i in range(9)))
    (tmp_path / "a.parquet").write_bytes(raw.replace(b"Text number 5", b"Text numb\xffr 5"))
    docs, bad = read(source("parquet", tmp_path))
    assert [doc.line for doc in docs] == [1, 2, 3, 4, 5, 7, 8, 9]
    assert bad == {"a.parquet, row 6": "not UTF-8 (invalid start byte at byte 9 of a field)"}


def test_a_large_row_group_is_not_held(tmp_path: Path):
    """Text that does not pack, 64 MB in one row group; the peak of resident memory grows by less than 40 MB."""
    path = tmp_path / "a.parquet"
    chosen = random.Random(0)
    path.write_bytes(table(*({"text": chosen.randbytes(1000).hex()} for _ in range(32_000)), group=10**6))
    found = read_apart(kind="parquet", path=str(path))
    assert found["count"] == 32_000
    assert found["grown"] < 40e6, found["grown"]


def test_repeated_ids_are_found(tmp_path: Path):
    (tmp_path / "a.parquet").write_bytes(table({"text": "a", "id": "x"}, {"text": "b", "id": "x"}))
    with pytest.raises(DataError, match=r"row 2: The id 'x' was already used in a\.parquet, row 1"):
        list(source("parquet", tmp_path, id_field="id", on_missing="skip").read())


# -- a saved data set -----------------------------------------------------------------------------------------------


def test_a_saved_data_set(tmp_path: Path):
    folder = save(
        tmp_path / "set", [{"text": "a", "n": 1}, {"text": "b", "n": 2}], [{"text": "c", "n": 3}], licence="mit"
    )
    one = source("datasets-folder", folder)
    docs, bad = read(one)
    assert [(doc.id, doc.text) for doc in docs] == [
        ("data-00000-of-00002.arrow:1", "a"), ("data-00000-of-00002.arrow:2", "b"), ("data-00001-of-00002.arrow:1", "c"),
    ]  # fmt: skip
    assert (bad, {doc.licence for doc in docs}) == ({}, {"mit"})
    assert [doc for part in one.parts() for doc in one.read(part.name)] == docs
    assert {doc.licence for doc in source("datasets-folder", folder, licence="CC0-1.0").read()} == {"CC0-1.0"}
    with pytest.raises(DataError, match=r"There is no column 'txt'\..*Did you mean 'text'"):
        list(source("datasets-folder", folder, text_field="txt").read())
    before = one.fingerprint()
    (folder / "notes.txt").write_text("not read")
    assert one.fingerprint() == before
    save(tmp_path / "other", [{"text": "z", "n": 1}])
    assert source("datasets-folder", tmp_path / "other").fingerprint() != before


def test_a_data_set_with_splits(tmp_path: Path):
    save(tmp_path / "set" / "train", [{"text": "a"}])
    save(tmp_path / "set" / "test", [{"text": "b"}])
    (tmp_path / "set" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert [doc.text for doc in source("datasets-folder", tmp_path / "set").read()] == ["a"]
    assert [doc.text for doc in source("datasets-folder", tmp_path / "set", split="test").read()] == ["b"]
    with pytest.raises(DataError, match=r"no split 'tset'\. Did you mean 'test'"):
        list(source("datasets-folder", tmp_path / "set", split="tset").read())


def test_a_truncated_arrow_file(tmp_path: Path):
    folder = save(tmp_path / "set", [{"text": f"Text number {i}."} for i in range(100)], [{"text": "last"}])
    path = folder / "data-00000-of-00002.arrow"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    docs, bad = read(source("datasets-folder", folder))
    assert len(docs) > 30
    assert [doc.text for doc in docs[:-1]] == [f"Text number {i}." for i in range(len(docs) - 1)]
    assert docs[-1].text == "last"
    (place,) = bad
    assert place == f"data-00000-of-00002.arrow, after row {len(docs) - 1}"


def test_damaged_batches_of_an_arrow_file(tmp_path: Path):
    """Places of values outside of the file, which Arrow itself does not notice, and one text that is not UTF-8."""
    folder = save(tmp_path / "set", [{"text": f"Text number {i:02}."} for i in range(40)])
    path = folder / "data-00000-of-00001.arrow"
    raw = path.read_bytes()
    places = np.arange(11, dtype="<i4") * 15  # each batch of 10 has these places of its texts
    second = raw.index(places.tobytes(), raw.index(places.tobytes()) + 1)
    broken = bytearray(raw)
    broken[second + 8 : second + 12] = b"\xff\xff\xff\x7f"
    broken[raw.index(b"Text number 35")] = 0xFF
    path.write_bytes(broken)
    docs, bad = read(source("datasets-folder", folder))
    assert [doc.line for doc in docs] == [*range(1, 11), *range(21, 36), *range(37, 41)]
    assert [doc.text for doc in docs] == [f"Text number {doc.line - 1:02}." for doc in docs]
    assert list(bad) == [f"{path.name}, rows 11 to 20", f"{path.name}, row 36"]
    assert bad[f"{path.name}, row 36"].startswith("not UTF-8")


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({"_data_files": None}, "A list '_data_files'"),
        ({"_indices_data_files": [{"filename": "i.arrow"}]}, "flatten_indices"),
    ],
)
def test_folders_that_are_no_saved_data_set(tmp_path: Path, state: dict, says: str):
    folder = save(tmp_path / "set", [{"text": "a"}], **state)
    with pytest.raises(DataError, match=says):
        list(source("datasets-folder", folder).read())
    with pytest.raises(DataError, match=r"There is no state\.json here"):
        list(source("datasets-folder", tmp_path).read())


def test_an_arrow_file_outside_the_folder_is_not_read(tmp_path: Path):
    save(tmp_path / "other", [{"text": "secret"}])
    folder = save(tmp_path / "set", _data_files=[{"filename": "../other/data-00000-of-00001.arrow"}])
    docs, bad = read(source("datasets-folder", folder))
    assert docs == []
    assert list(bad.values()) == ["a link or a name that leads outside the folder"]
