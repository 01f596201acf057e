"""Fine-tuning for tasks with heads: it learns, plain transformers opens it, a stopped run ends alike, errors say what to do.

python -m pytest tests/steps/test_finetune_tasks.py
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from tests.train.folders import save_family
from tiny_chat import artifact, contents, work_at, write_rows

from septet.core.errors import ComponentError, DataError, Stopped
from septet.infer.task import Task
from septet.steps.finetune import Finetune

FIELDS = {"model": "$base", "data": "$rows", "adapter": "full", "batch_size": 16, "learning_rate": 1e-2}


def rows(count: int, seed: int) -> list[dict]:
    """Texts of random words, one of which says the label."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        numbers = rng.integers(20, 40, int(rng.integers(3, 9)))
        numbers[rng.integers(len(numbers))] = 10 + number % 3
        found.append({"text": " ".join(f"w{n}" for n in numbers), "label": "abc"[number % 3]})
    return found


def dataset(folder, train, held_out, **about):
    write_rows(folder / "train.jsonl", train)
    write_rows(folder / "held_out.jsonl", held_out)
    (folder / "dataset.json").write_text(json.dumps(about))
    return artifact(folder, "dataset")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "base").mkdir()
    about = {"task": "classification", "labels": ["a", "b", "c"]}
    return {
        "model": artifact(save_family("bert", folder / "base"), "model"),
        "data": dataset(folder / "rows", rows(96, 1), rows(30, 2), **about),
    }


@pytest.fixture(scope="module")
def tuned(inputs, tmp_path_factory):
    work = work_at(tmp_path_factory.mktemp("tuned"))
    return Finetune(**FIELDS, epochs=12).run(work, **inputs), work.out


def test_it_learns_to_classify_and_says_so(tuned, inputs):
    facts, out = tuned
    assert (facts["task"], facts["labels"], facts["train_rows"]) == ("classification", 3, 96)
    assert facts["held_out_loss_before"] == pytest.approx(np.log(3), abs=0.2)
    assert facts["held_out_accuracy"] > 0.9
    task, labels = Task.of_folder(out)
    assert (task.kind, labels) == ("classification", ("a", "b", "c"))
    model = task.open(out, labels=labels, device="cpu")
    asked = rows(30, 2)
    found = task.predict(model, [{"text": row["text"]} for row in asked])
    right = np.mean([one.prediction == row["label"] for one, row in zip(found, asked, strict=True)])
    assert right == pytest.approx(facts["held_out_accuracy"], abs=0.04)


def test_plain_transformers_opens_it_with_its_labels(tuned):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    _, out = tuned
    module, tokenizer = AutoModelForSequenceClassification.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    text = rows(1, 3)[0]["text"]
    ids = [3, *tokenizer(text, add_special_tokens=False)["input_ids"], 4]
    theirs = module.eval()(torch.tensor([ids])).logits.softmax(-1)[0]
    task, labels = Task.of_folder(out)
    ours = task.predict(task.open(out, labels=labels, device="cpu"), [{"text": text}])[0]
    assert module.config.id2label == {0: "a", 1: "b", 2: "c"}
    assert list(ours.probabilities.values()) == pytest.approx(theirs.tolist(), abs=2e-2)


def test_stopped_and_resumed_equals_uninterrupted(tuned, inputs, tmp_path):
    step = Finetune(**FIELDS, epochs=12)
    with pytest.raises(Stopped):
        step.run(work_at(tmp_path, stop_after=40), **inputs)
    step.run(work_at(tmp_path), **inputs)
    assert contents(tmp_path / "out") == contents(tuned[1])


@pytest.mark.parametrize("adapter", ["full", "lora"])
def test_the_weights_of_the_best_pass_are_kept(inputs, tmp_path, adapter):
    told = [
        {**row, "label": "abc"[number % 2]} for number, row in enumerate(rows(24, 1))
    ]  # by heart: there is no rule in it
    data = dataset(tmp_path / "rows", told, rows(30, 2), task="classification", labels=["a", "b", "c"])
    step = Finetune(**{**FIELDS, "adapter": adapter}, epochs=40, stop_after=3)
    facts = step.run(work_at(tmp_path / "whole"), model=inputs["model"], data=data)
    curve = [json.loads(line) for line in (tmp_path / "whole" / "out" / "curve.jsonl").read_text().splitlines()]
    losses = {row["step"]: row["held_out_loss"] for row in curve if "held_out_loss" in row}
    best = min(losses, key=losses.__getitem__)
    assert facts["stopped_early"] is True
    assert (facts["kept_step"], facts["held_out_loss"]) == (best, losses[best])
    assert [step for step in losses if step > best] == list(losses)[-3:], "three passes without a better one"
    task, labels = Task.of_folder(tmp_path / "whole" / "out")
    model = task.open(tmp_path / "whole" / "out", labels=labels, device="cpu")
    found = task.predict(model, rows(30, 2))
    nll = np.mean([-np.log(one.probabilities[row["label"]]) for one, row in zip(found, rows(30, 2), strict=True)])
    assert nll == pytest.approx(losses[best], abs=2e-2)
    with pytest.raises(Stopped):
        step.run(work_at(tmp_path / "parts", stop_after=best + 2), model=inputs["model"], data=data)
    step.run(work_at(tmp_path / "parts"), model=inputs["model"], data=data)
    assert contents(tmp_path / "parts" / "out") == contents(tmp_path / "whole" / "out")


def test_without_held_out_rows_no_pass_is_the_best(inputs, tmp_path):
    data = dataset(tmp_path / "rows", rows(9, 1), [], task="classification", labels=["a", "b", "c"])
    with pytest.raises(DataError, match="stop_after looks at held-out rows, and there are none"):
        Finetune(**FIELDS, stop_after=1).run(work_at(tmp_path), model=inputs["model"], data=data)


def test_a_label_that_training_lacks_is_named_with_its_row(inputs, tmp_path):
    held_out = [*rows(3, 2), {"text": "w20", "label": "d"}]
    data = dataset(tmp_path / "rows", rows(9, 1), held_out, task="classification", labels=["a", "b", "c"])
    with pytest.raises(DataError, match=r"the label 'd' is not one of the model's 3: a, b, c") as caught:
        Finetune(**FIELDS).run(work_at(tmp_path), model=inputs["model"], data=data)
    assert "held_out.jsonl, row 4" in str(caught.value)


def test_another_task_than_the_data_has(inputs, tmp_path):
    with pytest.raises(
        ComponentError, match="the data is of the task 'classification', and the task of this step is 'tagging'"
    ):
        Finetune(**FIELDS, task="tagging").run(work_at(tmp_path), **inputs)


def test_settings_of_the_task_are_kept_with_the_model(inputs, tmp_path):
    train = [{"text": row["text"], "labels": [row["label"]]} for row in rows(24, 1)]
    data = dataset(tmp_path / "rows", train, train[:6], task="multi-label", labels=["a", "b", "c"])
    work = work_at(tmp_path)
    Finetune(**FIELDS, task={"kind": "multi-label", "threshold": 0.25}).run(work, model=inputs["model"], data=data)
    task, _ = Task.of_folder(work.out)
    assert task.dump()["threshold"] == 0.25
