"""From log-likelihoods of labels to probabilities, without what the prompt prefers before it has read anything.

    p_l  = softmax_l(score_l)                       score: log p(label | prompt), divided by its number of tokens or not
    q_l  = (p_l / prior_l) / sum_m (p_m / prior_m)

Contextual calibration (Zhao et al. 2021, "Calibrate Before Use", equation 1 with W = diag(prior)^-1 and b = 0): the prior is p
for inputs without content, averaged. Batch calibration (Zhou et al. 2023, "Batch Calibration"): the prior is the mean of p over
the batch. Zhao et al. put one more softmax around q, which changes no choice; here the sum is divided out.

What it is not: calibration in the sense that 70 % sure is right 7 times in 10.

    python -m pytest tests/infer/test_in_context.py -k calibrat
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from septet.infer.engine import Scored

__all__ = ["NO_CONTENT", "calibrate", "probabilities"]

NO_CONTENT = ("N/A", "[MASK]", "")
"""Inputs that say nothing (Zhao et al. 2021, section 5)."""


def probabilities(scored: Sequence[Scored], *, by_length: bool) -> np.ndarray:
    """Return p [L] over the labels from the log-likelihood of each."""
    scores_L = np.array([one.logprob / max(one.num_tokens, 1) if by_length else one.logprob for one in scored])
    powers_L = np.exp(scores_L - scores_L.max())
    return powers_L / powers_L.sum()


def calibrate(p_NL: np.ndarray, prior_NL: np.ndarray) -> np.ndarray:
    """Return q [N, L] from p [N, L] and a prior [L] or [N, L]."""
    ratio_NL = p_NL / np.maximum(prior_NL, 1e-12)
    return ratio_NL / ratio_NL.sum(axis=-1, keepdims=True)
