"""Cross-entropy in chunks, in C and by torch's operators: values worked by hand, torch as the reference, and gradients.

python -m pytest tests/nn/test_cross_entropy.py
"""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from septet.nn import cross_entropy
from septet.nn.cross_entropy import nll_each, nll_sum
from septet.nn.kernels import cross_entropy as compiled


@pytest.fixture(autouse=True, params=["C", "torch"])
def way(request, monkeypatch):
    if request.param == "C" and not compiled.available(torch.zeros(1)):
        pytest.skip("no C compiler")
    if request.param == "torch":
        monkeypatch.setattr(compiled, "available", lambda x: False)
    return request.param


@pytest.fixture
def problem(monkeypatch):
    # three positions at a time, so that the last chunk is a short one
    monkeypatch.setattr(cross_entropy, "CHUNK", 3)
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(10, 8, generator=generator, requires_grad=True)
    weight = torch.randn(20, 8, generator=generator, requires_grad=True)
    labels = torch.randint(0, 20, (10,), generator=generator)
    return hidden, weight, labels, torch.rand(10, generator=generator)


def test_a_value_worked_by_hand():
    # logits of the only position: 1*2 = 2 and 1*1 = 1, so -log p(first) = log(e^2 + e^1) - 2 = log(1 + e^-1)
    value = nll_sum(torch.tensor([[1.0]]), torch.tensor([[2.0], [1.0]]), torch.tensor([0]))
    assert value.item() == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-6)


def test_the_gradient_worked_by_hand():
    hidden = torch.tensor([[1.0]], requires_grad=True)
    nll_sum(hidden, torch.tensor([[2.0], [1.0]]), torch.tensor([0])).backward()
    # dL/dh = sum_v (p_v - [v = y]) w_v = (p - 1) * 2 + (1 - p) * 1 = p - 1, with p = 1 / (1 + e^-1)
    assert hidden.grad.item() == pytest.approx(1 / (1 + math.exp(-1)) - 1, rel=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_sum_equals_torch(problem, weighted):
    hidden, weight, labels, weights = problem
    each = functional.cross_entropy(hidden @ weight.T, labels, reduction="none")
    reference = (each * weights).sum() if weighted else each.sum()
    expected = torch.autograd.grad(2.5 * reference, (hidden, weight))
    ours = nll_sum(hidden, weight, labels, weights if weighted else None)
    torch.testing.assert_close(ours, reference)
    torch.testing.assert_close(torch.autograd.grad(2.5 * ours, (hidden, weight)), expected)


def test_each_equals_torch_under_any_gradient(problem):
    hidden, weight, labels, weights = problem
    reference = functional.cross_entropy(hidden @ weight.T, labels, reduction="none")
    expected = torch.autograd.grad((reference.sigmoid() * weights).sum(), (hidden, weight))
    ours = nll_each(hidden, weight, labels)
    torch.testing.assert_close(ours, reference)
    torch.testing.assert_close(torch.autograd.grad((ours.sigmoid() * weights).sum(), (hidden, weight)), expected)


def test_a_frozen_head_costs_no_gradient(problem):
    hidden, weight, labels, _ = problem
    for value in (nll_sum(hidden, weight.detach(), labels), nll_each(hidden, weight.detach(), labels).sum()):
        (grad,) = torch.autograd.grad(value, hidden)
        assert grad.shape == hidden.shape


def test_no_positions_give_zero():
    weight = torch.ones(4, 3, requires_grad=True)
    value = nll_sum(torch.empty(0, 3), weight, torch.empty(0, dtype=torch.int64))
    value.backward()
    assert value.item() == 0
    assert weight.grad.abs().sum() == 0


def test_autocast_uses_its_type_and_stays_close(problem):
    hidden, weight, labels, _ = problem
    exact = nll_sum(hidden, weight, labels)
    with torch.autocast("cpu", torch.bfloat16):
        rough = nll_sum(hidden, weight, labels)
    assert rough.dtype == torch.float32
    assert rough.item() == pytest.approx(exact.item(), rel=2e-2)
    assert rough.item() != exact.item()
    rough.backward()
    assert weight.grad.dtype == torch.float32


def test_a_bias_is_added_and_learns(problem):
    hidden, weight, labels, weights = problem
    bias = torch.randn(20, generator=torch.Generator().manual_seed(4), requires_grad=True)
    each = functional.cross_entropy(hidden @ weight.T + bias, labels, reduction="none")
    expected = torch.autograd.grad((each * weights).sum(), (hidden, weight, bias))
    ours = nll_sum(hidden, weight, labels, weights, bias)
    torch.testing.assert_close(ours, (each * weights).sum())
    torch.testing.assert_close(torch.autograd.grad(ours, (hidden, weight, bias)), expected)


def test_large_logits_do_not_overflow_and_unlikely_labels_cost_what_they_do():
    hidden, weight = torch.tensor([[1.0], [1.0]]), torch.tensor([[3e4], [-3e4], [0.0]])
    assert nll_each(hidden, weight, torch.tensor([0, 1])).tolist() == [0.0, 6e4]


def test_what_is_not_a_number_is_not_hidden():
    hidden, weight = torch.ones(2, 1), torch.ones(5, 1)
    weight[3] = math.nan
    assert nll_each(hidden, weight, torch.tensor([0, 1])).isnan().all()
