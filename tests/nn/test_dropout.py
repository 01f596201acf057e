"""Dropout: its share, its scale and its gradient, that draws do not depend on each other or on threads, and attention's.

python -m pytest tests/nn/test_dropout.py
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from septet.nn.dropout import Dropout, dropout, quicken
from septet.nn.kernels import attention
from septet.nn.kernels import dropout as compiled
from septet.nn.packed_attention import packed_attention

needs_compiler = pytest.mark.skipif(not compiled.available(torch.zeros(1)), reason="no C compiler")


@pytest.fixture(params=["C", "torch"])
def way(request, monkeypatch):
    if request.param == "C":
        if not compiled.available(torch.zeros(1)):
            pytest.skip("no C compiler")
    else:
        monkeypatch.setattr(compiled, "available", lambda x: False)
        monkeypatch.setattr(attention, "available", lambda x: False)
    return request.param


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_a_share_becomes_zero_and_the_rest_is_scaled(dtype, p):
    torch.manual_seed(1)
    x = torch.full((300, 1001), 3.0, dtype=dtype, requires_grad=True)
    found = dropout(x, p)
    assert found.dtype == dtype
    kept = found != 0
    torch.testing.assert_close(found[kept], torch.full_like(found[kept], 3.0 / (1 - p)))
    # the number of zeros is binomial
    share, error = 1 - kept.double().mean().item(), math.sqrt(p * (1 - p) / x.numel())
    assert abs(share - p) < 4 * error
    (found * 2).sum().backward()
    assert torch.equal(x.grad != 0, kept)
    torch.testing.assert_close(x.grad[kept], torch.full_like(found[kept], 2.0 / (1 - p)))


@needs_compiler
def test_draws_know_nothing_of_each_other():
    # correlations between a place and those after it, between rows (one key each 4,096 numbers), and between seeds
    x, count, p = torch.ones(1 << 20), 1 << 20, 0.1
    torch.manual_seed(2)
    one, two = ((dropout(x, p) != 0).double() - (1 - p) for _ in range(2))
    bound = 5 * p * (1 - p) / math.sqrt(count)
    assert abs((one * two).mean()) < bound
    for lag in (1, 2, 3, 8, 16, 31, 64, 384, 1024, 4095, 4096, 8192):
        assert abs((one[lag:] * one[:-lag]).mean()) < bound, lag
    for seed in range(64):  # seeds that differ in one bit
        other = (compiled.dropped(x, p, 1 << seed) != 0).double() - (1 - p)
        assert abs((one * other).mean()) < bound, seed


@needs_compiler
def test_the_seed_rules_and_threads_do_not():
    x = torch.randn(64, 1000)
    threads = torch.get_num_threads()
    found = []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            torch.manual_seed(7)
            found.append((dropout(x, 0.1), dropout(x, 0.1)))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert not torch.equal(*found[0])


@needs_compiler
def test_a_gradient_that_lies_otherwise_in_memory_has_the_same_places():
    x = torch.ones(40, 60, requires_grad=True)
    found = dropout(x, 0.5)
    found.backward(torch.ones(60, 40).T)
    assert torch.equal(x.grad != 0, found.detach() != 0)


def test_a_module_takes_the_place_of_torchs():
    made = nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5))
    keys = list(made.state_dict())
    quicken(made)
    assert type(made[1]) is Dropout
    assert list(made.state_dict()) == keys
    x = torch.ones(8, 4)
    assert torch.equal(made.eval()(x), made[0](x))
    assert 0.3 < (made.train()(x) == 0).float().mean() < 0.7
    made[1].p = 0.0
    assert torch.equal(made(x), made[0](x))
    made[1].p = 1.0
    assert not made(x).any()


# -- probabilities of attention --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("causal", [True, False])
def test_probabilities_that_drop_out_are_the_same_in_both_directions(causal):
    """With the values an identity, the output is the probabilities themselves, so it shows which of them dropped out."""
    length, p = 24, 0.25
    documents = torch.tensor([[1] * length + [0] * 3, [0] + [2] * (length + 2)])
    generator = torch.Generator().manual_seed(3)
    q, k = (torch.randn(2, 2, 27, 32, generator=generator, requires_grad=True) for _ in range(2))
    eye = torch.zeros(2, 2, 27, 32)
    for row, first in ((0, 0), (1, 1)):
        for place in range(27 - first):
            eye[row, :, first + place, place] = 1
    v = eye.requires_grad_()
    torch.manual_seed(4)
    found = packed_attention(q, k, v, documents, causal=causal, scale=0.3, dropout=p)
    plain = packed_attention(q, k, v, documents, causal=causal, scale=0.3)
    seen = plain > 0
    factors = found[seen] / plain[seen]
    kept = factors > 0.5
    torch.testing.assert_close(factors[kept], torch.full_like(factors[kept], 1 / (1 - p)), rtol=1e-4, atol=0)
    assert not factors[~kept].any()
    assert abs((~kept).double().mean() - p) < 4 * math.sqrt(p * (1 - p) / len(kept))
    # the gradient is that of the formula with these very factors
    factor = torch.zeros_like(found).masked_scatter(seen, factors.detach())
    weights = torch.randn(found.shape, generator=generator)
    ours = torch.autograd.grad((found * weights).sum(), (q, k, v))
    theirs = [x.detach().double().requires_grad_() for x in (q, k, v)]
    total = 0
    for row, (first, last) in enumerate(((0, length), (1, 27))):
        size = last - first
        scores = 0.3 * theirs[0][row, :, first:last] @ theirs[1][row, :, first:last].transpose(1, 2)
        if causal:
            scores = scores.masked_fill(torch.ones(size, size).triu(1).bool(), -math.inf)
        mask = factor[row, first:last, :, :size].transpose(0, 1)
        out = (scores.softmax(-1) * mask) @ theirs[2][row, :, first:last]
        torch.testing.assert_close(out.transpose(0, 1), found[row, first:last].double(), rtol=1e-4, atol=1e-5)
        total = total + (out.transpose(0, 1) * weights[row, first:last]).sum()
    for x, y in zip(ours, torch.autograd.grad(total, theirs), strict=True):
        torch.testing.assert_close(x.double(), y, rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("way")
def test_activations_that_are_made_again_drop_the_same():
    from transformers import AutoConfig, AutoModelForSequenceClassification

    from septet.nn.unpadded import unpad

    config = AutoConfig.for_model(
        "bert", vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24
    )
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config).train()
    quicken(model)
    unpad(model)
    ids = torch.randint(3, 40, (4, 12), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(12) < torch.tensor([[12], [3], [7], [9]])).long()

    def gradient(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        model.zero_grad()
        model(input_ids=ids, attention_mask=mask).logits.square().sum().backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    once = gradient(1)
    assert torch.equal(once, gradient(1))
    assert not torch.allclose(once, gradient(2), atol=1e-6)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    torch.testing.assert_close(gradient(1), once)
