import math
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from tests.retrieval.conftest import DOCUMENTS, LetterEncoder, document

from septet.core.errors import DataError, StoreError
from septet.data.documents import Document
from septet.retrieval.index import COLUMN_WEIGHTS, SearchIndex, build_index, read_asked


def test_bm25_is_the_formula(tmp_path: Path) -> None:
    # sum over words of idf * f (k1 + 1) / (f + k1 (1 - b + b |d| / mean |d|)), k1 = 1.2, b = 0.75; f weighs columns
    documents = [
        document("alpha", "red red fox"),
        document("beta", "blue fox runs far"),
        document("gamma", "green bird"),
    ]
    documents += [document(f"filler{i}", "stone") for i in range(4)]
    build_index(tmp_path, documents)
    index = SearchIndex(tmp_path)
    lengths = {"alpha": 4, "beta": 5, "gamma": 3, **{f"filler{i}": 2 for i in range(4)}}
    mean = sum(lengths.values()) / len(lengths)

    def part(count: int, length: int, holding: int) -> float:
        idf = math.log((len(lengths) - holding + 0.5) / (holding + 0.5))
        f = count * COLUMN_WEIGHTS[1]
        return idf * f * 2.2 / (f + 1.2 * (0.25 + 0.75 * length / mean))

    assert index.bm25("red fox")[0] == pytest.approx(part(2, 4, 1) + part(1, 4, 2), rel=1e-6)
    assert index.bm25("red fox")[1] == pytest.approx(part(1, 5, 2), rel=1e-6)
    assert index.bm25("red fox")[2] == 0


def test_words_are_stemmed_and_names_are_split(words_only: SearchIndex) -> None:
    assert np.argmax(words_only.bm25("joining pathnames")) == 0
    assert np.argmax(words_only.bm25("rmtree")) == 2


@pytest.mark.parametrize(
    "question",
    [
        '" OR name:os',
        "NEAR(a b)",
        "x' ; DROP TABLE documents; --",
        "a* ^b {c} -d",
        "name : title",
        "\x00\x01",
        "",
        "()",
        '"""',
    ],
)
def test_a_question_is_never_read_as_syntax(words_only: SearchIndex, question: str) -> None:
    words_only.search([question], 5)
    assert len(words_only) == 4
    assert words_only.search(["join pathname"], 1)[0][0].document.name == "os.path.join"


@pytest.mark.parametrize(
    "question", ["secret vault", "os._secret", "`os._secret`", "join two secret pathname components of the vault"]
)
def test_private_names_are_never_returned(words_only: SearchIndex, both: SearchIndex, question: str) -> None:
    for index in (words_only, both):
        assert "os._secret" not in {hit.document.name for hit in index.search([question], 100)[0]}
    assert b"vault" not in (words_only.path / "index.sqlite").read_bytes()


def test_a_name_written_out_comes_first(words_only: SearchIndex, both: SearchIndex) -> None:
    for index in (words_only, both):
        best = index.search(["does posixpath.join remove a file or delete a directory tree?"], 1)[0][0]
        assert best.document.name == "os.path.join"


def test_dense_is_the_cosine(both: SearchIndex, letters: LetterEncoder) -> None:
    scores = both.dense(["join two paths"])[0]
    vector = letters.encode(["join two paths"])[0]
    assert scores == pytest.approx(both.vectors @ vector, abs=1e-6)
    assert both.vectors.dtype == np.float32
    assert np.linalg.norm(both.vectors, axis=1) == pytest.approx(np.ones(4), abs=1e-5)


def test_coverage_by_hand(words_only: SearchIndex) -> None:
    # 4 documents; "join" in 2, "tree" in 1, "zebra" in none: log(1 + (N - n + .5) / (n + .5))
    join, tree, zebra = math.log(2), math.log(1 + 3.5 / 1.5), math.log(10)
    held = words_only.coverage("join tree zebra")
    assert held[0] == pytest.approx(join / (join + tree + zebra))
    assert held[2] == pytest.approx(tree / (join + tree + zebra))


def test_documents_come_back_whole(words_only: SearchIndex) -> None:
    assert list(words_only.documents()) == DOCUMENTS[:4]
    assert words_only.row("str.join") == 3
    assert words_only.row("nothing") is None


def test_no_public_document_and_no_index(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of the 1 documents is public"):
        build_index(tmp_path, [Document(id="a", text="x", public=False)])
    with pytest.raises(StoreError, match="septet index"):
        SearchIndex(tmp_path / "nowhere")


def test_no_vectors(words_only: SearchIndex) -> None:
    assert words_only.vectors is None
    with pytest.raises(StoreError, match="no vectors"):
        words_only.dense(["x"])


def test_the_same_documents_make_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        build_index(tmp_path / name, DOCUMENTS)
    dumps = []
    for name in ("a", "b"):
        with sqlite3.connect(tmp_path / name / "index.sqlite") as database:
            dumps.append(list(database.iterdump()))
    assert dumps[0] == dumps[1]


ASKED = {
    "posixpath.join": ["glue a folder and a file name together"],
    "os._secret": ["the vault"],
    "no.such": ["x y z"],
}


def test_questions_that_were_asked_lead_to_their_document(tmp_path: Path, letters: LetterEncoder, monkeypatch) -> None:
    facts = build_index(tmp_path, DOCUMENTS, encoder=letters, asked=ASKED, described={"encoder": {"kind": "none"}})
    assert (facts["asked"], facts["asked_of_no_document"]) == (1, 2)  # private and unknown names have no document
    index = SearchIndex(tmp_path)
    monkeypatch.setattr(index, "_open_encoder", lambda: letters)
    cosines = index.asked(["glue a folder and a file name together"])
    assert cosines is not None
    assert cosines[0] == pytest.approx(
        [1, -1, -1, -1], abs=1e-5
    )  # an alias stands for its document; -1: nothing was asked
    best = index.search(["glue a folder and file name"], 1)[0][0]
    assert best.document.name == "os.path.join"
    assert best.parts["asked"] > 0.9
    assert np.argmax(index.bm25("glue")) == 0  # the words are found without vectors too
    assert index.vectors is not None
    assert len(index.vectors) == 4


def test_an_index_without_asked_questions_knows_none(both: SearchIndex) -> None:
    assert both.asked(["x"]) is None


def test_a_broken_row_of_asked_questions_is_named(tmp_path: Path) -> None:
    path = tmp_path / "asked.jsonl"
    path.write_text('{"name": "a", "questions": ["x"]}\n{"name": "b", "questions": "x"}\n')
    with pytest.raises(DataError, match=r"asked\.jsonl, row 2"):
        read_asked(path)
    path.write_text('{"name": "a", "questions": ["x"]}\n{"name": "a", "questions": ["y"]}\n')
    assert read_asked(path) == {"a": ["x", "y"]}
