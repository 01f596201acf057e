"""resize: gives a model a wider vocabulary: its tokenizer extended by new tokens, each beginning as the mean of its pieces.

The row of a new token, in the embeddings and in an untied head, is the mean of the rows of the pieces that the old tokenizer makes
of it (Gee et al. 2022, "Fast Vocabulary Transfer", section 3.2). Rows of old tokens are not touched, so what the model says of old
tokens, relative to each other, is what it was.

What it is not: training. What the new tokens mean beyond their pieces is learnt afterwards.

    septet tokenizer --extend vocab --add "<tool>" --name wider
    septet resize --model base --tokenizer wider
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from septet.core.artifact import Artifact, Fact
from septet.core.component import ModelRef, TokenizerRef
from septet.core.errors import DataError
from septet.core.step import Step, Work

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Resize", "pieces_of_new", "widen"]


class Resize(Step):
    """Give a model the tokenizer that extends its own."""

    produces: ClassVar[str] = "model"

    model: ModelRef
    """The model that is widened."""
    tokenizer: TokenizerRef
    """Its tokenizer with new tokens: made by `tokenizer --extend`."""

    def run(self, work: Work, **inputs: Artifact) -> dict[str, Fact]:
        """Errors: DataError where the tokenizer is not the model's own with new tokens at its end."""
        from septet.nn.load import open_model, open_tokenizer

        model = open_model(inputs["model"].path, device="cpu", dtype="auto")
        wider = open_tokenizer(inputs["tokenizer"].path)
        pieces = pieces_of_new(model.tokenizer, wider)
        if not pieces:
            work.log("The tokenizer has no token that the model lacks; the model is unchanged.")
        widen(model.base, pieces)
        wider.chat_template = wider.chat_template or model.tokenizer.chat_template
        model.tokenizer = wider
        model.save(work.out)
        return {
            "parameters": model.num_parameters(),
            "vocabulary": len(wider),
            "new_tokens": len(pieces),
            "context": model.context,
        }


def pieces_of_new(old: Any, new: Any) -> dict[int, list[int]]:
    """id of each new token -> the ids that the old tokenizer makes of it.

    Errors: DataError naming the first old token that has another id in the new tokenizer, or is missing there.
    """
    before, after = old.get_vocab(), new.get_vocab()
    for token, number in sorted(before.items(), key=lambda item: item[1]):
        if after.get(token) != number:
            raise DataError(
                f"the token {token!r} has the id {number} in the model's tokenizer and {after.get(token)} in the new one. Expected "
                "is the model's own tokenizer with new tokens at its end (tokenizer: extend)."
            )
    added = {number: token.content for number, token in new.added_tokens_decoder.items()}
    backend = old.backend_tokenizer
    continued = (
        getattr(backend.model, "continuing_subword_prefix", None) if "WordPiece" in repr(backend.model) else None
    )
    found: dict[int, list[int]] = {}
    for token, number in after.items():
        if token in before:
            continue
        if number in added:
            pieces = old(token, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        else:
            # as the model sees it: already normalised, and over bytes in their names
            pieces = [piece.id for piece in backend.model.tokenize(token.removeprefix(continued or ""))]
        found[number] = pieces
    return dict(sorted(found.items()))


def widen(module: Any, pieces: dict[int, list[int]]) -> None:
    """Enlarge the embeddings and the head of a transformers module; row i of a new token is the mean of the rows of its pieces.

    A token without pieces begins as the mean of all old rows. The mean is taken in float32.
    """
    import torch  # 1.5 s; the command line does without

    if not pieces:
        return
    first = min(pieces)
    if max(pieces) >= module.get_input_embeddings().weight.shape[0]:
        module.resize_token_embeddings(max(pieces) + 1, mean_resizing=False)
    head = module.get_output_embeddings()
    tables: list[Tensor] = [module.get_input_embeddings().weight]
    if head is not None and head.weight is not tables[0]:
        tables.append(head.weight)
    if head is not None and getattr(head, "bias", None) is not None:
        tables.append(head.bias)
    with torch.no_grad():
        for table in tables:
            old = table[:first].float()
            for number, rows in pieces.items():
                table[number] = (old[rows] if rows else old).mean(dim=0).to(table.dtype)
