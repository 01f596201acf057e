import numpy as np
import pytest

from septet.retrieval.index import SearchIndex
from septet.retrieval.retriever import Retriever, share
from septet.retrieval.retrievers.hybrid import Hybrid


def test_share_by_hand() -> None:
    assert share(np.array([4.0, 1.0, 0.0, -2.0])).tolist() == [1.0, 0.25, 0.0, 0.0]
    assert share(np.array([0.0, -1.0])).tolist() == [0.0, 0.0]


def test_the_combination_by_hand(both: SearchIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(both, "bm25", lambda query: np.array([0.0, 5.0, 10.0, 0.0]))
    monkeypatch.setattr(both, "dense", lambda queries: np.array([[0.8, 0.4, 0.2, 0.1]]))
    monkeypatch.setattr(both, "standing", np.array([-1.0, 0.0, -2.0, 0.0]))
    hits = Hybrid(weight=0.75, prior=0.1).search(both, ["x"], 4)[0]
    found = {hit.document.name: hit.score for hit in hits}
    assert found["os.path.join"] == pytest.approx(0.75 * 1 + 0 - 0.1)
    assert found["os.remove"] == pytest.approx(0.75 * 0.5 + 0.25 * 0.5)
    assert found["shutil.rmtree"] == pytest.approx(0.75 * 0.25 + 0.25 * 1 - 0.2)
    assert [hit.score for hit in hits] == sorted(found.values(), reverse=True)
    assert hits[0].parts == {"bm25": 0.0, "standing": -1.0, "dense": 0.8}


def test_hybrid_without_vectors_is_bm25_with_standing(words_only: SearchIndex) -> None:
    assert [h.document.name for h in Hybrid(words_prior=0).search(words_only, ["join"], 9)[0]] == [
        h.document.name for h in Retriever.parse("bm25").search(words_only, ["join"], 9)[0]
    ]


def test_bm25_finds_only_what_holds_a_word(words_only: SearchIndex) -> None:
    assert Retriever.parse("bm25").search(words_only, ["zebra"], 5) == [[]]


def test_dense_ranks_all(both: SearchIndex) -> None:
    hits = Retriever.parse("dense").search(both, ["delete a directory tree", "strings"], 4)
    assert [len(found) for found in hits] == [4, 4]
    assert hits[0][0].document.name == "shutil.rmtree"
