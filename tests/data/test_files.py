"""Which files are read, how they are opened, and what happens to damaged ones.

python -m pytest tests/data/test_files.py
"""

from __future__ import annotations

import gzip
import json
import os
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
import zstandard
from tests.data.memory import read_apart

from septet.core.errors import ComponentError, DataError
from septet.data import files
from septet.data.documents import Document
from septet.data.files import matcher
from septet.data.source import Source
from septet.data.unpack import unpack


def source(path: Path, kind: str = "text", **fields: Any) -> Source:
    return Source.parse({"kind": kind, "path": str(path), **fields})


def read(one: Source, part: str = "") -> tuple[list[Document], dict[str, str]]:
    bad: dict[str, str] = {}
    return list(one.read(part, bad=bad.__setitem__)), bad


def rows(first: int, last: int) -> bytes:
    return b"".join(json.dumps({"text": f"Row {i} of the file."}).encode() + b"\n" for i in range(first, last))


def words(seed: int, size: int) -> bytes:
    """Lines that do not pack well."""
    chosen = random.Random(seed)
    return b"".join(b"%x %x\n" % (chosen.getrandbits(96), chosen.getrandbits(64)) for _ in range(size // 42))


# -- which files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("*.txt", ["a.txt"], ["b/a.txt", "a.txt.gz", "atxt"]),
        ("**/*.txt", ["a.txt", "b/a.txt", "b/c/a.txt"], ["a.txt/b"]),
        ("**/*.{md,markdown}*", ["a.md", "b/a.markdown.gz"], ["a.mx"]),
        ("b/**", ["b/a", "b/c/d"], ["c/b/a"]),
        ("[a-c]?.txt", ["a1.txt"], ["d1.txt", "a/.txt"]),
        ("[!a].txt", ["b.txt"], ["a.txt"]),
        ("a+(1).txt", ["a+(1).txt"], ["aa1.txt"]),
        ("train/0{1,2}.jsonl", ["train/01.jsonl"], ["train/03.jsonl"]),
    ],
)
def test_patterns(pattern: str, matching: list[str], others: list[str]):
    taken = matcher(pattern)
    assert [name for name in [*matching, *others] if taken.fullmatch(name)] == matching


@pytest.mark.parametrize("pattern", ["../*.txt", "a/../../b", "/etc/*", "~/x", ""])
def test_a_pattern_stays_below_the_path(tmp_path: Path, pattern: str):
    with pytest.raises(ComponentError, match="must stay below the path"):
        source(tmp_path, pattern=pattern)


def test_a_part_stays_below_the_path(tmp_path: Path):
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a.txt").write_text("a")
    docs, bad = read(source(tmp_path / "root"), "../secret.txt")
    assert docs == []
    assert bad == {"../secret.txt": "a link that leads outside the folder"}


def test_links_are_named_and_not_followed(tmp_path: Path):
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_text("a")
    (tmp_path / "secret.txt").write_text("secret")
    os.symlink(root, root / "sub" / "up")  # a folder inside itself
    os.symlink("two.txt", root / "one.txt")  # two links that point to each other
    os.symlink("one.txt", root / "two.txt")
    os.symlink(tmp_path / "secret.txt", root / "out.txt")
    os.mkfifo(root / "pipe.txt")  # opening it would wait for ever
    docs, bad = read(source(root))
    assert [doc.text for doc in docs] == ["a"]
    assert bad == {
        "one.txt": "not a file, or a link to nothing",
        "two.txt": "not a file, or a link to nothing",
        "out.txt": "a link that leads outside the folder",
        "pipe.txt": "not a file, or a link to nothing",
        "sub/up": "a link to a folder",
    }
    assert source(root).fingerprint()


def test_a_name_that_is_not_text(tmp_path: Path):
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt")).write_text("x")
    except OSError:
        pytest.skip("the file system takes no such name")
    (tmp_path / "café.txt").write_text("y")
    docs, bad = read(source(tmp_path))
    assert [doc.id for doc in docs] == ["café.txt"]
    assert bad == {"caf\\udce9.txt": "its name is not UTF-8"}
    assert source(tmp_path).fingerprint()


def test_parts_are_files_and_give_together_what_the_whole_gives(tmp_path: Path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.txt").write_text("c")
    (tmp_path / "a.txt").write_text("aa")
    (tmp_path / ".hidden.txt").write_text("h")
    os.symlink("nothing", tmp_path / "lost.txt")
    one = source(tmp_path, licence="CC0-1.0")
    assert [(part.name, part.size) for part in one.parts()] == [("a.txt", 2), ("b/c.txt", 1), ("lost.txt", 0)]
    whole, bad = read(one)
    apart = [read(one, part.name) for part in one.parts()]
    assert [doc for docs, _ in apart for doc in docs] == whole
    assert {place: reason for _, found in apart for place, reason in found.items()} == bad
    assert {doc.licence for doc in whole} == {"CC0-1.0"}


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.txt").write_text("a\n")
    (tmp_path / "b.txt").write_text("b\n")
    opened = Path.open

    def refuse(self: Path, *args: Any, **kwargs: Any) -> Any:  # the tests may run as root, whom no mode stops
        if self.name == "a.txt":
            raise PermissionError(13, "Permission denied")
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    docs, bad = read(source(tmp_path))
    assert [doc.text for doc in docs] == ["b\n"]
    assert bad == {"a.txt": "it cannot be read (Permission denied)"}
    assert source(tmp_path).fingerprint()
    monkeypatch.setattr(files, "CUT", 1)
    assert [part.name for part in source(tmp_path, split="line").parts()] == ["a.txt", "b.txt@0-1", "b.txt@1-2"]


def test_empty_files_are_named(tmp_path: Path):
    for name in ("a.txt", "b.md", "c.html", "d.jsonl", "e.csv", "f.pdf", "g.warc", "h.parquet", "i.txt.gz"):
        (tmp_path / name).write_bytes(b"")
    docs, bad = read(source(tmp_path, "folder"))
    assert docs == []
    assert sorted(bad) == sorted(path.name for path in tmp_path.iterdir())
    assert bad["a.txt"] == bad["b.md"] == bad["c.html"] == bad["f.pdf"] == bad["i.txt.gz"] == "the file is empty"


# -- packed ---------------------------------------------------------------------------------------------------------


def pack(name: str, *members: bytes) -> bytes:
    if name.endswith(".gz"):
        return b"".join(gzip.compress(member, mtime=0) for member in members)
    packer = zstandard.ZstdCompressor(write_checksum=True)
    return b"".join(packer.compress(member) for member in members)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.jsonl.zstd"])
def test_members_and_frames_are_one_stream(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(pack(name, rows(0, 3), rows(3, 4)[:-5], rows(3, 4)[-5:], rows(4, 6)))
    docs, bad = read(source(tmp_path, "jsonl"))
    assert [doc.text for doc in docs] == [f"Row {i} of the file." for i in range(6)]
    assert (docs[5].id, bad) == (f"{name}:6", {})


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
@pytest.mark.parametrize("place", [12, -3])  # in the middle of the data, which garbles it; in the checksum
def test_a_broken_member_in_the_middle_is_all_that_is_lost(tmp_path: Path, name: str, place: int):
    members = [pack(name, rows(first, first + 100)) for first in (0, 100, 200)]
    broken = bytearray(members[1])
    broken[place] ^= 0xFF
    (tmp_path / name).write_bytes(members[0] + broken + members[2])
    docs, bad = read(source(tmp_path, "jsonl"))
    assert [doc.text for doc in docs] == [f"Row {i} of the file." for i in (*range(100), *range(200, 300))]
    assert list(bad) == [f"{name}, byte {len(members[0])}"]
    assert "data: it is damaged" in bad[f"{name}, byte {len(members[0])}"]
    assert len({doc.id for doc in docs}) == 200


@pytest.mark.parametrize("name", ["a.txt.gz", "a.txt.zst"])
def test_what_comes_before_a_truncation_is_read(tmp_path: Path, name: str):
    text = words(1, 1 << 20)
    stored = pack(name, text)
    (tmp_path / name).write_bytes(stored[: len(stored) // 2])
    docs, bad = read(source(tmp_path, split="line"))
    assert bad == {f"{name}, byte 0": f"{'gzip' if name.endswith('gz') else 'zstd'} data: it ends early"}
    whole = text.decode().splitlines()
    assert len(docs) > len(whole) * 0.3
    assert [doc.text for doc in docs] == whole[: len(docs)]  # and no half line at the end


@pytest.mark.parametrize("name", ["a.txt.gz", "a.txt.zst"])
def test_damage_in_a_large_member_loses_no_more_than_what_follows(tmp_path: Path, name: str):
    text = words(2, 12 << 20)
    stored = bytearray(pack(name, text))
    after = pack(name, b"last\n")
    place = len(stored) * 3 // 4
    stored[place : place + 64] = b"\xff" * 64
    (tmp_path / name).write_bytes(bytes(stored) + after)
    docs, bad = read(source(tmp_path, split="line"))
    assert next(iter(bad)) == f"{name}, byte 0"
    assert docs[-1].text == "last"
    whole = text.decode().splitlines()
    assert len(docs) > len(whole) // 4
    assert [doc.text for doc in docs[: len(whole) // 4]] == whole[: len(whole) // 4]


def test_what_is_not_packed_is_named_and_padding_is_not(tmp_path: Path):
    (tmp_path / "plain.txt.gz").write_bytes(b"plain text")
    (tmp_path / "padded.txt.gz").write_bytes(gzip.compress(b"padded") + b"\0" * 1000)
    (tmp_path / "tail.txt.gz").write_bytes(gzip.compress(b"first\n") + b"tail" + gzip.compress(b"last\n"))
    docs, bad = read(source(tmp_path, split="line"))
    assert [doc.text for doc in docs] == ["padded", "first", "last"]
    assert bad == {
        "plain.txt.gz, byte 0": "not gzip data",
        "tail.txt.gz, byte 26": "not gzip data",
    }


def test_skippable_frames_are_skipped(tmp_path: Path):
    (tmp_path / "a.txt.zst").write_bytes(b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + pack("a.zst", b"text"))
    docs, bad = read(source(tmp_path))
    assert ([doc.text for doc in docs], bad) == (["text"], {})


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_flipped_the_other_members_are_read_and_nothing_hangs(seed: int):
    chosen = random.Random(seed)
    name = chosen.choice(["a.gz", "a.zst"])
    members = [pack(name, words(seed * 10 + i, 4000)) for i in range(5)]
    hit = chosen.randrange(5)
    broken = bytearray(members[hit])
    for _ in range(chosen.randint(1, 5)):
        broken[chosen.randrange(len(broken))] ^= 1 << chosen.randrange(8)
    stored = b"".join([*members[:hit], bytes(broken), *members[hit + 1 :]])
    bad: list[str] = []
    step = chosen.choice([1 << 16, 100, 7])
    pieces = (stored[at : at + step] for at in range(0, len(stored), step))
    out = b"".join(piece or b"" for piece in unpack(name, pieces, lambda place, reason: bad.append(reason)))
    for i in range(5):
        if i != hit:
            assert words(seed * 10 + i, 4000) in out


# -- archives -------------------------------------------------------------------------------------------------------


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_members_of_archives_are_read_like_files(tmp_path: Path):
    archive(tmp_path / "speeches.zip", **{
        "all/1793.txt": b"Again.", "all/1789.txt": b"Fellow citizens.", "all/notes.md": b"# N\nx", "b.txt.gz": gzip.compress(b"B."),
        "__MACOSX/all/._1789.txt": b"x", "all/.hidden.txt": b"x",
    })  # fmt: skip
    (tmp_path / "a.txt").write_text("A.")
    docs, bad = read(source(tmp_path))
    assert [(doc.id, doc.text) for doc in docs] == [
        ("a.txt", "A."), ("speeches.zip!all/1789.txt", "Fellow citizens."), ("speeches.zip!all/1793.txt", "Again."),
        ("speeches.zip!b.txt.gz", "B."),
    ]  # fmt: skip
    assert bad == {}
    assert [part.name for part in source(tmp_path).parts()] == ["a.txt", "speeches.zip"]
    assert [doc.id for doc in source(tmp_path / "speeches.zip", pattern="all/1789*").read()] == [
        "speeches.zip!all/1789.txt"
    ]
    assert "speeches.zip!all/notes.md#n" in {doc.id for doc in source(tmp_path, "folder").read()}


def test_archives_that_mean_harm(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("../../etc/out.txt", "out")
        file.writestr("/root.txt", "root")
        link = zipfile.ZipInfo("link.txt")
        link.external_attr = 0o120777 << 16
        file.writestr(link, "/etc/passwd")
        file.writestr("good.txt", "good")
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr("good.txt", "again")
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    archive(tmp_path / "bomb.zip", **{"zeros.txt": b"\0" * (80 << 20)})
    damaged = bytearray(archive(tmp_path / "damaged.zip", **{"a.txt": b"first", "b.txt": words(0, 5000)}).read_bytes())
    damaged[200] ^= 0xFF
    (tmp_path / "damaged.zip").write_bytes(damaged)
    docs, bad = read(source(tmp_path))
    assert [doc.text for doc in docs] == ["good", "first"]
    assert (docs[0].id, docs[0].text) == ("a.zip!good.txt", "good")
    reasons = {place: reason.split(" (")[0] for place, reason in bad.items()}
    assert reasons == {
        "a.zip!../../etc/out.txt": "its name leads outside the archive",
        "a.zip!/root.txt": "its name leads outside the archive",
        "a.zip!link.txt": "a link inside an archive",
        "a.zip!good.txt": "another member of the archive has the same name",
        "bomb.zip": "the archive claims to unpack to 200 times its size or more; it is not read",
        "broken.zip": "not a zip archive that can be read",
        "damaged.zip!b.txt": "the member of the archive cannot be read",
    }


# -- lines ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("kind", ["jsonl", "text"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 40, 1000])
def test_a_large_file_is_cut_and_nothing_depends_on_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, size: int, mark: bytes
):
    text = mark + rows(0, 12)
    (tmp_path / "a.jsonl").write_bytes(text)
    fields = {"split": "line", "pattern": "*"} if kind == "text" else {}
    one = source(tmp_path, kind, **fields)
    whole, _ = read(one)
    monkeypatch.setattr(files, "CUT", size)
    docs, bad = read(one)
    assert bad == {}
    assert [doc.text for doc in docs] == [doc.text for doc in whole]
    starts = [0, *(place + 1 for place, byte in enumerate(text) if byte == 10)][:12]
    if size < len(text):
        assert [doc.id for doc in docs] == [f"a.jsonl@{start}" for start in starts]
        assert sum(part.size for part in one.parts()) == len(text)
    parts = [doc for part in one.parts() for doc in one.read(part.name)]
    assert parts == docs


def test_what_is_no_lines_is_not_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.jsonl").write_text('[{"text": "a"}, {"text": "b"}]')
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(rows(0, 2)))
    (tmp_path / "c.txt").write_bytes("a\nb\n".encode("utf-16"))
    monkeypatch.setattr(files, "CUT", 8)
    assert [part.name for part in source(tmp_path, "jsonl").parts()] == ["a.jsonl", "b.jsonl.gz"]
    assert [doc.id for doc in source(tmp_path / "c.txt", split="line").read()] == ["c.txt:1", "c.txt:2"]


def test_a_line_of_500_megabytes_is_skipped_in_bounded_memory(tmp_path: Path):
    """The other rows are read; the peak of resident memory grows by less than 200 MB."""
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.write(b'{"text": "first"}\n{"text": "')
        for _ in range(500):
            file.write(b"x" * 1_000_000)
        file.write(b'"}\n{"text": "last"}\n')
    for fields in ({"kind": "jsonl"}, {"kind": "text", "split": "line"}, {"kind": "text", "split": "paragraph"}):
        found = read_apart(path=str(path), **fields)
        texts = "\n".join(found["texts"]).split("\n")
        assert ["first" in text for text in texts] == [True, False], fields
        assert "last" in texts[1]
        assert [reason for _, reason in found["bad"]] == ["the line is longer than 64 MiB"]
        assert found["grown"] < 200e6, (fields, found["grown"])


def test_a_file_of_text_that_is_too_large_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "MAX_RECORD", 1 << 20)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"x" * (2 << 20)))
    (tmp_path / "b.txt").write_text("b")
    docs, bad = read(source(tmp_path))
    assert ([doc.text for doc in docs], bad) == (["b"], {"a.txt.gz": "larger than 1 MiB"})


# -- encodings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "encoding", "text"),
    [
        ("Café\r\nau lait".encode(), "utf-8", "Café\nau lait"),
        ("Café\nau lait".encode("utf-8-sig"), "latin-1", "Café\nau lait"),
        ("Café\nau lait".encode("utf-16"), "utf-8", "Café\nau lait"),
        (b"\xfe\xff" + "Café\nau lait".encode("utf-16-be"), "utf-8", "Café\nau lait"),
        ("Café\nau lait".encode("utf-32"), "utf-8", "Café\nau lait"),
        ("Café\nau lait".encode("latin-1"), "latin-1", "Café\nau lait"),
        ("Привет\nмир".encode("koi8-r"), "koi8-r", "Привет\nмир"),
        ("日本語\n文".encode("shift_jis"), "shift_jis", "日本語\n文"),
        ("Café\nau lait".encode("utf-16-le"), "utf-16-le", "Café\nau lait"),
    ],
)
def test_encodings(tmp_path: Path, raw: bytes, encoding: str, text: str):
    (tmp_path / "a.txt").write_bytes(raw)
    assert [doc.text for doc in source(tmp_path, split="line", encoding=encoding).read()] == text.split("\n")
    assert [doc.text for doc in source(tmp_path, encoding=encoding).read()] == [text]
    assert [doc.text for doc in source(tmp_path, encoding=encoding, split="paragraph").read()] == [text]


def test_one_line_that_is_not_text(tmp_path: Path):
    (tmp_path / "a.txt").write_bytes(b"one\ncaf\xe9\nthree")
    docs, bad = read(source(tmp_path, split="line"))
    assert [doc.id for doc in docs] == ["a.txt:1", "a.txt:3"]
    assert bad == {"a.txt, row 2": "not UTF-8 (unexpected end of data at byte 3)"}
    with pytest.raises(DataError, match="row 2: not UTF-8"):
        list(source(tmp_path, split="line").read())
    with pytest.raises(ComponentError, match="no text encoding 'latin-7x'"):
        source(tmp_path, encoding="latin-7x")


def test_half_a_character_of_utf_16(tmp_path: Path):
    (tmp_path / "a.txt").write_bytes("ab\ncd".encode("utf-16") + b"\x00")
    docs, bad = read(source(tmp_path, split="line"))
    assert "not UTF-16" in bad["a.txt"]
    assert docs[0].text == "ab"
