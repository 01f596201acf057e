"""Merged equals unmerged: the weights at a model's root compute what base and adapter computed together, in float32."""

import pytest
import torch
from tiny_chat import tiny_model
from transformers import AutoModelForCausalLM

from septet.train.adapters.lora import Lora

IDS = {"input_ids": torch.arange(6, 46).reshape(2, 20)}


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_merged_is_unmerged(family, tmp_path):
    lora = Lora(rank=4)
    model = lora.attach(tiny_model(family=family), seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.trainable().values():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    model.module.eval()
    wanted = model.outputs(IDS).logits
    merged = lora.merge(model)
    assert (merged.outputs(IDS).logits - wanted).abs().max() < 1e-4 * wanted.abs().max()
    assert not any("lora" in name for name, _ in merged.module.named_parameters())
    merged.save(tmp_path)
    opened = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(opened(**IDS).logits, merged.module(**IDS).logits)
