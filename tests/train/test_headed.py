"""Objectives over heads: losses worked by hand, transformers' own losses, padding changes nothing, every family learns to tag.

python -m pytest tests/train/test_headed.py
"""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests.train.families import FAMILIES
from tests.train.folders import save_family

from septet.core.errors import DataError
from septet.core.step import Runtime, Work
from septet.data.batches import Batches
from septet.data.packing import IGNORE
from septet.infer.inputs import Encoded, dressed
from septet.infer.tasks.classification import Classification as ClassificationTask
from septet.infer.tasks.multi_label import MultiLabel as MultiLabelTask
from septet.infer.tasks.regression import Regression as RegressionTask
from septet.infer.tasks.tagging import Tagging as TaggingTask
from septet.nn.heads import expect, open_with_head
from septet.train.evaluation import evaluate
from septet.train.loop import fit
from septet.train.objective import generators
from septet.train.objectives.multi_label import MultiLabel
from septet.train.objectives.regression import Regression
from septet.train.objectives.tagging import Tagging
from septet.train.plan import Plan
from septet.train.runtime import settle
from septet.train.schedules.constant import Constant

PAD = SimpleNamespace(pad_token_id=0)


def saying(logits: torch.Tensor):
    return SimpleNamespace(module=lambda **inputs: SimpleNamespace(logits=logits))


def test_multi_label_worked_by_hand():
    rows = [Encoded(np.array([3, 4]), np.array([1.0, 0.0])), Encoded(np.array([3]), np.array([0.0, 0.0]))]
    batch = MultiLabel().prepare(rows, PAD, generators(2, 0))
    terms = MultiLabel().loss(batch, saying(torch.tensor([[math.log(3), 0.0], [0.0, 0.0]])), {})  # type: ignore[arg-type]
    # sigmoid(ln 3) = 3/4; the other three judgements are coin tosses
    assert float(terms["bce"].sum) == pytest.approx(math.log(4 / 3) + 3 * math.log(2))
    assert terms["bce"].weight == 4
    assert float(terms["accuracy"].sum) == 1  # a logit of 0 counts as there


def test_regression_worked_by_hand():
    rows = [Encoded(np.array([3, 4]), 2.0), Encoded(np.array([3]), -1.0)]
    batch = Regression().prepare(rows, PAD, generators(2, 0))
    terms = Regression().loss(batch, saying(torch.tensor([[2.5], [1.0]])), {})  # type: ignore[arg-type]
    assert float(terms["mse"].sum) == pytest.approx(0.25 + 4)
    assert terms["mse"].weight == 2


@pytest.mark.parametrize("left", [False, True])
def test_tagging_worked_by_hand(left):
    rows = [Encoded(np.array([7, 8, 9]), np.array([IGNORE, 1, 0])), Encoded(np.array([7]), np.array([1]))]
    objective = Tagging(pad_side="left" if left else "right")
    batch = objective.prepare(rows, PAD, generators(2, 0))
    assert batch.labels is not None
    assert batch.labels.tolist() == [[IGNORE, 1, 0], [IGNORE, IGNORE, 1] if left else [1, IGNORE, IGNORE]]
    assert batch.weights == {"nll": 3.0}
    logits = torch.zeros(2, 3, 2)
    logits[0, 1, 1] = math.log(3)
    terms = objective.loss(batch, saying(logits), {})  # type: ignore[arg-type]
    assert float(terms["nll"].sum) == pytest.approx(math.log(4 / 3) + 2 * math.log(2))
    assert float(terms["accuracy"].sum) == 2  # of equal logits the first is taken


@pytest.fixture(params=FAMILIES)
def folder(request, tmp_path):
    """A tiny model of each family."""
    return save_family(request.param, tmp_path)


@pytest.mark.parametrize(("head", "objective"), [("multi-label", MultiLabel()), ("value", Regression())])
def test_the_losses_are_transformers_own(folder, head, objective):
    model = open_with_head(folder, head, ["a", "b", "c"])
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(5):
        text = dressed(rng.integers(20, 40, 6).tolist(), model.tokenizer, model.architecture, most=16)
        target = rng.integers(0, 2, 3).astype(np.float32) if head == "multi-label" else float(rng.normal())
        rows.append(Encoded(text.ids, target, text.types))
    batch = objective.suited(model.architecture).prepare(rows, model.tokenizer, generators(5, 0))
    with torch.no_grad():
        term = next(iter(objective.loss(batch, model, {}).values()))
        theirs = model.module(**batch.inputs, labels=batch.labels).loss
    torch.testing.assert_close(term.sum / term.weight, theirs, atol=1e-6, rtol=1e-5)


TAGS = ["O", "B-X", "I-X"]


def sentences(count: int) -> list[dict]:
    """Words w20 to w39; those that end a run of w30 and above are tagged by what they are."""
    rng = np.random.default_rng(3)
    rows = []
    for _ in range(count):
        numbers = rng.integers(20, 40, int(rng.integers(3, 9)))
        tags = ["O" if n < 30 else "B-X" if n % 2 else "I-X" for n in numbers]
        rows.append({"words": [f"w{n}" for n in numbers], "tags": tags})
    return rows


def test_every_family_learns_to_tag(folder, tmp_path):
    task = TaggingTask()
    if json.loads((folder / "config.json").read_text())["model_type"] == "bart":
        with pytest.raises(DataError, match="no model of the type 'bart' with a head for tokens"):
            task.open(folder, labels=TAGS, device="cpu")
        return
    model = task.open(folder, labels=TAGS, device="cpu")
    rows = sentences(64)
    samples, prepared = task.encode(list(enumerate(rows, 1)), model, max_tokens=32)
    assert (prepared.rows, prepared.cut, prepared.targets) == (64, 0, sum(len(row["words"]) for row in rows))
    objective = Tagging().suited(model.architecture)
    plan = Plan(steps=60, learning_rate=1e-2, schedule=Constant(warmup=5), checkpoint_every=10**9)
    work = Work(out=tmp_path, state=tmp_path, runtime=Runtime(device="cpu"))
    fit(model, objective, Batches(samples, 16, seed=0), plan, work=work)
    found = task.predict(model, rows)
    right = sum(
        a == b for row, one in zip(rows, found, strict=True) for a, b in zip(row["tags"], one.prediction, strict=True)
    )
    assert right / prepared.targets > 0.8
    told = evaluate(model, objective, samples, settled=settle(Runtime(device="cpu")))
    assert told["accuracy"] == pytest.approx(right / prepared.targets, abs=0.02)


# -- what a new head begins from ------------------------------------------------------------------------------------------


def test_what_a_new_head_begins_from_worked_by_hand():
    targets = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    logits = MultiLabelTask().first_logits(targets)
    np.testing.assert_allclose(
        logits, [math.log(3 / 2), math.log(1 / 4)]
    )  # 2 with and 1 without; none with and 3 without; one more each
    np.testing.assert_allclose(RegressionTask().first_logits(np.array([[1.0], [2.5], [4.0]])), [2.5])
    assert ClassificationTask().first_logits(targets) is None


@pytest.mark.parametrize("family", FAMILIES)
def test_a_new_head_says_it_of_any_text(tmp_path, family: str):
    folder = save_family(family, tmp_path / "base")
    wanted = torch.tensor([-5.0, 0.0, 5.0])
    model = open_with_head(folder, "multi-label", ["a", "b", "c"])
    if not expect(model, wanted):
        assert family in ("gpt2", "llama", "falcon")  # transformers gives their heads no bias
        return
    ids = [9, 10, 11, model.tokenizer.eos_token_id or 4]  # BART reads its head's input where the text ends
    said = model.module(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, 4).long()).logits[0]
    torch.testing.assert_close(said, wanted, atol=2.0, rtol=0)  # but for what the drawn weights add
    model.save(tmp_path / "learned")
    again = open_with_head(tmp_path / "learned", "multi-label", ["a", "b", "c"])
    assert not again.drawn
    assert not expect(again, torch.zeros(3))  # what was learned is left
