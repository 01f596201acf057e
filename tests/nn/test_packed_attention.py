"""Attention by documents: a value worked by hand, torch's own attention under a mask as the reference, and whole models.

The first ones try both ways of computing it, in C and by torch's products.

    python -m pytest tests/nn/test_packed_attention.py
"""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

from septet.nn import packed_attention as module
from septet.nn.architecture import block_mask
from septet.nn.kernels import attention as compiled
from septet.nn.model import Model
from septet.nn.packed_attention import PACKABLE, PACKED, packed_attention, takes_documents


@pytest.fixture(params=["C", "torch", "torch, in pieces"])
def way(request, monkeypatch):
    if request.param == "C":
        if not compiled.available(torch.zeros(1)):
            pytest.skip("no C compiler")
        return request.param
    monkeypatch.setattr(compiled, "available", lambda x: False)
    if request.param == "torch, in pieces":  # several blocks of queries in a document, several pieces of a group
        monkeypatch.setattr(module, "BLOCK", 16)
        monkeypatch.setattr(module, "TILE", 1024)
    return request.param


@pytest.mark.usefixtures("way")
def test_a_value_worked_by_hand():
    # one head of width 1; the second document is [3, 4]: its second query sees scores 2 * 1 and 2 * 0, values 3 and 4
    q, k = torch.tensor([[[[5.0], [0.0], [2.0]]]]), torch.tensor([[[[5.0], [1.0], [0.0]]]])
    v = torch.tensor([[[[7.0], [3.0], [4.0]]]])
    found = packed_attention(q, k, v, torch.tensor([[1, 2, 2]]), causal=True, scale=1.0)
    share = math.exp(2) / (math.exp(2) + 1)
    assert found.flatten().tolist() == pytest.approx([7.0, 3.0, share * 3 + (1 - share) * 4], rel=1e-6)


DOCUMENTS = torch.tensor([[1] * 20 + [2] + [3] * 70 + [0] * 5, [1] * 96, [4] * 17 + [5] * 16 + [6] * 48 + [0] * 15])


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("width", [8, 64])
@pytest.mark.parametrize("causal", [True, False])
def test_values_and_gradients_are_those_of_a_mask(causal, width):
    generator = torch.Generator().manual_seed(1)
    ours = [torch.randn(3, 2, 96, width, generator=generator, requires_grad=True) for _ in range(3)]
    theirs = [x.detach().double().requires_grad_() for x in ours]
    mask = block_mask(DOCUMENTS, DOCUMENTS, causal=causal, dtype=torch.float64)
    scale = 0.85 * width**-0.5  # .3 for a width of 8
    found = packed_attention(*ours, DOCUMENTS, causal=causal, scale=scale)
    expected = functional.scaled_dot_product_attention(*theirs, attn_mask=mask, scale=scale).transpose(1, 2)
    expected = expected * (DOCUMENTS != 0)[:, :, None, None]
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    weights = torch.randn(found.shape, generator=generator)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    for x, y in zip(ours, theirs, strict=True):
        torch.testing.assert_close(x.grad.double(), y.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("way")
def test_large_scores_do_not_overflow():
    q = torch.full((1, 1, 4, 8), 300.0)
    k = q * torch.tensor([1.0, -1.0, 2.0, 0.5])[None, None, :, None]
    v = torch.arange(4.0)[None, None, :, None].expand(1, 1, 4, 8).contiguous()
    found = packed_attention(q, k, v, torch.ones(1, 4, dtype=torch.int64), causal=True, scale=1.0)
    assert found[0, :, 0, 0].tolist() == [0.0, 0.0, 2.0, 2.0]


@pytest.mark.usefixtures("way")
def test_half_precision_errs_like_torchs_own():
    generator = torch.Generator().manual_seed(2)
    exact = [torch.randn(3, 2, 96, 32, generator=generator).bfloat16().double() for _ in range(3)]
    mask = block_mask(DOCUMENTS, DOCUMENTS, causal=True, dtype=torch.float64)
    expected = functional.scaled_dot_product_attention(*exact, attn_mask=mask)
    rough = [x.bfloat16() for x in exact]
    theirs = functional.scaled_dot_product_attention(*rough, attn_mask=mask.to(torch.float32).bfloat16())
    found = packed_attention(*rough, DOCUMENTS, causal=True, scale=32**-0.5).transpose(1, 2)
    real = (DOCUMENTS != 0)[:, None, :, None]
    errors = [((x.double() - expected) * real).square().mean().sqrt().item() for x in (found, theirs)]
    assert 0 < errors[0] < 1.5 * errors[1]


@pytest.mark.usefixtures("way")
def test_another_layout_of_the_same_size_is_not_taken_for_the_last_one():
    x = torch.randn(1, 1, 6, 4)
    one = packed_attention(x, x, x, torch.tensor([[1, 1, 1, 2, 2, 2]]), causal=True, scale=1.0)
    two = packed_attention(x, x, x, torch.tensor([[1, 1, 2, 2, 2, 2]]), causal=True, scale=1.0)
    assert torch.equal(one[:, :2], two[:, :2])
    assert not torch.equal(one[:, 2:], two[:, 2:])


@pytest.mark.parametrize("length", [1, 7, 33, 130, 200])
def test_both_ways_agree_whatever_the_length(length, monkeypatch):
    if not compiled.available(torch.zeros(1)):
        pytest.skip("no C compiler")
    generator = torch.Generator().manual_seed(3)
    whole = torch.randn(2, 3, 2 * length + 3, 20, generator=generator)
    documents = torch.tensor([[0] + [1] * length + [2] * length + [0, 0], [5] * (2 * length + 3)])

    def run():
        # tensors whose numbers do not lie beside each other as attention would have them
        q, k, v = (
            x.clone().requires_grad_()
            for x in (whole, whole.flip(0), whole.transpose(2, 3).contiguous().transpose(2, 3))
        )
        found = packed_attention(q, k, v, documents, causal=True, scale=0.2)
        return found, torch.autograd.grad(found.square().sum(), (q, k, v))

    one = run()
    monkeypatch.setattr(compiled, "available", lambda x: False)
    two = run()
    torch.testing.assert_close(one, two, rtol=1e-4, atol=5e-5)


def test_the_threads_do_not_change_a_number():
    x = torch.randn(4, 2, 96, 16, generator=torch.Generator().manual_seed(4))
    threads = torch.get_num_threads()
    found = []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            y = x.clone().requires_grad_()
            out = packed_attention(y, y, y, DOCUMENTS[[0, 1, 2, 0]], causal=True, scale=0.5)
            found.append((out, *torch.autograd.grad(out.sum(), y)))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_what_is_not_a_number_stays_none():
    x = torch.ones(1, 1, 4, 8)
    q = x.clone()
    q[0, 0, 2] = math.nan
    found = packed_attention(q, x, x, torch.ones(1, 4, dtype=torch.int64), causal=True, scale=1.0)
    assert found[0, :, 0].isnan().all(1).tolist() == [False, False, True, False]


def small(kind: str):
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24}
    names = {"n_embd": 16, "n_layer": 2, "n_head": 4} if kind == "gpt2" else sizes
    more = {"num_key_value_heads": 2, "head_dim": 4} if kind in ("qwen2", "qwen3", "llama", "mistral") else {}
    drops = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0} if kind == "gpt2" else {}
    if "bert" in kind or "roberta" in kind or kind == "camembert":
        drops = {"attention_probs_dropout_prob": 0.0, "hidden_dropout_prob": 0.0}
    config = AutoConfig.for_model(kind, vocab_size=40, max_position_embeddings=64, **names, **more, **drops)
    config.sliding_window = None
    torch.manual_seed(0)
    made = AutoModelForCausalLM if kind == "gpt2" or more else AutoModelForMaskedLM
    return made.from_config(config)


class Nothing:
    model_max_length = 64
    pad_token_id = 1


@pytest.mark.parametrize("kind", sorted(PACKABLE))
def test_every_model_that_takes_documents_keeps_them_apart(kind):
    model = Model(small(kind), Nothing())
    ids = torch.randint(3, 40, (2, 24), generator=torch.Generator().manual_seed(0))
    parts = [(0, 0, 9), (0, 9, 24), (1, 0, 1), (1, 1, 20)]
    positions, documents = torch.zeros_like(ids), torch.zeros_like(ids)
    for number, (row, start, end) in enumerate(parts, 1):
        positions[row, start:end] = torch.arange(end - start)
        documents[row, start:end] = number
    found = model.outputs({"input_ids": ids, "position_ids": positions, "documents": documents}).hidden
    assert model.config._attn_implementation == PACKED
    for row, start, end in parts:
        alone = {"input_ids": ids[row : row + 1, start:end], "position_ids": positions[row : row + 1, start:end]}
        alone["attention_mask"] = torch.ones(1, end - start)
        torch.testing.assert_close(found[row, start:end], model.outputs(alone).hidden[0], rtol=1e-4, atol=1e-5)
    # the gradient too, with the layers' activations made again
    labels = torch.where(documents > 0, ids, -100)
    model.nll_sum({"input_ids": ids, "position_ids": positions, "documents": documents}, labels).backward()
    grads = {name: p.grad.clone() for name, p in model.trainable().items() if p.grad is not None}
    model.module.zero_grad()
    model.recompute()
    model.module.train()
    model.nll_sum({"input_ids": ids, "position_ids": positions, "documents": documents}, labels).backward()
    for name, grad in grads.items():
        torch.testing.assert_close(model.trainable()[name].grad, grad, rtol=1e-4, atol=1e-6)


def test_windows_and_other_attentions_keep_their_masks_and_dropout_does_not():
    config = small("gpt2").config
    config.attn_pdrop = 0.1
    assert takes_documents(config)
    config = small("llama").config
    config.sliding_window = 8
    assert not takes_documents(config)
    config = small("bert").config
    config._attn_implementation = "eager"
    assert not takes_documents(config)
    assert config._attn_implementation == "eager"


def test_the_choice_is_not_saved_and_generating_goes_on_as_before(tmp_path):
    made = small("llama").eval()
    ids = torch.tensor([[3, 4, 5, 6], [1, 1, 7, 8]])
    mask = (ids != 1).long()
    before = made.generate(input_ids=ids, attention_mask=mask, max_new_tokens=6, do_sample=False)
    assert takes_documents(made.config)
    after = made.generate(input_ids=ids, attention_mask=mask, max_new_tokens=6, do_sample=False)
    assert torch.equal(before, after)
    made.save_pretrained(tmp_path)
    assert PACKED not in (tmp_path / "config.json").read_text()


@pytest.mark.slow
def test_compiled_it_is_the_same():
    torch._dynamo.reset()
    model = Model(small("llama"), Nothing())
    ids = torch.randint(3, 40, (2, 24), generator=torch.Generator().manual_seed(0))
    positions = torch.cat([torch.arange(10), torch.arange(14)]).expand(2, -1)
    inputs = {"input_ids": ids, "position_ids": positions}
    plain = model.nll_sum(inputs, ids)
    expected = torch.autograd.grad(plain, model.trainable().values())
    model.compile()
    found = model.nll_sum(inputs, ids)
    torch.testing.assert_close(found, plain)
    for x, y in zip(torch.autograd.grad(found, model.trainable().values()), expected, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-5)
