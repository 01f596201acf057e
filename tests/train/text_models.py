"""Tiny models that read and write text, in folders that transformers opens: every family, with a tokenizer of words or of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from septet.core import registry
from septet.data.special import RESERVED
from septet.data.tokenizers.families import FAMILIES, surround
from septet.nn.family import Family

torch.set_num_threads(1)

WORDS = [f"w{number}" for number in range(24)]
WRITERS = ("t5", "bart", "gpt2", "llama")


def tokenizer(family: str, words: Sequence[str] = ()) -> Any:
    """A tokenizer with the special tokens of a family and those of chat: of these words, or of single bytes."""
    known = FAMILIES[family]
    special = list(dict.fromkeys([*known.tokens, *RESERVED]))
    ordinary = list(words) or sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: id for id, token in enumerate([*special, *(w for w in ordinary if w not in special)])}
    if words:
        made = Tokenizer(models.WordLevel(vocabulary, unk_token=known.roles.get("unk", special[0])))
        made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    else:
        made = Tokenizer(models.BPE(vocabulary, []))
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        made.decoder = decoders.ByteLevel()
    made.add_special_tokens(special)
    surround(made, known)
    roles = {f"{role}_token": token for role, token in known.roles.items()}
    return PreTrainedTokenizerFast(tokenizer_object=made, **roles)


def save(family: str, folder: Path, words: Sequence[str] = (), *, context: int = 64, seed: int = 0) -> Path:
    """Write a model of two layers and width 32, weights drawn from the seed."""
    made_by = tokenizer(family, words)
    made_by.model_max_length = context
    cls = registry.find(Family.drawer, family, family=Family)
    made = cls(**({"dropout": 0.0} if "dropout" in cls.model_fields else {}))
    dial = made.dial(1, vocabulary=len(made_by)).with_(depth=2, width=32, heads=2, feed_forward=64, context=context)
    torch.manual_seed(seed)
    made.build(made.config(dial, made_by)).save_pretrained(str(folder))
    made_by.save_pretrained(str(folder))
    return folder
