"""Adapters on a model: which task it does, which of its parameters are a new head, and adapters as files in peft's layout.

    model = open_adapter(open_model("base"), "base/adapter")

An adapter's folder is `adapter_config.json` and `adapter_model.safetensors`, as peft writes them, whoever wrote it. The file of the
weights records which base it was made for (the key `base` of its metadata, which peft leaves alone): a digest of names and first
values of the base's parameters, so that an adapter is not put on another model of the same shape.

Several adapters stand on one base (`open_adapters`), which is in memory once; one of them or none is worn at a time:

    adapters = open_adapters(model, {"legal": "a/adapter", "friendly": "b/adapter"})
    with adapters.worn("legal"): ...

What it is not: training. `septet.train.adapter` says what learns.

    python -m pytest tests/train/test_adapters.py tests/train/test_adapters_soft.py
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from septet.core.artifact import write_json
from septet.core.errors import ComponentError, DataError, nearest
from septet.nn.architecture import architecture_of
from septet.nn.load import VIRTUAL
from septet.nn.model import Model
from septet.nn.quantised import peft
from septet.nn.soft import Encoded, Prefix, Prompt, Soft, Vectors, places_of

__all__ = [
    "Adapters",
    "fingerprint",
    "head_of",
    "head_parameters",
    "open_adapter",
    "open_adapters",
    "task_type",
    "write_adapter",
]

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

_TASKS = {
    "ForSequenceClassification": "SEQ_CLS",
    "ForTokenClassification": "TOKEN_CLS",
    "ForQuestionAnswering": "QUESTION_ANS",
    "ForQuestionAnsweringSimple": "QUESTION_ANS",
    "ForConditionalGeneration": "SEQ_2_SEQ_LM",
    "ForCausalLM": "CAUSAL_LM",
    "LMHeadModel": "CAUSAL_LM",
}
_HEADED = frozenset({"SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS"})


def task_type(base: nn.Module) -> str | None:
    """Return peft's name of what a transformers module does (SEQ_CLS, CAUSAL_LM, ...); None for a masked language model."""
    return next((task for end, task in _TASKS.items() if type(base).__name__.endswith(end)), None)


def head_of(base: Any) -> list[str]:
    """Return the names of the modules that are a head for a task; they always learn. Empty for a language model.

    That is all beside the trunk, and the trunk's pooler where there is one: pre-training seldom had it.
    """
    if task_type(base) not in _HEADED:
        return []
    from transformers import PreTrainedModel

    trunk = base.base_model
    found = [
        name
        for name, part in base.named_children()
        # T5 for answers has its stacks and embeddings beside the head, and no trunk
        if not isinstance(part, PreTrainedModel | nn.Embedding) and any(True for _ in part.parameters())
    ]
    if getattr(trunk, "pooler", None) is not None:
        found.append("pooler")
    return found


def head_parameters(base: Any) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the parameters of a head for a task, by name."""
    heads = head_of(base)
    for name, parameter in base.named_parameters():
        parts = name.split(".")
        if parts[0] in heads or ("pooler" in heads and "pooler" in parts):
            yield name, parameter


def fingerprint(base: Any) -> str:
    """Return what tells a base from another one: a digest of its trunk's parameters' names and first values (in bfloat16).

    Heads do not count, nor do rows that were added to the vocabulary. Call it before anything is attached.
    """
    total = hashlib.sha256()
    trunk = base.base_model
    for name, parameter in trunk.named_parameters():
        if parameter.is_meta:  # sizes without values, as forecasts have them
            continue
        if not name.startswith(("lm_head", "pooler")):
            values = parameter.detach().flatten()[:16].to("cpu", torch.bfloat16).view(torch.int16)
            total.update(name.encode() + b"\0" + values.numpy().tobytes())
    return total.hexdigest()


# -- writing -------------------------------------------------------------------------------------------------------------


def write_adapter(model: Model, folder: Path) -> None:
    """Write the adapter of a model below `folder`; equal adapters give equal bytes."""
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    library, module = peft(), cast(Any, model.module)
    if isinstance(module, Soft):
        config, tensors = _soft_files(module)
    else:
        config = module.peft_config["default"].to_dict()
        tensors = library.get_peft_model_state_dict(module, save_embedding_layers=False)
    # the base is named by the artifact's manifest; a path of the machine that trained it would be of no use elsewhere, and
    # would make equal adapters differ. Some entries are sets in peft, whose order changes from process to process.
    config |= {"base_model_name_or_path": None, "inference_mode": True}
    for name, value in config.items():
        if isinstance(value, set | list) and all(isinstance(item, str) for item in value):
            config[name] = sorted(set(value))
    write_json(folder / CONFIG, {name: getattr(value, "value", value) for name, value in config.items()})
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}
    whole = save(kept, metadata={"format": "pt", "base": str(module.base_fingerprint)})
    # a file of safetensors begins with the length of its header, and metadata has another order in it each time
    size = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + size])
    ordered = json.dumps(
        {"__metadata__": dict(sorted(header.pop("__metadata__").items())), **header}, separators=(",", ":")
    )
    (folder / WEIGHTS).write_bytes(whole[:8] + ordered.encode().ljust(size) + whole[8 + size :])


def _soft_files(module: Soft) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return peft's configuration and tensors for virtual tokens."""
    library, base = peft(), module.get_base_model()
    with torch.no_grad():
        vectors = module.vectors()
    task = task_type(base)
    common = {
        "task_type": task,
        "num_virtual_tokens": module.tokens,
        "modules_to_save": head_of(base) or None,
        "num_transformer_submodules": 1,
        "num_layers": int(base.config.num_hidden_layers),
    }
    if isinstance(module, Prefix):
        vectors = module.places.laid_out(vectors)
        common |= {
            "num_transformer_submodules": 2 if task == "SEQ_2_SEQ_LM" else 1,
            "num_layers": vectors.shape[1] // (2 * module.heads * module.width),
            "num_attention_heads": module.heads,
            "token_dim": module.heads * module.width,
            "encoder_hidden_size": module.heads * module.width,
        }
        made = library.PrefixTuningConfig(**common)
    else:
        common |= {"token_dim": vectors.shape[1], "num_attention_heads": int(base.config.num_attention_heads)}
        if isinstance(module.vectors, Encoded):
            how = {
                "encoder_reparameterization_type": module.vectors.network.upper(),
                "encoder_hidden_size": module.vectors.width,
            }
            made = library.PromptEncoderConfig(**common, **how)
        else:
            made = library.PromptTuningConfig(**common)
    heads = {f"base_model.{name}": parameter for name, parameter in head_parameters(base)}
    return made.to_dict(), {"prompt_embeddings": vectors, **heads}


# -- reading -------------------------------------------------------------------------------------------------------------


def open_adapter(model: Model, folder: str | Path) -> Model:
    """Return the model with the adapter of a folder, ours or peft's, without gradients and in evaluation mode.

    Raises DataError where the folder holds no adapter that can be read, or one that was made for another base.
    """
    folder = Path(folder)
    base = model.base
    own = fingerprint(base)
    config, tensors = _read_for(own, folder)
    kind = config.get("peft_type")
    module: Any = (
        _open_soft(base, config, tensors, folder) if kind in VIRTUAL else _open_peft(base, config, tensors, folder)
    )
    module.base_fingerprint = own
    module.requires_grad_(False)
    return Model(module.eval().to(model.device), model.tokenizer)


class Adapters:
    """Several adapters on one model, of which one or none is worn. See `open_adapters`."""

    def __init__(self, module: Any, names: Mapping[str, str]) -> None:
        self._module, self._names = module, dict(names)
        self._worn: str | None = None

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    @contextmanager
    def worn(self, name: str | None) -> Iterator[None]:
        """Within, the model computes with this adapter; None: as its base. For one thread at a time.

        Raises ComponentError for an unknown name.
        """
        if name is None:
            with self._module.disable_adapter():
                yield
            return
        if name not in self._names:
            raise ComponentError(f"there is no adapter '{name}'; there are: {', '.join(self)}.{nearest(name, self)}")
        if name != self._worn:
            self._module.set_adapter(self._names[name], inference_mode=True)
            self._worn = name
        yield


def open_adapters(model: Model, folders: Mapping[str, str | Path]) -> Adapters:
    """Put the adapters of these folders, ours or peft's, on the model, in place; none of them is worn yet.

    Raises DataError where a folder holds no adapter that can be read, one that was made for another base, or virtual tokens.
    """
    own = fingerprint(model.base)
    module, names = None, {}
    for number, (name, folder) in enumerate(folders.items()):
        config, tensors = _read_for(own, Path(folder))
        if config.get("peft_type") in VIRTUAL:
            raise DataError(
                "virtual tokens stand before the whole model, so they cannot be switched with other adapters; "
                "open this model by itself.",
                file=folder,
            )
        names[name] = f"adapter_{number}"  # a module's name has no dots
        module = _open_peft(model.base, config, tensors, Path(folder), name=names[name], onto=module)
    assert module is not None, "no adapters were named"
    module.requires_grad_(False)
    module.eval().to(model.device)
    return Adapters(module, names)


def _read_for(own: str, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return configuration and weights of an adapter. Raises DataError where it was made for another base than `own`."""
    config, tensors, made_for = _read(folder)
    if made_for is not None and made_for != own:
        raise DataError(
            f"the adapter was made for another base (it has the fingerprint {made_for[:12]}, this model {own[:12]}). "
            "Open it with the model that it was trained on.",
            file=folder,
        )
    return config, tensors


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor], str | None]:
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            pickled = (
                " Its weights are a pickle, which is never loaded." if (folder / "adapter_model.bin").is_file() else ""
            )
            raise DataError(f"it has no {name}, so it is no adapter in peft's layout.{pickled}", file=folder)
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        with safe_open(folder / WEIGHTS, "pt") as file:
            made_for = (file.metadata() or {}).get("base")
        tensors = load_file(folder / WEIGHTS)
    except (ValueError, SafetensorError) as error:
        raise DataError(f"the adapter cannot be read: {error}.", file=folder) from None
    return config, tensors, made_for


def _open_soft(base: Any, config: Mapping[str, Any], tensors: dict[str, Tensor], folder: Path) -> Soft:
    vectors = tensors.pop("prompt_embeddings", None)
    if vectors is None or vectors.ndim != 2:
        raise DataError("it has no prompt_embeddings [tokens, size].", file=folder / WEIGHTS)
    tokens = int(config["num_virtual_tokens"])
    if config["peft_type"] == "PREFIX_TUNING":
        ids = torch.zeros(tokens, dtype=torch.int64, device=next(base.parameters()).device)
        module = _prefix_of(base, vectors, tokens, ids, folder)
    else:
        _same_shape(
            "prompt_embeddings", vectors[:tokens], (tokens, base.get_input_embeddings().weight.shape[1]), folder
        )
        module = Prompt(base, Vectors(vectors[:tokens]), tokens)
    own = dict(head_parameters(base))
    for name, tensor in tensors.items():
        place = name.removeprefix("base_model.")
        if place not in own:
            raise DataError(f"it has weights '{name}', and this model has no head of that name.", file=folder / WEIGHTS)
        _same_shape(name, tensor, tuple(own[place].shape), folder)
        with torch.no_grad():
            own[place].copy_(tensor)
    return module


def _prefix_of(base: Any, vectors: Tensor, tokens: int, ids: Tensor, folder: Path) -> Prefix:
    places = places_of(base, ids, both=architecture_of(base.config) == "encoder-decoder")
    heads, _, width = places.sites[0].keys.shape
    pairs = 2 * places.most or len(places.sites)
    _same_shape("prompt_embeddings", vectors, (tokens, pairs * 2 * heads * width), folder)
    if places.most and not vectors.view(tokens, pairs, -1)[:, 1::2].any():
        places = replace(places, sites=places.sites[: places.decoder])
    return Prefix(base, Vectors(places.taken_back(vectors)), tokens, places)


def _same_shape(name: str, tensor: Tensor, wanted: tuple[int, ...], folder: Path) -> None:
    if tuple(tensor.shape) != wanted:
        raise DataError(
            f"the adapter was made for another base: '{name}' has the shape {list(tensor.shape)}, and this model needs "
            f"{list(wanted)}.",
            file=folder / WEIGHTS,
        )


def _open_peft(
    base: Any,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    folder: Path,
    *,
    name: str = "default",
    onto: Any = None,
) -> Any:
    """Return the base with an adapter, called `name`; or `onto`, the base with others, with this one too."""
    library, module = peft(), onto
    try:
        made = library.PeftConfig.from_peft_type(**{**config, "inference_mode": True})
        if module is None:
            module = library.get_peft_model(base, made, adapter_name=name)
        else:
            module.add_adapter(name, made)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"peft cannot put the adapter on this model: {error}.", file=folder / CONFIG) from error
    own = library.get_peft_model_state_dict(module, adapter_name=name, save_embedding_layers=False)
    for place in sorted({*own, *tensors}):
        if place not in own:
            raise DataError(
                f"the adapter was made for another base: this model has no place for '{place}'.", file=folder
            )
        if place not in tensors:
            raise DataError(f"the adapter was made for another base: it has no weights '{place}'.", file=folder)
        _same_shape(place, tensors[place], tuple(own[place].shape), folder)
    library.set_peft_model_state_dict(module, dict(tensors), adapter_name=name)
    return module
