"""Documents and their file.

python -m pytest tests/data/test_documents.py
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from septet.core.errors import DataError
from septet.data.documents import Document, read_documents, read_rows, write_documents, write_rows

DOCS = [
    Document(id="a", text="one\ntwo"),
    Document(
        id="os.path.join", text="join", name="os.path.join", group="os", file="posixpath.py", line=1,
        aliases=("posixpath.join",), public=False, meta={"type": "function", "doc": "naïve ☃"},
    ),
]  # fmt: skip


def test_documents_come_back_as_they_were(tmp_path: Path):
    path = tmp_path / "new" / "documents.jsonl"
    assert write_documents(path, DOCS) == 2
    assert list(read_documents(path)) == DOCS
    assert [entry.name for entry in path.parent.iterdir()] == ["documents.jsonl"]


@given(text=st.text(st.characters(exclude_categories=[])), line=st.integers(0, 9), public=st.booleans())
def test_any_text_survives_even_lone_surrogates(
    tmp_path_factory: pytest.TempPathFactory, text: str, line: int, public: bool
):
    path = tmp_path_factory.mktemp("docs") / "d.jsonl"
    doc = Document(id="x", text=text, line=line, public=public, meta={"doc": text})
    write_documents(path, [doc])
    assert list(read_documents(path)) == [doc]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    write_rows(path, [{"a": 1}])

    def broken():
        yield {"a": 2}
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError):
        write_rows(path, broken())
    assert list(read_rows(path)) == [(1, {"a": 1})]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("line", "row", "says"),
    [
        (b"not json", 2, "not JSON"),
        (b"[1, 2]", 2, "JSON list"),
        (b'"text"', 2, "JSON str"),
        (b'{"id": "b"}', 2, "misses \\['text'\\]"),
        (b'{"id": "b", "text": 3}', 2, "'text' holds int; str is expected"),
        (b'{"id": "b", "text": "t", "line": true}', 2, "'line' holds bool"),
        (b'{"id": "b", "text": "t", "aliases": "x"}', 2, "list of strings"),
        (b'{"id": "b", "text": "t", "colour": 1}', 2, "unknown fields \\['colour'\\]"),
        (b'{"id": "b", "text": "\xff"}', 2, "not UTF-8"),
    ],
)
def test_a_broken_row_is_named(tmp_path: Path, line: bytes, row: int, says: str):
    path = tmp_path / "d.jsonl"
    path.write_bytes(b'{"id": "a", "text": "t"}\n' + line + b"\n")
    with pytest.raises(DataError, match=f"d.jsonl, row {row}: .*{says}"):
        list(read_documents(path))


def test_rows_are_read_from_lists_and_packed_files(tmp_path: Path):
    rows = [{"n": 1}, {"n": 2}]
    (tmp_path / "list.json").write_text("\n " + json.dumps(rows, indent=1), encoding="utf-8")
    (tmp_path / "bom.jsonl").write_text('{"n": 1}\n\n{"n": 2}', encoding="utf-8-sig")
    with gzip.open(tmp_path / "rows.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write('{"n": 1}\n{"n": 2}\n')
    assert list(read_rows(tmp_path / "list.json")) == [(1, {"n": 1}), (2, {"n": 2})]
    assert list(read_rows(tmp_path / "bom.jsonl")) == [(1, {"n": 1}), (3, {"n": 2})]
    assert list(read_rows(tmp_path / "rows.jsonl.gz")) == [(1, {"n": 1}), (2, {"n": 2})]


def test_a_damaged_packed_file_is_named(tmp_path: Path):
    whole = gzip.compress(b'{"n": 1}\n' * 1000)
    for name, raw in {"cut.jsonl.gz": whole[:-20], "plain.jsonl.gz": b'{"n": 1}\n'}.items():
        (tmp_path / name).write_bytes(raw)
        with pytest.raises(DataError, match=f"{name}: The compressed file is damaged"):
            list(read_rows(tmp_path / name))
