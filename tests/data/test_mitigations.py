"""Filters against bias: genders exchanged, documents weighted, hostile sentences about people.

python -m pytest tests/data/test_mitigations.py
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from septet.core.errors import DataError
from septet.data.audits.identity import Identity
from septet.data.documents import Document
from septet.data.filter import Drop, Filter
from septet.data.lexicon import Lexicon
from septet.data.weights import chance, repetitions


class Report:
    """What a filter tells: dropped documents with reasons, and counts."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.dropped: list[tuple[str, str]] = []

    def __call__(self, doc: Document, reason: str) -> None:
        self.dropped.append((doc.id, reason))


def run(spec: str | dict, docs: list[Document], folders: dict | None = None) -> tuple[list[Document], Report]:
    made = Filter.parse(spec)
    made.given(folders or {})
    report = Report()
    drop: Drop = report
    return list(made.apply(iter(docs), drop)), report


def docs(*texts: str, **fields) -> list[Document]:
    return [Document(id=f"d{place}", text=text, **fields) for place, text in enumerate(texts)]


# -- counterfactual -----------------------------------------------------------------------------------------------------------


def test_copies_have_an_id_of_their_own_and_the_group_of_their_document():
    given = [*docs("She lost her hat.", "A table."), Document(id="e", text="He.", group="g", aliases=("x",))]
    found, report = run("counterfactual", given)
    assert [(doc.id, doc.text) for doc in found] == [
        ("d0", "She lost her hat."), ("d0#swapped", "He lost his hat."), ("d1", "A table."), ("e", "He."), ("e#swapped", "She."),
    ]  # fmt: skip
    assert [doc.group for doc in found] == ["", "d0", "", "g", "g"]
    assert found[4].aliases == ()
    assert (found[0].meta, found[1].meta) == ({}, {"swapped": True})
    assert report.counts == {"documents swapped": 2, "words swapped": 3}
    assert report.dropped == []


def test_in_place_half_of_the_documents_are_changed_and_none_is_added():
    given = [Document(id=f"d{i}", text="She slept.") for i in range(400)]
    found, _ = run({"kind": "counterfactual", "mode": "replace"}, given)
    assert [doc.id for doc in found] == [doc.id for doc in given]
    assert sum(doc.text == "He slept." for doc in found) == pytest.approx(200, abs=40)
    chosen = [doc.text == "He slept." for doc in found]
    assert chosen == [chance(0, doc.id) < 0.5 for doc in given]
    other, _ = run({"kind": "counterfactual", "mode": "replace", "seed": 1}, given)
    assert [doc.text for doc in other] != [doc.text for doc in found]


def test_other_languages_stay_and_the_text_in_meta_is_changed_too():
    found, _ = run("counterfactual", docs("Her mit dem Geld!", language="de"))
    assert len(found) == 1
    found, _ = run(
        {"kind": "counterfactual", "mode": "replace", "share": 1.0}, docs("She.", meta={"doc": "Her hat.", "n": 1})
    )
    assert found[0].meta == {"doc": "His hat.", "n": 1, "swapped": True}


def test_names_are_exchanged_where_a_list_is_given(tmp_path: Path):
    path = tmp_path / "names.csv"
    path.write_text("Mary,Martin\n")
    found, _ = run({"kind": "counterfactual", "names": str(path)}, docs("Mary slept."))
    assert [doc.text for doc in found] == ["Mary slept.", "Martin slept."]


def test_a_real_book_is_about_women_and_men_alike_afterwards(real_data: Path):
    path = real_data / "pretraining" / "english_novels" / "Stevenson_Treasure_1883.txt.gz"
    with gzip.open(path, "rt", encoding="utf-8-sig") as file:
        chapters = [Document(id=str(i), text=text) for i, text in enumerate(file.read().split("\n\n\n"))]
    audit = Identity()
    before = audit.report(audit.look(chapters))["pronouns"]["feminine"]
    found, report = run("counterfactual", chapters)
    after = audit.report(audit.look(found))["pronouns"]["feminine"]
    assert before["high"] < 0.2
    # "his" that stands alone becomes "hers" and counts the same, so that the two sides are equal to the last pronoun
    assert after["value"] == pytest.approx(0.5, abs=0.002)
    assert report.counts["words swapped"] > 2000


# -- reweight -----------------------------------------------------------------------------------------------------------------


def test_weights_by_hand():
    given = docs("She sat.", "He sat.", "He saw her.", "A rock.")
    found, report = run({"kind": "reweight", "counts": {"women": 1, "men": 3}}, given)
    # shares 1/4 and 3/4, both to be 1/2: factors 2 and 2/3; the third has one of each: (2 + 2/3) / 2
    assert [doc.meta.get("weight") for doc in found] == [2.0, 0.6667, 1.3333, None]
    assert report.counts == {"documents weighted": 3}
    assert report.dropped == []
    assert [doc.text for doc in found] == [doc.text for doc in given]


def test_a_target_a_bound_and_a_weight_that_was_there():
    spec = {"kind": "reweight", "counts": {"women": 1, "men": 99}, "target": {"women": 3, "men": 1}, "most": 5}
    found, _ = run(spec, docs("She sat.", "He sat.", meta={"weight": 2}))
    assert [doc.meta["weight"] for doc in found] == [10.0, 0.5051]  # 75 is cut to 5; 0.25 / 0.99


def test_a_weighted_corpus_reaches_the_target():
    given = [Document(id=f"d{i}", text="She sat." if i % 10 == 0 else "He sat.") for i in range(2000)]
    audit = Identity()
    before = audit.report(audit.look(given))
    counts = {
        row["group"]: row["rate"]["n"] for row in before["groups"] if row["axis"] == "gender" and row["rate"]["n"]
    }
    assert counts == {"women": 200, "men": 1800}
    found, _ = run({"kind": "reweight", "counts": counts, "most": 10}, given)
    after = audit.report(audit.look(found))
    assert after["pronouns"]["feminine"]["value"] == pytest.approx(0.5, abs=0.03)
    repeated, report = run({"kind": "reweight", "counts": counts, "most": 10, "how": "repeat"}, given)
    assert len(repeated) == sum(map(repetitions, found)) == after["documents"]
    assert {why for _, why in report.dropped} == {"not drawn: a weight below 1"}
    assert len({doc.id for doc in repeated}) == len(repeated)
    assert not any("weight" in doc.meta for doc in repeated)
    copy = next(doc for doc in repeated if doc.id.endswith("#2"))
    assert copy.group == copy.id.removesuffix("#2")


def test_counts_come_from_an_audit(tmp_path: Path):
    given = docs("She sat.", "He sat.", "He stood.", "He lay.")
    audit = Identity()
    report = audit.report(audit.look(given))
    (tmp_path / "audits.json").write_text(json.dumps({"identity": {"before": report, "after": report}}))
    spec = {"kind": "reweight", "audit": "$card"}
    found, _ = run(spec, given, {"$card": tmp_path})
    assert [doc.meta["weight"] for doc in found] == [2.0, 0.6667, 0.6667, 0.6667]
    (tmp_path / "audits.json").write_text("{}")
    with pytest.raises(DataError, match="holds no audit of identity"):
        run(spec, given, {"$card": tmp_path})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"axis": "gendre", "counts": {"women": 1}}, "no axis 'gendre'. Did you mean 'gender'"),
        ({"counts": {"woman": 1}}, "counts: the axis 'gender' has no group 'woman'. Did you mean 'women'"),
        ({"counts": {"women": 1}, "target": {"mens": 1}}, "target: the axis 'gender' has no group 'mens'"),
        ({"counts": {"women": 1}, "target": {"women": 1, "men": 1}}, "men: never mentioned"),
        ({}, "give audit"),
        ({"counts": {"women": -1}}, "numbers from 0 up"),
        ({"counts": {"women": 0}}, "numbers from 0 up"),
    ],
)
def test_mistakes_in_the_fields(fields: dict, message: str):
    with pytest.raises(ValueError, match=message):
        run({"kind": "reweight", **fields}, docs("She sat."))


# -- hostile mentions ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def toxic(tmp_path: Path) -> Path:
    from septet.data import linear

    texts = [f"{a} {b}" for a in ("kind", "vile") for b in ("day", "song", "word", "house", "tree", "dog")]
    linear.train(texts, [text.split()[0] for text in texts], positive="vile").classifier.save(tmp_path)
    return tmp_path


def test_only_hostile_sentences_about_people_count(toxic: Path):
    given = docs("A vile Muslim song.", "A kind Muslim song.", "A vile song. A Muslim sang.", "A vile man.", "")
    spec = {"kind": "hostile-mentions", "model": "$toxic", "threshold": 0.5}
    found, report = run(spec, given, {"$toxic": toxic})
    assert [doc.id for doc in found] == ["d1", "d2", "d3", "d4"]
    assert report.dropped == [("d0", "a hostile sentence about a group of people")]
    assert report.counts == {"sentences judged": 3, "hostile sentences": 1}
    found, _ = run({**spec, "axes": ["gender"]}, given, {"$toxic": toxic})
    assert [doc.id for doc in found] == ["d0", "d1", "d2", "d4"]
    with pytest.raises(DataError, match="no axis 'race'"):
        run({**spec, "axes": ["race"]}, given, {"$toxic": toxic})


def test_a_stream_may_be_cut_anywhere(toxic: Path):
    given = [Document(id=f"d{i}", text=f"A {'vile' if i % 3 else 'kind'} Jewish song.") for i in range(150)]
    for spec in (
        {"kind": "hostile-mentions", "model": "$toxic", "threshold": 0.5},
        {"kind": "counterfactual", "mode": "replace"},
        {"kind": "reweight", "axis": "religion", "counts": {"Jewish": 2, "Muslim": 1}, "how": "repeat"},
    ):
        whole, _ = run(spec, given, {"$toxic": toxic})
        parts = [
            doc for start in range(0, 150, 31) for doc in run(spec, given[start : start + 31], {"$toxic": toxic})[0]
        ]
        assert parts == whole


def test_the_axes_of_the_default_exist():
    lexicon = Lexicon.read()
    spec = {"kind": "hostile-mentions", "model": "$toxic"}
    for axis in Filter.parse(spec).axes:  # pyright: ignore[reportAttributeAccessIssue]
        assert lexicon.axis(axis)
