"""Which parameters learn, that the files are peft's, and what is said where an adapter has no place."""

import json

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tests.train.adapter_models import (
    HEADS,
    OTHERS,
    ROWS,
    has,
    headed,
    inputs_for,
    language_model,
    logits_of,
    plain_peft,
    shake,
)
from tests.train.families import FAMILIES
from tiny_chat import tiny_model, tiny_module

from septet.core.errors import ComponentError, DataError
from septet.nn.adapted import head_of, open_adapter, open_adapters
from septet.nn.model import Model
from septet.train.adapter import Adapter
from septet.train.adapters.ia3 import Ia3
from septet.train.adapters.last_layers import LastLayers
from septet.train.adapters.lora import Lora
from septet.train.targets import TARGETS, linear_maps

IDS = {"input_ids": torch.arange(6, 30)[None]}


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


@pytest.mark.parametrize(
    ("width", "low", "high"),
    [(32, 1e-3, 1e-3), (256, 1e-3, 1e-3), (384, 1e-4, 3e-4), (768, 2e-5, 5e-5), (1024, 1e-5, 3e-5), (4096, 1e-5, 2e-5)],
)
def test_the_rate_for_all_weights_is_among_the_published_ones(width, low, high):
    model = tiny_model()
    model.config.hidden_size = width
    assert low <= Adapter.parse("full").learning_rate(model) <= high * (1 + 1e-9)


@pytest.mark.parametrize(
    ("width", "low", "high"),
    [(64, 5e-3, 5e-3), (256, 5e-3, 5e-3), (384, 8e-4, 1.2e-3), (768, 2e-4, 2.5e-4), (4096, 1e-4, 2e-4)],
)
@pytest.mark.parametrize("kind", ["lora", "qlora"])
def test_the_rate_for_low_ranks_is_among_the_published_ones(kind, width, low, high):
    model = tiny_model()
    model.config.hidden_size = width
    assert low <= Adapter.parse(kind).learning_rate(model) <= high * (1 + 1e-9)


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
    for number in range(6):  # the order of what a file says about itself is drawn anew by the library
        again = tmp_path / f"again-{number}"
        lora.save(model, again)
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            assert (again / name).read_bytes() == (tmp_path / "a" / name).read_bytes()
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


# -- all families, with and without heads --------------------------------------------------------------------------------

KINDS = [Lora(rank=2), Lora(rank=2, variant="rslora"), Lora(rank=2, variant="dora"), Ia3()]
HEADED = [(family, task) for family in FAMILIES + OTHERS for task in HEADS if has(family, task)]


def name_of(adapter):
    return getattr(adapter, "variant", adapter.kind)


@pytest.mark.parametrize("family", FAMILIES + OTHERS)
def test_every_name_that_is_listed_exists(family):
    model = language_model(family)
    maps, seen = linear_maps(model), set()
    for block, ends in TARGETS[model.config.model_type].items():
        for end in ends:
            if (model.config.model_type, end) not in {("t5", "wi_0"), ("t5", "wi_1")}:  # those of a gated one
                found = {name for name in maps if f".{name}".endswith(f".{end}")}
                assert found, (block, end, maps)
                seen |= found
    # and nothing of the layers is left out, but DeBERTa's maps of positions and ALBERT's of embeddings
    assert not [name for name in set(maps) - seen if "pos_" not in name and "embedding" not in name]


def test_a_gated_feed_forward_has_two_maps_in_the_place_of_one():
    from transformers import T5Config, T5ForConditionalGeneration

    sizes = {"vocab_size": 64, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2}
    module = T5ForConditionalGeneration(T5Config(**sizes, feed_forward_proj="gated-gelu"))
    names = Lora(rank=2).attach(Model(module, None), seed=0).trainable()
    assert {part for part in ("wi_0", "wi_1", "wo") if any(f".{part}." in name for name in names)} == {
        "wi_0",
        "wi_1",
        "wo",
    }


@pytest.mark.parametrize("adapter", KINDS, ids=name_of)
@pytest.mark.parametrize("family", FAMILIES + OTHERS)
def test_a_language_model_is_its_base_at_first_and_merging_changes_nothing(family, adapter, tmp_path):
    model = language_model(family)
    inputs = inputs_for(model)
    before = logits_of(model.module, **inputs)
    adapted = adapter.attach(model, seed=0)
    torch.testing.assert_close(logits_of(adapted.module, **inputs), before, rtol=1e-5, atol=1e-5)
    assert all("lora_" in name or "ia3_l" in name for name in adapted.trainable())
    after = logits_of(shake(adapted).module, **inputs)
    assert (after - before).abs().max() > 1e-4
    assert adapter.save(adapted, tmp_path)
    torch.testing.assert_close(logits_of(plain_peft(language_model(family).module, tmp_path), **inputs), after)
    again = adapter.load(language_model(family), tmp_path)
    torch.testing.assert_close(logits_of(again.module, **inputs), after)
    merged = adapter.merge(adapted)
    torch.testing.assert_close(logits_of(merged.module, **inputs), after, rtol=1e-3, atol=1e-4)
    assert merged.base is merged.module


@pytest.mark.parametrize("adapter", [Lora(rank=2), Ia3(), LastLayers(layers=1)], ids=name_of)
@pytest.mark.parametrize(("family", "task"), HEADED)
def test_a_head_learns_and_is_kept(family, task, adapter, tmp_path):
    model = headed(family, task)
    heads = head_of(model.base)
    assert heads
    before = logits_of(model.module, input_ids=ROWS)
    inside = {n.replace(".modules_to_save.default", ""): p.clone() for n, p in model.base.named_parameters()}
    adapted = adapter.attach(model, seed=0)
    torch.testing.assert_close(logits_of(adapted.module, input_ids=ROWS), before, rtol=1e-5, atol=1e-5)
    names = {n.replace(".modules_to_save.default", "") for n in adapted.trainable()}
    wanted = {n for n in inside if set(n.split(".")) & set(heads)}
    assert wanted
    assert all(any(name.endswith(want) for name in names) for want in wanted)
    adapted.module.train()
    found = adapted.module(input_ids=ROWS)
    (found.start_logits if task == "QUESTION_ANS" else found.logits).square().sum().backward()
    grown = {n for n, p in adapted.module.named_parameters() if p.grad is not None}
    assert grown
    assert grown <= set(adapted.trainable())
    adapted.module.eval()
    after = logits_of(shake(adapted).module, input_ids=ROWS)
    if adapter.save(adapted, tmp_path):
        # another head is drawn there, and the adapter's takes its place
        other = headed(family, task)
        with torch.no_grad():
            for name, parameter in other.base.named_parameters():
                if name in wanted:
                    parameter.add_(1.0)
        torch.testing.assert_close(logits_of(plain_peft(other.module, tmp_path), input_ids=ROWS), after)
        torch.testing.assert_close(
            logits_of(adapter.load(headed(family, task), tmp_path).module, input_ids=ROWS), after
        )
    merged = adapter.merge(adapted)
    torch.testing.assert_close(logits_of(merged.module, input_ids=ROWS), after, rtol=1e-3, atol=1e-4)


def test_the_poolers_and_heads_of_the_families():
    def heads(family, task="SEQ_CLS"):
        return head_of(headed(family, task).base)

    assert heads("bert") == ["classifier", "pooler"]
    assert heads("bert", "TOKEN_CLS") == ["classifier"]
    assert heads("roberta") == ["classifier"]
    assert heads("xlnet") == ["sequence_summary", "logits_proj"]
    assert heads("bart") == heads("t5") == ["classification_head"]
    assert heads("llama") == heads("gpt2") == ["score"]
    assert heads("distilbert") == ["pre_classifier", "classifier"]
    assert heads("bert", "QUESTION_ANS") == ["qa_outputs"]
    assert head_of(language_model("bert").base) == []


# -- the mathematics, by hand --------------------------------------------------------------------------------------------


def one_map(adapter):
    """Return the adapted first query map of a Llama, with its weight."""
    model = tiny_model()
    weight = model.module.model.layers[0].self_attn.q_proj.weight.detach().clone()
    model = shake(adapter.attach(model, seed=0))
    return weight, model.base.model.layers[0].self_attn.q_proj, model


def test_rslora_divides_by_the_root():
    lora = Lora(rank=4, alpha=6, targets=("q_proj",), variant="rslora")
    weight, layer, model = one_map(lora)
    update = 3.0 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight  # 6 / sqrt(4)
    torch.testing.assert_close(lora.merge(model).module.model.layers[0].self_attn.q_proj.weight, weight + update)
    assert Lora(rank=16, variant="rslora").scale_numerator == 8.0  # over sqrt(16): a scale of 2, as without
    assert Lora(rank=16).scale_numerator == 32.0


def test_dora_gives_the_rows_learned_lengths():
    lora = Lora(rank=2, alpha=6, targets=("q_proj",), variant="dora")
    weight, layer, model = one_map(lora)
    lengths = layer.lora_magnitude_vector["default"].weight
    direction = weight + 3.0 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    wanted = lengths[:, None] * direction / direction.norm(dim=1, keepdim=True)
    torch.testing.assert_close(lora.merge(model).module.model.layers[0].self_attn.q_proj.weight, wanted)


def test_ia3_scales_keys_values_and_the_inside_of_feed_forward():
    model = shake(Ia3().attach(tiny_model(), seed=0))
    base = tiny_module()
    attention, inner = model.base.model.layers[0].self_attn, model.base.model.layers[0].mlp
    keys, out = attention.k_proj.ia3_l["default"], inner.down_proj.ia3_l["default"]
    assert keys.shape == (32, 1)
    assert out.shape == (1, 64)
    assert len(model.trainable()) == 6
    merged = Ia3().merge(model).module.model.layers[0]
    torch.testing.assert_close(merged.self_attn.k_proj.weight, keys * base.model.layers[0].self_attn.k_proj.weight)
    torch.testing.assert_close(merged.mlp.down_proj.weight, base.model.layers[0].mlp.down_proj.weight * out)
    torch.testing.assert_close(merged.self_attn.q_proj.weight, base.model.layers[0].self_attn.q_proj.weight)


def test_ia3_leaves_the_output_of_berts_attention_alone():
    names = Ia3().attach(language_model("bert"), seed=0).trainable()
    assert len(names) == 6
    assert not any("attention.output" in name for name in names)


# -- last layers ---------------------------------------------------------------------------------------------------------


def test_the_last_layers_learn_and_no_other():
    model = LastLayers(layers=1).attach(tiny_model(), seed=0)
    assert all(name.startswith("model.layers.1.") for name in model.trainable())  # the head is tied to the embeddings
    names = LastLayers(layers=1).attach(language_model("t5"), seed=0).trainable()
    assert all(name.startswith("decoder.block.1.") for name in names)
    names = LastLayers(layers=1).attach(language_model("bert"), seed=0).trainable()
    assert any(name.startswith("cls.predictions.transform") for name in names)
    assert not any("embeddings" in name or "encoder.layer.0" in name for name in names)


def test_more_layers_than_there_are():
    with pytest.raises(ComponentError, match=r"layers: 3 were asked for.*has 2"):
        LastLayers(layers=3).attach(tiny_model(), seed=0)


# -- what has no place ---------------------------------------------------------------------------------------------------


def test_xlnets_attention_has_no_linear_maps():
    with pytest.raises(ComponentError, match=r"has no linear maps.*targets: all"):
        Lora(targets="attention").attach(language_model("xlnet"), seed=0)


def test_an_adapter_for_another_base_is_refused(tmp_path):
    lora = Lora(rank=2)
    lora.save(lora.attach(tiny_model(), seed=0), tmp_path / "a")
    with pytest.raises(DataError, match=r"another base.*fingerprint"):
        open_adapter(tiny_model(seed=1), tmp_path / "a")
    # where the base is not recorded, as in peft's own files, the shapes tell
    weights = tmp_path / "a" / "adapter_model.safetensors"
    tensors = load_file(weights)
    save_file(tensors, weights, metadata={"format": "pt"})
    open_adapter(tiny_model(seed=1), tmp_path / "a")
    with pytest.raises(DataError, match=r"this 'gpt2' model|cannot put the adapter|Target modules"):
        open_adapter(tiny_model(family="gpt2"), tmp_path / "a")
    name = sorted(tensors)[0]
    save_file({**tensors, name: tensors[name][:, :-1].contiguous()}, weights)
    with pytest.raises(DataError, match=r"has the shape \[2, 63\], and this model needs \[2, 64\]"):
        open_adapter(tiny_model(), tmp_path / "a")
    (tmp_path / "a" / "adapter_config.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        open_adapter(tiny_model(), tmp_path / "a")
    with pytest.raises(DataError, match=r"has no adapter_config.json"):
        open_adapter(tiny_model(), tmp_path)


def test_a_vocabulary_that_grew_is_still_the_same_base(tmp_path):
    lora = Lora(rank=2)
    grown = tiny_model()
    grown.module.resize_token_embeddings(400)
    lora.save(lora.attach(grown, seed=0), tmp_path)
    assert open_adapter(tiny_model(), tmp_path).base.config.vocab_size == 384


def test_several_adapters_of_one_base_are_switched(tmp_path):
    wanted = {}
    for number, name in enumerate(("first", "second")):
        lora = Lora(rank=2 + number)
        model = shake(lora.attach(tiny_model(), seed=number), 0.05 + number)
        lora.save(model, tmp_path / name)
        wanted[name] = logits_of(model.module, **IDS)
    both = PeftModel.from_pretrained(tiny_module(), str(tmp_path / "first"), adapter_name="first")
    both.load_adapter(str(tmp_path / "second"), adapter_name="second")
    for name in ("second", "first", "second"):
        both.set_adapter(name)
        torch.testing.assert_close(logits_of(both, **IDS), wanted[name])
    with both.disable_adapter():
        torch.testing.assert_close(logits_of(both, **IDS), logits_of(tiny_module(), **IDS))
    ours = tiny_model()
    adapters = open_adapters(ours, {name: tmp_path / name for name in wanted})
    assert list(adapters) == ["first", "second"]
    for name in ("second", None, "first", None, "first", "second"):
        with adapters.worn(name):
            expected = logits_of(tiny_module(), **IDS) if name is None else wanted[name]
            torch.testing.assert_close(logits_of(ours.module, **IDS), expected)
    with pytest.raises(ComponentError, match=r"no adapter 'frst'; there are: first, second. Did you mean 'first'?"):
        adapters.worn("frst").__enter__()
    with pytest.raises(DataError, match="made for another base"):
        open_adapters(tiny_model(seed=1), {"first": tmp_path / "first"})
    prompt = Adapter.parse({"kind": "prompt", "tokens": 2})
    prompt.save(prompt.attach(tiny_model(), seed=0), tmp_path / "prompt")
    with pytest.raises(DataError, match="cannot be switched with other adapters"):
        open_adapters(tiny_model(), {"first": tmp_path / "first", "prompt": tmp_path / "prompt"})
    assert (wanted["first"] - wanted["second"]).abs().max() > 0.01
