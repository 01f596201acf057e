"""The ladder: rungs are measured and compared, rates are chosen on held-out rows, a stopped climb goes on, advice says why.

python -m pytest tests/steps/test_adapt.py
"""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from tests.steps.test_finetune_tasks import dataset, rows
from tests.train.families import CONTEXT
from tests.train.folders import save_family
from tiny_chat import artifact, work_at

from septet.core.errors import ComponentError, DataError, Stopped
from septet.core.events import Message
from septet.ops.report.ladder import Rung, ladder_parts, picture_of, recommend, weighed
from septet.steps.adapt import Adapt

SVG = "{http://www.w3.org/2000/svg}"
ABOUT = {"task": "classification", "labels": ["a", "b", "c"]}
FIELDS = {"model": "$base", "data": "$rows", "rungs": ["lora", "full"], "epochs": 12, "rates": [0.001, 1.0]}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "base").mkdir()
    data = dataset(folder / "rows", rows(96, 1), rows(45, 2), **ABOUT)
    (data.path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(60, 3)))
    return {"model": artifact(save_family("bert", folder / "base"), "model"), "data": data}


@pytest.fixture(scope="module")
def climbed(inputs, tmp_path_factory):
    work = work_at(tmp_path_factory.mktemp("climbed"))
    return Adapt(**FIELDS).run(work, **inputs), work.out


def test_every_rung_has_its_quality_and_its_costs(climbed):
    facts, out = climbed
    ladder = json.loads((out / "ladder.json").read_text())
    assert (facts["metric"], facts["judged_on"], facts["judged_rows"]) == ("accuracy", "test", 60)
    rungs = {rung["name"]: rung for rung in ladder["rungs"]}
    assert list(rungs) == ["lora", "full"]
    for rung in rungs.values():
        assert len(rung["by_seed"]) == 2
        assert rung["value"] == pytest.approx(sum(rung["by_seed"]) / 2)
        assert rung["low"] <= rung["value"] <= rung["high"]
        assert rung["seconds"] > 0
        assert rung["milliseconds"] > 0
    assert rungs["lora"]["parameters"] < rungs["full"]["parameters"]
    assert rungs["lora"]["bytes_on_disk"] < rungs["full"]["bytes_on_disk"]
    assert rungs["full"]["value"] > 0.5  # by chance a third


def test_the_rate_that_does_better_on_held_out_rows_is_taken(climbed):
    # a thousandth of the usual rate learns nothing in so few steps
    rungs = json.loads((climbed[1] / "ladder.json").read_text())["rungs"]
    assert all(rung["learning_rate"] >= 1e-3 for rung in rungs)


def test_the_commonest_answer_stands_beside(climbed):
    figures = json.loads((climbed[1] / "report.json").read_text())
    by = {(figure["metric"], figure["of"]): figure["value"] for figure in figures}
    assert by["accuracy", "commonest"] == pytest.approx(1 / 3)
    assert by["accuracy", "full"] > by["accuracy", "commonest"]
    assert ("f1_macro", "lora") in by


def test_the_recommended_model_is_kept_and_answers(climbed, inputs, tmp_path):
    from septet.cli.commands.predict import kept_model, ladder_of
    from septet.infer.task import Task

    out = climbed[1]
    made = artifact(out, "report")
    ladder = ladder_of(made)
    folder = kept_model(made, ladder, None)
    assert folder == kept_model(made, ladder, ladder["recommended"]) == out / "model"
    other = next(rung["name"] for rung in ladder["rungs"] if rung["name"] != ladder["recommended"])
    assert kept_model(made, ladder, other) is None
    task, labels = Task.of_folder(folder)
    judged = [json.loads(line) for line in (inputs["data"].path / "test.jsonl").read_text().splitlines()]
    found = task.predict(task.open(folder, labels=labels, device="cpu"), judged)
    right = sum(one.prediction == row["label"] for one, row in zip(found, judged, strict=True)) / len(judged)
    recommended = next(rung for rung in ladder["rungs"] if rung["name"] == ladder["recommended"])
    assert right == pytest.approx(recommended["by_seed"][0])
    # of the other rate nothing is left in the state, which is thrown away when the ladder is done
    assert sorted(path.name for path in (out.parent / "state" / "models").iterdir()) == ["full-1", "lora-1"]
    few = {**FIELDS, "rungs": ["last-layers"], "rates": [1.0], "seeds": [0], "epochs": 1, "keep": "none"}
    work = work_at(tmp_path)
    Adapt(**few).run(work, **inputs)
    assert json.loads((work.out / "ladder.json").read_text())["model"] is None
    assert not (work.out / "model").exists()
    assert not (work.state / "models").exists()


def test_the_picture_names_every_rung(climbed):
    picture = (climbed[1] / "ladder.svg").read_text()
    assert picture.startswith("<svg")
    assert "lora " in picture
    assert "(recommended)" in picture


def test_a_stopped_climb_goes_on_where_it_was(climbed, inputs, tmp_path):
    with pytest.raises(Stopped):
        Adapt(**FIELDS).run(work_at(tmp_path, stop_after=110), **inputs)
    done = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "state").glob("*.json")}
    assert done, "a run was finished before the stop"
    Adapt(**FIELDS).run(work_at(tmp_path), **inputs)
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "state").glob("*.json")}
    assert done.items() <= kept.items()
    ours, theirs = (json.loads((out / "ladder.json").read_text()) for out in (tmp_path / "out", climbed[1]))
    assert [rung["by_seed"] for rung in ours["rungs"]] == [rung["by_seed"] for rung in theirs["rungs"]]
    assert ours["recommended"] == theirs["recommended"]


def test_a_rung_without_a_place_is_left_out_before_anything_is_trained(inputs, tmp_path):
    too_many = {"kind": "last-layers", "layers": 9}
    events: list = []
    work = replace(work_at(tmp_path), emit=events.append)
    Adapt(**{**FIELDS, "rungs": [too_many, "full"], "rates": [1.0], "seeds": [0], "epochs": 1}).run(work, **inputs)
    ladder = json.loads((work.out / "ladder.json").read_text())
    assert [rung["name"] for rung in ladder["rungs"]] == ["full"]
    assert "layers: 9 were asked for" in ladder["left_out"]["last-layers"]
    first = next(event for event in events if isinstance(event, Message))
    assert first.text.startswith("last-layers is left out: layers: 9 were asked for")
    with pytest.raises(ComponentError, match="a place for none of the rungs"):
        Adapt(**{**FIELDS, "rungs": [too_many]}).run(work_at(tmp_path / "none"), **inputs)


def test_a_row_that_is_refused_is_named_before_anything_is_trained(inputs, tmp_path):
    long = [{"text": "w20 " * (CONTEXT - 4), "label": "a"}]  # the model reads it, but not behind four more places
    data = dataset(tmp_path / "rows", [*rows(9, 1), *long], rows(9, 2), **ABOUT)
    fields = {**FIELDS, "rungs": ["full", {"kind": "prompt", "tokens": 4}], "seeds": [0], "rates": [1.0], "epochs": 1}
    message = rf"train.jsonl, row 10: the row has {CONTEXT - 2} tokens, and {CONTEXT - 4} are read"
    with pytest.raises(DataError, match=message):
        Adapt(**fields).run(work_at(tmp_path), model=inputs["model"], data=data)
    assert not list((tmp_path / "state").glob("*.json"))
    task = {"kind": "classification", "too_long": "drop"}
    Adapt(**fields, task=task).run(work_at(tmp_path), model=inputs["model"], data=data)


def test_without_held_out_rows_nothing_can_be_chosen(inputs, tmp_path):
    data = dataset(tmp_path / "rows", rows(9, 1), [], **ABOUT)
    with pytest.raises(DataError, match="the ladder needs held-out rows"):
        Adapt(**FIELDS).run(work_at(tmp_path), model=inputs["model"], data=data)


def test_two_rungs_that_are_the_same(inputs, tmp_path):
    with pytest.raises(ComponentError, match="the rung 'lora' stands twice"):
        Adapt(**{**FIELDS, "rungs": ["lora", "lora"]}).run(work_at(tmp_path), **inputs)


def rung(name: str, value: float, parameters: int) -> Rung:
    return Rung(name, value, value - 0.1, value + 0.1, [value], 1e-3, parameters, 1.0, None, 4 * parameters, 1.0)


def apart(value: float, low: float, high: float) -> SimpleNamespace:
    return SimpleNamespace(value=value, low=low, high=high)


def test_of_rungs_that_cannot_be_told_apart_the_smallest_is_recommended():
    rungs = [rung("full", 0.9, 1000), rung("lora", 0.89, 10), rung("prompt", 0.6, 1)]
    advice = recommend(rungs, {"lora": apart(-0.01, -0.03, 0.01), "prompt": apart(-0.3, -0.4, -0.2)}, "accuracy")
    assert advice.name == "lora"
    assert "as good as full (within a standard error)" in advice.why
    # an interval that holds zero is not enough: this one's standard error is .10, and .15 are one and a half of them
    advice = recommend(rungs, {"lora": apart(-0.15, -0.35, 0.05), "prompt": apart(-0.3, -0.4, -0.2)}, "accuracy")
    assert advice.name == "full"
    advice = recommend(rungs, {"lora": apart(-0.05, -0.07, -0.03), "prompt": apart(-0.3, -0.4, -0.2)}, "accuracy")
    assert advice.name == "full"
    assert "no other rung is within a standard error" in advice.why


def test_a_rung_that_is_no_better_than_the_commonest_answer_is_said_to_be_none():
    advice = recommend([rung("lora", 0.5, 10)], {}, "accuracy")
    assert weighed(advice, apart(0.2, 0.1, 0.3)) == advice
    # a standard error of .051: .05 is within it
    assert "the commonest, is as good" in weighed(advice, apart(0.05, -0.05, 0.15)).why
    assert weighed(advice, apart(0.06, -0.04, 0.16)) == advice


def asks(name: str, value: float, money: float | None = None) -> Rung:
    tokens = None if money is None else 1000
    plain = replace(rung(name, value, 0), learning_rate=None, milliseconds=None, bytes_on_disk=300)
    return replace(plain, tokens=tokens, tokens_per_row=tokens, cost=money, cost_per_row=money)


def test_rungs_in_which_nothing_learns_have_a_place_in_the_picture():
    rungs = [asks("zero-shot", 0.5), asks("in-context", 0.6), rung("lora", 0.7, 10_000), rung("full", 0.8, 1_000_000)]
    picture = ElementTree.fromstring(str(picture_of(rungs, metric="accuracy", recommended="lora")))
    texts = {text.text: float(text.get("x", 0)) for text in picture.iter(f"{SVG}text")}
    dots = {dot[0].text.split(":")[0]: float(dot.get("cx", 0)) for dot in picture.iter(f"{SVG}circle")}
    assert {"none", "10,000", "100,000", "1,000,000"} <= set(texts)
    assert not {"1", "10", "100"} & set(texts), "there is no scale between nought and the first"
    assert dots["zero-shot"] == texts["none"]
    assert 64 < dots["in-context"] < dots["zero-shot"] < dots["lora"] == texts["10,000"] < dots["full"]
    alone = ElementTree.fromstring(str(picture_of(rungs[:1], metric="accuracy", recommended="zero-shot")))
    assert [text.text for text in alone.iter(f"{SVG}text")].count("none") == 1


def test_names_lie_on_no_dot_and_on_no_other_name():
    values = {"last-layers": (9.38, 459_520), "ia3": (3.9, 4_608), "lora": (9.6, 245_760), "full": (9.08, 1_706_368)}
    values |= {"qlora": (9.6, 245_760), "prompt": (3.8, 2_560), "a-rung-with-a-long-name": (9.2, 300_000)}
    rungs = [rung(name, value, learn) for name, (value, learn) in values.items()]
    picture = ElementTree.fromstring(str(picture_of(rungs, metric="chrf", recommended="lora")))
    dots = [(float(dot.get("cx", 0)), float(dot.get("cy", 0))) for dot in picture.iter(f"{SVG}circle")]
    boxes = []
    for text in picture.iter(f"{SVG}text"):
        if str(text.text).split(" ")[0] in values:
            long, x, y = 6 * len(str(text.text)), float(text.get("x", 0)), float(text.get("y", 0))
            x -= long * {"start": 0, "middle": 0.5, "end": 1}[text.get("text-anchor", "start")]
            boxes.append((x, y - 10, x + long, y + 2))
    assert len(boxes) == len(values)
    assert all(box[0] >= 64 and box[2] <= 720 for box in boxes)
    for box in boxes:
        assert not any(box[0] < x < box[2] and box[1] < y < box[3] for x, y in dots), box
        others = [other for other in boxes if other is not box]
        assert not any(
            box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3] for other in others
        )


def test_of_rungs_without_training_the_one_that_costs_no_money_is_recommended():
    same = apart(0.0, -0.1, 0.1)
    rungs = [asks("far", 0.9, 2e-3), asks("near", 0.9), rung("lora", 0.9, 10)]
    advice = recommend(rungs, {"near": same, "lora": same}, "accuracy")
    assert advice.name == "near"
    assert "nothing is trained and 300 B are kept" in advice.why
    advice = recommend([rungs[0], rungs[2]], {"lora": same}, "accuracy")
    assert advice.name == "far"
    assert "but a thousand rows cost 2.00" in advice.why


def test_the_report_tells_money_reasons_and_the_command():
    rungs = [asks("far", 0.9, 2e-3), rung("lora", 0.9, 10)]
    about = {
        "metric": "accuracy",
        "rows": 9,
        "part": "test",
        "recommended": "lora",
        "why": "Use lora.",
        "rungs": [r.to_json() for r in rungs],
    }
    page = str(
        ladder_parts(
            "ladder", {**about, "left_out": {"near": "it writes nothing."}, "commands": {"lora": "septet finetune"}}
        )
    )
    assert "a thousand rows" in page
    assert "near was left out: it writes nothing." in page
    assert "<pre><code>septet finetune</code></pre>" in page
    # a ladder of before there were rungs that ask
    old = {
        key: value
        for key, value in rung("lora", 0.9, 10).to_json().items()
        if key not in ("tokens", "cost", "tokens_per_row", "cost_per_row", "note")
    }
    assert "a thousand rows" not in str(ladder_parts("ladder", {**about, "rungs": [old]}))
