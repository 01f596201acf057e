"""Optimizers: AdamW's first two steps by hand, Muon's orthogonal step by its property, states that come back.

python -m pytest tests/train/test_optim.py
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from septet.core import registry
from septet.train import optim
from septet.train.optimizer import Optimizer
from septet.train.optimizers.adamw import AdamW
from septet.train.optimizers.muon import Muon


def test_adamw_by_hand():
    weight = nn.Parameter(torch.tensor([[1.0]]))
    optimizer = AdamW(betas=(0.9, 0.99), epsilon=0.0).make({"w": weight}, weight_decay=0.5)
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
    optimizer = AdamW().make({"norm": scale}, weight_decay=0.5)
    scale.grad = torch.zeros(3)
    optimizer[0].step()
    assert torch.equal(scale, torch.ones(3))


def test_muon_takes_the_matrices_and_its_step_is_nearly_orthogonal():
    torch.manual_seed(0)
    inner, table, scale = (nn.Parameter(torch.randn(*shape)) for shape in ((24, 16), (50, 16), (16,)))
    named = {"layers.0.up.weight": inner, "embed_tokens.weight": table, "norm.weight": scale}
    muon, adamw = Muon().make(named, weight_decay=0.0)
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
    first = optim.MuonStep([ours], lr=0.02, weight_decay=0.1)
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


@pytest.mark.parametrize("kind", registry.names(Optimizer.drawer))
def test_a_restored_optimizer_takes_the_same_steps(kind):
    def make():
        torch.manual_seed(0)
        named = {"inner": nn.Parameter(torch.randn(80, 60)), "norm": nn.Parameter(torch.randn(3))}
        return named, Optimizer.parse(kind).make(named, weight_decay=0.0)

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


@pytest.mark.parametrize("shape", [(4, 4), (4, 12), (12, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_matrices_taken_together_are_those_taken_alone(shape, dtype, monkeypatch):
    several = torch.randn(5, *shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    alone = torch.stack([optim.orthogonal(one) for one in several])
    torch.testing.assert_close(optim.orthogonal(several), alone, rtol=0, atol=0)
    if dtype == torch.float32:
        ends = []
        for together in (optim.TOGETHER, 1, 2 * math.prod(shape)):
            monkeypatch.setattr(optim, "TOGETHER", together)
            matrices = [torch.nn.Parameter(one.clone()) for one in several]
            muon = optim.MuonStep(matrices, lr=0.1, weight_decay=0.1)
            for turn in range(2):
                for number, p in enumerate(matrices):
                    p.grad = None if number == 1 else several[number - 2 - turn].clone()
                muon.step()
            ends.append(torch.stack([p.detach() for p in matrices]))
            assert torch.equal(ends[-1], ends[0])
            assert torch.equal(ends[-1][1], several[1])  # without a gradient it stays


def test_lion_by_hand():
    weight = nn.Parameter(torch.tensor([[1.0, 1.0]]))
    (lion,) = Optimizer.parse({"kind": "lion", "betas": (0.9, 0.99)}).make({"w": weight}, weight_decay=0.5)
    optim.set_rate([lion], 0.1)
    weight.grad = torch.tensor([[2.0, -3.0]])
    lion.step()
    # decay: 0.95; then a tenth against the sign of 0.1 g
    assert weight.tolist()[0] == pytest.approx([0.85, 1.05])
    weight.grad = torch.tensor([[-0.1, 9.0]])
    lion.step()
    # m = 0.01 * (2, -3); 0.9 m + 0.1 g = (0.018 - 0.01, -0.027 + 0.9): up and up
    assert weight.tolist()[0] == pytest.approx([0.85 * 0.95 - 0.1, 1.05 * 0.95 - 0.1])


def test_adafactor_by_hand():
    """The first step: the average is the square itself, so every element moves by lr x the root mean square of the weights."""
    weight = nn.Parameter(torch.full((2, 2), 3.0))
    (adafactor,) = Optimizer.parse("adafactor").make({"w": weight}, weight_decay=0.0)
    optim.set_rate([adafactor], 0.01)
    weight.grad = torch.full((2, 2), 0.5)
    adafactor.step()
    assert torch.allclose(weight, torch.full((2, 2), 3.0 - 0.01 * 3.0), atol=1e-5)


@pytest.mark.parametrize("signed", [True, False])
def test_the_numbers_of_eight_bits_are_bitsandbytes_own(signed):
    from bitsandbytes import functional  # a second to import

    theirs = functional.create_dynamic_map(signed=signed).float().cpu()
    torch.testing.assert_close(optim.dynamic_code(signed), theirs, atol=1e-7, rtol=1e-5)


def test_eight_bits_by_hand_and_within_their_error():
    codes, scales = optim.packed_8bit(torch.tensor([4.0, -2.0, 0.0, 1e-9]), signed=True)
    values = optim.unpacked_8bit(codes, scales, torch.Size([4]), signed=True)
    # the block's largest value is 4; -0.5 of it lies nearest to a middle of the 64 parts of [0.1, 1]
    part = 0.9 / 64
    assert values.tolist() == pytest.approx(
        [4.0, -4.0 * (0.1 + (math.floor(0.4 / part) + 0.5) * part), 0.0, 0.0], abs=1e-6
    )
    torch.manual_seed(0)
    numbers = torch.randn(5000)
    back = optim.unpacked_8bit(*optim.packed_8bit(numbers, signed=True), numbers.shape, signed=True)
    assert (back - numbers).abs().max() < 0.03
    assert (back - numbers).abs().mean() < 0.01


def test_eight_bit_steps_stay_close_to_adamw():
    torch.manual_seed(0)
    target = torch.randn(64, 64)
    losses = {}
    for kind in ("adamw", "adamw-8bit"):
        weight = nn.Parameter(torch.zeros(64, 64))
        (optimizer,) = Optimizer.parse(kind).make({"w": weight}, weight_decay=0.0)
        optim.set_rate([optimizer], 0.05)
        for _ in range(40):
            optimizer.zero_grad()
            loss = (weight - target).square().mean()
            loss.backward()
            optimizer.step()
        losses[kind] = loss.item()
        kept = sum(
            t.numel() * t.element_size()
            for slots in optimizer.state.values()
            for t in slots.values()
            if isinstance(t, torch.Tensor)
        )
        losses[kind, "bytes"] = kept
    assert losses["adamw-8bit"] == pytest.approx(losses["adamw"], rel=0.15)
    assert losses["adamw-8bit", "bytes"] < 0.26 * losses["adamw", "bytes"]


def test_xlnets_matrices_of_three_dimensions_are_muons():
    q, bias = nn.Parameter(torch.randn(8, 2, 4)), nn.Parameter(torch.randn(2, 4))
    muon, adamw = Muon().make({"layer.0.rel_attn.q": q, "layer.0.rel_attn.r_w_bias": bias}, weight_decay=0.1)
    before = q.detach().clone()
    q.grad = torch.randn(8, 2, 4)
    muon.step()
    assert [len(group["params"]) for group in (*muon.param_groups, *adamw.param_groups)] == [1, 1]
    assert adamw.param_groups[0]["weight_decay"] == 0.0
    step = (before * 0.9 - q.detach()).flatten(1) / (0.2 * math.sqrt(8))
    assert torch.linalg.svdvals(step).min() > 0.4
