import json
from pathlib import Path

import pytest

from septet.core.artifact import Artifact
from septet.core.errors import ComponentError, DataError
from septet.core.step import Step, Work
from septet.data.documents import Document, write_documents
from septet.retrieval.index import SearchIndex


def _corpus(folder: Path, documents: list[Document]) -> Artifact:
    write_documents(folder / "documents.jsonl", documents)
    return Artifact(id="c", kind="corpus", inputs={}, step={}, path=folder)


def _work(folder: Path, events: list) -> Work:
    for name in ("out", "state"):
        (folder / name).mkdir()
    return Work(out=folder / "out", state=folder / "state", emit=events.append)


def test_an_index_without_an_encoder_says_so(tmp_path: Path) -> None:
    events: list = []
    step = Step.parse({"kind": "index", "corpus": "$text", "encoder": "none", "about": "Gardens"})
    documents = [
        Document(id="Setup", name="Setup", text="Turn the red valve."),
        Document(id="p", text="x", public=False),
    ]
    corpus = _corpus(tmp_path / "corpus", documents)
    facts = step.run(_work(tmp_path, events), corpus=corpus)
    assert (facts["documents"], facts["left_out"], facts["encoder"], facts["search"]) == (1, 1, "none", "BM25 alone")
    assert any("BM25 alone" in getattr(event, "text", "") for event in events)
    with SearchIndex(tmp_path / "out") as index:
        assert index.search(["which valve?"], 3)[0][0].document.name == "Setup"
    assert json.loads((tmp_path / "out" / "index.json").read_text())["about"] == "Gardens"
    assert not (tmp_path / "out" / "vectors.npy").exists()


def test_usage_is_counted_and_not_searched(tmp_path: Path) -> None:
    (tmp_path / "usage.jsonl").write_text(
        "".join(json.dumps({"text": f"call b.second() {i} secretword"}) + "\n" for i in range(20))
    )
    documents = [Document(id=name, name=name, text="Do the same thing.") for name in ("a.first", "b.second")]
    usage = {"kind": "jsonl", "path": str(tmp_path / "usage.jsonl")}
    step = Step.parse({"kind": "index", "corpus": "$text", "encoder": "none", "usage": usage})
    step.run(_work(tmp_path, []), corpus=_corpus(tmp_path / "corpus", documents))
    with SearchIndex(tmp_path / "out") as index:
        assert [hit.document.name for hit in index.search(["the same thing"], 3)[0]] == ["b.second", "a.first"]
        assert index.search(["secretword"], 3) == [[]]


def test_nothing_public_and_an_unknown_field(tmp_path: Path) -> None:
    step = Step.parse({"kind": "index", "corpus": "$text", "encoder": "none"})
    with pytest.raises(DataError, match="public"):
        step.run(_work(tmp_path, []), corpus=_corpus(tmp_path / "corpus", [Document(id="p", text="x", public=False)]))
    with pytest.raises(ComponentError, match="encoder"):
        Step.parse({"kind": "index", "corpus": "$text", "encoders": "none"})


def test_weights_enter_the_identity() -> None:
    plain = Step.parse({"kind": "index", "corpus": "$text"})
    other = Step.parse({"kind": "index", "corpus": "$text", "retriever": {"kind": "hybrid", "weight": 0.5}})
    assert plain.identity() != other.identity()
