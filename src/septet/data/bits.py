"""Bits of whole numbers, stirred: splitmix64's finaliser (Steele et al. 2014), on arrays.

Every bit of the input moves about half of the bits of the output. It is no cryptography.

    python -m pytest tests/data/test_minhash.py tests/data/test_mixture.py
"""

from __future__ import annotations

import numpy as np

__all__ = ["stirred"]


def stirred(x: np.ndarray) -> np.ndarray:
    """Return uint64 of the same shape; one input for one output."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
