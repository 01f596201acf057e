"""Look inside a causal language model: its tokens, their losses, what it expects next.

What it is not: an evaluation; one text tells little about a model.

    septet inspect liked "os.path.join returns"
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch

from septet.core.errors import DataError
from septet.nn.model import Model

__all__ = ["Candidate", "Look", "Seen", "look"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A token that might come next, with its probability."""

    id: int
    text: str
    probability: float


@dataclass(frozen=True, slots=True)
class Seen:
    """One token of the text. nll: -ln p(token | what is before it), in nats. expected: the model's favourite in its place."""

    id: int
    text: str
    nll: float | None
    expected: Candidate | None


@dataclass(frozen=True, slots=True)
class Look:
    """What a model saw in a text: its tokens, mean losses, and the candidates for the next token, likeliest first."""

    tokens: list[Seen]
    bits_per_token: float
    bits_per_byte: float
    following: list[Candidate]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@torch.no_grad()
def look(model: Model, text: str, *, top: int = 5) -> Look:
    """Return how a model reads a text. A document begins after the separator, so the first token has a loss too.

    Raises DataError for an empty text, or one longer than the model's context.
    """
    tokenizer = model.tokenizer
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if not ids:
        raise DataError("The text is empty; give at least one character to look at.")
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    whole = ids if start is None else [start, *ids]
    if len(whole) > model.context:
        raise DataError(f"The text has {len(whole)} tokens, and this model reads {model.context}; give a shorter one.")
    inputs = {"input_ids": torch.tensor([whole], device=model.device)}
    logp_TV = model.outputs(inputs).logits[0].float().log_softmax(-1)
    offset = len(whole) - len(ids)  # 1 where a separator stands before the text
    tokens = []
    for position, token in enumerate(ids):
        before = position + offset - 1  # the position that predicts this token
        if before < 0:
            tokens.append(Seen(token, tokenizer.decode([token]), None, None))
            continue
        favourite = _candidates(model, logp_TV[before], 1)[0]
        tokens.append(Seen(token, tokenizer.decode([token]), -float(logp_TV[before, token]), favourite))
    losses = [token.nll for token in tokens if token.nll is not None]
    bits = sum(losses) / math.log(2)
    return Look(
        tokens=tokens,
        bits_per_token=bits / max(1, len(losses)),
        bits_per_byte=bits / len(text.encode()),
        following=_candidates(model, logp_TV[-1], top),
    )


def _candidates(model: Model, logp_V: torch.Tensor, top: int) -> list[Candidate]:
    values, ids = logp_V.topk(min(top, logp_V.numel()))
    return [
        Candidate(int(id), model.tokenizer.decode([int(id)]), math.exp(float(value)))
        for value, id in zip(values, ids, strict=True)
    ]
