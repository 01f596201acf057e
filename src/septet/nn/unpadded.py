"""Padded rows on a processor, computed without their padding.

Shapes: B texts padded to T positions, N real positions in all, D width.

Texts of a batch differ in length, and half of it may be padding. Between a trunk's inputs and its states, here hooks put the real
positions of all texts into one row, with the number of its text for a mask (septet.nn.packed_attention keeps the texts apart), and
put the states back to their places, 0 at the padding. Heads, losses and adapters see what they would without.

What it is not: for GPUs; for encoder-decoders and XLNet; for models whose attention is not the one named above. These compute their
padding.

    python -m pytest tests/nn/test_unpadded.py
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.utils.generic import ModelOutput

from septet.nn.model import OFFSET_POSITIONS
from septet.nn.packed_attention import takes_documents

__all__ = ["unpad"]

_BY_POSITION = ("input_ids", "inputs_embeds", "token_type_ids", "position_ids")
"""Inputs of a trunk that have a value for each position, [B, T] or [B, T, D]."""
ROUND = 64
"""The one row is filled up to a multiple: products of a shape that was not there before have their code made first."""
_UNDERSTOOD = {*_BY_POSITION, "attention_mask", "use_cache", "return_dict"}


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the real positions are among all B * T, int64 [N]."""

    at: Tensor
    shape: torch.Size

    def put_back(self, states_1ND: Tensor) -> Tensor:
        states_ND = states_1ND[0]
        found = states_ND.new_zeros(self.shape.numel(), states_ND.shape[-1])
        return found.index_copy(0, self.at, states_ND[: len(self.at)]).view(*self.shape, -1)


class _Unpadder:
    """The hooks of one trunk, and what they know between its inputs and its states."""

    def __init__(self, trunk: Any) -> None:
        self.names = list(inspect.signature(trunk.forward).parameters)
        self.places: _Places | None = None

    def before(self, trunk: Any, args: tuple[Any, ...], given: dict[str, Any]) -> Any:
        inputs = {**dict(zip(self.names, args, strict=False)), **given}
        inputs = {name: value for name, value in inputs.items() if value is not None}
        self.places = None
        mask = inputs.get("attention_mask")
        if not (isinstance(mask, Tensor) and mask.ndim == 2 and mask.device.type == "cpu"):
            return None
        if set(inputs) - _UNDERSTOOD or inputs.get("use_cache") or inputs.get("return_dict") is False:
            return None
        if trunk.config.output_attentions or trunk.config.output_hidden_states or not takes_documents(trunk.config):
            return None
        real = mask.bool()
        self.places = _Places(real.flatten().nonzero()[:, 0], mask.shape)
        inputs.setdefault("position_ids", _positions(trunk.config, inputs, mask.shape))
        count = len(self.places.at)
        more = -count % ROUND
        taken = torch.cat([self.places.at, self.places.at[:1].expand(more)])
        for name in _BY_POSITION:
            if name in inputs:
                whole = inputs[name].expand(*mask.shape, *inputs[name].shape[2:])
                inputs[name] = whole.flatten(0, 1).index_select(0, taken)[None]
        texts = torch.arange(1, len(mask) + 1)[:, None].expand(mask.shape)[real]
        inputs["attention_mask"] = torch.nn.functional.pad(texts, (0, more))[None, None, None]
        if "use_cache" in self.names:
            inputs["use_cache"] = False
        return (), inputs

    def after(self, trunk: Any, args: tuple[Any, ...], output: Any) -> Any:
        places, self.places = self.places, None
        if places is None:
            return output
        assert isinstance(output, ModelOutput)
        states = output["last_hidden_state"] = places.put_back(output["last_hidden_state"])
        if output.get("pooler_output") is not None:  # it was made of the first position of the one row
            output["pooler_output"] = trunk.pooler(states)
        return output


def _positions(config: Any, inputs: dict[str, Any], shape: torch.Size) -> Tensor:
    """Return the positions that a trunk gives to rows by itself, int64 [B, T]."""
    counted = torch.arange(shape[1]).expand(shape)
    if config.model_type not in OFFSET_POSITIONS:
        return counted
    pad = int(config.pad_token_id)
    if "input_ids" not in inputs:
        return counted + pad + 1
    real = (inputs["input_ids"] != pad).long()
    return real.cumsum(dim=1) * real + pad


def unpad(module: Any) -> None:
    """Have the trunk of a transformers model compute its padded batches without their padding, where it can."""
    trunk = module.base_model
    hooks = _Unpadder(trunk)
    trunk.register_forward_pre_hook(hooks.before, with_kwargs=True)
    trunk.register_forward_hook(hooks.after)
