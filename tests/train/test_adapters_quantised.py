"""QLoRA: four-bit weights by hand and as bitsandbytes has them, what learns, both ways of merging, and no look at any hub."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.train.adapter_models import (
    OTHERS,
    ROWS,
    config_of,
    headed,
    inputs_for,
    language_model,
    logits_of,
    plain_peft,
    shake,
)
from tests.train.families import FAMILIES, tokenizer_for
from tiny_chat import save_model
from transformers import AutoModel

from septet.core.errors import ComponentError
from septet.nn.load import open_model
from septet.nn.model import Model
from septet.nn.quantised import bitsandbytes, dequantised, is_quantised, quantise
from septet.train.adapters.lora import Lora
from septet.train.adapters.qlora import Qlora
from septet.train.targets import linear_maps

pytest.importorskip("bitsandbytes")
QLORA = Qlora(rank=2, compute="float32")


@pytest.mark.parametrize("width", [64, 128, 32, 96])
@pytest.mark.parametrize("double", [False, True])
def test_weights_in_four_bits_are_the_nearest_levels(width, double):
    """NF4 by hand: each block's largest value is its scale, and each value the nearest of 16 levels of that scale."""
    torch.manual_seed(0)
    holder = torch.nn.Sequential(torch.nn.Linear(width, 8))
    weight = holder[0].weight.detach().clone()
    quantise(holder, ["0"], compute_dtype=torch.float32, double=double)
    levels = torch.tensor(
        [
            -1.0,
            -0.6962,
            -0.5251,
            -0.3949,
            -0.2844,
            -0.1848,
            -0.0911,
            0.0,
            0.0796,
            0.1609,
            0.2461,
            0.3379,
            0.4407,
            0.5626,
            0.723,
            1.0,
        ]
    )  # appendix E of the paper, to four digits
    blocks = weight.reshape(-1, 64 if width % 64 == 0 else 32)
    scales = blocks.abs().amax(dim=1, keepdim=True)
    nearest = (blocks / scales)[..., None].sub(levels).abs().argmin(dim=-1)
    wanted = (levels[nearest] * scales).reshape(weight.shape)
    # quantised scales are off by up to a hundredth or so
    tolerance = 0.02 if double else 1e-4
    torch.testing.assert_close(dequantised(holder[0]), wanted, rtol=tolerance, atol=tolerance * float(scales.max()))
    x = torch.randn(3, width)
    torch.testing.assert_close(holder(x), x @ dequantised(holder[0]).T + holder[0].bias)


def test_a_width_of_no_block_stays_in_floats():
    holder = torch.nn.Sequential(torch.nn.Linear(40, 8), torch.nn.Linear(64, 8))
    quantise(holder, ["0", "1"], compute_dtype=torch.float32)
    assert not is_quantised(holder[0])
    assert is_quantised(holder[1])


def test_evaluating_does_not_change_the_weights():
    """bitsandbytes would repack them for a bfloat16 kernel at the first evaluation, for good."""
    holder = torch.nn.Sequential(torch.nn.Linear(64, 64))
    quantise(holder, ["0"], compute_dtype=torch.float32)
    before = dequantised(holder[0])
    holder.eval()
    with torch.no_grad():
        holder(torch.randn(2, 64))
    assert torch.equal(dequantised(holder[0]), before)


@pytest.mark.parametrize("family", FAMILIES + [name for name in OTHERS if name != "electra"])
def test_all_families_are_quantised_learn_and_merge_both_ways(family, tmp_path):
    plain = logits_of(language_model(family).module, **inputs_for(language_model(family)))
    model = language_model(family)
    inputs, maps = inputs_for(model), linear_maps(model)
    adapted = QLORA.attach(model, seed=0)
    kept = {"t5": 4, "albert": 1}.get(
        family, 0
    )  # T5's `wo`, which must not be; ALBERT's map of 16 inputs, which cannot
    assert sum(is_quantised(part) for part in adapted.base.modules()) == len(maps) - kept
    assert all("lora_" in name for name in adapted.trainable())
    adapted.module.train()
    adapted.module(**inputs).logits.square().mean().backward()
    assert {n for n, p in adapted.module.named_parameters() if p.grad is not None} == set(adapted.trainable())
    adapted.module.eval()
    trained = logits_of(shake(adapted).module, **inputs)
    drift = QLORA.drift(adapted, inputs)
    # into what it computed with: exact; into the weights as they were: off by what four bits cost
    assert drift["dequantised"] < 1e-3 * float(trained.abs().max()) < drift["original"]
    torch.testing.assert_close(logits_of(adapted.module, **inputs), trained)
    QLORA.save(adapted, tmp_path)
    merged = QLORA.merge(adapted)
    wanted = logits_of(merged.module, **inputs)
    assert float((wanted - trained).abs().max()) == pytest.approx(drift["original"], rel=1e-3)
    # the files are those of a LoRA, and peft puts them on the plain base
    found = logits_of(plain_peft(language_model(family).module, tmp_path), **inputs)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
    assert (plain - wanted).abs().max() > 1e-4
    merged.module.save_pretrained(tmp_path / "merged")


def test_merged_weights_by_hand():
    model = language_model("gpt2")  # whose weights are turned
    weight = model.base.transformer.h[0].attn.c_attn.weight.detach().clone()
    adapted = shake(Qlora(rank=2, alpha=6, compute="float32").attach(model, seed=0))
    layer = adapted.base.transformer.h[0].attn.c_attn
    update = 3.0 * (layer.lora_B["default"].weight @ layer.lora_A["default"].weight).T
    for into, start in (("original", weight), ("dequantised", dequantised(layer.base_layer).T)):
        merged = QLORA.merged(adapted, into).base.transformer.h[0].attn.c_attn.weight
        torch.testing.assert_close(merged, start + update)
    assert torch.equal(Qlora(merge_into="dequantised").merge(adapted).base.lm_head.weight, adapted.base.lm_head.weight)


def test_a_head_learns_in_floats_and_is_merged():
    adapted = shake(QLORA.attach(headed("bert", "SEQ_CLS"), seed=0))
    assert {"classifier", "pooler"} <= {part for name in adapted.trainable() for part in name.split(".")}
    trained = logits_of(adapted.module, input_ids=ROWS)
    merged = QLORA.merged(adapted, "dequantised")
    torch.testing.assert_close(logits_of(merged.module, input_ids=ROWS), trained, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("task", ["QUESTION_ANS", "TOKEN_CLS", None])
def test_the_drift_of_any_head_is_measured(task):
    """A span has two logits for each token, and vectors have none: the first that there is counts."""
    model = (
        headed("bert", task) if task else Model(AutoModel.from_config(config_of("bert")).eval(), tokenizer_for("bert"))
    )
    adapted = shake(QLORA.attach(model, seed=0))
    drift = QLORA.drift(adapted, {"input_ids": ROWS})
    with torch.inference_mode():
        outputs = (adapted.module(input_ids=ROWS), QLORA.merged(adapted, "original").module(input_ids=ROWS))
    name = {"QUESTION_ANS": "start_logits", "TOKEN_CLS": "logits", None: "last_hidden_state"}[task]
    apart = float((getattr(outputs[1], name) - getattr(outputs[0], name)).abs().max())
    assert drift["original"] == pytest.approx(apart, rel=1e-4)
    assert drift["dequantised"] < drift["original"]


def test_unknown_targets_leave_the_model_as_it_was():
    model = language_model("llama")
    with pytest.raises(ComponentError, match="no weights named nothing"):
        Qlora(targets=("nothing",)).attach(model, seed=0)
    assert not any(is_quantised(part) for part in model.base.modules())
    Lora(rank=2).attach(model, seed=0)


def test_the_file_of_the_weights_as_they_were_goes_away():
    adapted = QLORA.attach(language_model("llama"), seed=0)
    path = adapted.base.originals._path
    assert path.is_file()
    del adapted
    import gc

    gc.collect()
    assert not path.exists()


CODE = """
import sys
from septet.core.offline import go_offline
go_offline()
reached = []
import types
hub = types.ModuleType("kernels")
def get_kernel(*a, **k):
    reached.append(a)
    raise RuntimeError("no network")
hub.get_kernel = get_kernel
sys.modules["kernels"] = hub
from septet.nn.quantised import bitsandbytes
import septet.nn.quantised
print(bitsandbytes().__name__, reached, sys.modules["kernels"] is hub)
"""


def test_importing_asks_no_hub_and_says_nothing():
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.stdout.strip() == "bitsandbytes [] True", done.stderr
    assert "kernel" not in done.stderr
    assert "Failed" not in done.stderr
    assert bitsandbytes() is bitsandbytes()


@pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="asks Linux which files are mapped")
def test_nothing_of_the_file_stays_in_memory(tmp_path):
    """One tensor that stays mapped keeps the pages of all that were read, those in float32 too."""
    save_model(tmp_path)
    weights = str(tmp_path / "model.safetensors")
    plain = open_model(tmp_path, device="cpu")
    assert weights in Path("/proc/self/maps").read_text(), "opening maps the file, or this test sees nothing"
    tied = plain.base.get_input_embeddings().weight is plain.base.get_output_embeddings().weight
    adapted = QLORA.attach(plain, seed=0)
    assert weights not in Path("/proc/self/maps").read_text()
    assert (adapted.base.get_input_embeddings().weight is adapted.base.get_output_embeddings().weight) == tied
