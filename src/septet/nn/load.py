"""Open a Hugging Face folder as a Model: safetensors only, no code from the folder, clear errors.

What it is not: a downloader. The folder is on this machine; a hub name is resolved elsewhere.

    python -c "from septet.nn.load import open_model; print(open_model('FOLDER').num_parameters())"
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from septet.core.errors import DataError
from septet.nn.architecture import Architecture, architecture_of, auto_class
from septet.nn.device import pick_device
from septet.nn.model import Model, quiet_bars

__all__ = ["VIRTUAL", "open_config", "open_model", "open_tokenizer", "with_virtual_tokens"]

VIRTUAL = frozenset({"PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING"})
"""peft's names of the adapters that cannot be merged into the weights, and are kept beside them."""
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def open_config(folder: str | Path) -> dict[str, Any]:
    """Return `config.json` of a model folder; raises DataError when it is missing, broken, or asks for its own code."""
    folder = Path(folder)
    path = folder / "config.json"
    if not folder.is_dir():
        raise DataError(f"'{folder}' is not a folder. A model is a folder with config.json and model.safetensors.")
    if not path.is_file():
        raise DataError("it has no config.json, so it is not a Hugging Face model folder.", file=folder)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"it is not JSON: {error}.", file=path) from None
    if not isinstance(config, dict) or "model_type" not in config:
        raise DataError("it has no 'model_type', so the architecture is unknown.", file=path)
    if "auto_map" in config:
        raise DataError(
            "the model brings its own Python code ('auto_map'), and code from a model folder is never run. "
            "Use an architecture that transformers has, or convert the checkpoint.",
            file=path,
        )
    return config


def open_tokenizer(folder: str | Path) -> Any:
    """Return the transformers tokenizer of a folder; raises DataError where there is none."""
    from transformers import AutoTokenizer  # 2 s to import

    folder = Path(folder)
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")):
        raise DataError(
            "it has no tokenizer (tokenizer.json is looked for first). Copy the tokenizer's files beside the weights.",
            file=folder,
        )
    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # whatever a foreign file makes the library raise, the folder is at fault
        raise DataError(f"its tokenizer does not open: {error}", file=folder) from error


def open_model(
    folder: str | Path,
    *,
    device: str = "auto",
    dtype: torch.dtype | str = torch.float32,
    architectures: Collection[Architecture] = ("decoder",),
    pairs: bool = False,
) -> Model:
    """Open a language model and its tokenizer from a folder, in evaluation mode.

    dtype: the type of the weights; float32 to train (master weights), "auto" for the file's own. architectures: those that will
    do; most uses need a decoder, which writes. pairs: with BERT's head that judges two segments, drawn anew where the folder has
    none. Where a folder `adapter` lies in it whose virtual tokens cannot be merged, the model has them; another adapter is merged
    already. Raises DataError naming what is missing, or what the folder holds instead.
    """
    folder = Path(folder)
    config = open_config(folder)
    if not any(folder.glob("*.safetensors")):
        pickled = sorted(p.name for p in folder.iterdir() if p.suffix in _PICKLED)
        found = (
            f" It has {', '.join(pickled)}, a pickle, which is never loaded: convert it to safetensors."
            if pickled
            else ""
        )
        raise DataError(f"it has no weights in safetensors (*.safetensors).{found}", file=folder)
    architecture = architecture_of(config)
    if architecture not in architectures:
        raise DataError(
            f"it is a model of the architecture '{architecture}' (model_type '{config['model_type']}'), and here "
            f"{' or '.join(repr(name) for name in architectures)} is needed.",
            file=folder,
        )
    tokenizer = open_tokenizer(folder)
    quiet_bars()
    try:
        module, found = auto_class(architecture, pairs=pairs).from_pretrained(
            str(folder),
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except Exception as error:  # whatever a foreign file makes the library raise, the folder is at fault
        kind = config["model_type"]
        raise DataError(f"it does not open as a language model (model_type '{kind}'): {error}", file=folder) from error
    # transformers draws what is missing at random, and the model would talk nonsense without a word
    missing = sorted(name for name in found["missing_keys"] if not (pairs and "seq_relationship" in name))
    if missing:
        raise DataError(
            f"its file has no weights for {', '.join(missing[:3])}{f' and {len(missing) - 3} more' if missing[3:] else ''}, so it "
            "is no language model, or not whole. A trunk without a vocabulary's head can be fine-tuned for tasks that have heads "
            "of their own (classification, tagging, question-answering).",
            file=folder,
        )
    return with_virtual_tokens(Model(module.eval(), tokenizer, device=pick_device(device)), folder)


def with_virtual_tokens(model: Model, folder: Path) -> Model:
    """Return a model with the virtual tokens that lie beside its weights in a folder, if there are any."""
    try:
        config = json.loads((folder / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return model
    if config.get("peft_type") not in VIRTUAL:
        return model
    from septet.nn.adapted import open_adapter  # peft takes 2 s, and few models need it

    return open_adapter(model, folder / "adapter")
