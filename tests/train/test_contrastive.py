"""Contrastive learning: a loss worked by hand, torch's cross-entropy, what padding must not change, every family learns.

python -m pytest tests/train/test_contrastive.py
"""

from __future__ import annotations

import contextlib
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tests.train.families import FAMILIES
from tests.train.folders import save_family

from septet.core.errors import ComponentError, DataError
from septet.core.step import Runtime, Work
from septet.data.batches import Batches
from septet.infer.inputs import Encoded
from septet.infer.task import Task
from septet.infer.tasks.similarity import Similarity
from septet.nn.pooling import unit_vectors
from septet.train.loop import fit
from septet.train.objective import Objective, generators
from septet.train.objectives.contrastive import Contrastive
from septet.train.plan import Plan
from septet.train.schedules.constant import Constant

TRUNKS = [family for family in FAMILIES if family not in ("t5", "bart")]
PAD = SimpleNamespace(pad_token_id=0)


def texts(*ids: int) -> list[Encoded]:
    """Texts of one token each."""
    return [Encoded(np.array([id])) for id in ids]


def model_of(vectors: list[list[float]]):
    """A model whose only hidden state of each text is given."""
    hidden = torch.tensor(vectors)[:, None]
    return SimpleNamespace(module=lambda **inputs: SimpleNamespace(last_hidden_state=hidden))


@pytest.fixture(scope="module", params=TRUNKS)
def folder(request, tmp_path_factory):
    encoder = request.param in ("bert", "roberta")
    return save_family(request.param, tmp_path_factory.mktemp(request.param), template=encoder)


# -- the objective -------------------------------------------------------------------------------------------------------


def test_a_loss_worked_by_hand():
    # two anchors, their positives, one negative; lengths do not matter, only angles
    a, p, n = texts(7, 8), texts(9, 10), texts(11)
    model = model_of([[2, 0], [0, 1], [1, 0], [3, 3], [0, 5]])
    objective = Contrastive(temperature=1.0)
    batch = objective.prepare([(a[0], p[0], None), (a[1], p[1], n[0])], PAD, generators(2, 0))
    terms = objective.loss(batch, model, {})  # type: ignore[arg-type]
    # cosines: anchor 0 with 1, r, 0; anchor 1 with 0, r, 1, where r is the square root of 1/2
    e, r = math.e, math.sqrt(0.5)
    first = -math.log(e / (e + math.exp(r) + 1))
    second = -math.log(math.exp(r) / (1 + math.exp(r) + e))
    assert float(terms["nll"].sum) == pytest.approx(first + second)
    assert terms["nll"].weight == 2.0
    assert float(terms["accuracy"].sum) == 1.0  # the negative is closer to the second anchor than its positive


def test_the_loss_is_cross_entropy_over_the_matrix_of_cosines():
    torch.manual_seed(0)
    made = torch.randn(9, 5)
    a, p, n = made[:3], made[3:6], made[6:]
    rows = list(zip(texts(7, 8, 9), texts(10, 11, 12), texts(13, 14, 15), strict=True))
    model = model_of(made.tolist())
    cosines = torch.nn.functional.cosine_similarity(a[:, None], torch.cat([p, n])[None], dim=-1) / 0.05
    own = torch.arange(3)
    there = torch.nn.functional.cross_entropy(cosines, own)
    back = torch.nn.functional.cross_entropy(cosines[:, :3].T, own)
    for symmetric, expected in ((False, there), (True, (there + back) / 2)):
        objective = Contrastive(symmetric=symmetric)
        batch = objective.prepare(rows, PAD, generators(3, 0))
        found = objective.loss(batch, model, {})["nll"]  # type: ignore[arg-type]
        assert float(found.sum / found.weight) == pytest.approx(float(expected), rel=1e-5)


def test_the_same_text_is_no_wrong_answer():
    # rows 0 and 1 have one positive, rows 0 and 2 one anchor; the negative of row 1 is the positive of row 2
    rows = list(zip(texts(7, 8, 7), texts(9, 9, 10), [None, *texts(10), None], strict=True))
    batch = Contrastive().prepare(rows, PAD, generators(3, 0))
    assert batch.extra["same"].tolist() == [
        [False, True, True, False],
        [True, False, False, False],
        [True, False, False, True],
    ]
    model = model_of([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    terms = Contrastive(temperature=1.0).loss(batch, model, {})  # type: ignore[arg-type]
    # what is left beside the own text: the negative; the third row's text and the negative; the second row's text
    expected = math.log(1 + math.exp(-1)) + math.log(1 + 2 * math.e) + math.log(1 + math.e)
    assert float(terms["nll"].sum) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("left", [False, True])
def test_pooling_by_hand(left):
    hidden = torch.tensor([[[3.0, 0.0], [0.0, 4.0], [9.0, 9.0]]])
    mask = torch.tensor([[1, 1, 0]])
    if left:
        hidden, mask = hidden.roll(1, dims=1), mask.roll(1, dims=1)
    assert unit_vectors(hidden, mask, "mean").tolist() == [pytest.approx([0.6, 0.8])]
    assert unit_vectors(hidden, mask, "first").tolist() == [[1.0, 0.0]]
    assert unit_vectors(hidden, mask, "last").tolist() == [[0.0, 1.0]]


# -- the task ------------------------------------------------------------------------------------------------------------


def toy_rows(count: int = 48) -> list[dict]:
    """Two texts of random words belong together if they hold the same one of eight marks."""
    rng = np.random.default_rng(5)

    def text(mark: int) -> str:
        words = rng.integers(20, 40, int(rng.integers(3, 9)))
        words[rng.integers(len(words))] = 10 + mark
        return " ".join(f"w{word}" for word in words)

    return [{"anchor": text(number % 8), "positive": text(number % 8)} for number in range(count)]


def test_every_family_learns_what_belongs_together(folder, tmp_path_factory):
    torch.manual_seed(0)
    task = Similarity(temperature=0.2)
    model = task.open(folder, device="cpu")
    model.autocast = contextlib.nullcontext  # compared in float32
    objective = Objective.parse(task.taught_by(model)).suited(model.architecture)
    assert (objective.temperature, objective.pooling) == (0.2, "mean")  # type: ignore[attr-defined]
    rows = toy_rows()
    samples, prepared = task.encode(enumerate(rows, start=1), model, max_tokens=48)
    assert (prepared.rows, prepared.targets, prepared.cut) == (48, 48, 0)
    # padding changes nothing: a text alone has the vector that it has beside longer ones
    some = [rows[0]["anchor"], "w20", rows[1]["anchor"]]
    together = task.vectors(model, some)
    alone = np.concatenate([task.vectors(model, [text]) for text in some])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, rtol=1e-5)

    def margin() -> float:
        """How much closer a text is to its own than to the texts of other marks."""
        a, p = (task.vectors(model, [row[name] for row in rows]) for name in ("anchor", "positive"))
        same = np.arange(48)[:, None] % 8 == np.arange(48)[None] % 8
        return float((a @ p.T)[same].mean() - (a @ p.T)[~same].mean())

    before = margin()
    out = tmp_path_factory.mktemp("fit")
    plan = Plan(steps=120, learning_rate=3e-3, schedule=Constant(warmup=5), precision="float32")
    # rows of one mark in one batch would be taken for wrong: eight rows of eight marks at a time
    batches = Batches([samples[n : n + 8] for n in range(0, 48, 8)], 1, seed=0)
    stream: Any = SimpleNamespace(next=lambda: batches.next()[0], state=batches.state, restore=batches.restore)
    work = Work(out=out, state=out, runtime=Runtime(device="cpu"))
    fit(model, objective, stream, plan, work=work)
    assert margin() > before + 0.4
    pair, lone = task.predict(model, [rows[0], {"anchor": rows[0]["anchor"]}])
    a, p = task.vectors(model, [rows[0]["anchor"], rows[0]["positive"]])
    assert pair.prediction == pytest.approx(float(a @ p), abs=1e-5)
    np.testing.assert_allclose(lone.prediction, a, atol=1e-5)


def test_what_a_person_types_becomes_a_row():
    assert Similarity().row("a") == {"anchor": "a"}
    assert Similarity().row("a", pair="b") == {"anchor": "a", "positive": "b"}
    with pytest.raises(ComponentError, match="leave the context out"):
        Similarity().row("a", context="c")


@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
def test_sentence_transformers_opens_the_folder_with_the_same_vectors(folder, tmp_path, pooling):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    task = Similarity(pooling=pooling)
    model = task.open(folder, device="cpu", seed=3)
    model.autocast = contextlib.nullcontext
    model.save(tmp_path)
    task.keep(tmp_path, ())
    some = ["w20", "w21 w22 w23 w24 w25", "w30 w31"]
    theirs = sentence_transformers.SentenceTransformer(str(tmp_path), device="cpu").encode(some)
    np.testing.assert_allclose(task.vectors(model, some), theirs, atol=1e-5)
    again, _ = Task.of_folder(tmp_path)
    assert again == task
    opened = again.open(tmp_path, device="cpu")
    opened.autocast = contextlib.nullcontext
    np.testing.assert_allclose(again.vectors(opened, some), theirs, atol=1e-5)  # type: ignore[attr-defined]


def test_long_texts_are_cut_and_counted_and_wrong_rows_named(tmp_path):
    task = Similarity(too_long="cut")
    model = task.open(save_family("bert", tmp_path, template=True), device="cpu")
    row = {"anchor": "w10 w11 w12 w13", "positive": "w10", "negative": "w20 w21 w22"}
    samples, prepared = task.encode([(1, row)], model, max_tokens=4)
    assert [text.ids.tolist() for text in samples[0]] == [[3, 10, 11, 4], [3, 10, 4], [3, 20, 21, 4]]
    assert prepared.facts() == {"rows": 1, "tokens": 11, "targets": 1, "longest": 6, "cut": 1, "lost": 3, "dropped": 0}
    with pytest.raises(DataError, match=r"row 2.*'positive' is missing.*The row has: anchor"):
        task.encode([(2, {"anchor": "w10"})], model, max_tokens=4, file="train.jsonl")
    with pytest.raises(DataError, match="'negative' holds int"):
        task.encode([(2, {**row, "negative": 3})], model, max_tokens=4)
