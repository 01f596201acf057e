"""Direct preference optimisation: make the preferred answer likelier than the other, measured against a reference model.

Rafailov et al. 2023 (https://arxiv.org/abs/2305.18290), equation 7. For a question x, a preferred answer w and another l:

    loss = -log sigmoid( beta * [ (log p(w|x) - log p_ref(w|x)) - (log p(l|x) - log p_ref(l|x)) ] )

log p(y|x) is the sum over the answer's tokens and the token that ends it. beta times a log-ratio is the implicit reward
(equation 5, without the term that depends on x alone and cancels). Where model and reference agree the loss is ln 2.

The reference is the model beneath the adapter, computed beside it in every step (so the first loss is ln 2 exactly), or
log-probabilities that were computed beforehand and stand in the rows.

What it is not: a reward model or sampling; the pairs are given.

    septet align --model chat --pairs pairs --objective '{kind: dpo, beta: 0.1}'
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor
from torch.nn.functional import logsigmoid

from septet.nn.model import Model
from septet.train.objective import Batch, State, Term
from septet.train.preference import Compared, PairObjective

__all__ = ["Dpo"]


class Dpo(PairObjective):
    """-log sigmoid of beta times the difference of the log-ratios, mean over pairs."""

    beta: float = Field(default=0.1, gt=0)
    """How strongly the model is held to its reference: higher keeps it closer."""

    def rewards(self, compared: Compared) -> tuple[Tensor, Tensor]:
        """Return beta * (log p - log p_ref) [P] of the preferred and of the other answers."""
        return (
            self.beta * (compared.chosen - compared.reference_chosen),
            self.beta * (compared.rejected - compared.reference_rejected),
        )

    def loss(self, batch: Batch, model: Model, state: State, **frozen: Model) -> dict[str, Term]:
        """Return {"dpo": sum of losses over pairs}, and to watch: "accuracy" (preferred has the higher reward), "margin"."""
        chosen_P, rejected_P = self.rewards(self.compare(batch, model))
        margin_P = chosen_P - rejected_P
        pairs = batch.weights["dpo"]
        return {
            "dpo": Term(-logsigmoid(margin_P).sum(), pairs),
            "accuracy": Term((margin_P.detach() > 0).float().sum(), pairs, minimised=False),
            "margin": Term(margin_P.detach().sum(), pairs, minimised=False),
        }
