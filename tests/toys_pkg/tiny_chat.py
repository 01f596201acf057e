"""Tiny real models and data for tests of chatting, fine-tuning and alignment: two layers, width 32, a byte-level vocabulary."""

from __future__ import annotations

import functools
import itertools
import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from septet.core.artifact import Artifact
from septet.core.step import Runtime, Work
from septet.nn.model import Model

SPECIAL = ["<|endoftext|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
TEXT = [
    "Return the absolute path of a file.",
    "Join two or more pathname components, inserting a slash as needed.",
    "What does os.path.join do?",
    "Straße, naïve, 日本語, 😀🎉",
]
COLOURS = ("red", "green", "blue", "black", "white", "brown", "grey", "pink")
THINGS = ("apple", "house", "river", "stone", "cloud", "horse")


@functools.cache
def _serialised() -> str:
    found = Tokenizer(models.BPE())
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    texts = [
        *TEXT,
        *(f"What colour is the {thing}? The {thing} is {colour}." for thing in THINGS for colour in COLOURS),
    ]
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    found.train_from_iterator(texts, trainer)
    return found.to_str()


def tiny_tokenizer() -> Any:
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_serialised()),
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        pad_token="<|pad|>",
        extra_special_tokens=SPECIAL[2:],
    )


def tiny_module(*, family: str = "llama", context: int = 128, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    if family == "gpt2":
        return GPT2LMHeadModel(
            GPT2Config(
                vocab_size=384, n_embd=32, n_layer=2, n_head=2, n_positions=context, bos_token_id=0, eos_token_id=0
            )
        ).eval()
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=384,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=context,
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=1,
            initializer_range=0.2,
        )
    ).eval()


def tiny_model(**options: Any) -> Model:
    return Model(tiny_module(**options), tiny_tokenizer())


def save_model(folder: Path, **options: Any) -> Path:
    tiny_model(**options).save(folder)
    return folder


def colour_of(thing: str) -> str:
    return COLOURS[(THINGS.index(thing) * 3) % len(COLOURS)]


def chat_rows(count: int = 24) -> list[dict[str, Any]]:
    """Rows of a dataset: the colour of a thing, always the same answer."""
    rows = []
    for number in range(count):
        thing = THINGS[number % len(THINGS)]
        rows.append(
            {
                "messages": [
                    {"role": "user", "content": f"What colour is the {thing}?"},
                    {"role": "assistant", "content": f"The {thing} is {colour_of(thing)}."},
                ],
                "document": f"things.{thing}",
                "kind": "what",
            }
        )
    return rows


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def pair_rows(count: int = 24) -> list[dict[str, Any]]:
    """Rows of a pairs artifact: the right colour against a wrong one."""
    rows = []
    for number in range(count):
        thing = THINGS[number % len(THINGS)]
        wrong = next(c for c in COLOURS[number % len(COLOURS) :] + COLOURS if c != colour_of(thing))
        rows.append(
            {
                "prompt": [{"role": "user", "content": f"What colour is the {thing}?"}],
                "chosen": f"The {thing} is {colour_of(thing)}.",
                "rejected": f"The {thing} is {wrong}.",
                "kind": ("weaker", "neighbour")[number % 2],
                "document": f"things.{thing}",
            }
        )
    return rows


def artifact(path: Path, kind: str) -> Artifact:
    return Artifact(id="0" * 32, kind=kind, inputs={}, step={}, path=path)


def work_at(folder: Path, *, stop_after: int | None = None) -> Work:
    """A step's two folders; with `stop_after`, the user asks to stop when the step has looked so many times whether they did."""
    looks = itertools.count(1)
    (folder / "out").mkdir(parents=True, exist_ok=True)
    (folder / "state").mkdir(exist_ok=True)
    return Work(
        out=folder / "out",
        state=folder / "state",
        runtime=Runtime(device="cpu"),
        step="test",
        stopping=lambda: stop_after is not None and next(looks) >= stop_after,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
