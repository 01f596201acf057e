"""Spans: where an answer begins and where it ends, in windows of a passage.

Loss = (1 / 2) sum over windows of -log softmax(start)[first token] - log softmax(end)[last token], divided by the number of windows
(Devlin et al. 2018, arXiv:1810.04805, section 4.2). The softmax is over the tokens of the window, question and special tokens too;
padding, which BERT's own code leaves in, is out of it: the loss of a window must not depend on its neighbours in the batch.

What it is not: a joint probability of both ends.

    python -m pytest tests/train/test_spans.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from septet.infer.inputs import Encoded, place_of
from septet.train.headed import HeadObjective
from septet.train.objective import Batch, State, Term

if TYPE_CHECKING:
    from torch import Tensor

    from septet.nn.model import Model

__all__ = ["Spans"]


class Spans(HeadObjective):
    """Mean negative log-likelihood of an answer's two ends, in nats an end."""

    def targets(self, rows: Sequence[Encoded]) -> tuple[Tensor, dict[str, float]]:
        """Return the places of the first and the last token, int64 [B, 2]."""
        import torch  # 1.5 s, and a recipe with an objective in it is parsed without

        length, left = max(len(row) for row in rows), self.pad_side == "left"
        moved = [[place_of(row, length, left).start + place for place in row.target] for row in rows]
        return torch.tensor(moved), {"nll": float(len(rows))}

    def loss(self, batch: Batch, model: Model, state: State, **frozen: Model) -> dict[str, Term]:
        """Return {"nll": half the sum of -log p of both ends}, and how many windows have both right, which is only watched."""
        import torch

        assert batch.labels is not None
        outputs = model.module(**batch.inputs)
        logits_B2T = torch.stack([outputs.start_logits, outputs.end_logits], dim=1).float()
        logits_B2T = logits_B2T.masked_fill(batch.inputs["attention_mask"][:, None] == 0, -torch.inf)
        nll = torch.nn.functional.cross_entropy(logits_B2T.flatten(0, 1), batch.labels.flatten(), reduction="sum") / 2
        right = (logits_B2T.detach().argmax(dim=-1) == batch.labels).all(dim=-1).sum().float()
        weight = batch.weights["nll"]
        return {"nll": Term(nll, weight), "accuracy": Term(right, weight, minimised=False)}
