"""Two segments of text in one sequence, and a judgement of them: what next-sentence prediction and sentence order share.

A sequence is [CLS] A [SEP] B [SEP], its token types 0 for A and its tokens, 1 for B and the last [SEP] (Devlin et al. 2019,
https://arxiv.org/abs/1810.04805, section 3.1 and appendix A.2). Tokens are hidden in both, and the loss is the sum of two means: of
the hidden tokens, and of the judgements.

What it is not: an objective; those are in `septet.train.objectives`.

    python -m pytest tests/train/test_segments.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from septet.data.packing import IGNORE
from septet.data.surface import Surface, special, surface
from septet.train.masking import Unit, choose, encoder_inputs, hide
from septet.train.objective import Batch, Term

if TYPE_CHECKING:
    from numpy.random import Generator

    from septet.nn.model import Model

__all__ = ["Segments", "judged_loss", "segment_batch", "split", "trimmed"]


@dataclass(frozen=True, slots=True)
class Segments:
    """A and B, int [T]; label: the class of the pair, or -100 where there is nothing to judge; rng: what draws its masks."""

    a: np.ndarray
    b: np.ndarray
    label: int
    rng: Generator


def split(text: np.ndarray, table: Surface, rng: Generator) -> int:
    """Return where the second part of a text begins: the start of a sentence, drawn at random, else the middle; 0 for one token."""
    places = table.sentences(text)
    return int(rng.choice(places)) if len(places) else len(text) // 2


def trimmed(a: np.ndarray, b: np.ndarray, most: int, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """Cut the longer of two segments, token by token, until both have `most` together; each goes from an end drawn at random."""
    sizes = [len(a), len(b)]
    left = [0, 0]
    while sum(sizes) > most:
        longer = int(sizes[1] >= sizes[0])
        sizes[longer] -= 1
        left[longer] += int(rng.random() < 0.5)
    return a[left[0] : left[0] + sizes[0]], b[left[1] : left[1] + sizes[1]]


def segment_batch(
    pairs: Sequence[Segments], room: int, tokenizer: Any, *, share: float, unit: Unit, term: str, objective: str
) -> Batch:
    """Hide tokens, put the special tokens around, and lay the sequences out in rows [B, T].

    extra: `judged` int64 [B, T], the class of a pair at its [CLS], -100 elsewhere.
    """
    cls, sep, mask = (special(tokenizer, role, families="bert", objective=objective) for role in ("cls", "sep", "mask"))
    table = surface(tokenizer)
    replaced = (0.8, 0.1, 0.1)
    ids, labels, types, judged = [], [], [], []
    for pair in pairs:
        text = np.concatenate([pair.a, pair.b])
        hidden, label = hide(
            text, choose(text, share, unit, table, pair.rng), replaced, mask=mask, surface=table, rng=pair.rng
        )
        cut = len(pair.a)
        second = [sep] if len(pair.b) else []
        none = [IGNORE] * len(second)
        ids.append(np.concatenate([[cls], hidden[:cut], [sep], hidden[cut:], second]).astype(np.int64))
        labels.append(np.concatenate([[IGNORE], label[:cut], [IGNORE], label[cut:], none]).astype(np.int64))
        types.append(np.repeat([0, 1], [cut + 2, len(pair.b) + len(second)]))
        judged.append(np.concatenate([[pair.label], np.full(len(ids[-1]) - 1, IGNORE)]))
    inputs, (targets, token_types, classes) = encoder_inputs(
        ids, room, pad=tokenizer.pad_token_id, more=[(labels, IGNORE), (types, 0), (judged, IGNORE)]
    )
    return Batch(
        inputs={**inputs, "token_type_ids": token_types},
        labels=targets,
        weights={"nll": float((targets != IGNORE).sum()), term: float((classes != IGNORE).sum())},
        tokens=sum(len(line) for line in ids),
        extra={"judged": classes},
    )


def judged_loss(batch: Batch, model: Model, term: str) -> dict[str, Term]:
    """Return the terms "nll" (hidden tokens) and `term` (pairs), in nats, and the watched share of right judgements."""
    import torch

    assert batch.labels is not None
    hidden = model.outputs(batch.inputs).hidden
    taken, at = batch.labels != IGNORE, batch.extra["judged"] != IGNORE
    classes = batch.extra["judged"][at]
    logits = model.pair_logits(hidden[at])
    right = (logits.detach().argmax(dim=1) == classes).float().sum()
    return {
        "nll": Term(model.nll_of(hidden[taken], batch.labels[taken]), batch.weights["nll"]),
        term: Term(torch.nn.functional.cross_entropy(logits, classes, reduction="sum"), batch.weights[term]),
        f"{term}_accuracy": Term(right, batch.weights[term], minimised=False),
    }
