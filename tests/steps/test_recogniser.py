"""The step that trains a recogniser: what it writes and measures, on planted and on real sentences.

python -m pytest tests/steps/test_recogniser.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from septet.core.artifact import digest_folder
from septet.core.errors import DataError
from septet.core.step import Step, Work
from septet.data.documents import Document
from septet.data.entities import Tagged, read_tagged
from septet.data.filter import Filter
from septet.data.tagger import Tagger
from septet.steps.recogniser import measure


def run(out: Path, **fields: Any) -> dict[str, Any]:
    out.mkdir(parents=True)
    return Step.parse({"kind": "recogniser", **fields}).run(Work(out=out, state=out))


def test_figures_by_hand():
    gold = [
        Tagged(("a", "b", "c"), ("B-P", "I-P", "B-L"), "1"),
        Tagged(("d",), ("B-P",), "2"),
        Tagged(("e",), ("O",), "3"),
    ]
    found = [["B-P", "I-P", "B-P"], ["O"], ["B-L"]]
    figures = measure(gold, found)
    # right: P ab. Found: ab, c, e. Gold: ab, c, d
    assert [figures["all"][name]["value"] for name in ("precision", "recall", "f1")] == pytest.approx([1 / 3] * 3)
    assert figures["P"]["precision"]["value"] == figures["P"]["recall"]["value"] == 0.5
    assert figures["L"]["f1"]["value"] == 0
    assert figures["all"]["f1"]["low"] <= 1 / 3 <= figures["all"]["f1"]["high"]
    nothing = measure(gold, [["O"] * 3, ["O"], ["O"]])
    assert nothing["all"]["precision"] is None
    assert nothing["all"]["recall"]["value"] == 0


def test_a_file_is_split_by_its_groups(tmp_path: Path):
    names = [f"Name{n}" for n in range(8)]
    rows = [
        {
            "full_text": f"In {place} we met {name}.",
            "spans": [
                {
                    "entity_type": "PERSON",
                    "start_position": len(place) + 11,
                    "end_position": len(place) + 11 + len(name),
                }
            ],
            "template_id": n % 10,
        }
        for n, (name, place) in enumerate(
            (name, place) for name in names for place in ("Oslo", "Rome", "Bonn", "Kiel", "Bern")
        )
    ]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    fields = {"path": str(tmp_path / "a.json"), "entities": {"PERSON": "name"}, "bits": 12, "held_out": 0.3}
    facts = run(tmp_path / "one", **fields)
    assert facts["train_sentences"] + facts["held_out_sentences"] == 40
    assert facts["train_sentences"] % 4 == 0  # ten groups of four
    assert facts["held_out"]["name"]["f1"]["value"] == 1.0
    assert run(tmp_path / "two", **fields) == facts
    assert digest_folder(tmp_path / "one") == digest_folder(tmp_path / "two")
    assert Tagger.open(tmp_path / "one").entities == ("name",)
    with pytest.raises(DataError, match="No entity is left to measure on"):
        run(tmp_path / "three", **{**fields, "held_out": 0.0001})


def test_a_file_to_test_on(tmp_path: Path):
    (tmp_path / "train").write_text("".join(f"Ms. O\n{name} B-PER\nspoke O\n\n" for name in ("Ada", "Bea", "Cleo")))
    (tmp_path / "test").write_text("Ms. O\nDora B-PER\nspoke O\n\n")
    facts = run(tmp_path / "one", path=str(tmp_path / "train"), test=str(tmp_path / "test"), bits=12)
    assert (facts["train_sentences"], facts["held_out_sentences"], facts["train_words"]) == (3, 1, 9)
    assert facts["held_out"]["PER"]["f1"]["value"] == 1.0


def test_names_in_real_news(real_data: Path, tmp_path: Path):
    """A slice of what the benchmark measures: trained on the development part, tested on a part of the test part."""
    folder = real_data / "ner" / "conll2003"
    facts = run(tmp_path / "one", path=str(folder / "eng.testa.gz"), epochs=3, entities={"PER": "name"})
    assert facts["train_entities"]["name"] > 1000
    assert facts["held_out"]["name"]["f1"]["value"] > 0.7
    made = Filter.parse({"kind": "pii", "kinds": ["name"], "recogniser": "$names"})
    made.given({"$names": tmp_path / "one"})
    (doc,) = made.apply(
        [Document("a", "Yesterday President Bill Clinton met Boris Yeltsin in Moscow.")], lambda doc, reason: None
    )
    assert doc.text == "Yesterday President [name] met [name] in Moscow."


def test_real_sentences_keep_their_entities(real_data: Path):
    rows = read_tagged(real_data / "ner" / "conll2003" / "eng.testb.gz")
    words = sum(len(one.words) for one in rows)
    assert (len(rows), words) == (3453, 46435)  # as published (46,435 words); -DOCSTART- is no sentence
    assert len({one.group for one in rows}) == 231
