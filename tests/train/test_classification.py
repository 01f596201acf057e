"""Classification: a loss worked by hand, transformers' own loss, what padding must not change, and every family learns.

python -m pytest tests/train/test_classification.py
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests.train.families import FAMILIES, tokenizer_for
from tests.train.folders import save_family

from septet.core.errors import DataError
from septet.core.step import Runtime, Work
from septet.data.batches import Batches
from septet.infer.inputs import Encoded, dressed
from septet.nn.heads import open_with_head
from septet.train.evaluation import evaluate
from septet.train.loop import fit
from septet.train.objective import Objective, generators
from septet.train.objectives.classification import Classification
from septet.train.plan import Plan
from septet.train.runtime import settle
from septet.train.schedules.constant import Constant


def test_a_loss_worked_by_hand():
    logits = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])
    model = SimpleNamespace(module=lambda **inputs: SimpleNamespace(logits=logits))
    rows = [Encoded(np.array([3, 4]), 1), Encoded(np.array([3]), 0)]
    batch = Classification().prepare(rows, SimpleNamespace(pad_token_id=0), generators(2, 0))
    terms = Classification().loss(batch, model, {})  # type: ignore[arg-type]
    # p(1) = 3/4 in the first text, p(0) = 1/2 in the second
    assert float(terms["nll"].sum) == pytest.approx(math.log(4 / 3) + math.log(2))
    assert float(terms["accuracy"].sum) == 2.0  # of two equal logits the first is taken
    assert batch.inputs["attention_mask"].tolist() == [[1, 1], [1, 0]]


def test_special_tokens_and_where_a_text_is_cut():
    toy = tokenizer_for("bert")
    assert dressed([10, 11, 12], toy, "encoder", most=4).ids.tolist() == [3, 10, 11, 4]
    assert dressed([10, 11], toy, "permuted", most=9).ids.tolist() == [10, 11, 4, 3]
    assert dressed([10, 11], toy, "decoder", most=9).ids.tolist() == [10, 11, 1]
    assert dressed([10, 11], toy, "encoder-decoder", most=2).ids.tolist() == [10, 1]


@pytest.fixture(params=FAMILIES)
def folder(request, tmp_path):
    return save_family(request.param, tmp_path)


def rows_for(model, count: int = 48) -> list[Encoded]:
    """Texts of random words, one of which says the label."""
    rng = np.random.default_rng(5)
    rows = []
    for number in range(count):
        words = rng.integers(20, 40, int(rng.integers(3, 9)))
        words[rng.integers(len(words))] = 10 + number % 3
        text = dressed(words.tolist(), model.tokenizer, model.architecture, most=16)
        rows.append(Encoded(text.ids, number % 3, text.types))
    return rows


def test_every_family_learns_what_a_text_says(folder, tmp_path_factory):
    torch.manual_seed(0)
    model = open_with_head(folder, "classes", ["a", "b", "c"])
    objective = Objective.parse("classification").suited(model.architecture)
    rows = rows_for(model)
    settled = settle(Runtime(device="cpu"), precision="float32")
    # the loss is the one that transformers computes from the same inputs
    batch = objective.prepare(rows[:6], model.tokenizer, generators(6, 0))
    theirs = model.module(**batch.inputs, labels=batch.labels).loss
    assert float(objective.loss(batch, model, {})["nll"].sum) / 6 == pytest.approx(float(theirs), rel=1e-4)
    # padding changes nothing: a text alone has the logits that it has beside a longer one
    alone = objective.prepare(rows[:1], model.tokenizer, generators(1, 0))
    with torch.no_grad():
        together = model.module(**batch.inputs).logits[0]
        torch.testing.assert_close(model.module(**alone.inputs).logits[0], together, rtol=1e-3, atol=1e-4)
    out = tmp_path_factory.mktemp("fit")
    plan = Plan(steps=90, learning_rate=3e-3, schedule=Constant(warmup=5), precision="float32")
    work = Work(out=out, state=out, runtime=Runtime(device="cpu"))
    done = fit(model, objective, Batches(rows, 16, seed=0), plan, work=work)
    assert done.losses["nll"] < 0.8 * math.log(3)
    found = evaluate(model, objective, rows, settled=settled)
    assert found["accuracy"] > 0.6
    # saved, plain transformers opens it with its labels
    from transformers import AutoModelForSequenceClassification

    model.save(out / "made")
    plain = AutoModelForSequenceClassification.from_pretrained(str(out / "made"))
    assert plain.config.id2label == {0: "a", 1: "b", 2: "c"}
    with torch.no_grad():
        torch.testing.assert_close(plain(**batch.inputs).logits, model.module(**batch.inputs).logits)


def test_weights_drawn_anew_are_others(folder):
    kept, anew = (
        open_with_head(folder, "classes", ["a", "b"]),
        open_with_head(folder, "classes", ["a", "b"], anew=True, seed=1),
    )
    first = next(name for name, p in kept.trainable().items() if p.dim() == 2 and p.std() > 0)
    assert not torch.equal(kept.trainable()[first], anew.trainable()[first])
    assert kept.num_parameters() == anew.num_parameters()


def test_labels_must_differ(folder):
    with pytest.raises(DataError, match=r"two or more different labels; got \['a', 'a'\]"):
        open_with_head(folder, "classes", ["a", "a"])
