"""Weights in four bits: linear maps in NormalFloat (NF4), computed by bitsandbytes, on a GPU or a processor.

Dettmers et al. 2023 (QLoRA, https://arxiv.org/abs/2305.14314), section 3: each block of 64 values has the largest absolute value as
its scale and 16 levels, the quantiles of a normal distribution; double quantisation keeps the scales themselves in 8 bits. Products
are computed in a floating type, from weights that are dequantised for it: memory is saved, not time.

`bitsandbytes()` is the only way that Septet imports the library. By itself it tries to fetch a kernel from a hub when imported (on
some processors), and complains where it cannot; here it does neither, online or offline.

What it is not: an adapter. Four-bit weights do not learn; `train/adapters/qlora.py` puts LoRA beside them.

    python -m pytest tests/train/test_adapters_quantised.py
"""

from __future__ import annotations

import copy
import importlib.util
import logging
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from septet.core.extras import need

__all__ = ["bitsandbytes", "dequantised", "is_quantised", "merged", "peft", "quantise"]

BLOCKS = (64, 32)
"""Values that share a scale: 64 as in the paper. bitsandbytes' kernel for processors reads rows whose length is no multiple of the
block wrongly (0.50.2: errors as large as the weights), so such rows get the smaller one."""


def bitsandbytes() -> Any:
    """Import and return bitsandbytes, quietly and without a look at any hub. Raises SeptetError where it is not installed."""
    if "bitsandbytes" in sys.modules:
        return sys.modules["bitsandbytes"]
    # backends/cpu/ops.py of bitsandbytes calls `kernels.get_kernel`, which downloads; it goes on without where `kernels` is missing
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "kernels"}
    log = logging.getLogger("bitsandbytes.backends.cpu.ops")
    level = log.level
    sys.modules["kernels"] = None  # type: ignore[assignment] -- so Python says that an import is to fail
    log.setLevel(logging.ERROR)
    try:
        return need("bitsandbytes", "quant")
    finally:
        log.setLevel(level)
        del sys.modules["kernels"]
        sys.modules.update(hidden)


def peft() -> Any:
    """Import and return peft (2 s). It imports bitsandbytes where that is installed, so that goes first, the quiet way."""
    if importlib.util.find_spec("bitsandbytes"):
        bitsandbytes()
    import peft

    return peft


def quantise(module: nn.Module, names: Iterable[str], *, compute_dtype: torch.dtype, double: bool = True) -> None:
    """Put four-bit linear maps in the place of the named ones (`nn.Linear`, and GPT-2's `Conv1D`), in place.

    names: of modules below `module`. compute_dtype: the type of the products. double: the scales are quantised too. The weights as
    they were wait in a temporary file for `merged`. A map whose inputs are no multiple of 32 stays as it is.
    """
    bnb = bitsandbytes()
    replaced: dict[str, Tensor] = {}
    for name in names:
        old = module.get_submodule(name)
        weight_OI: Tensor = old.weight.data if isinstance(old, nn.Linear) else old.weight.data.T.contiguous()  # type: ignore[union-attr]
        block = next((size for size in BLOCKS if weight_OI.shape[1] % size == 0), None)
        if block is None:
            continue
        replaced[name] = weight_OI
        new = bnb.nn.Linear4bit(
            weight_OI.shape[1],
            weight_OI.shape[0],
            bias=old.bias is not None,
            compute_dtype=compute_dtype,
            compress_statistics=double,
            quant_type="nf4",
            device="meta",
        )
        new.weight = bnb.nn.Params4bit(
            weight_OI.clone(),
            requires_grad=False,
            compress_statistics=double,
            quant_type="nf4",
            blocksize=block,
            module=new,
        )
        new.bias = old.bias
        # on some processors an evaluation would repack the weights for a bfloat16 kernel, for good and with scales rounded again;
        # training that goes on after it would have other weights
        new.support_avx512bf16_for_cpu = False
        # a parameter is quantised when it is moved to a device, be it its own
        module.set_submodule(name, new.to(weight_OI.device))
        new.train(old.training)
    module.requires_grad_(False)
    module.is_loaded_in_4bit = True  # type: ignore[assignment] -- what peft looks at
    module.originals = _Originals(replaced)  # type: ignore[assignment]
    _let_go(module)


def _let_go(module: nn.Module) -> None:
    """Give the tensors that stay as they are memory of their own.

    Tensors of a file are parts of one mapping of it, so the smallest that stays would keep all pages of what was replaced: for a
    Llama of 93 M parameters 324 MB, nearly as much as its weights in float32.
    """
    for tensor in {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}.values():
        if tensor.device.type == "cpu" and tensor.is_floating_point():
            tensor.data = tensor.data.clone()


class _Originals:
    """Weights as they were, in a file that is gone when nobody can ask for them any more."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        from safetensors.torch import save_file

        self._folder = tempfile.TemporaryDirectory(prefix="septet-qlora-")
        self._path = Path(self._folder.name) / "originals.safetensors"
        save_file({name: weight.cpu().contiguous() for name, weight in weights.items()}, self._path)

    def __getitem__(self, name: str) -> Tensor:
        from safetensors import safe_open

        with safe_open(self._path, "pt") as file:
            return file.get_tensor(name)


def merged(adapted: Any, *, original: bool) -> Any:
    """Return a new float32 transformers module of a peft model with LoRA beside quantised weights, which stays as it is.

    original: whether the update is added to the weights as they were before, or to those that are computed with.
    """
    base = adapted.get_base_model()
    fresh = type(base)(copy.deepcopy(base.config)).to("cpu")
    state: dict[str, Tensor] = {}
    four_bit = {name.removesuffix(".base_layer"): part for name, part in base.named_modules() if is_quantised(part)}
    for name, tensor in base.state_dict().items():
        if "lora_" in name or ".original_module." in name:
            continue
        name = name.replace(".base_layer.", ".").replace(".modules_to_save.default.", ".")
        if not any(name.startswith(f"{quantised}.weight") for quantised in four_bit):
            state[name] = tensor.float().cpu() if tensor.is_floating_point() else tensor.cpu()
    turned = {name for name, part in fresh.named_modules() if type(part).__name__ == "Conv1D"}
    for name, part in four_bit.items():
        weight_OI = base.originals[name].float() if original else dequantised(part).cpu()
        state[f"{name}.weight"] = weight_OI.T if name in turned else weight_OI
    for name, part in base.named_modules():
        if hasattr(part, "lora_A"):
            update_OI = part.get_delta_weight("default").detach().float().cpu()
            # peft turns the update of a float Conv1D itself
            turn = name in turned and name in four_bit
            state[f"{name}.weight"] = state[f"{name}.weight"] + (update_OI.T if turn else update_OI)
    fresh.load_state_dict(state)
    return fresh.eval()


def is_quantised(module: nn.Module) -> bool:
    """Whether this linear map has four-bit weights."""
    return type(module._parameters.get("weight")).__name__ == "Params4bit"


def dequantised(linear: nn.Module) -> Tensor:
    """Return the weights [out, in] that a four-bit linear map computes with, float32."""
    functional = bitsandbytes().functional
    weight: Any = linear.weight
    return functional.dequantize_4bit(weight.data, weight.quant_state).float()
