"""Packing changes nothing but the speed: the loss of packed documents is the loss of the documents alone.

python -m pytest tests/invariant/test_packing.py
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.train.tiny import TOKENIZER, VOCABULARY, tiny_model

from septet.data.packing import pack, text_sample
from septet.train.objectives.causal_lm import CausalLM


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(4)
    return [text_sample(rng.integers(2, VOCABULARY, size), separator=0) for size in (5, 9, 3, 12, 7, 20, 4)]


def total(model, samples, context):
    rows, report = pack(samples, context, pad=1)
    objective = CausalLM()
    batch = objective.prepare(rows, TOKENIZER, [])
    with torch.no_grad():
        term = objective.loss(batch, model, {})["nll"]
    assert term.weight == report.targets
    return float(term.sum)


def test_packed_loss_is_the_sum_of_the_documents_losses(samples):
    model = tiny_model()
    model.module.eval()
    alone = sum(total(model, [sample], 32) for sample in samples)
    assert total(model, samples, 32) == pytest.approx(alone, rel=1e-6)


def test_changing_a_document_leaves_its_neighbours_gradients(samples):
    # the gradient of one document's loss with respect to the embeddings of another's tokens is zero
    rows, _ = pack(samples[:3], 32, pad=1)
    batch = CausalLM().prepare(rows, TOKENIZER, [])
    model = tiny_model()
    taken = {}
    embeddings = model.module.get_input_embeddings()
    hook = embeddings.register_forward_hook(lambda module, args, out: taken.update(out=out))
    nll = model.nll(batch.inputs, batch.labels)
    hook.remove()
    document = (batch.inputs["position_ids"][0] == 0).cumsum(0)
    (grad,) = torch.autograd.grad(nll[0][document == 1].sum(), taken["out"])
    assert grad[0][document == 1].abs().sum() > 0
    assert grad[0][document != 1].abs().sum() == 0
