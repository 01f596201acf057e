"""The audit step: a corpus before and after its filters, in pieces, again after a kill, and as a page.

python -m pytest tests/steps/test_audit.py
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from septet.core.artifact import Artifact
from septet.core.errors import DataError, Stopped
from septet.core.step import Step, Work
from septet.data.audits.identity import Identity
from septet.data.documents import Document, read_documents, write_documents
from septet.data.filters.counterfactual import Counterfactual
from septet.steps import audit as module


@pytest.fixture
def corpus(tmp_path: Path) -> Artifact:
    """A corpus of documents about men, with swapped copies after its filters."""
    folder = tmp_path / "corpus"
    texts = [
        "He lost his dog; the old nurse was kind — so was he.",
        "Two Germans spoke to a man.",
        "She sang to the refugees.",
    ]
    docs = [
        Document(
            id=f"d{i}",
            text=texts[i % 3] * (1 + i % 4),
            aliases=("x",),
            source=("web", "books")[i % 2],
            public=i % 5 > 0,
        )
        for i in range(60)
    ]
    write_documents(folder / "documents.jsonl", docs)
    found = list(Counterfactual().apply(docs, lambda *_: None))
    write_documents(folder / "train.jsonl", found[:90])
    write_documents(folder / "held_out.jsonl", found[90:])
    return Artifact(id="0" * 32, kind="corpus", inputs={}, step={}, path=folder)


def work(folder: Path, **fields) -> Work:
    (folder / "out").mkdir(parents=True)
    return Work(out=folder / "out", state=folder / "state", **fields)


def step() -> Step:
    return Step.parse({"kind": "audit", "corpus": "text"})


def test_both_sides_are_looked_at_and_written(corpus: Artifact, tmp_path: Path):
    facts = step().run(work(tmp_path / "one"), corpus=corpus)
    content = json.loads((tmp_path / "one" / "out" / "audits.json").read_text())
    one = Identity()
    before = one.report(one.look(read_documents(corpus.path / "documents.jsonl")))
    assert content["identity"]["before"] == json.loads(json.dumps(before))
    assert content["identity"]["after"]["documents"] == 120
    assert content["identity"]["after"]["pronouns"]["feminine"]["value"] == 0.5
    assert facts["audits"] == ["identity"]
    assert facts["pieces"] == 3
    assert facts["identity_before"]["documents"] == 60
    page = (tmp_path / "one" / "out" / "audits.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert page.count("<svg") == page.count("</svg>") > 3


def test_small_pieces_and_other_processes_give_the_same_bytes(corpus: Artifact, tmp_path: Path, monkeypatch):
    step().run(work(tmp_path / "one"), corpus=corpus)
    monkeypatch.setattr(module, "PIECE", 700)
    given = work(tmp_path / "two")

    class Backwards:
        """A mapper that does the last shard first, with settings and shards that went through JSON."""

        def map(self, stage, settings, shards):
            settings, shards = json.loads(json.dumps([settings, list(shards)]))
            yield from [stage(settings, shard) for shard in reversed(shards)][::-1]

    facts = step().run(replace(given, runtime=replace(given.runtime, mapper=Backwards())), corpus=corpus)
    assert facts["pieces"] > 10
    for name in ("audits.json", "audits.html"):
        assert (tmp_path / "one" / "out" / name).read_bytes() == (tmp_path / "two" / "out" / name).read_bytes()


def test_it_goes_on_where_it_was_stopped(corpus: Artifact, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(module, "PIECE", 700)
    looked: list[str] = []
    plain = module.look
    monkeypatch.setattr(module, "look", lambda settings, shard: looked.append(shard["out"]) or plain(settings, shard))
    calls = iter(range(100))
    stopping = work(tmp_path / "a", stopping=lambda: next(calls) >= 4)
    with pytest.raises(Stopped):
        step().run(stopping, corpus=corpus)
    assert len(looked) == 5
    facts = step().run(replace(stopping, stopping=lambda: False), corpus=corpus)
    assert len(looked) == len(set(looked)) == facts["pieces"]


def test_a_corpus_without_documents_is_told(corpus: Artifact, tmp_path: Path):
    for name in ("train.jsonl", "held_out.jsonl"):
        (corpus.path / name).unlink()
    with pytest.raises(DataError, match="no documents after its filters"):
        step().run(work(tmp_path / "a"), corpus=corpus)


def test_each_kind_once(corpus: Artifact, tmp_path: Path):
    twice = Step.parse({"kind": "audit", "corpus": "text", "audits": ["identity", "identity"]})
    with pytest.raises(DataError, match="given once"):
        twice.run(work(tmp_path / "a"), corpus=corpus)


def test_a_classifier_comes_from_the_store(corpus: Artifact, tmp_path: Path):
    from septet.data import linear

    folder = tmp_path / "classifier"
    folder.mkdir()
    texts = [f"{a} {b}" for a in ("kind", "bad") for b in ("day", "song", "word", "house", "tree", "dog")]
    linear.train(texts, [text.split()[0] for text in texts], positive="kind").classifier.save(folder)
    toxic = Artifact(id="1" * 32, kind="classifier", inputs={}, step={}, path=folder)
    one = Step.parse({"kind": "audit", "corpus": "text", "audits": [{"kind": "identity", "sentiment": "tone"}]})
    assert set(one.refs()) == {"corpus", "audits.0.sentiment"}
    one.run(work(tmp_path / "a"), **{"corpus": corpus, "audits.0.sentiment": toxic})
    content = json.loads((tmp_path / "a" / "out" / "audits.json").read_text())["identity"]["before"]
    assert content["sentiment"]["by"] == "classifier"
    migrants, men = (next(row for row in content["groups"] if row["group"] == name) for name in ("migrants", "men"))
    assert (
        men["sentiment"]["value"] > migrants["sentiment"]["value"]
    )  # "the nurse was kind" stands in a sentence with "he"
