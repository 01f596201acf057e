"""A model with a head for a task in place of the vocabulary's: one class for each text, from transformers' own classes.

All families have one; what it reads is the first token of an encoder, the last of a decoder and of XLNet, and the token that ends
the text of an encoder-decoder. A head that the folder lacks is drawn anew.

What it is not: a head of our own. The folder that `Model.save` writes is opened by plain transformers.

    python -m pytest tests/train/test_classification.py
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from septet.core.errors import DataError
from septet.nn.load import open_config, open_tokenizer, with_virtual_tokens
from septet.nn.model import Model, quiet_bars

__all__ = ["classifier_config", "open_classifier"]


def classifier_config(config: Any, labels: Sequence[str], tokenizer: Any) -> Any:
    """Return the configuration with these labels; index = place in the list. Needs two or more different ones."""
    if len(set(labels)) < 2 or len(set(labels)) != len(labels):
        raise DataError(f"a classifier needs two or more different labels; got {list(labels)}.")
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: number for number, label in enumerate(labels)}
    config.problem_type = "single_label_classification"
    config.pad_token_id = tokenizer.pad_token_id
    return config


def open_classifier(folder: str | Path, labels: Sequence[str], *, device: str = "cpu", anew: bool = False) -> Model:
    """Open a model folder with a head for these labels, float32, in evaluation mode.

    anew: draw all weights, and take only the sizes from the folder (what pre-training is compared with). Raises DataError as
    `open_model` does.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification  # 2 s to import

    open_config(folder)
    tokenizer = open_tokenizer(folder)
    if tokenizer.pad_token_id is None:
        # as decoders without one are fine-tuned usually; what is read is then the last token before it
        tokenizer.pad_token = tokenizer.eos_token
    config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    config = classifier_config(config, labels, tokenizer)
    quiet_bars()
    if anew:
        module = AutoModelForSequenceClassification.from_config(config)
    else:
        try:
            module = AutoModelForSequenceClassification.from_pretrained(
                str(folder), config=config, dtype="float32", local_files_only=True, use_safetensors=True
            )
        except Exception as error:  # whatever a foreign file makes the library raise, the folder is at fault
            raise DataError(f"it does not open with a head for classes: {error}", file=Path(folder)) from error
    return with_virtual_tokens(Model(module.eval(), tokenizer, device=device), Path(folder))
