"""BM25 on the Cranfield abstracts: a real collection with judgements, against plain BM25 written out."""

import gzip
import math
import re
from pathlib import Path

import numpy as np

from septet.data.documents import Document
from septet.retrieval.index import SearchIndex, build_index
from septet.retrieval.retriever import Retriever
from septet.retrieval.text import terms, words


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
    with SearchIndex(tmp_path) as index:
        hits = Retriever.parse("bm25").search(index, queries, 10)
    ours = _ndcg([[hit.document.id for hit in found] for found in hits], relevant)
    texts = {a["I"]: words(f"{a['T']} {a['W']}") for a in abstracts if a["W"].strip()}
    plain = _ndcg([_okapi(terms(query), texts) for query in queries], relevant)
    assert len(relevant) > 200
    # stemming and column weights should help here, and must not hurt
    assert ours > plain - 0.01, (ours, plain)


def _okapi(query: list[str], texts: dict[str, list[str]]) -> list[str]:
    """Ten best documents by Okapi BM25 (k1 1.2, b 0.75) over whole words, written out."""
    mean = sum(map(len, texts.values())) / len(texts)
    scores: dict[str, float] = {}
    for word in query:
        counts = {name: text.count(word) for name, text in texts.items() if word in text}
        idf = math.log(1 + (len(texts) - len(counts) + 0.5) / (len(counts) + 0.5))
        for name, f in counts.items():
            scores[name] = scores.get(name, 0.0) + idf * f * 2.2 / (f + 1.2 * (0.25 + 0.75 * len(texts[name]) / mean))
    return sorted(scores, key=lambda name: -scores[name])[:10]


def _ndcg(rankings: list[list[str]], relevant: dict[int, set[str]]) -> float:
    """Mean nDCG@10 with gains 0 and 1; the queries are counted from 1."""
    discount = 1 / np.log2(np.arange(2, 12))
    gains = []
    for number, names in enumerate(rankings, 1):
        gold = relevant.get(number)
        if gold:
            hit = np.array([name in gold for name in names] + [False] * (10 - len(names)))
            gains.append(float((hit * discount).sum() / discount[: min(len(gold), 10)].sum()))
    return float(np.mean(gains))
