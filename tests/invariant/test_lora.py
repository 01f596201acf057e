"""A fresh adapter changes nothing: LoRA at its first values is its base, bit for bit; switched off it is its base at any time."""

import pytest
import torch
from tiny_chat import tiny_model

from septet.train.adapters.lora import Lora

IDS = {"input_ids": torch.arange(6, 46).reshape(2, 20)}


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_lora_at_init_is_its_base(family):
    model = tiny_model(family=family)
    wanted = model.outputs(IDS).logits
    model = Lora(rank=8).attach(model, seed=5)
    model.module.eval()
    assert torch.equal(model.outputs(IDS).logits, wanted)
    with torch.no_grad():
        for parameter in model.trainable().values():
            parameter.add_(0.1)
    assert not torch.allclose(model.outputs(IDS).logits, wanted, atol=1e-2)
    with model.without_adapter():
        assert torch.equal(model.outputs(IDS).logits, wanted)
