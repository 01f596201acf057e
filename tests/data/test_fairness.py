"""The table of what changed between two reports.

python -m pytest tests/data/test_fairness.py
"""

from __future__ import annotations

from septet.data.fairness import changes


def figure(value: float, reach: float | None, n: int = 100) -> dict:
    ends = (None, None) if reach is None else (value - reach, value + reach)
    return {"value": value, "low": ends[0], "high": ends[1], "n": n}


def side(rate: dict | None, word: dict | None, gap: dict | None, share: dict | None, compared: tuple = ()) -> dict:
    row = {
        "axis": "gender",
        "group": "women",
        "rate": rate,
        "words": [word] if word else [],
        "compared": list(compared),
    }
    gaps = {"gender": {"highest": "women", "lowest": "men", "gap": gap}} if gap else {}
    return {"groups": [row], "gaps": gaps, "pronouns": {"feminine": share}}


def word(value: float, z: float) -> dict:
    return {"word": "child", "z": z, **figure(value, 0.1)}


def test_each_figure_before_and_after_and_whether_they_can_be_told_apart():
    before = side(figure(1000, 50), word(0.6, 12.0), figure(0.02, 0.05), figure(0.39, 0.03))
    after = side(figure(1200, 50), None, figure(0.0, 0.05), figure(0.33, 0.03), (word(0.0, 0.1),))
    rows = {one.what: one for one in changes(before, after)}
    assert [(what, one.of, one.side) for what, one in rows.items()] == [
        ("mentions per million words", "gender: women", 1),  # 200 with a reach of hypot(50, 50) = 71
        ("gap of sentiment", "gender: women − men", 0),
        ("share of pronouns", "she, her", -1),
        ("log-odds of a word", "child beside women", -1),
    ]
    assert [figure.value for figure in rows["mentions per million words"].figures] == [1000, 1200, 200]


def test_what_one_side_lacks_has_no_row_and_what_has_no_interval_no_verdict():
    before = side(figure(1000, None), word(0.6, 12.0), figure(0.02, 0.05), None)
    after = side(figure(9000, None), None, None, figure(0.5, 0.1))
    rows = changes(before, after)
    assert [(one.what, one.side) for one in rows] == [("mentions per million words", 0)]


def test_the_words_that_stood_out_most_come_first_and_five_at_most():
    before, after = (side(None, None, None, None) for _ in range(2))
    before["groups"][0]["words"] = [{**word(0.5, float(z)), "word": f"w{z}"} for z in range(2, 10)]
    after["groups"][0]["compared"] = [{**word(0.5, 1.0), "word": f"w{z}"} for z in range(2, 10)]
    assert [one.of.split()[0] for one in changes(before, after)] == ["w9", "w8", "w7", "w6", "w5"]


def test_gaps_between_other_groups_are_named():
    before, after = (side(None, None, figure(0.1, 0.05), None) for _ in range(2))
    after["gaps"]["gender"].update(highest="men", lowest="women")
    assert changes(before, after)[0].of == "gender: women − men; then men − women"
