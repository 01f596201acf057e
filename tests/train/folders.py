"""A tiny model of each family as a folder, with a tokenizer of whole words (w7 to w63) that transformers opens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.train.families import CONTEXT, SPECIAL, VOCABULARY, tiny


def save_family(family: str, folder: Path, *, template: bool = False) -> Path:
    """Save a model of two layers; template: its tokenizer puts special tokens around a text by itself, as BERT's does."""
    module: Any = tiny(family).module
    module.save_pretrained(str(folder))
    names = {id: f"<{id}>" for id in SPECIAL.values()}
    around = None
    if template:
        single = [{"SpecialToken": {"id": "<3>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
        single.append({"SpecialToken": {"id": "<4>", "type_id": 0}})
        special = {f"<{id}>": {"id": f"<{id}>", "ids": [id], "tokens": [f"<{id}>"]} for id in (3, 4)}
        around = {"type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": special}
    content = {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": around,
        "decoder": None,
        "truncation": None,
        "padding": None,
        "model": {
            "type": "WordLevel",
            "vocab": {names.get(id, f"w{id}"): id for id in range(VOCABULARY)},
            "unk_token": "<6>",
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(content))
    special = {f"{role}_token": f"<{id}>" for role, id in SPECIAL.items() if role != "bos" or family != "t5"}
    content = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": CONTEXT, **special}
    if family == "xlnet":
        content["padding_side"] = "left"
    (folder / "tokenizer_config.json").write_text(json.dumps(content))
    return folder
