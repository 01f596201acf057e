"""The ladder's rungs that ask: no parameters, training rows alone, a stop between rungs, reasons, money, and the command to use.

python -m pytest tests/steps/test_adapt_asking.py
"""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from typing import Any

import pytest
from tests.infer.faulty import Reply, Seen, faulty, whole
from tests.steps.test_finetune_tasks import dataset
from tests.steps.test_finetune_tasks import rows as words
from tests.train.folders import save_family
from tiny_chat import artifact, save_model, work_at

from septet.cli.commands.predict import asked, ladder_of
from septet.cli.steps import step_command
from septet.core import registry
from septet.core.errors import ComponentError, Stopped
from septet.core.events import Message
from septet.evals.asked import answer, material_of
from septet.infer.asking import Asking
from septet.infer.askings.zero_shot import ZeroShot
from septet.infer.engines.torch import TorchEngine
from septet.infer.task import Task
from septet.steps.adapt import Adapt
from septet.steps.finetune import Finetune
from septet.train.adapter import Adapter

ABOUT = {"task": "classification", "labels": ["bad", "good"]}
SEARCH = {"kind": "hard-prompt", "evaluations": 3, "rows": 6, "edits": ["delete"]}
FIELDS = {"model": "$base", "data": "$rows", "seeds": [0, 1], "epochs": 1, "batch_size": 8}


def reviews(part: str, count: int) -> list[dict[str, str]]:
    return [{"text": f"{part} {n}", "label": ("good", "bad")[n % 2]} for n in range(count)]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    data = dataset(folder / "rows", reviews("learn", 16), reviews("hold", 6), **ABOUT)
    (data.path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in reviews("judge", 8)))
    return {"model": artifact(save_model(folder / "base", context=192), "model"), "data": data}


@pytest.fixture(scope="module")
def climbed(inputs, tmp_path_factory):
    """A climb that was stopped before its fourth run, and gone on with: its folders, and every prompt that was scored."""
    folder, prompts = tmp_path_factory.mktemp("climbed"), []
    score = TorchEngine.score

    def seen(self: Any, pairs: Any, **options: Any) -> Any:
        prompts.extend(prompt for prompt, _ in pairs)
        return score(self, pairs, **options)

    step = Adapt(**FIELDS, rungs=["ia3", "zero-shot", {"kind": "in-context", "k": 2}, SEARCH])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TorchEngine, "score", seen)
        with pytest.raises(Stopped):
            step.run(
                replace(work_at(folder), stopping=lambda: len(list((folder / "state").glob("*.json"))) == 3), **inputs
            )
        done = {path.name: path.stat().st_mtime_ns for path in (folder / "state").glob("*.json")}
        facts = step.run(work_at(folder), **inputs)
    return facts, folder, prompts, done


def test_no_kind_is_both_an_adapter_and_a_way_to_ask():
    assert not set(registry.names(Adapter.drawer)) & set(registry.names(Asking.drawer))


def test_rungs_that_ask_cost_no_parameters_and_the_rest_is_measured(climbed):
    _, folder, _, _ = climbed
    rungs = {rung["name"]: rung for rung in json.loads((folder / "out" / "ladder.json").read_text())["rungs"]}
    assert list(rungs) == ["zero-shot", "in-context", "hard-prompt", "ia3"], "those that ask come first"
    assert rungs["ia3"]["parameters"] > 0
    for name in ("zero-shot", "in-context", "hard-prompt"):
        rung = rungs[name]
        assert (rung["parameters"], rung["learning_rate"], rung["tokens"]) == (0, None, None)
        assert rung["seconds"] > 0
        assert rung["milliseconds"] > 0
        assert 0 < rung["bytes_on_disk"] < 2000
        assert rung["low"] <= rung["value"] <= rung["high"]
    assert [len(rungs[name]["by_seed"]) for name in ("zero-shot", "in-context", "hard-prompt")] == [1, 2, 2]
    assert "none" in (folder / "out" / "ladder.svg").read_text()


def test_a_climb_that_was_stopped_between_rungs_keeps_what_was_done(climbed):
    _, folder, _, done = climbed
    assert sorted(done) == ["in-context-1-0.json", "in-context-1-1.json", "zero-shot-1-0.json"]
    now = {path.name: path.stat().st_mtime_ns for path in (folder / "state").glob("*.json")}
    assert done.items() <= now.items()
    assert len(now) == 3 + 2 + 2


def test_searches_and_examples_use_training_rows_alone(climbed):
    _, _, prompts, _ = climbed
    for prompt in prompts:
        *shown, last = [part.split("\n")[0].removeprefix("Text: ") for part in prompt.split("\n\n")[1:]]
        assert all(text.startswith("learn") for text in shown), prompt
        assert last.split()[0] in ("learn", "hold", "judge")
    # a wording is chosen before a held-out or a test row is shown to it: only the default ones and the searched ones meet those
    searched = {
        prompt.split("\n\n")[0] for prompt in prompts if "\nText: learn" in prompt and prompt.count("Text: ") == 1
    }
    assert len(searched) >= 3


def test_the_figures_are_those_of_the_method_itself(climbed, inputs):
    _, folder, _, _ = climbed
    (rung,) = [
        rung
        for rung in json.loads((folder / "out" / "ladder.json").read_text())["rungs"]
        if rung["name"] == "zero-shot"
    ]
    rows = reviews("judge", 8)
    with ZeroShot().open(inputs["model"].path, device="cpu") as engine:
        material = material_of(Task.parse("classification"), inputs["data"].path, ABOUT["labels"], limit=None)
        said = ZeroShot().ready(engine, material).predict(rows).values
    assert rung["value"] == pytest.approx(sum(one == row["label"] for one, row in zip(said, rows, strict=True)) / 8)


def test_every_rung_says_how_it_is_used(climbed, inputs):
    facts, folder, _, _ = climbed
    ladder = json.loads((folder / "out" / "ladder.json").read_text())
    commands = ladder["commands"]
    assert facts["command"] == commands[facts["recommended"]]
    assert commands["zero-shot"] == "septet predict test --rung zero-shot TEXT"
    # the command of an adapter, read by the command line, makes what was judged
    program, name, *words = shlex.split(commands["ia3"])
    assert (program, name) == ("septet", "finetune")
    options = step_command("finetune").make_context("finetune", words).params
    given = {
        key: json.loads(value) if value[0] in "{[0123456789" and key not in ("model", "data") else value
        for key, value in options.items()
        if key in Finetune.model_fields and value is not None
    }
    made = Finetune.model_validate(given)
    rate = next(rung["learning_rate"] for rung in ladder["rungs"] if rung["name"] == "ia3")
    assert (made.adapter.kind, made.learning_rate, made.epochs, made.batch_size, made.seed) == ("ia3", rate, 1, 8, 0)
    assert (made.model, made.data) == (inputs["model"].id, inputs["data"].id)
    # a rung that asks is asked again from its file
    store: Any = type("Store", (), {"resolve": lambda self, id: inputs["model"]})()
    made_by = replace(artifact(folder / "out", "report"), inputs={"model": "m", "data": "d"})
    path, _, _ = asked(made_by, ladder_of(made_by), "in-context", store)
    _, _, found = answer(
        path, inputs["model"].path, inputs["data"].path, lambda task: [{"text": "judge 1"}], device="cpu"
    )
    assert found[0].prediction in ABOUT["labels"]
    with pytest.raises(ComponentError, match=r"no rung 'ia3' that asks.*'ia3' is trained: septet finetune"):
        asked(made_by, ladder_of(made_by), "ia3", store)
    with pytest.raises(ComponentError, match="Did you mean 'zero-shot'"):
        asked(made_by, ladder_of(made_by), "zeroshot", store)


def test_what_cannot_be_asked_is_left_out_before_anything_is_made(tmp_path):
    data = dataset(tmp_path / "rows", words(24, 1), words(9, 2), task="classification", labels=["a", "b", "c"])
    (tmp_path / "bert").mkdir()
    model = artifact(save_family("bert", tmp_path / "bert"), "model")

    def script(seen: Seen) -> Reply:
        # says the label as the word w10, w11 or w12 does
        text = seen.body["messages"][-1]["content"]
        return whole(
            next("abc"[n] for n in range(3) if f"w{10 + n}" in text.replace("\n", " ").split()), read=50, written=1
        )

    events: list[Any] = []
    with faulty(script) as server:
        remote = {"kind": "remote", "url": server.url, "model": "m", "price_in": 1.0, "price_out": 1.0}
        far = {"kind": "zero-shot", "form": "chat", "engine": remote}
        nosy = {**far, "decide": "score"}
        step = Adapt(**{**FIELDS, "rungs": ["ia3", "zero-shot", far, nosy], "seeds": [0]})
        facts = step.run(replace(work_at(tmp_path / "work"), emit=events.append), model=model, data=data)
    ladder = json.loads((tmp_path / "work" / "out" / "ladder.json").read_text())
    first, second = [event.text for event in events if isinstance(event, Message)][:2]
    assert first.startswith("zero-shot is left out: a model of the architecture 'encoder' writes nothing")
    assert "is left out: decide: score does not fit: m cannot score" in second
    name = "zero-shot engine=m form=chat"
    assert [rung["name"] for rung in ladder["rungs"]] == [name, "ia3"]
    rung = next(rung for rung in ladder["rungs"] if rung["name"] == name)
    assert rung["value"] == 1.0
    assert facts["recommended"] == name
    # nine rows alone and the same nine in all, of 51 tokens at a millionth each
    assert (rung["tokens"], rung["cost"]) == (18 * 51, pytest.approx(18 * 51e-6))
    assert rung["cost_per_row"] == pytest.approx(51e-6)
    assert "nothing is trained" in facts["why"]
    assert "a thousand rows cost 0.0510" in facts["why"]


def test_a_row_that_does_not_fit_leaves_the_rung_out(inputs, tmp_path):
    long = dataset(
        tmp_path / "rows", reviews("learn", 4), [*reviews("hold", 2), {"text": "x" * 900, "label": "bad"}], **ABOUT
    )
    with pytest.raises(ComponentError, match=r"none of the rungs\. rows, row \d: without any example its prompt has"):
        Adapt(**{**FIELDS, "rungs": ["zero-shot"]}).run(work_at(tmp_path), model=inputs["model"], data=long)


def test_an_encoder_decoder_writes_its_answers(tmp_path):
    pairs = [{"source": f"w{8 + n} w9", "target": f"w{8 + n}"} for n in range(6)]
    data = dataset(tmp_path / "rows", pairs, pairs[:3], task="text-to-text")
    (tmp_path / "t5").mkdir()
    model = artifact(save_family("t5", tmp_path / "t5"), "model")
    rungs = [{"kind": "in-context", "k": 2}]
    task = {"kind": "text-to-text", "max_new_tokens": 4}
    facts = Adapt(**{**FIELDS, "rungs": rungs, "seeds": [0], "task": task}).run(
        work_at(tmp_path), model=model, data=data
    )
    assert facts["metric"] == "chrf"
    kept = json.loads((tmp_path / "out" / "asked" / "in-context.json").read_text())
    assert kept["asking"]["max_tokens"] == 4, "as long as the task's"
    assert facts["recommended"] == "in-context"
