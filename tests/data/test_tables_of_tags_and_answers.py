"""Tables whose columns hold lists and objects: words and tags, answers in passages, translations, labels of spans.

python -m pytest tests/data/test_tables_of_tags_and_answers.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from septet.core.errors import DataError
from septet.data.answers import answers_in
from septet.data.builder import Builder, Built
from septet.data.roles import at

PASSAGE = "The red door leads to the kitchen. The blue door leads to the garden."


def build(folder: Path, *rows: dict, **fields: Any) -> Built:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    fields.setdefault("split", {"validation": 0})
    return Builder.parse({"kind": "table", "train": str(path), **fields}).build([], [], seed=0)


# -- paths --------------------------------------------------------------------------------------------------------------


def test_a_path_reaches_into_objects_and_lists():
    row = {"a": {"b": [{"c": 1}, {"c": 2}]}, "a.b": "as it is called", "d": [{"e": {"f": "x"}}]}
    assert at("a.b", row) == "as it is called"
    assert at("a.b[].c", row) == [1, 2]
    assert at("d[].e.f", row) == ["x"]
    for path in ("a.x", "a[].b", "d.e", "d[].x", "a.b[].c.g"):
        with pytest.raises(LookupError):
            at(path, {"a": row["a"], "d": row["d"]})


def test_translations_in_an_object(tmp_path: Path):
    rows = [{"translation": {"en": "dog", "de": "Hund"}}, {"translation": {"en": "cat", "de": "Katze"}}]
    built = build(tmp_path, *rows)
    assert built.task == "text-to-text"
    assert built.columns == {"source": "translation.en", "target": "translation.de"}
    assert {"source": "dog", "target": "Hund"} in built.train
    numbered = [{"id": n, **row} for n, row in enumerate(rows)]  # `id` is a language, too
    assert build(tmp_path, *numbered).columns == {**built.columns, "id": "id"}
    turned = build(tmp_path, *rows, columns={"source": "translation.de", "target": "translation.en"})
    assert {"source": "Hund", "target": "dog"} in turned.train


def test_labels_of_spans(tmp_path: Path):
    rows = [
        {"text": "Ann lives in Rome", "spans": [{"type": "place"}, {"type": "person"}, {"type": "person"}]},
        {"text": "Bob", "spans": [{"type": "person"}]},
        {"text": "Nothing here", "spans": []},
    ]
    built = build(tmp_path, *rows, columns={"labels": "spans[].type"})
    assert built.task == "multi-label"
    assert {row["text"]: row["labels"] for row in built.train} == {
        "Ann lives in Rome": ["person", "place"], "Bob": ["person"], "Nothing here": [],
    }  # fmt: skip
    with pytest.raises(DataError, match=r"no column 'spans\[\].typ' for the role 'labels'.*'spans\[\]\.type'"):
        build(tmp_path, *rows, columns={"labels": "spans[].typ"})
    with pytest.raises(DataError, match=r"row 4: The field 'spans\[\]\.type' is missing"):
        build(tmp_path, *rows, {"text": "a"}, columns={"labels": "spans[].type"})


def test_names_of_roles_come_before_languages(tmp_path: Path):
    rows = [{"id": "a1", "no": "1", "article": "a long text", "highlights": "short"}]
    assert build(tmp_path, *rows).columns == {"source": "article", "target": "highlights", "id": "id"}


# -- words and tags -----------------------------------------------------------------------------------------------------


def test_words_and_tags(tmp_path: Path):
    rows = [{"tokens": ["Ann", "ran"], "pos_tags": [1, 2], "ner_tags": ["B-PER", "O"]}]
    rows += [{"tokens": ["to", "Rome"], "pos_tags": [3, 1], "ner_tags": ["O", "B-LOC"]}]
    built = build(tmp_path, *rows)
    assert (built.task, built.columns) == ("tagging", {"words": "tokens", "tags": "ner_tags"})
    assert {"words": ["to", "Rome"], "tags": ["O", "B-LOC"]} in built.train
    assert built.labels == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert "The tags are read as bio and written as BIO." in built.remarks
    texts = build(tmp_path, {"words": "Ann ran", "tags": "S-PER O"}, {"words": "to Rome", "tags": "O S-LOC"})
    assert {"words": ["to", "Rome"], "tags": ["O", "B-LOC"]} in texts.train
    assert "The tags are read as bioes and written as BIO." in texts.remarks


def test_tags_of_questions_are_no_tags_of_words(tmp_path: Path):
    rows = [
        {"text": "how do I sort", "words": "four", "tags": ["python", "sort"]},
        {"text": "b", "words": "one", "tags": ["css"]},
    ]
    assert build(tmp_path, *rows).task == "multi-label"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"tokens": ["a", "b"], "ner_tags": ["O"]}, "row 3: There are 2 words and 1 tags"),
        ({"tokens": [], "ner_tags": []}, "row 3: The field 'tokens' has no words"),
        ({"tokens": ["a", " "], "ner_tags": ["O", "O"]}, "row 3: The field 'tokens' has no words, or empty ones"),
        ({"tokens": ["a"], "ner_tags": ["PER"]}, "row 3: In the field 'ner_tags' the tag 'PER' is neither O nor a prefix"),
        ({"tokens": ["a"], "ner_tags": [3]}, r"row 3: The field 'ner_tags' holds numbers without names; say label_names"),
        ({"tokens": ["a"]}, "row 3: The field 'ner_tags' is missing"),
        ({"tokens": ["a", "b"], "ner_tags": ["O", "I-PER"]}, "row 3: the tag 'I-PER' cannot stand after 'O' in bio.*repair"),
    ],
)  # fmt: skip
def test_tags_that_cannot_be_used(tmp_path: Path, row: dict, says: str):
    good = [{"tokens": ["Ann"], "ner_tags": ["B-PER"]}, {"tokens": ["Bob", "Lee"], "ner_tags": ["B-PER", "I-PER"]}]
    with pytest.raises(DataError, match=says):
        build(tmp_path, *good, row)
    assert len(build(tmp_path, *good, row, on_bad="drop").train) == 2
    if "stand" in says:
        built = build(tmp_path, *good, row, on_malformed="repair")
        assert built.notes == {"tags_repaired": 1}
        assert {"words": ["a", "b"], "tags": ["O", "B-PER"]} in built.train


def test_numbers_with_names_are_tags(tmp_path: Path):
    rows = [{"tokens": ["Ann", "Lee"], "ner_tags": [1, 2]}, {"tokens": ["ran"], "ner_tags": [0]}]
    built = build(tmp_path, *rows, label_names={0: "O", 1: "B-PER", 2: "I-PER"})
    assert {"words": ["Ann", "Lee"], "tags": ["B-PER", "I-PER"]} in built.train


# -- answers in passages ------------------------------------------------------------------------------------------------


def asked(name: str, texts: list[str], starts: list[int], **more: object) -> dict:
    return {
        "id": name,
        "question": f"Q {name}?",
        "context": PASSAGE,
        "answers": {"text": texts, "answer_start": starts},
        **more,
    }


def test_answers_as_on_the_hub(tmp_path: Path):
    rows = [asked("a", ["kitchen", "the kitchen"], [26, 22], title="Doors"), asked("b", [], [], title="Doors")]
    built = build(tmp_path, *rows)
    assert built.task == "question-answering"
    found = {row["id"]: row for row in built.train}
    assert found["a"]["answers"] == [{"text": "kitchen", "start": 26}, {"text": "the kitchen", "start": 22}]
    assert (found["b"]["answers"], found["b"]["group"]) == ([], "Doors")
    assert built.notes == {"questions_without_an_answer": 1}
    dropped = build(tmp_path, *rows, unanswerable="drop")
    assert [row["id"] for row in dropped.train] == ["a"]
    assert "1 questions without an answer are left out." in dropped.remarks


def test_answers_in_plain_columns(tmp_path: Path):
    row = {
        "question": "Where does the red door lead?",
        "context": PASSAGE,
        "answer": "the  kitchen",
        "answer_start": 22,
    }
    built = build(tmp_path, row, {**row, "question": "And the blue one?", "answer": "garden", "answer_start": 62})
    assert built.task == "question-answering"
    assert built.notes == {"answers_put_right": 1}
    found = {made["question"]: made for made in built.train}
    assert found["And the blue one?"]["answers"] == [{"text": "garden", "start": 62}]
    with pytest.raises(DataError, match="row 2: the answer 'kitchen' has no whole number 'answer_start'"):
        build(tmp_path, row, {**row, "answer": "kitchen", "answer_start": 26.5})
    first, second = built.train
    assert first["group"] == second["group"]  # one passage stays on one side of a split
    assert {first["id"], second["id"]} == {"1", "2"}


def test_answers_without_a_place_must_stand_once(tmp_path: Path):
    row = {"question": "Q?", "context": PASSAGE, "answer": "kitchen"}
    assert build(tmp_path, row, {**row, "answer": "garden"}).task == "chat"  # nothing says that it is from the passage
    told = build(tmp_path, row, {**row, "answer": "garden"}, task="question-answering")
    assert {made["answers"][0]["start"] for made in told.train} == {26, 62}
    with pytest.raises(
        DataError, match="row 2: the answer 'door' stands in the context 2 times, and nothing says which is meant"
    ):
        build(tmp_path, row, {**row, "answer": "door"}, task="question-answering")
    with pytest.raises(DataError, match="row 2: the answer 'cellar' stands in the context nowhere"):
        build(tmp_path, row, {**row, "answer": "cellar"}, task="question-answering")


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({"text": ["kitchen"], "answer_start": [3]}, "row 2: the context has ' red do' at 3, .* 'kitchen'; it stands at 26"),
        ({"text": ["kitchen"], "answer_start": []}, "row 2: its answers are no list of texts and where they start"),
        ({"text": [""], "answer_start": [0]}, "row 2: an answer is empty"),
        ({"text": ["kitchen"], "answer_start": ["26"]}, "row 2: the answer 'kitchen' has no whole number 'answer_start'"),
        (None, "row 2: its answers are no list"),
    ],
)  # fmt: skip
def test_answers_that_cannot_be_used(tmp_path: Path, answers: object, says: str):
    good, bad = asked("a", ["kitchen"], [26]), {**asked("b", [], []), "answers": answers}
    with pytest.raises(DataError, match=says):
        build(tmp_path, good, bad)
    assert [row["id"] for row in build(tmp_path, good, bad, on_bad="drop").train] == ["a"]


def test_forms_of_answers_are_the_same():
    one = [{"text": "kitchen", "start": 26}]
    forms = [
        [{"text": "kitchen", "answer_start": 26}], [{"text": "kitchen", "start": 26}], {"text": ["kitchen"], "answer_start": [26]},
        {"text": "kitchen", "answer_start": 26}, "kitchen", ["kitchen"],
    ]  # fmt: skip
    assert [answers_in(form, PASSAGE) for form in forms] == [(one, 0, "")] * len(forms)
    assert answers_in([], PASSAGE) == ([], 0, "")
