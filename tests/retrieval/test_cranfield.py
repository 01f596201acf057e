"""BM25 on the Cranfield abstracts: a published collection, to see that search as a whole is sane."""

import gzip
import re
from pathlib import Path

import numpy as np

from septet.data.documents import Document
from septet.retrieval.index import SearchIndex, build_index
from septet.retrieval.retriever import Retriever


def _records(path: Path) -> list[dict[str, str]]:
    text = gzip.decompress(path.read_bytes()).decode()
    found = []
    for record in re.split(r"^\.I ", text, flags=re.MULTILINE)[1:]:
        number, *fields = re.split(r"^\.([TABW])\s*$", record, flags=re.MULTILINE)
        found.append({"I": number.strip(), **dict(zip(fields[::2], fields[1::2], strict=True))})
    return found


def test_bm25_ranks_cranfield(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "retrieval" / "cranfield"
    abstracts = _records(folder / "cran.all.1400.gz")
    build_index(
        tmp_path,
        [
            Document(id=a["I"], name=" ".join(a["T"].split()), text=a["W"], meta={"doc": a["W"]})
            for a in abstracts
            if a["W"].strip()
        ],
    )
    relevant: dict[int, set[str]] = {}
    for line in gzip.decompress((folder / "cranqrel.gz").read_bytes()).decode().splitlines():
        query, document, grade = line.split()[:3]
        if 1 <= int(grade) <= 4:  # 5 means no relevance; -1 marks the document that the question came from
            relevant.setdefault(int(query), set()).add(document)
    # the judgements count the queries 1, 2, 3, ... in the order of the file, and not by their own numbers
    queries = [" ".join(q["W"].split()) for q in _records(folder / "cran.qry.gz")]
    discount = 1 / np.log2(np.arange(2, 12))
    gains = []
    with SearchIndex(tmp_path) as index:
        hits = Retriever.parse("bm25").search(index, queries, 10)
    for number, found in enumerate(hits, 1):
        gold = relevant.get(number, set())
        if gold:
            hit = np.array([h.document.id in gold for h in found] + [False] * (10 - len(found)))
            gains.append(float((hit * discount).sum() / discount[: min(len(gold), 10)].sum()))
    assert len(gains) > 200
    # Okapi BM25 with stemming gives about 0.4 on this collection
    assert 0.36 < float(np.mean(gains)) < 0.48, np.mean(gains)
