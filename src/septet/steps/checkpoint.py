"""checkpoint: takes a Hugging Face model folder from this machine into the store, as a model like any other.

It must open as a language model (a decoder, an encoder with a head for masked words, XLNet, an encoder-decoder), from safetensors,
without code of its own. Chat tokens that a decoder's tokenizer lacks are added, each beginning as the mean of the embeddings that
are there; the weights are otherwise unchanged.

What it is not: a download. Fetch the folder first.

    septet checkpoint --folder ~/models/SmolLM2-135M
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from septet.core.artifact import Artifact, Fact
from septet.core.component import InputPath
from septet.core.errors import DataError
from septet.core.step import Step, Work
from septet.data.special import ASSISTANT, END, PAD, SYSTEM, USER

if TYPE_CHECKING:
    from septet.nn.model import Model

__all__ = ["Checkpoint"]


class Checkpoint(Step):
    """Take a local Hugging Face checkpoint into the store."""

    produces: ClassVar[str] = "model"

    folder: InputPath
    """A folder with config.json, *.safetensors and the tokenizer's files."""
    chat_tokens: bool = True
    """Add the chat tokens that the tokenizer lacks; to decoders only, since others do not chat."""

    def run(self, work: Work, **inputs: Artifact) -> dict[str, Fact]:
        """Errors: DataError naming what the folder lacks, or that it does not open as a language model."""
        from septet.nn.architecture import ARCHITECTURES
        from septet.nn.load import open_model

        model = open_model(self.folder, device="cpu", dtype="auto", architectures=ARCHITECTURES)
        writes = model.architecture == "decoder"
        if writes and model.tokenizer.eos_token_id is None:
            raise DataError(
                "its tokenizer has no end-of-text token (eos_token), so no text would ever end.", file=self.folder
            )
        added = add_tokens(model) if self.chat_tokens and writes else []
        if added:
            work.log(
                f"The tokenizer lacked {', '.join(added)}; added, each beginning as the mean of the embeddings. "
                "They mean nothing to the model until it is fine-tuned."
            )
        model.save(work.out)
        return {
            "parameters": model.num_parameters(),
            "architecture": model.architecture,
            "model_type": model.config.model_type,
            "vocabulary": len(model.tokenizer),
            "context": model.context,
            "dtype": str(next(model.module.parameters()).dtype).removeprefix("torch."),
            "added_tokens": added,
        }


def add_tokens(model: Model) -> list[str]:
    """Add the chat tokens, and a padding token, that are missing; returns their names.

    New rows of the embeddings, and of an untied head, are the mean of the old ones (Hewitt 2021,
    https://nlp.stanford.edu/~johnhew/vocab-expansion.html): the old tokens lose almost no probability to them.
    """
    import torch  # 1.5 s; the command line does without

    tokenizer = model.tokenizer
    known = tokenizer.get_vocab()
    missing = [token for token in (SYSTEM, USER, ASSISTANT, END) if token not in known]
    pad = [] if tokenizer.pad_token_id is not None else [PAD]
    if not missing and not pad:
        return []
    old = len(tokenizer)
    if missing:
        tokenizer.add_tokens(missing, special_tokens=True)
    if pad:
        tokenizer.add_special_tokens({"pad_token": PAD})
        model.config.pad_token_id = tokenizer.pad_token_id
    base = model.base
    if len(tokenizer) > base.get_input_embeddings().weight.shape[0]:
        base.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    tables = [base.get_input_embeddings().weight]
    head = base.get_output_embeddings().weight
    if head is not tables[0]:
        tables.append(head)
    with torch.no_grad():
        for table in tables:
            # some vocabularies are padded with unused rows; new tokens may fall there
            table[old : len(tokenizer)] = table[:old].float().mean(dim=0).to(table.dtype)
    return [token for token in (*missing, *pad) if tokenizer.convert_tokens_to_ids(token) >= old]
