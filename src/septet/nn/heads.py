"""A model with a head for a task in place of the vocabulary's, from transformers' own classes: a class for each text, a class for
each token, where an answer begins and ends, or no head at all.

What a head for texts reads is the first token of an encoder, the last of a decoder and of XLNet, and the token that ends the text
of an encoder-decoder. A head that the folder lacks is drawn anew.

What it is not: a head of our own. The folder that `Model.save` writes is opened by plain transformers.

    python -m pytest tests/train/test_classification.py
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from septet.core.errors import DataError
from septet.nn.device import pick_device
from septet.nn.load import open_config, open_tokenizer, with_virtual_tokens
from septet.nn.model import Model, quiet_bars
from septet.nn.unpadded import unpad

__all__ = ["Head", "expect", "first_logits", "open_with_head"]

Head = Literal["classes", "multi-label", "value", "tokens", "span", "none"]
"""One class for each text, any number of classes, one number; a class for each token; the two ends of an answer; none: the trunk
alone, whose hidden states are what is wanted."""

_AUTO = {
    "tokens": "AutoModelForTokenClassification",
    "span": "AutoModelForQuestionAnswering",
    "none": "AutoModel",
}
_UNLABELLED = ("span", "none")
_PROBLEMS = {
    "classes": "single_label_classification",
    "multi-label": "multi_label_classification",
    "value": "regression",
}


def open_with_head(
    folder: str | Path,
    head: Head,
    labels: Sequence[str] = (),
    *,
    device: str = "cpu",
    anew: bool = False,
    seed: int = 0,
) -> Model:
    """Open a model folder with a head, float32, in evaluation mode.

    labels: index = place in the list; none: those of the folder. anew: draw all weights, and take only the sizes from the folder
    (what pre-training is compared with). seed: of what is drawn. Raises DataError as `open_model` does.
    """
    import transformers  # 2 s to import

    content = open_config(folder)
    tokenizer = open_tokenizer(folder)
    if tokenizer.pad_token_id is None:
        # as decoders without one are fine-tuned usually; what is read is then the last token before it
        tokenizer.pad_token = tokenizer.eos_token
    config = transformers.AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    _prepare(config, head, list(labels), tokenizer, Path(folder))
    auto = getattr(transformers, _AUTO.get(head, "AutoModelForSequenceClassification"))
    if type(config) not in auto._model_mapping:
        raise DataError(
            f"transformers has no model of the type '{content['model_type']}' with a head for {head}. "
            f"Take another family for this task; `septet families` lists them.",
            file=Path(folder),
        )
    # BERT's pooler is a head too, which would be drawn anew and learn nothing
    made = inspect.signature(auto._model_mapping[type(config)].__init__).parameters
    bare = {"add_pooling_layer": False} if head == "none" and "add_pooling_layer" in made else {}
    quiet_bars()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if anew:
            module = auto.from_config(config, **bare)
            drawn = {name for name, _ in module.named_parameters()}
        else:
            try:
                module, info = auto.from_pretrained(
                    str(folder), config=config, dtype="float32", local_files_only=True, use_safetensors=True,
                    output_loading_info=True, **bare,
                )  # fmt: skip
                drawn = set(info["missing_keys"])
            except Exception as error:  # whatever a foreign file makes the library raise, the folder is at fault
                raise DataError(f"it does not open with a head for {head}: {error}", file=Path(folder)) from error
    unpad(module)
    model = with_virtual_tokens(Model(module.eval(), tokenizer, device=pick_device(device)), Path(folder))
    model.drawn = frozenset(drawn)
    return model


def expect(model: Model, logits_C: torch.Tensor) -> bool:
    """Set the bias of a head that was drawn anew, so that what it says first of any text is about this; float [C].

    Rare labels would otherwise be learned by pushing all texts to one place first (Lin et al. 2017, https://arxiv.org/abs/1708.02002,
    section 3.3). Returns False for a head that has learned already, and where there is no bias (GPT-2, Llama, Falcon).
    """
    named = [(name, p) for name, p in model.base.named_parameters() if name in model.drawn and name.endswith("bias")]
    fitting = [p for _, p in named if p.shape == logits_C.shape]
    if not fitting:
        return False
    with torch.no_grad():
        fitting[-1].copy_(logits_C)
    return True


def _prepare(config: Any, head: Head, labels: list[str], tokenizer: Any, folder: Path) -> None:
    if head == "value":
        labels = ["value"]
    elif head not in _UNLABELLED:
        labels = labels or [config.id2label[number] for number in sorted(config.id2label)]
        if len(set(labels)) != len(labels) or len(labels) < (1 if head == "multi-label" else 2):
            raise DataError(f"a head for {head} needs two or more different labels; got {labels}.", file=folder)
    if head not in _UNLABELLED:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: number for number, label in enumerate(labels)}
    if head in _PROBLEMS:
        config.problem_type = _PROBLEMS[head]
    config.pad_token_id = tokenizer.pad_token_id


def first_logits(outputs: Any) -> torch.Tensor:
    """Return the logits of any head's outputs, float32; of a span those of its beginning; without a head the hidden states."""
    found = next(name for name in ("logits", "start_logits", "last_hidden_state") if hasattr(outputs, name))
    return getattr(outputs, found).float()
