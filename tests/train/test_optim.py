"""Optimizers: AdamW's first two steps by hand, Muon's orthogonal step by its property, states that come back.

python -m pytest tests/train/test_optim.py
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from septet.train import optim
from septet.train.plan import Plan


def test_adamw_by_hand():
    weight = nn.Parameter(torch.tensor([[1.0]]))
    plan = Plan(steps=2, learning_rate=0.1, betas=(0.9, 0.99), epsilon=0.0, weight_decay=0.5)
    optimizer = optim.make({"w": weight}, plan)
    optim.set_rate(optimizer, 0.1)
    weight.grad = torch.tensor([[2.0]])
    optimizer[0].step()
    # decay: 1 - 0.1 * 0.5 = 0.95; the first step is the sign of the gradient times the rate: 0.95 - 0.1 = 0.85
    assert weight.item() == pytest.approx(0.85, rel=1e-6)
    weight.grad = torch.tensor([[-1.0]])
    optimizer[0].step()
    # m = .9*.2 - .1 = .08, over 1 - .9^2 = .19; v = .99*.04 + .01 = .0496, over 1 - .99^2 = .0199
    expected = 0.85 * 0.95 - 0.1 * (0.08 / 0.19) / math.sqrt(0.0496 / 0.0199)
    assert weight.item() == pytest.approx(expected, rel=1e-6)


def test_vectors_do_not_decay():
    scale = nn.Parameter(torch.ones(3))
    optimizer = optim.make({"norm": scale}, Plan(steps=1, learning_rate=0.1, weight_decay=0.5))
    scale.grad = torch.zeros(3)
    optimizer[0].step()
    assert torch.equal(scale, torch.ones(3))


def test_muon_takes_the_matrices_and_its_step_is_nearly_orthogonal():
    torch.manual_seed(0)
    inner, table, scale = (nn.Parameter(torch.randn(*shape)) for shape in ((24, 16), (50, 16), (16,)))
    named = {"layers.0.up.weight": inner, "embed_tokens.weight": table, "norm.weight": scale}
    muon, adamw = optim.make(named, Plan(steps=1, learning_rate=1.0, optimizer="muon"))
    assert [p is inner for group in muon.param_groups for p in group["params"]] == [True]
    assert sum(len(group["params"]) for group in adamw.param_groups) == 2
    before = inner.detach().clone()
    inner.grad = torch.randn(24, 16)
    optim.set_rate([muon], 1.0)
    muon.step()
    step = (before - inner.detach()) / (0.2 * math.sqrt(24))
    # Newton-Schulz brings every singular value near one (Jordan 2024: within [0.7, 1.2]), whatever the gradient's were
    singular = torch.linalg.svdvals(step)
    assert singular.min() > 0.6
    assert singular.max() < 1.3


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5)])
def test_muon_is_torchs_muon(shape, monkeypatch):
    # torch's computes in bfloat16 everywhere, ours where it is native; for the comparison, everywhere
    monkeypatch.setattr(optim, "bfloat16_is_native", lambda device: True)
    torch.manual_seed(0)
    ours = nn.Parameter(torch.randn(*shape))
    theirs = nn.Parameter(ours.detach().clone())
    first = optim.Muon([ours], lr=0.02, weight_decay=0.1)
    second = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        ours.grad = torch.randn(*shape)
        theirs.grad = ours.grad.clone()
        first.step()
        second.step()
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=0)


def test_an_orthogonal_step_by_hand():
    # singular values of diag(3, 4) over its norm 5 are .6 and .8; one iteration of a x + b x^3 + c x^5 by hand
    found = optim.orthogonal(torch.diag(torch.tensor([3.0, 4.0])), steps=1)
    expected = [3.4445 * x - 4.7750 * x**3 + 2.0315 * x**5 for x in (0.6, 0.8)]
    torch.testing.assert_close(found, torch.diag(torch.tensor(expected)))


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_restored_optimizer_takes_the_same_steps(kind):
    def make():
        torch.manual_seed(0)
        named = {"inner": nn.Parameter(torch.randn(4, 3)), "norm": nn.Parameter(torch.randn(3))}
        return named, optim.make(named, Plan(steps=9, learning_rate=0.1, optimizer=kind))

    def steps(named, optimizer, numbers):
        for number in numbers:
            generator = torch.Generator().manual_seed(number)
            for p in named.values():
                p.grad = torch.randn(p.shape, generator=generator)
            optim.set_rate(optimizer, 0.1)
            for part in optimizer:
                part.step()

    whole, optimizer = make()
    steps(whole, optimizer, range(6))
    first, optimizer = make()
    steps(first, optimizer, range(3))
    state = optim.state_of(optimizer)
    second, fresh = make()
    for name, p in second.items():
        p.data.copy_(first[name])
    optim.load_state(fresh, *state)
    steps(second, fresh, range(3, 6))
    assert all(torch.equal(second[name], whole[name]) for name in whole)
