"""Which linear maps of a model belong to attention and which to feed-forward, by model type: where LoRA and its kin are put.

What it is not: needed for an architecture that is missing here; its maps are found by looking, or named by the user.

    python -m pytest tests/train/test_adapters.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from septet.core.errors import ComponentError, nearest

if TYPE_CHECKING:
    from septet.nn.model import Model

__all__ = ["TARGETS", "keys_and_values", "linear_maps", "targets_of"]

_BERT = {
    "attention": ("self.query", "self.key", "self.value", "attention.output.dense"),
    "feed-forward": ("intermediate.dense", "output.dense"),
    "keys-values": ("self.key", "self.value"),
    "feed-forward-out": ("output.dense",),
}
_LLAMA = {
    "attention": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "feed-forward": ("gate_proj", "up_proj", "down_proj"),
    "keys-values": ("k_proj", "v_proj"),
    "feed-forward-out": ("down_proj",),
}
_FUSED = {
    "keys-values": ("query_key_value",),
    "feed-forward": ("dense_h_to_4h", "dense_4h_to_h"),
    "feed-forward-out": ("dense_4h_to_h",),
}

TARGETS: dict[str, Mapping[str, tuple[str, ...]]] = {
    "llama": _LLAMA,
    "gpt2": {
        "attention": ("attn.c_attn", "attn.c_proj"),
        "feed-forward": ("mlp.c_fc", "mlp.c_proj"),
        "keys-values": ("attn.c_attn",),
        "feed-forward-out": ("mlp.c_proj",),
    },
    "falcon": {**_FUSED, "attention": ("query_key_value", "self_attention.dense")},
    "gpt_neox": {**_FUSED, "attention": ("query_key_value", "attention.dense")},
    "opt": {
        "attention": ("q_proj", "k_proj", "v_proj", "out_proj"),
        "feed-forward": ("fc1", "fc2"),
        "keys-values": ("k_proj", "v_proj"),
        "feed-forward-out": ("fc2",),
    },
    "phi": {
        "attention": ("q_proj", "k_proj", "v_proj", "dense"),
        "feed-forward": ("fc1", "fc2"),
        "keys-values": ("k_proj", "v_proj"),
        "feed-forward-out": ("fc2",),
    },
    "bert": _BERT,
    "deberta-v2": {
        **_BERT,
        "attention": ("query_proj", "key_proj", "value_proj", "attention.output.dense"),
        "keys-values": ("key_proj", "value_proj"),
    },
    "mpnet": {
        **_BERT,
        "attention": ("attn.q", "attn.k", "attn.v", "attn.o"),
        "keys-values": ("attn.k", "attn.v"),
    },
    "distilbert": {
        "attention": ("q_lin", "k_lin", "v_lin", "out_lin"),
        "feed-forward": ("ffn.lin1", "ffn.lin2"),
        "keys-values": ("k_lin", "v_lin"),
        "feed-forward-out": ("ffn.lin2",),
    },
    "albert": {
        "attention": ("attention.query", "attention.key", "attention.value", "attention.dense"),
        "feed-forward": ("ffn", "ffn_output"),
        "keys-values": ("attention.key", "attention.value"),
        "feed-forward-out": ("ffn_output",),
    },
    "modernbert": {
        "attention": ("attn.Wqkv", "attn.Wo"),
        "feed-forward": ("mlp.Wi", "mlp.Wo"),
        "keys-values": ("attn.Wqkv",),
        "feed-forward-out": ("mlp.Wo",),
    },
    # XLNet's attention has no linear maps, but parameters [width, heads, head]
    "xlnet": {"feed-forward": ("ff.layer_1", "ff.layer_2"), "feed-forward-out": ("ff.layer_2",)},
    "t5": {
        "attention": ("q", "k", "v", "o"),
        "feed-forward": ("wi", "wi_0", "wi_1", "wo"),
        "keys-values": ("k", "v"),
        "feed-forward-out": ("wo",),
    },
    "bart": {
        "attention": ("q_proj", "k_proj", "v_proj", "out_proj"),
        "feed-forward": ("fc1", "fc2"),
        "keys-values": ("k_proj", "v_proj"),
        "feed-forward-out": ("fc2",),
    },
}
"""Ends of module names, by model type. T5's feed-forward has `wi`, or `wi_0` and `wi_1` where it is gated."""
for _same in ("mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "smollm3", "olmo", "olmo2", "granite"):
    TARGETS[_same] = _LLAMA
for _same in ("roberta", "xlm-roberta", "camembert", "electra"):
    TARGETS[_same] = _BERT
for _same in ("mt5", "umt5"):
    TARGETS[_same] = TARGETS["t5"]
TARGETS["mbart"] = TARGETS["bart"]

EITHER = frozenset({"wi", "wi_0", "wi_1"})
"""Names of which a model has some."""


def linear_maps(model: Model) -> list[str]:
    """Return the names of the linear maps of a model's trunk: neither the vocabulary's nor those of a head for a task."""
    from torch import nn

    from septet.nn.adapted import head_of  # transformers: 3 s

    base: Any = model.base
    trunk = {id(module) for module in base.base_model.modules()} - {id(base.get_output_embeddings())}
    heads = set(head_of(base))
    return [
        name
        for name, module in base.named_modules()
        # GPT-2 has its own class, with the weights turned
        if (isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D")
        and id(module) in trunk
        and not heads & set(name.split("."))
    ]


def targets_of(model: Model, which: Literal["all", "attention"] | Sequence[str]) -> list[str]:
    """Return ends of names of linear maps, each of which the model has. Raises ComponentError that says which there are."""
    linear, kind = linear_maps(model), model.config.model_type
    known = TARGETS.get(kind)
    if not isinstance(which, str):
        ends = tuple(which)
    elif known is None:
        if which == "attention":
            raise ComponentError(
                f"Which weights of a '{kind}' model belong to attention is not known here. "
                f"Name them: targets: [...]. Its linear maps end in: {', '.join(_ends(linear))}."
            )
        ends = tuple(_ends(linear))
    else:
        ends = (
            known.get("attention", ())
            if which == "attention"
            else (*known.get("attention", ()), *known["feed-forward"])
        )
        ends = tuple(end for end in ends if end not in EITHER or _has(linear, end))
        if not ends:
            raise ComponentError(
                f"The attention of a '{kind}' model has no linear maps to put something beside. Use targets: all, which takes "
                f"those that end in {', '.join(known['feed-forward'])}."
            )
    missing = [end for end in ends if not _has(linear, end)]
    if missing or not ends:
        raise ComponentError(
            f"This '{kind}' model has no weights named {', '.join(missing) or 'at all'}. "
            f"Its linear maps end in: {', '.join(_ends(linear))}.{nearest(missing[0], _ends(linear)) if missing else ''}"
        )
    return list(dict.fromkeys(ends))


def keys_and_values(model: Model) -> tuple[list[str], list[str]]:
    """Return ends of names of the maps that make keys and values, and of those that end a feed-forward block."""
    kind, linear = model.config.model_type, linear_maps(model)
    known = TARGETS.get(kind)
    if known is None:
        raise ComponentError(
            f"Which weights of a '{kind}' model make keys and values is not known here; name them: targets: [...] and "
            f"feed_forward: [...]. Its linear maps end in: {', '.join(_ends(linear))}."
        )
    return list(known.get("keys-values", ())), list(known["feed-forward-out"])


def _has(names: Sequence[str], end: str) -> bool:
    return any(name == end or name.endswith(f".{end}") for name in names)


def _ends(names: Sequence[str]) -> list[str]:
    return sorted({name.rsplit(".", 1)[-1] for name in names})
