"""Small real things for the tests of training: a two-layer Llama, random rows, a work folder."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from septet.core.step import Runtime, Work
from septet.data.packing import Row, Sample, pack
from septet.nn.model import Model

torch.set_num_threads(1)

TOKENIZER = SimpleNamespace(bos_token_id=0, eos_token_id=0, pad_token_id=1)
VOCABULARY = 64


def tiny_module(*, seed: int = 0, layers: int = 2, **changes: Any) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=32,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=1,
        **{"tie_word_embeddings": True, **changes},
    )
    return LlamaForCausalLM(config)


def tiny_model(*, seed: int = 0, **changes: Any) -> Model:
    return Model(tiny_module(seed=seed, **changes), TOKENIZER)


def tiny_rows(count: int = 40, *, context: int = 32, seed: int = 0, masked: bool = True) -> list[Row]:
    """Rows of random documents with ragged masks: `count` documents of 3 to 40 tokens."""
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(count):
        ids = rng.integers(2, VOCABULARY, int(rng.integers(3, 40))).astype(np.int32)
        labels = np.append(ids[1:], 0).astype(np.int32)
        if masked:
            labels[: int(rng.integers(0, len(ids)))] = -100
        samples.append(Sample(ids, labels))
    return pack(samples, context, pad=1)[0]


def work_in(folder: Path, **changes: Any) -> Work:
    """A work folder below `folder`, on the processor with one thread: more only wait for each other in models this small."""
    for part in ("out", "state"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    fields = {"runtime": Runtime(device="cpu", threads=1), "step": "base", **changes}
    return Work(out=folder / "out", state=folder / "state", **fields)
