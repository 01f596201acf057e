"""Tiny models for tests of adapters: every family that is built here and others, as language models and with heads for tasks."""

from __future__ import annotations

import warnings
from typing import Any

import torch
import transformers
from tests.train.families import FAMILIES, Toy, tiny, tokenizer_for

from septet.nn.architecture import architecture_of
from septet.nn.model import Model

_SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "pad_token_id": 0,
    "initializer_range": 0.2,
}
_ROLES = {"eos_token_id": 1, "bos_token_id": 2, "cls_token_id": 3, "sep_token_id": 4}
CONFIGS: dict[str, Any] = {
    "distilbert": transformers.DistilBertConfig(
        vocab_size=64, dim=32, n_layers=2, n_heads=2, hidden_dim=64, pad_token_id=0
    ),
    "albert": transformers.AlbertConfig(**_SIZES, embedding_size=16),
    "deberta-v2": transformers.DebertaV2Config(**_SIZES, relative_attention=True, pos_att_type=["p2c", "c2p"]),
    "electra": transformers.ElectraConfig(**_SIZES, embedding_size=16),
    "mpnet": transformers.MPNetConfig(**_SIZES),
    "modernbert": transformers.ModernBertConfig(**_SIZES, **_ROLES),
}
OTHERS = list(CONFIGS)
HEADS = {
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "TOKEN_CLS": "AutoModelForTokenClassification",
    "QUESTION_ANS": "AutoModelForQuestionAnswering",
}
ROWS = torch.tensor([[7, 9, 22, 31, 8, 40, 12, 1], [11, 10, 25, 33, 17, 45, 19, 1]])
DECODER_IDS = torch.tensor([[0, 12, 9, 30], [0, 25, 14, 41]])


def config_of(family: str) -> Any:
    return CONFIGS[family] if family in CONFIGS else tiny(family).config


def headed(family: str, task: str, *, seed: int = 0) -> Model:
    """A model with a head for a task, three labels."""
    config = config_of(family)
    config = type(config)(**{**config.to_dict(), "num_labels": 2 if task == "QUESTION_ANS" else 3, "pad_token_id": 0})
    torch.manual_seed(seed)
    return Model(getattr(transformers, HEADS[task]).from_config(config).eval(), tokenizer_for(family))


def language_model(family: str, *, seed: int = 0) -> Model:
    if family in FAMILIES:
        model = tiny(family, seed=seed)
    else:
        torch.manual_seed(seed)
        model = Model(transformers.AutoModelForMaskedLM.from_config(CONFIGS[family]), Toy())
    model.module.eval()
    return model


def has(family: str, task: str) -> bool:
    mapping = getattr(transformers, HEADS[task])._model_mapping
    return type(config_of(family)) in mapping


def inputs_for(model: Model) -> dict[str, torch.Tensor]:
    """What a language model of any architecture takes."""
    inputs = {"input_ids": ROWS}
    if architecture_of(model.config) == "encoder-decoder":
        inputs["decoder_input_ids"] = DECODER_IDS
    return inputs


def logits_of(module: Any, **inputs: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found = module(**inputs)
    return found.start_logits if "start_logits" in found else found.logits


def shake(model: Model, size: float = 0.05) -> Model:
    """Give every learning parameter another value, as training would."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.trainable().values():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))
    return model


def plain_peft(module: Any, folder: Any) -> Any:
    """Open an adapter with peft alone."""
    from peft import PeftModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return PeftModel.from_pretrained(module, str(folder)).eval()
