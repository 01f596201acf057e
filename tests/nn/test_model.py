"""The model's face: its losses are transformers' own, packed documents do not see each other, whichever family.

python -m pytest tests/nn/test_model.py
"""

from __future__ import annotations

import pytest
import torch
from tests.train.families import tiny
from tests.train.tiny import TOKENIZER, tiny_model, tiny_module
from torch import nn
from transformers import FalconConfig, FalconForCausalLM, GPT2Config, GPT2LMHeadModel

from septet.nn.model import Model


def ids(rows: int = 2, length: int = 12, seed: int = 1) -> torch.Tensor:
    return torch.randint(2, 64, (rows, length), generator=torch.Generator().manual_seed(seed))


def falcon() -> nn.Module:
    torch.manual_seed(0)
    return FalconForCausalLM(
        FalconConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, alibi=False)
    )


def gpt2() -> nn.Module:
    torch.manual_seed(0)
    zero = {"embd_pdrop": 0.0, "resid_pdrop": 0.0, "attn_pdrop": 0.0}
    return GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=2, n_positions=64, **zero))


FAMILIES = {"llama": tiny_module, "gpt2": gpt2, "falcon": falcon}


def test_loss_is_transformers_own():
    model = tiny_model()
    tokens = ids()
    labels = torch.cat([tokens[:, 1:], torch.full((2, 1), -100)], dim=1)
    theirs = model.module(input_ids=tokens, labels=tokens).loss
    count = int((labels != -100).sum())
    torch.testing.assert_close(model.nll_sum({"input_ids": tokens}, labels) / count, theirs)
    torch.testing.assert_close(model.nll({"input_ids": tokens}, labels).sum() / count, theirs)


def test_gradients_are_transformers_own():
    model, reference = tiny_model(), tiny_module()
    tokens = ids()
    labels = torch.cat([tokens[:, 1:], torch.full((2, 1), -100)], dim=1)
    (model.nll_sum({"input_ids": tokens}, labels) / 22).backward()
    reference(input_ids=tokens, labels=tokens).loss.backward()
    for (name, ours), theirs in zip(model.module.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, msg=name)


def test_nll_is_zero_where_nothing_is_predicted_and_weights_weigh():
    model, tokens = tiny_model(), ids()
    labels = tokens.roll(-1, dims=1)
    labels[0, :5] = -100
    each = model.nll({"input_ids": tokens}, labels)
    assert each.shape == (2, 12)
    assert (each[0, :5] == 0).all()
    assert (each[0, 5:] > 0).all()
    weights = torch.rand(2, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model.nll_sum({"input_ids": tokens}, labels, weights), (each * weights).sum())


def test_chosen_positions_have_the_same_logits():
    model, tokens = tiny_model(), ids()
    at = torch.zeros(2, 12, dtype=torch.bool)
    at[0, 3] = at[1, 7] = True
    theirs = model.module(input_ids=tokens).logits
    torch.testing.assert_close(model.outputs({"input_ids": tokens}, at=at).logits, theirs[at])
    assert model.outputs({"input_ids": tokens}).logits.shape == (2, 12, 64)


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_documents_do_not_see_each_other(family):
    model = Model(FAMILIES[family]().eval(), TOKENIZER)
    row = ids(1, 16)
    positions = torch.cat([torch.arange(7), torch.arange(9)])[None]
    other = row.clone()
    other[0, :7] = ids(1, 7, seed=9)
    with torch.no_grad():
        before = model.outputs({"input_ids": row, "position_ids": positions}).logits
        after = model.outputs({"input_ids": other, "position_ids": positions}).logits
        alone = model.outputs({"input_ids": row[:, 7:], "position_ids": positions[:, 7:]}).logits
    assert not torch.allclose(before[:, :7], after[:, :7])
    torch.testing.assert_close(before[:, 7:], after[:, 7:], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(before[:, 7:], alone, atol=1e-5, rtol=1e-5)


def test_a_head_that_is_more_than_a_matrix_takes_the_long_way():
    class Capped(type(tiny_module())):
        def forward(self, *args, **kwargs):
            found = super().forward(*args, **kwargs)
            found.logits = 0.1 * torch.tanh(found.logits / 0.1)
            return found

    torch.manual_seed(0)
    module = Capped(tiny_module().config)
    model, tokens = Model(module, TOKENIZER), ids()
    labels = tokens.roll(-1, dims=1)
    logits = module(input_ids=tokens).logits
    expected = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
    torch.testing.assert_close(model.nll_sum({"input_ids": tokens}, labels), expected)
    torch.testing.assert_close(model.nll({"input_ids": tokens}, labels).sum(), expected)


def test_without_an_adapter_there_is_nothing_to_leave_out():
    with pytest.raises(AssertionError, match="no adapter"), tiny_model().without_adapter():
        pass


@pytest.mark.parametrize("family", ["bert", "roberta", "xlnet"])
def test_a_head_with_a_bias_begins_from_how_often_tokens_come(family: str):
    model = tiny(family)
    bias = model.head().bias
    counts = torch.zeros(len(bias) - 2, dtype=torch.int64)  # a head may have more rows than the tokenizer has tokens
    counts[:2] = torch.tensor([3, 1])
    assert model.expect(counts)
    total = 4 + len(bias)
    torch.testing.assert_close(bias[:3].detach(), torch.tensor([4 / total, 2 / total, 1 / total]).log())
    torch.testing.assert_close(bias.detach().exp().sum(), torch.tensor(1.0))
    with torch.no_grad():  # nothing else to go by: the logits are the bias
        logits = model.head()(torch.zeros(1, model.head().in_features))
    torch.testing.assert_close(logits[0], bias.detach())


def test_a_head_without_a_bias_is_left_as_it_is():
    model = tiny_model()
    before = {name: p.detach().clone() for name, p in model.module.named_parameters()}
    assert not model.expect(torch.ones(10))
    for name, p in model.module.named_parameters():
        torch.testing.assert_close(p.detach(), before[name], rtol=0, atol=0, msg=name)
