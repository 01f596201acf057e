"""One's own text: rows and folders.

python -m pytest tests/data/test_sources.py
"""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from septet.core.errors import ComponentError, DataError
from septet.data.source import Source
from septet.data.sources.markdown import sections


def rows(path: Path, *items: object) -> Path:
    path.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    return path


def jsonl(path: Path, **fields: object) -> Source:
    return Source.parse({"kind": "jsonl", "path": str(path), **fields})


def folder(path: Path) -> Source:
    return Source.parse({"kind": "folder", "path": str(path)})


# -- jsonl ----------------------------------------------------------------------------------------------------------


def test_rows_become_documents(tmp_path: Path):
    path = rows(
        tmp_path / "a.jsonl",
        {"body": "One.", "key": 7, "title": "First", "site": "x"},
        {"body": "Two.", "key": 8, "title": "2", "site": "y"},
    )
    docs = list(jsonl(path, text_field="body", id_field="key", name_field="title", group_field="site").read())
    assert [(doc.id, doc.text, doc.name, doc.group, doc.file, doc.line) for doc in docs] == [
        ("7", "One.", "First", "x", "a.jsonl", 1),
        ("8", "Two.", "2", "y", "a.jsonl", 2),
    ]
    assert [doc.id for doc in jsonl(path, text_field="body").read()] == ["a.jsonl:1", "a.jsonl:2"]


@pytest.mark.parametrize(
    ("second", "fields", "says"),
    [
        ({"txt": "x"}, {}, "row 2: The field 'text' is missing.*Did you mean 'txt'"),
        ({"text": 3}, {}, "row 2: The field 'text' holds int"),
        ({"text": None}, {}, "row 2: The field 'text' holds NoneType"),
        ({"text": "x", "id": "a"}, {"id_field": "id"}, "row 2: The id 'a' was already used in a.jsonl, row 1"),
        ({"text": "x"}, {"id_field": "id"}, "row 2: The field 'id' is missing or empty"),
        (
            {"text": "x", "id": "b", "n": ["c"]},
            {"id_field": "id", "name_field": "n"},
            "row 2: The field 'n' holds list",
        ),
    ],
)
def test_rows_that_cannot_be_read(tmp_path: Path, second: dict, fields: dict, says: str):
    path = rows(tmp_path / "a.jsonl", {"text": "t", "id": "a", "n": "name"}, second)
    with pytest.raises(DataError, match=says):
        list(jsonl(path, **fields).read())


def test_empty_and_missing_files(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text("\n\n")
    with pytest.raises(DataError, match=r"a\.jsonl: The file holds no rows"):
        list(jsonl(tmp_path / "a.jsonl").read())
    with pytest.raises(ComponentError, match=r"Did you mean 'a\.jsonl'"):
        jsonl(tmp_path / "b.jsonl")
    (tmp_path / "sub").mkdir()
    with pytest.raises(DataError, match="No file of the folder matches"):
        list(jsonl(tmp_path / "sub").read())


def test_a_folder_of_rows_and_its_fingerprint(tmp_path: Path):
    rows(tmp_path / "b.jsonl", {"text": "b"})
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as file:
        file.write('{"text": "a"}\n')
    source = jsonl(tmp_path)
    assert [doc.text for doc in source.read()] == ["a", "b"]
    before = source.identity()
    (tmp_path / "notes.txt").write_text("not read")
    assert source.identity() == before
    rows(tmp_path / "b.jsonl", {"text": "c"})
    assert source.identity() != before


def test_real_rows(real_data: Path):
    path = real_data / "pretraining" / "c4_and_wiki_samples" / "c4_demo.jsonl.gz"
    docs = list(jsonl(path).read())
    assert len(docs) == 300
    assert docs[0].id == "c4_demo.jsonl.gz:1"
    assert min(len(doc.text) for doc in docs) > 0


# -- folder ---------------------------------------------------------------------------------------------------------

GUIDE = """---
title: ignored
---
# Guide
Intro.

## Install #
Run it:
```
# not a heading
```
### Linux
On Linux.
## Empty
## Use
Use it.

Other
=====
- item
---
Text after a rule.

Sub title
---------
Under it.
"""


def test_markdown_is_cut_at_headings():
    found = [(" > ".join(names), line, body.split("\n")[0]) for names, line, body in sections(GUIDE)]
    assert found == [
        ("Guide", 4, "Intro."),
        ("Guide > Install", 7, "Run it:"),
        ("Guide > Install > Linux", 12, "On Linux."),
        ("Guide > Use", 15, "Use it."),
        ("Other", 18, "- item"),
        ("Other > Sub title", 24, "Under it."),
    ]


def test_a_folder_becomes_documents(tmp_path: Path):
    (tmp_path / "sub").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.md").write_text("# Hidden\ntext")
    (tmp_path / ".hidden.txt").write_text("hidden")
    (tmp_path / "sub" / "b.txt").write_bytes("\ufeffPlain\r\ntext.".encode())
    (tmp_path / "a.md").write_text(GUIDE, encoding="utf-8")
    (tmp_path / "no_heading.md").write_text("Just text.\n")
    (tmp_path / "c.py").write_text("x = 1")
    docs = {doc.id: doc for doc in folder(tmp_path).read()}
    assert list(docs)[:2] == ["a.md#guide", "a.md#guide/install"]
    assert docs["a.md#guide/install"].name == "Guide > Install"
    assert docs["a.md#guide/install"].line == 7
    assert docs["a.md#guide/install"].group == "a.md"
    assert docs["a.md#guide/use"].text == "Guide > Use\n\nUse it."
    assert docs["sub/b.txt"].text == "Plain\ntext."
    assert docs["no_heading.md"].name == "no_heading.md"
    assert len(docs) == 8


def test_repeated_headings_have_different_ids(tmp_path: Path):
    (tmp_path / "a.md").write_text("# A\n1\n# A\n2\n")
    assert [doc.id for doc in folder(tmp_path).read()] == ["a.md#a", "a.md#a-2"]


def test_what_cannot_be_read_is_named(tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    root = tmp_path / "root"
    root.mkdir()
    (root / "good.txt").write_text("good")
    (root / "bad.txt").write_bytes(b"caf\xe9 bad")
    os.symlink(outside / "secret.txt", root / "link.txt")
    os.symlink(outside, root / "linked")
    os.symlink(root / "good.txt", root / "inside.txt")
    os.symlink(root / "nowhere.txt", root / "lost.txt")
    source = folder(root)
    skipped: dict[str, str] = {}
    assert [doc.id for doc in source.read(bad=skipped.__setitem__)] == ["good.txt", "inside.txt"]
    assert skipped == {
        "bad.txt": "not UTF-8 (invalid continuation byte at byte 3)",
        "link.txt": "a link that leads outside the folder",
        "linked": "a link to a folder",
        "lost.txt": "not a file, or a link to nothing",
    }


def test_folders_without_text(tmp_path: Path):
    with pytest.raises(DataError, match=r"no file that can be read; known are \.txt"):
        list(folder(tmp_path).read())
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match="This is a file"):
        list(folder(tmp_path / "a.txt").read())


def test_a_folders_fingerprint_follows_what_is_read(tmp_path: Path):
    (tmp_path / "a.txt").write_text("x")
    first = folder(tmp_path).identity()
    (tmp_path / ".hidden").write_text("y")
    (tmp_path / "a.png").write_text("y")
    assert folder(tmp_path).identity() == first
    (tmp_path / "a.txt").rename(tmp_path / "b.txt")
    assert folder(tmp_path).identity() != first
