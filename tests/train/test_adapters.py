"""Which parameters learn, that the files are peft's, and what is said where an adapter has no place."""

import json

import pytest
import torch
from peft import PeftModel
from tiny_chat import tiny_model, tiny_module

from septet.core.errors import ComponentError
from septet.train.adapter import Adapter
from septet.train.adapters.lora import Lora

IDS = {"input_ids": torch.arange(6, 30)[None]}


def shake(model):
    """Give every learning parameter another value, as training would."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.trainable().values():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.mark.parametrize(("family", "count"), [("llama", 14), ("gpt2", 8)])
def test_only_the_adapter_learns(family, count):
    model = Lora(rank=4).attach(tiny_model(family=family), seed=0)
    names = list(model.trainable())
    assert len(names) == 2 * count
    assert all("lora_A" in name or "lora_B" in name for name in names)
    loss = model.nll_sum(IDS, IDS["input_ids"].roll(-1))
    loss.backward()
    assert {n for n, p in model.module.named_parameters() if p.grad is not None} == set(names)


def test_attention_alone_and_names_of_ones_own():
    assert len(Lora(targets="attention").attach(tiny_model(), seed=0).trainable()) == 16
    assert len(Lora(targets=("q_proj",)).attach(tiny_model(), seed=0).trainable()) == 4


def test_full_means_all():
    model = tiny_model()
    model.module.requires_grad_(False)
    full = Adapter.parse("full")
    assert len(full.attach(model, seed=0).trainable()) == len(list(model.module.parameters()))


def test_the_seed_decides_the_first_values_and_nothing_else_does():
    def first(seed):
        torch.manual_seed(torch.seed() % 1000)
        return torch.cat([p.flatten() for p in Lora(rank=2).attach(tiny_model(), seed=seed).trainable().values()])

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    Lora(rank=2).attach(tiny_model(seed=3), seed=9)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(1), wanted)


def test_the_update_is_alpha_over_rank():
    model = tiny_model()
    weight = model.module.model.layers[0].self_attn.q_proj.weight.detach().clone()
    lora = Lora(rank=2, alpha=6, targets=("q_proj",))
    model = shake(lora.attach(model, seed=0))
    layer = model.base.model.layers[0].self_attn.q_proj
    update = 3.0 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    merged = lora.merge(model).module.model.layers[0].self_attn.q_proj.weight
    torch.testing.assert_close(merged, weight + update)


def test_files_are_pefts_and_equal_for_equal_adapters(tmp_path):
    lora = Lora(rank=4)
    model = shake(lora.attach(tiny_model(), seed=0))
    assert lora.save(model, tmp_path / "a")
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    config = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] is None
    assert config["target_modules"] == sorted(config["target_modules"])
    opened = PeftModel.from_pretrained(tiny_module(), str(tmp_path / "a"))
    torch.testing.assert_close(opened(**IDS).logits, model.base(**IDS).logits)


def test_unknown_weights_are_named_with_what_there_is():
    with pytest.raises(ComponentError, match=r"no weights named query_key_value.*q_proj"):
        Lora(targets=("query_key_value",)).attach(tiny_model(), seed=0)
    model = tiny_model()
    model.config.model_type = "unheard-of"
    with pytest.raises(ComponentError, match=r"belong to attention is not known.*q_proj"):
        Lora(targets="attention").attach(model, seed=0)
    assert len(Lora().attach(model, seed=0).trainable()) == 28


def test_ranges():
    with pytest.raises(ComponentError, match="rank"):
        Adapter.parse({"kind": "lora", "rank": 0})
    with pytest.raises(ComponentError, match="Did you mean 'lora'"):
        Adapter.parse("lroa")
