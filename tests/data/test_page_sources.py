"""Pages and papers: Markdown, HTML, PDF, web archives; and several sources as one.

python -m pytest tests/data/test_page_sources.py
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.data.samples import LONG, html, page, pdf, record

from septet.core.artifact import make_id
from septet.core.component import CorpusRef, Ref
from septet.core.errors import ComponentError, DataError
from septet.data.documents import Document
from septet.data.html import read_page
from septet.data.source import Source
from septet.data.sources.several import Several


def source(kind: str, path: Path, **fields: Any) -> Source:
    return Source.parse({"kind": kind, "path": str(path), **fields})


def read(one: Source, part: str = "") -> tuple[list[Document], dict[str, str]]:
    bad: dict[str, str] = {}
    return list(one.read(part, bad=bad.__setitem__)), bad


# -- Markdown -------------------------------------------------------------------------------------------------------


def test_markdown_by_its_own_kind_is_as_in_a_folder(tmp_path: Path):
    (tmp_path / "a.md").write_text("# A\nOne.\n## B\nTwo.\n")
    (tmp_path / "b.markdown").write_bytes("Caf\xe9.".encode("latin-1"))
    docs, bad = read(source("markdown", tmp_path))
    assert [(doc.id, doc.name, doc.text) for doc in docs] == [
        ("a.md#a", "A", "A\n\nOne."),
        ("a.md#a/b", "A > B", "A > B\n\nTwo."),
    ]
    assert bad == {"b.markdown": "not UTF-8 (invalid continuation byte at byte 3)"}
    assert docs == read(source("folder", tmp_path))[0]
    assert read(source("markdown", tmp_path, encoding="latin-1"))[0][-1].text == "Café."


def test_a_heading_that_never_ends(tmp_path: Path):
    (tmp_path / "a.md").write_text("# A\n\n#" + " \t" * 200_000 + "x\n" + "=" * 200_000 + "x\n")
    assert [doc.id for doc in source("markdown", tmp_path).read()] == ["a.md#a"]


# -- HTML -----------------------------------------------------------------------------------------------------------


def test_the_main_text_of_a_page(tmp_path: Path):
    (tmp_path / "a.html").write_text(page("On  Text", LONG))
    (tmp_path / "b.htm.gz").write_bytes(gzip.compress(page("B", LONG).encode()))
    (tmp_path / "c.html").write_text("<html><body><nav>Menu</nav></body></html>")
    docs, bad = read(source("html", tmp_path))
    assert [(doc.id, doc.name) for doc in docs] == [("a.html", "On Text"), ("b.htm.gz", "B")]
    assert LONG in docs[0].text
    assert not any(word in docs[0].text for word in ("Menu", "reserved", "code", "<"))
    assert bad == {"c.html": "no main text in the page"}


@pytest.mark.parametrize(
    ("raw", "declared"),
    [
        (page("Café", LONG).encode(), ""),
        (page("Café", LONG, "<meta charset=latin1>").encode("latin-1"), ""),
        (
            page("Café", LONG, '<meta http-equiv="Content-Type" content="text/html; charset=cp1252">').encode("cp1252"),
            "",
        ),
        (page("Café", LONG).encode("latin-1"), "ISO-8859-1"),
        (page("Café", LONG).encode("utf-16"), ""),
        (page("Café", LONG).encode("utf-8-sig"), "latin-1"),
        (page("Café", LONG).encode(), "no-such-charset"),
    ],
)
def test_the_encoding_of_a_page(raw: bytes, declared: str):
    assert read_page(raw, declared).title == "Café"


@pytest.mark.parametrize(
    ("links", "licence"),
    [
        ('<a rel="license" href="https://creativecommons.org/licenses/by-sa/4.0/">CC</a>', "CC-BY-SA-4.0"),
        ('<a rel="license noopener" href="http://creativecommons.org/publicdomain/zero/1.0/deed.en">0</a>', "CC0-1.0"),
        ('<a href="https://creativecommons.org/licenses/by/4.0/">not for this page</a>', ""),
        (
            '<a rel="license" href="https://creativecommons.org/licenses/by/4.0/">one</a>'
            '<a rel="license" href="https://creativecommons.org/licenses/by-nc/4.0/">another</a>',
            "",
        ),
        ('<a rel="license" href="/terms">terms</a>', ""),
    ],
)
def test_the_licence_that_a_page_states(links: str, licence: str):
    assert read_page(page("A", LONG + links).encode()).licence == licence


def test_pages_that_would_take_for_ever(tmp_path: Path):
    """The extraction of 100,000 nested elements takes minutes; list items and paragraphs without an end are no nesting."""
    (tmp_path / "deep.html").write_text("<div>" * 100_000 + LONG)
    (tmp_path / "large.html").write_text(page("Large", LONG) + " " * (9 << 20))
    (tmp_path / "list.html").write_text(
        page("List", LONG + "<ul>" + "<li>item<p>of a list" * 2000 + "</ul>" + "<br><img>" * 2000)
    )
    docs, bad = read(source("html", tmp_path))
    assert [doc.id for doc in docs] == ["list.html"]
    assert bad == {
        "deep.html": "not HTML that can be read (elements are nested more than 512 deep)",
        "large.html": "not HTML that can be read (larger than 8 MiB)",
    }


# -- PDF ------------------------------------------------------------------------------------------------------------


def test_papers(tmp_path: Path):
    (tmp_path / "a.pdf").write_bytes(pdf("First page.", "Second page.", title="A Paper"))
    (tmp_path / "b.pdf.gz").write_bytes(gzip.compress(pdf("Packed.")))
    (tmp_path / "locked.pdf").write_bytes(pdf("Secret.", password="key"))
    (tmp_path / "scan.pdf").write_bytes(pdf(""))
    (tmp_path / "torn.pdf").write_bytes(pdf("Torn.")[:200])
    (tmp_path / "words.pdf").write_bytes(b"these are no pages")
    docs, bad = read(source("pdf", tmp_path))
    assert [(doc.id, doc.name, doc.text) for doc in docs] == [
        ("a.pdf", "A Paper", "First page.\fSecond page."), ("b.pdf.gz", "b.pdf.gz", "Packed."),
    ]  # fmt: skip
    assert docs[0].meta["pages"] == 2
    assert bad["locked.pdf"] == "encrypted; decrypt it first"
    assert bad["scan.pdf"].startswith("no text in the file")
    assert bad["torn.pdf"].startswith("not a PDF that can be read")
    assert bad["words.pdf"].startswith("not a PDF that can be read")
    with pytest.raises(DataError, match=r"locked\.pdf: encrypted"):
        list(source("pdf", tmp_path / "locked.pdf").read())


# -- web archives ---------------------------------------------------------------------------------------------------


def test_pages_of_an_archive(tmp_path: Path):
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (html(4)[:50], html(4)[50:])) + b"0\r\n\r\n"
    (tmp_path / "a.warc").write_bytes(b"".join([
        record(0, b"about this file", kind="warcinfo"),
        record(1, html(1)),
        record(2, b"GET / HTTP/1.1", kind="request"),
        record(3, b"\x89PNG", head="Content-Type: image/png\r\n"),
        record(4, chunked, head="Content-Type: text/html\r\nTransfer-Encoding: chunked\r\n"),
        record(5, gzip.compress(html(5)), head="Content-Type: text/html\r\nContent-Encoding: gzip\r\n"),
        record(6, html(6), status="404 Not Found"),
        record(7, b"Text that was extracted already.", kind="conversion"),
    ]))  # fmt: skip
    docs, bad = read(source("warc", tmp_path))
    assert [doc.id for doc in docs] == [f"a.warc#0000-{number}" for number in (1, 4, 5, 7)]
    assert [doc.name for doc in docs] == ["Page 1", "Page 4", "Page 5", "http://site7.org/a"]
    assert docs[0].meta == {"type": "page", "url": "http://site1.org/a", "date": "2024-05-01T10:00:00+00:00"}
    assert docs[0].group == "site1.org"
    assert docs[3].text == "Text that was extracted already."
    assert all(LONG in doc.text for doc in docs[:3])
    assert bad == {}


@pytest.mark.parametrize("packed", ["", "one", "each"])
@pytest.mark.parametrize("wrong", [-40, -1, 10, 40, 100_000, 10**12])
def test_a_wrong_length_loses_one_record(tmp_path: Path, packed: str, wrong: int):
    records = [record(number, html(number), wrong=wrong if number == 2 else 0) for number in range(5)]
    raw = b"".join(records)
    stored = {"": raw, "one": gzip.compress(raw), "each": b"".join(map(gzip.compress, records))}[packed]
    (tmp_path / f"a.warc{'.gz' if packed else ''}").write_bytes(stored)
    docs, bad = read(source("warc", tmp_path))
    assert [doc.name for doc in docs] == ["Page 0", "Page 1", "Page 3", "Page 4"]
    assert len(bad) == 1
    place, reason = bad.popitem()
    assert place.endswith(f"byte {len(records[0]) + len(records[1])}")
    assert "Content-Length" in reason or "larger than 64 MiB" in reason


def test_a_length_that_takes_an_empty_line_with_it_costs_nothing(tmp_path: Path):
    (tmp_path / "a.warc").write_bytes(record(1, html(1), wrong=1) + record(2, html(2)))
    docs, bad = read(source("warc", tmp_path))
    assert ([doc.name for doc in docs], bad) == (["Page 1", "Page 2"], {})


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda raw: raw.replace(b"Content-Length", b"Content-Lenght", 1), "no Content-Length"),
        (lambda raw: raw.replace(b"WARC-Target-URI: http://site2.org/a", b"WARC-Target-URI: http://[site2", 1), ""),
        (lambda raw: raw[: len(raw) // 2], "ends early"),
    ],
)
def test_other_damage_to_a_record(tmp_path: Path, damage: Any, says: str):
    records = [record(0, html(0)), damage(record(2, html(2))), record(3, html(3))]
    (tmp_path / "a.warc").write_bytes(b"".join(records))
    docs, bad = read(source("warc", tmp_path))
    names = [doc.name for doc in docs]
    assert "Page 0" in names
    assert "Page 3" in names
    if says:
        assert len(names) == 2
        assert len(bad) == 1


def test_an_archive_with_a_damaged_member_and_one_that_ends_early(tmp_path: Path):
    members = [gzip.compress(record(number, html(number)), mtime=0) for number in range(4)]
    broken = bytearray(members[1])
    broken[60] ^= 0xFF
    (tmp_path / "a.warc.gz").write_bytes(members[0] + broken + members[2] + members[3][:-30])
    docs, bad = read(source("warc", tmp_path))
    assert [doc.name for doc in docs] == ["Page 0", "Page 2"]
    assert list(bad) == [f"a.warc.gz, byte {len(members[0])}", f"a.warc.gz, byte {sum(map(len, members[:3]))}"]


def test_a_record_that_comes_twice_has_one_document(tmp_path: Path):
    (tmp_path / "a.warc").write_bytes(record(1, html(1)) * 2)
    docs, bad = read(source("warc", tmp_path))
    assert len(docs) == 1
    assert list(bad.values()) == ["another record of the file has the same WARC-Record-ID"]


def test_real_archives(real_data: Path):
    """Two files that Wget wrote: 22 and 15 responses, as the table of the data says."""
    docs, bad = read(source("warc", real_data / "pretraining" / "common_crawl_fixtures"))
    assert [sum(doc.file == f"sample-000{i}.warc.gz" for doc in docs) for i in (0, 1)] == [22, 15]
    assert bad == {}
    assert len({doc.id for doc in docs}) == 37
    weld = next(doc for doc in docs if doc.meta["url"] == "https://www.cs.washington.edu/people/faculty/weld")
    assert "Artificial Intelligence" in weld.text  # the body was chunked
    assert weld.group == "www.cs.washington.edu"


# -- several --------------------------------------------------------------------------------------------------------


def test_several_sources_as_one(tmp_path: Path):
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "a.txt").write_text("A book.")
    (tmp_path / "books" / "bad.txt").write_bytes(b"\xff\xff")
    (tmp_path / "rows.jsonl").write_text('{"text": "A row.", "site": "x"}\n')
    both = Source.parse({"kind": "several", "of": {
        "web": {"kind": "jsonl", "path": "rows.jsonl", "group_field": "site"},
        "books": {"kind": "several", "of": {"old": {"kind": "text", "path": "books"}}},
    }}, base=tmp_path)  # fmt: skip
    docs, bad = read(both)
    assert [(doc.id, doc.source, doc.group) for doc in docs] == [
        ("books/old/a.txt", "books/old", "books/old/a.txt"), ("web/rows.jsonl:1", "web", "web/x"),
    ]  # fmt: skip
    assert list(bad) == ["books/old/bad.txt"]
    assert [part.name for part in both.parts()] == ["books/old/a.txt", "books/old/bad.txt", "web/rows.jsonl"]
    assert [doc for part in both.parts() for doc in read(both, part.name)[0]] == docs
    assert Source.parse(json.loads(json.dumps(both.dump()))) == both
    assert hash(both) == hash(Source.parse(both.dump()))
    before = make_id(both.identity()), both.fingerprint()
    (tmp_path / "rows.jsonl").write_text('{"text": "Another row.", "site": "x"}\n')
    assert make_id(both.identity()) != before[0]
    assert both.fingerprint() != before[1]
    with pytest.raises(DataError, match="Did you mean 'books'"):
        list(both.read("boks/a.txt"))


@pytest.mark.parametrize(
    ("of", "says"),
    [
        ({}, "at least one source"),
        ({"a/b": "python-docs"}, "the name 'a/b' must consist of"),
        ({"a": {"kind": "jsnol"}}, r"of\.a\.kind: .*Did you mean 'jsonl'"),
        (
            {"a": {"kind": "text", "path": ".", "patern": "*"}},
            r"of\.a\.patern: unknown field 'patern'.*Did you mean 'pattern'",
        ),
    ],
)
def test_mistakes_in_several(of: dict, says: str):
    with pytest.raises(ComponentError, match=says):
        Source.parse({"kind": "several", "of": of})


class Whole(Source):
    """A source that is one part."""

    def read(self, part: str = "", *, bad: Any = None) -> Iterator[Document]:
        assert part == ""
        yield Document(id="one", text="One.")

    def fingerprint(self) -> str:
        return "whole"


class Referring(Whole):
    """A source that reads an artifact."""

    corpus: CorpusRef
    """The artifact."""


def test_references_inside_several_are_found():
    both = Several(of={"a": Several(of={"b": Referring(corpus=Ref("$text"))})})
    assert both.refs() == {"of.a.of.b.corpus": "$text"}
    assert both.identity({"$text": "1234"})["of"]["a"]["of"]["b"]["corpus"] == {"artifact": "1234"}


def test_a_source_without_parts_is_one_part_of_several():
    both = Several(of={"docs": Whole()})
    assert [part.name for part in both.parts()] == ["docs/"]
    assert [(doc.id, doc.source) for doc in both.read("docs/")] == [("docs/one", "docs")]
    assert list(both.read()) == list(both.read("docs/"))


# -- a folder of everything -----------------------------------------------------------------------------------------


def test_a_folder_reads_every_format_it_knows(tmp_path: Path):
    (tmp_path / "a.txt").write_text("Text.")
    (tmp_path / "b.md").write_text("# B\nMarkdown.")
    (tmp_path / "c.html").write_text(page("C", LONG))
    (tmp_path / "d.pdf").write_bytes(pdf("Paper."))
    (tmp_path / "e.jsonl.gz").write_bytes(gzip.compress(b'{"text": "Row."}\n{"txt": "no text"}\n'))
    (tmp_path / "f.csv").write_text("text,n\nCell.,1\n")
    (tmp_path / "g.warc").write_bytes(record(1, html(1)))
    (tmp_path / "h.tsv").write_text("body\tn\nCell.\t1\n")
    (tmp_path / "i.exe").write_bytes(b"MZ")
    docs, bad = read(source("folder", tmp_path))
    assert [doc.id for doc in docs] == [
        "a.txt",
        "b.md#b",
        "c.html",
        "d.pdf",
        "e.jsonl.gz:1",
        "f.csv:2",
        "g.warc#0000-1",
    ]
    assert sorted(bad) == ["e.jsonl.gz, row 2", "h.tsv"]
    assert bad["h.tsv"].startswith("There is no column 'text'.")


def test_real_sources_as_one(real_data: Path):
    """The public texts of the data folder: the numbers of documents are those that its table states."""
    of = {
        "novels": {"kind": "text", "path": "english_novels"},
        "wikitext": {"kind": "text", "path": "wikitext2_eval", "split": "line"},
        "c4": {"kind": "jsonl", "path": "c4_and_wiki_samples", "licence": "ODC-By-1.0"},
        "wiki": {"kind": "text", "path": "c4_and_wiki_samples", "split": "line"},
        "crawl": {"kind": "warc", "path": "common_crawl_fixtures"},
        "speeches": {"kind": "text", "path": "us_speeches", "encoding": "cp1252"},
    }
    whole = Source.parse({"kind": "several", "of": of}, base=real_data / "pretraining")
    bad: dict[str, str] = {}
    docs = [doc for part in whole.parts() for doc in whole.read(part.name, bad=bad.__setitem__)]
    found = Counter(doc.source for doc in docs)
    assert found == {"novels": 60, "wikitext": 5352, "c4": 300, "wiki": 30, "crawl": 37, "speeches": found["speeches"]}
    assert found["speeches"] > 120
    assert len({doc.id for doc in docs}) == len(docs)
    assert {doc.licence for doc in docs if doc.source == "c4"} == {"ODC-By-1.0"}
    assert not any("\r" in doc.text or "\ufeff" in doc.text for doc in docs if doc.source != "c4")
    assert bad == {}
