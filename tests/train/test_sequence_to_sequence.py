"""Sequence to sequence: losses worked by hand and against transformers' own, what packing, padding and splitting must not change.

python -m pytest tests/train/test_sequence_to_sequence.py
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests.train.families import tiny, tokenizer_for
from transformers import MarianConfig, MarianMTModel, PegasusConfig, PegasusForConditionalGeneration
from transformers.trainer_pt_utils import LabelSmoother

from septet.infer.inputs import Pair
from septet.nn.model import Model
from septet.train.objective import generators
from septet.train.objectives.sequence_to_sequence import SequenceToSequence

TOY = SimpleNamespace(pad_token_id=0, bos_token_id=None, eos_token_id=1)
STARTS = {"t5": 0, "bart": 1, "marian": 0, "pegasus": 0}


def pairs(count: int = 7, *, seed: int = 0, longest: int = 12) -> list[Pair]:
    rng = np.random.default_rng(seed)

    def text() -> np.ndarray:
        return np.append(rng.integers(7, 48, int(rng.integers(1, longest))), 1)

    return [Pair(text(), text()) for _ in range(count)]


def model_of(kind: str) -> Model:
    if kind in ("t5", "bart"):
        return tiny(kind)
    torch.manual_seed(0)
    sizes = {
        "vocab_size": 64, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 48,
        "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0, "scale_embedding": True, "dropout": 0.0,
    }  # fmt: skip
    if kind == "marian":
        return Model(MarianMTModel(MarianConfig(**sizes)).eval(), tokenizer_for("t5"))
    return Model(PegasusForConditionalGeneration(PegasusConfig(**sizes)).eval(), tokenizer_for("t5"))


def theirs(model: Model, rows: list[Pair]) -> tuple[torch.Tensor, torch.Tensor]:
    """Transformers' logits and labels of the padded rows."""
    ids, mask, labels = (torch.full((len(rows), 16), fill) for fill in (0, 0, -100))
    for place, row in enumerate(rows):
        ids[place, : len(row.source)] = torch.from_numpy(row.source)
        mask[place, : len(row.source)] = 1
        labels[place, : len(row.target)] = torch.from_numpy(row.target)
    return model.module(input_ids=ids, attention_mask=mask, labels=labels), labels


def test_a_batch_and_a_loss_worked_by_hand():
    rows = [Pair(np.array([5, 6, 1]), np.array([0, 1])), Pair(np.array([4, 1]), np.array([1]))]
    batch = SequenceToSequence(decoder_start=9, packed=False).prepare(rows, TOY, generators(2, 0))
    assert batch.inputs["input_ids"].tolist() == [[5, 6, 1], [4, 1, 0]]
    assert batch.inputs["decoder_input_ids"].tolist() == [[9, 0], [9, 0]]
    assert batch.inputs["decoder_documents"].tolist() == [[1, 1], [1, 0]]
    assert batch.labels is not None
    assert batch.labels.tolist() == [[0, 1], [1, -100]]
    assert (batch.weights, batch.tokens) == ({"nll": 3.0}, 8)
    # p = 3/4, 1/4 at every place: the targets are 0, 1 and 1
    logits = torch.tensor([math.log(3), 0.0]).expand(3, 2)
    model = SimpleNamespace(outputs=lambda inputs, at: SimpleNamespace(logits=logits[: int(at.sum())]))
    smooth = SequenceToSequence(decoder_start=9, packed=False, label_smoothing=0.2)
    smoothed = smooth.prepare(rows, TOY, generators(2, 0))
    terms = smooth.loss(smoothed, model, {})  # type: ignore[arg-type]
    nll = math.log(4 / 3) + 2 * math.log(4)
    even = 3 * (math.log(4 / 3) + math.log(4)) / 2
    assert float(terms["nll"].sum) == pytest.approx(nll)
    assert float(terms["smoothed"].sum) == pytest.approx(0.8 * nll + 0.2 * even)
    assert (terms["smoothed"].minimised, terms["nll"].minimised) == (True, False)
    assert smoothed.weights == {"smoothed": 3.0}


@pytest.mark.parametrize("kind", ["t5", "bart", "marian", "pegasus"])
def test_the_loss_is_that_of_transformers(kind):
    model, rows = model_of(kind), pairs()
    out, labels = theirs(model, rows)
    objective = SequenceToSequence(decoder_start=STARTS[kind], packed=False)
    batch = objective.prepare(rows, model.tokenizer, generators(len(rows), 0))
    assert batch.inputs["input_ids"].shape[0] == len(rows)
    term = objective.loss(batch, model, {})["nll"]
    assert term.sum.item() / term.weight == pytest.approx(out.loss.item(), rel=1e-5)
    # smoothing, as transformers' Trainer does it
    smooth = objective.model_copy(update={"label_smoothing": 0.1})
    batch = smooth.prepare(rows, model.tokenizer, generators(len(rows), 0))
    terms = smooth.loss(batch, model, {})
    expected = LabelSmoother(epsilon=0.1)({"logits": out.logits}, labels)
    assert terms["smoothed"].sum.item() / terms["smoothed"].weight == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_packing_and_splitting_change_nothing(kind):
    """Loss and gradient of seven pairs: packed into rows, padded, and one by one."""
    model, rows = model_of(kind), pairs()

    def learned(objective: SequenceToSequence, *parts: list[Pair]) -> tuple[float, dict[str, torch.Tensor]]:
        model.module.zero_grad()
        total = torch.zeros(())
        for part in parts:
            batch = objective.prepare(part, model.tokenizer, generators(len(part), 0))
            total = total + objective.loss(batch, model, {})["nll"].sum
        total.backward()
        return total.item(), {name: p.grad.clone() for name, p in model.trainable().items() if p.grad is not None}

    padded = SequenceToSequence(decoder_start=STARTS[kind], packed=False)
    packed = padded.model_copy(update={"packed": True, "row": 40})
    shape = packed.prepare(rows, model.tokenizer, generators(7, 0)).inputs["input_ids"].shape
    assert shape[0] < 4
    longest = max(max(len(row.source), len(row.target)) for row in rows)
    assert longest < shape[1] <= 2 * longest
    loss, gradient = learned(padded, rows)
    for other, found in (
        learned(packed, rows),
        learned(padded, *([row] for row in rows)),
        learned(packed, rows[:3], rows[3:]),
    ):
        assert other == pytest.approx(loss, rel=1e-5)
        for name, value in gradient.items():
            torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4)
