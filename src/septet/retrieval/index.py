"""The index: every public document in SQLite FTS5, with vectors beside it where an encoder is there.

Files: `index.sqlite` (documents, the FTS5 table over name, first paragraph and body, and every name and alias), `vectors.npy`
(float32 [N, D], unit length; absent without an encoder), `asked.npy` (the same for questions that people asked), `index.json`
(encoder, retriever, counts). Documents that are not public are never written, so no search can return one.

What it is not: a store that is changed in place. A new corpus makes a new index.

    septet index --corpus text && septet ask "How do I join two paths?"
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from septet.core.artifact import write_json
from septet.core.errors import DataError, StoreError
from septet.data.documents import Document, read_rows
from septet.retrieval.encoder import Encoder, TextEncoder, encode_all
from septet.retrieval.retriever import Hit, Retriever
from septet.retrieval.standing import mentions, standing
from septet.retrieval.text import encoder_text, frame, literals, paragraphs, split_name, terms, title

__all__ = ["COLUMN_WEIGHTS", "SearchIndex", "build_index", "read_asked"]

COLUMN_WEIGHTS = (1.0, 1.0, 1.0, 1.0)
"""Name, first paragraph, body, questions asked.

FTS5 multiplies a word's count by its column's weight before it saturates, so weights above 1 act
like a smaller k1: (3, 3, 1) gained nothing on the tune half and lost 2 points of nDCG@10 on Cranfield."""

_SCHEMA = """
CREATE TABLE documents (
    row INTEGER PRIMARY KEY, id TEXT NOT NULL, name TEXT NOT NULL, standing REAL NOT NULL, content TEXT NOT NULL
);
CREATE TABLE names (name TEXT NOT NULL, row INTEGER NOT NULL);
CREATE INDEX names_by_name ON names (name);
CREATE TABLE asked (question TEXT NOT NULL, row INTEGER NOT NULL);
CREATE VIRTUAL TABLE words USING fts5(name, title, body, asked, tokenize = 'porter unicode61 remove_diacritics 2');
"""


def build_index(
    out: Path,
    documents: Iterable[Document],
    *,
    encoder: TextEncoder | None = None,
    described: dict[str, Any] | None = None,
    usage: Iterable[Document] = (),
    asked: Mapping[str, Sequence[str]] | None = None,
    state: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Write an index of the public documents into the folder `out` and return its facts.

    `usage` is more text in which names are mentioned (source code); it counts for standing and is not searched. `asked` gives
    questions that people asked, by the name or alias of the document that answers them. `described` goes into `index.json`
    (encoder, retriever). Raises DataError where no document is public.
    """
    everything = list(documents)
    public = [document for document in everything if document.public and document.text.strip()]
    if not public:
        raise DataError(
            f"none of the {len(everything)} documents is public and has text; an index needs at least one."
            " Look at the corpus with septet show."
        )
    held = {document.id for document in everything}
    seen = everything + [document for document in usage if document.id not in held]
    counts = mentions(seen)
    places = {id(document): position for position, document in enumerate(seen)}
    prior = standing(public, counts[[places[id(document)] for document in public]])

    questions = _by_row(asked or {}, public)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "index.sqlite"
    path.unlink(missing_ok=True)  # of an interrupted run
    database = sqlite3.connect(path)
    try:
        database.executescript(_SCHEMA)
        for row, document in enumerate(public):
            first, rest = paragraphs(document)
            content = json.dumps(asdict(document), ensure_ascii=True)
            name = document.name or document.id
            database.execute(
                "INSERT INTO documents VALUES (?, ?, ?, ?, ?)", (row, document.id, name, float(prior[row]), content)
            )
            for alias in dict.fromkeys((name, *document.aliases)):
                database.execute("INSERT INTO names VALUES (?, ?)", (alias, row))
            heading = (
                f"{title(document)} {first}" if document.meta.get("title") or document.meta.get("signature") else first
            )
            database.execute(
                "INSERT INTO words (rowid, name, title, body, asked) VALUES (?, ?, ?, ?, ?)",
                (row, split_name(name), heading, rest, "\n".join(questions.get(row, ()))),
            )
            database.executemany("INSERT INTO asked VALUES (?, ?)", [(text, row) for text in questions.get(row, ())])
        database.execute("INSERT INTO words (words) VALUES ('optimize')")
        database.commit()
    finally:
        database.close()

    facts: dict[str, Any] = {"documents": len(public), "left_out": len(everything) - len(public), "dim": 0}
    if asked:
        known = sum(len(texts) for texts in questions.values())
        facts |= {"asked": known, "asked_of_no_document": sum(map(len, asked.values())) - known}
    if encoder is not None:
        texts = [encoder_text(document) for document in public]
        posed = [text for row in sorted(questions) for text in questions[row]]
        vectors = encode_all(encoder, texts + posed, state=state or out / ".state", progress=progress).astype(
            np.float32
        )
        np.save(out / "vectors.npy", vectors[: len(texts)], allow_pickle=False)
        if posed:
            np.save(out / "asked.npy", vectors[len(texts) :], allow_pickle=False)
        facts["dim"] = int(vectors.shape[1])
    write_json(out / "index.json", {"version": 1, **(described or {}), **facts})
    return facts


def read_asked(path: str | Path) -> dict[str, list[str]]:
    """Return name -> questions from a file of rows {"name": "...", "questions": ["...", ...]}; raises DataError with the row."""
    found: dict[str, list[str]] = {}
    for number, row in read_rows(path):
        name, texts = row.get("name"), row.get("questions")
        if not isinstance(name, str) or not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise DataError('expected {"name": "...", "questions": ["...", ...]}.', file=path, row=number)
        found.setdefault(name, []).extend(texts)
    return found


def _by_row(asked: Mapping[str, Sequence[str]], public: Sequence[Document]) -> dict[int, list[str]]:
    """Return row -> questions, for the questions whose document is there; a document's own name goes before others' aliases."""
    rows: dict[str, int] = {}
    for row, document in enumerate(public):
        for alias in document.aliases:
            rows.setdefault(alias, row)
    rows |= {document.name or document.id: row for row, document in enumerate(public)}
    found: dict[int, list[str]] = {}
    for name, texts in asked.items():
        if name in rows:
            found.setdefault(rows[name], []).extend(text for text in texts if text.strip())
    return found


class SearchIndex:
    """An opened index, safe for several threads. `encoder` is loaded when a question first needs it."""

    def __init__(self, path: str | Path, *, threads: int | None = None) -> None:
        self.path, self._threads = Path(path), threads
        file = self.path / "index.sqlite"
        if not file.is_file():
            raise StoreError(f"there is no index in {self.path} (index.sqlite is missing); make one with septet index.")
        self.about: dict[str, Any] = json.loads((self.path / "index.json").read_text(encoding="utf-8"))
        self._lock = threading.Lock()
        self._database = sqlite3.connect(
            f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False
        )
        rows = self._database.execute("SELECT standing FROM documents ORDER BY row").fetchall()
        self.standing = np.array([row[0] for row in rows])
        self.standing -= self.standing.max(initial=0.0)
        vectors = self.path / "vectors.npy"
        self.vectors: np.ndarray | None = np.load(vectors, allow_pickle=False) if vectors.is_file() else None
        asked = self.path / "asked.npy"
        self._asked: np.ndarray | None = np.load(asked, allow_pickle=False) if asked.is_file() else None
        self._asked_rows = np.array(
            [r for (r,) in self._fetch("SELECT row FROM asked ORDER BY row, rowid", ())], dtype=np.int64
        )
        self._rows = dict(self._fetch("SELECT id, row FROM documents", ()))
        self._encoder: TextEncoder | None = None
        self.retriever = Retriever.parse(self.about.get("retriever", "hybrid"))
        self.document = lru_cache(maxsize=4096)(self._read)
        self._matches = lru_cache(maxsize=4096)(self._read_matches)

    def __len__(self) -> int:
        return len(self.standing)

    def __enter__(self) -> SearchIndex:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()

    def _fetch(self, query: str, values: tuple[Any, ...]) -> list[tuple]:
        with self._lock:
            return self._database.execute(query, values).fetchall()

    def _read(self, row: int) -> Document:
        found = self._fetch("SELECT content FROM documents WHERE row = ?", (row,))
        assert found, f"row {row} of {len(self)}"
        content = json.loads(found[0][0])
        return Document(**{**content, "aliases": tuple(content["aliases"])})

    def row(self, id: str) -> int | None:
        """Return the row of the document with that id, or None."""
        return self._rows.get(id)

    def documents(self) -> Iterable[Document]:
        """Every document, in the order of the rows."""
        return (self.document(row) for row in range(len(self)))

    # -- scores -----------------------------------------------------------------------------------------------------

    def search(self, queries: Sequence[str], k: int = 10) -> list[list[Hit]]:
        """Return the best `k` documents for each query, with the index's own retriever."""
        return self.retriever.search(self, queries, k)

    def bm25(self, query: str) -> np.ndarray:
        """Return the BM25 score of each document, [N] float64, larger is better, 0 where no word occurs."""
        scores = np.zeros(len(self))
        found = terms(query)
        if found:
            # quoted, so that FTS5 reads words and never its own operators
            match = " OR ".join(f'"{term}"' for term in found)
            sql = "SELECT rowid, bm25(words, ?, ?, ?, ?) FROM words WHERE words MATCH ?"
            for row, score in self._fetch(sql, (*COLUMN_WEIGHTS, match)):
                scores[row] = -score
        return scores

    def dense(self, queries: Sequence[str]) -> np.ndarray:
        """Return the cosine of each query with each document, [Q, N] float32; the query's vector is `embed`'s."""
        if self.vectors is None:
            raise StoreError(
                "this index has no vectors; it was made with encoder: none. Make one with encoder: minilm."
            )
        return self.embed(queries) @ self.vectors.T

    @property
    def knows_asked(self) -> bool:
        """Whether the index has vectors of questions that people asked."""
        return self._asked is not None

    def asked(self, queries: Sequence[str]) -> np.ndarray | None:
        """Return each document's best cosine between a query and a question asked of it, [Q, N] float32; -1 where none was.

        None where the index knows no such questions. Questions are compared as they are, without a frame.
        """
        if self._asked is None:
            return None
        cosines = self._open_encoder().encode(queries) @ self._asked.T
        found = np.full((len(queries), len(self)), -1.0, dtype=np.float32)
        for position in range(len(queries)):
            np.maximum.at(found[position], self._asked_rows, cosines[position])
        return found

    def embed(self, queries: Sequence[str]) -> np.ndarray:
        """Return a unit vector for each query, [Q, D].

        Where the index says what it is about, it is the mean of the question's vector and the framed question's (`frame`).
        """
        encoder, subject = self._open_encoder(), self.about.get("about", "")
        if not subject:
            return encoder.encode(queries)
        both = encoder.encode([*queries, *(frame(query, subject) for query in queries)])
        mean = both[: len(queries)] + both[len(queries) :]
        return mean / np.linalg.norm(mean, axis=-1, keepdims=True)

    def _open_encoder(self) -> TextEncoder:
        with self._lock:
            if self._encoder is None:
                self._encoder = Encoder.parse(self.about["encoder"]).open(threads=self._threads)
                assert self._encoder is not None, "an index with vectors names its encoder"
            return self._encoder

    def named(self, query: str) -> np.ndarray:
        """Return the rows of the documents whose whole name or alias the query writes out, [M] int64."""
        rows = [
            row for name in literals(query) for (row,) in self._fetch("SELECT row FROM names WHERE name = ?", (name,))
        ]
        return np.array(sorted(set(rows)), dtype=np.int64)

    def holding(self, term: str) -> np.ndarray:
        """Return the rows of the documents that hold a word in any form, [M] int64."""
        return self._matches(term)

    def _read_matches(self, term: str) -> np.ndarray:
        rows = self._fetch("SELECT rowid FROM words WHERE words MATCH ?", (f'"{term}"',))
        return np.array([row for (row,) in rows], dtype=np.int64)

    def coverage(self, query: str, rows: Sequence[int] | None = None) -> np.ndarray:
        """Return the share of the query's information that each document holds, [N] or [len(rows)] float64 in [0, 1].

        A word weighs log(1 + (N - n + 0.5) / (n + 0.5)) with n documents holding it, as in BM25; a word that no document holds
        weighs the most, and cannot be held.
        """
        total, held = 0.0, np.zeros(len(self))
        for term in terms(query):
            found = self.holding(term)
            weight = float(np.log1p((len(self) - len(found) + 0.5) / (len(found) + 0.5)))
            total += weight
            held[found] += weight
        held = held / total if total > 0 else held
        return held if rows is None else held[list(rows)]
