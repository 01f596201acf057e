"""What is worth knowing of a data set.

python -m pytest tests/data/test_review.py
"""

from __future__ import annotations

from septet.data.review import remarks, review

LONG = "the quick brown fox jumps over the lazy dog while seven other animals look on from the hill"


def label(text: str, label: str) -> dict:
    return {"text": text, "label": label}


def test_labels_and_lengths_by_hand():
    found = review(
        {"train": [label("a bb", "x"), label("ccc", "x"), label("d", "y")], "held_out": [label("e", "y")], "test": []}
    )
    assert found["rows"] == {"train": 3, "held_out": 1}
    assert found["labels"] == {"x": {"train": 2}, "y": {"train": 1, "held_out": 1}}
    # characters 4, 3, 1, 1; words 2, 1, 1, 1
    assert found["lengths"]["text"]["characters"] == {
        "median": 2.0, "p95": 4, "longest": 4, "histogram": {"1": 2, "2": 1, "3": 1},
    }  # fmt: skip
    assert found["lengths"]["text"]["words"]["histogram"] == {"1": 3, "2": 1}


def test_rows_that_parts_share():
    train = [label(LONG, "x"), label("something else entirely is written in this row", "y"), label("short", "x")]
    held_out = [
        label(LONG.replace("hill", "mill"), "x"),  # of 17 trigrams 15 are in both
        label("short", "y"),
        label("nothing of this stands in the rows that are trained on", "y"),
    ]
    found = review({"train": train, "held_out": held_out})
    (shared,) = found["shared"]
    assert (shared["first"], shared["second"], shared["equal"], shared["near"]) == ("train", "held_out", 1, 1)
    assert shared["examples"] == [{"first": LONG[:100], "second": held_out[0]["text"][:100]}]
    assert remarks(found)[0] == (
        "1 of 3 held-out rows are given a text of the training rows, and 1 a nearly equal one; scores on them flatter."
    )


def test_nearness_is_the_share_of_trigrams():
    # 20 words have 18 trigrams; another word at the end changes 1: 17 / 19; another in the middle changes 3: 15 / 21 = 0.71;
    # two apart change 6: 12 / 24 = 0.5
    words = [f"w{n}" for n in range(20)]

    def with_other(*places: int) -> dict:
        return label(" ".join("other" if n in places else word for n, word in enumerate(words)), "x")

    train = [with_other()]
    for places, near in (((19,), 1), ((10,), 1), ((5, 14), 0)):
        assert review({"train": train, "test": [with_other(*places)]})["shared"][0]["near"] == near


def test_hints_at_wrong_labels():
    rows = [label(f"text {n}", "positive") for n in range(30)]
    rows += [label("a", "postive"), label("b", "Positive"), label("c", "negative"), label("Text  1", "negative")]
    found = review({"train": rows})
    assert found["contradicted"] == {"texts": 1, "examples": [{"text": "text 1", "labels": ["negative", "positive"]}]}
    assert sorted(map(sorted, found["alike"])) == [["Positive", "positive"], ["positive", "postive"]]


def test_repetitions_constants_and_questions_without_an_answer():
    rows = [{"id": str(n), "question": "Q?", "context": "same", "answers": []} for n in range(3)]
    found = review({"train": rows})
    assert found["constant"] == ["question", "context"]
    assert found["repeated"] == 2
    assert found["no_answer"] == {"train": 3}
    assert found["shared"] == []


def test_every_task_and_nothing():
    for row in (
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
        {"text": "t", "labels": ["a"]}, {"text": "t", "pair": "p", "value": 1.0}, {"words": ["a"], "tags": ["B-X"]},
        {"source": "s", "target": "t"}, {"prompt": "", "completion": "c"}, {"anchor": "a", "positive": "p"},
    ):  # fmt: skip
        found = review({"train": [row], "test": [row]})
        assert found["shared"][0]["equal"] == 1
        assert found["lengths"]
    assert review({"train": []})["rows"] == {}
