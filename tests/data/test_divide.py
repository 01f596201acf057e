"""How rows are divided where the files do not say.

python -m pytest tests/data/test_divide.py
"""

from __future__ import annotations

import random
from collections import Counter

import pytest

from septet.core.errors import DataError
from septet.data.divide import Division, Found, divide


def labelled(counts: dict[str, int]) -> list[Found]:
    rows = [{"text": f"{label} {n}", "label": label} for label, count in counts.items() for n in range(count)]
    return [Found(row, f"row {n}") for n, row in enumerate(rows, start=1)]


def texts(found: list[Found]) -> set[str]:
    return {item.row["text"] for item in found}


def test_every_label_has_its_share():
    found = labelled({"a": 600, "b": 300, "c": 100, "rare": 2})
    parts, by = divide(found, Division(validation=0.1, test=0.2), seed=0)
    assert by == "label"
    counts = {part: Counter(item.row["label"] for item in rows) for part, rows in parts.items()}
    assert counts["test"]["a"] == 120
    assert counts["test"]["b"] == 60
    assert counts["test"]["c"] == 20
    for label, rows in {"a": 60, "b": 30, "c": 10}.items():
        assert abs(counts["validation"][label] - rows) <= 1
    assert counts["train"]["rare"] >= 1
    assert sum(map(len, parts.values())) == 1002
    assert not texts(parts["train"]) & texts(parts["validation"])


def test_labels_that_come_once_stay_in_training():
    found = labelled({f"l{n}": 1 for n in range(40)} | {"a": 60})
    parts, _ = divide(found, Division(validation=0.3), seed=0)
    assert {item.row["label"] for item in parts["validation"]} == {"a"}
    assert len({item.row["label"] for item in parts["train"]}) == 41


def test_the_order_of_the_rows_does_not_matter_and_the_seed_does():
    found = labelled({"a": 50, "b": 50})
    once = texts(divide(found, Division(), seed=1)[0]["validation"])
    mixed = random.Random(0).sample(found, len(found))
    assert texts(divide(mixed, Division(), seed=1)[0]["validation"]) == once
    assert texts(divide(found, Division(), seed=2)[0]["validation"]) != once


@pytest.mark.parametrize("by", ["label", "hash", "time"])
def test_equal_texts_stay_on_one_side_whatever_their_labels(by: str):
    found = [
        Found({"text": f"t{n % 40}", "label": "ab"[n % 2 if n < 100 else (n + 1) % 2]}, f"row {n}", when=float(n))
        for n in range(200)
    ]
    how = Division(validation=0.2, test=0.2, by=by)  # pyright: ignore[reportArgumentType]
    parts, _ = divide(found, how, seed=0)
    sides = [texts(rows) for rows in parts.values()]
    assert all(sides)
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]


def test_groups_are_whole():
    found = [Found({"text": f"t{n}", "label": "ab"[n % 2], "group": f"g{n // 10}"}, "") for n in range(200)]
    for by in ("auto", "group", "hash", "label"):
        parts, used = divide(found, Division(validation=0.2, test=0.1, by=by), seed=3)
        assert used == ("group" if by == "auto" else by)
        groups = [{item.row["group"] for item in rows} for rows in parts.values()]
        assert not groups[0] & groups[1]
        assert not groups[0] & groups[2]
        assert not groups[1] & groups[2]
        assert len(parts["validation"]) == 40
        assert len(parts["test"]) == 20


def test_the_last_rows_in_time():
    found = [Found({"text": f"t{n}"}, "", when=float(n)) for n in range(100)]
    parts, _ = divide(found[::-1], Division(validation=0.1, test=0.2, by="time"), seed=0)
    assert texts(parts["test"]) == {f"t{n}" for n in range(80, 100)}
    assert texts(parts["validation"]) == {f"t{n}" for n in range(70, 80)}


def test_rows_of_one_time_stay_together():
    found = [Found({"text": f"t{n}"}, "", when=float(n // 30)) for n in range(90)]
    parts, _ = divide(found, Division(validation=0.3, by="time"), seed=0)
    assert texts(parts["validation"]) == {f"t{n}" for n in range(60, 90)}


def test_errors():
    rows = [Found({"text": f"t{n}"}, f"a.csv, row {n}") for n in range(10)]
    with pytest.raises(DataError, match="no labels to divide by"):
        divide(rows, Division(by="label"), seed=0)
    with pytest.raises(DataError, match="no groups to divide by"):
        divide(rows, Division(by="group"), seed=0)
    with pytest.raises(DataError, match=r"a.csv, row 0: the row has no time"):
        divide(rows, Division(by="time"), seed=0)
    one = [Found({"text": f"t{n}", "group": "g"}, "") for n in range(10)]
    with pytest.raises(DataError, match="All rows are of one group"):
        divide(one, Division(by="group"), seed=0)
    with pytest.raises(ValueError, match="too little to train on"):
        Division(validation=0.5, test=0.5)
