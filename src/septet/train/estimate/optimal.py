"""The best model for a budget of arithmetic: how many parameters, how many tokens.

L(N, D) = E + A / N^alpha + B / D^beta (Hoffmann et al. 2022, arXiv:2203.15556, approach 3), with the constants that Besiroglu et
al. 2024 (arXiv:2404.10102) found in the same data, which the published ones do not fit. With C = 6 N D the least loss is at
N = G (C / 6)^(beta / (alpha + beta)), D = C / (6 N), G = (alpha A / (beta B))^(1 / (alpha + beta)) (Hoffmann et al., equation 4).

What it is not: a promise below 40 M parameters; the runs behind it had 44 M to 16 B. Our derived lengths are shorter, since
small corpora repeat (`septet.steps.pretrain`).

    python -m pytest tests/train/test_estimate.py
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Optimum", "by_loss", "by_rule", "loss"]

E, A, B, ALPHA, BETA = 1.8172, 482.01, 2085.43, 0.3478, 0.3658
TOKENS_PER_PARAMETER = 20


@dataclass(frozen=True, slots=True)
class Optimum:
    """parameters: that multiply (N of 6 N D). tokens: trained on. loss: nats a token of the paper's data and vocabulary."""

    parameters: float
    tokens: float
    loss: float


def loss(parameters: float, tokens: float) -> float:
    """Return the predicted loss, in nats a token."""
    return E + A / parameters**ALPHA + B / tokens**BETA


def by_loss(flops: float) -> Optimum:
    """Return the minimum of the parametric loss on C = 6 N D."""
    scale = (ALPHA * A / (BETA * B)) ** (1 / (ALPHA + BETA))
    parameters = scale * (flops / 6) ** (BETA / (ALPHA + BETA))
    tokens = flops / (6 * parameters)
    return Optimum(parameters, tokens, loss(parameters, tokens))


def by_rule(flops: float) -> Optimum:
    """Return the model of 20 tokens a parameter: N = sqrt(C / 120)."""
    parameters = (flops / (6 * TOKENS_PER_PARAMETER)) ** 0.5
    tokens = TOKENS_PER_PARAMETER * parameters
    return Optimum(parameters, tokens, loss(parameters, tokens))
