"""How far a model reaches: models whose answer is known, and every architecture.

python -m pytest tests/nn/test_reach.py
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests.train.families import FAMILIES, tiny

from septet.core.errors import DataError
from septet.nn.reach import Count, Reach, reach, windows_of


class Repeats:
    """A decoder of 16 tokens which is sure (all but 2^-10) that the token of `back` places ago comes again, where it sees it."""

    architecture, context, device = "decoder", 64, torch.device("cpu")
    module = SimpleNamespace(eval=lambda: None)
    tokenizer = SimpleNamespace(bos_token_id=0, eos_token_id=0)

    def __init__(self, back: int) -> None:
        self.back = back

    def nll(self, inputs, labels):
        ids = inputs["input_ids"]
        known = torch.full(labels.shape, math.log(16.0))
        if ids.shape[1] >= self.back:
            same = ids[:, : ids.shape[1] - self.back + 1] == labels[:, self.back - 1 :]
            known[:, self.back - 1 :] = torch.where(same, 2.0**-10, 10 * math.log(2))
        return torch.where(labels == -100, 0.0, known)


def test_a_model_that_repeats_reaches_as_far_as_it_looks_back():
    rng = np.random.default_rng(0)
    texts = [np.tile(rng.integers(1, 16, 12), 4).tolist() for _ in range(30)]
    found = reach(Repeats(12), texts, most=32, windows=40)  # type: ignore[arg-type]
    assert [count.seen for count in found.counts] == [2, 4, 8, 16, 32]
    assert [round(count.bits, 2) for count in found.counts] == [4.0, 4.0, 4.0, 0.0, 0.0]
    assert found.farthest == 16
    assert found.counts[3].gain == pytest.approx(4.0, abs=0.01)
    # position 1 has nothing before it; the twelfth place back is seen from position 13 on (1 more for what begins the document)
    assert [(low, high) for low, high, _ in found.positions] == [(1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (17, 32)]
    assert found.positions[-1][2] == pytest.approx(0.0, abs=0.01)
    assert found.positions[0][2] == pytest.approx(4.0)


def test_chance_is_not_taken_for_reach():
    counts = [Count(2, 5.0, 0.1, None, None), Count(4, 4.0, 0.1, 1.0, 0.2), Count(8, 3.95, 0.1, 0.05, 0.2)]
    assert Reach("decoder", 9, counts, []).farthest == 4
    assert Reach("decoder", 9, counts[:1], []).farthest is None


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_family_is_asked(kind: str):
    model = tiny(kind)
    rng = np.random.default_rng(1)
    texts = [rng.integers(10, 20, 60).tolist() for _ in range(8)]
    found = reach(model, texts, most=9, windows=16)
    assert [count.seen for count in found.counts] == [2, 4, 8, 9]
    assert found.windows == 16
    assert all(0 < count.bits < 20 for count in found.counts)
    assert bool(found.positions) == (model.architecture == "decoder")


@pytest.mark.parametrize("kind", ["bert", "xlnet", "t5", "bart"])
def test_the_token_that_is_asked_for_is_not_seen(kind: str):
    from septet.nn.reach import _question

    model = tiny(kind)
    windows = np.arange(10, 20)[None].repeat(2, 0) % 20
    other = windows.copy()
    other[:, 4] = 10 + (other[:, 4] - 9) % 10
    with torch.no_grad():
        one, two = (model.outputs(_question(model, taken, 8)[0]).hidden for taken in (windows, other))
    labels = _question(model, windows, 8)[1]
    assert torch.equal(one[labels != -100], two[labels != -100])
    assert labels[labels != -100].tolist() == [windows[0, 4]] * 2


def test_windows_lie_within_texts_and_too_short_ones_are_told():
    found = windows_of([[1, 2, 3, 4, 5], [6, 7], [8, 9, 10]], 2, 10)
    assert found.tolist() == [[1, 2], [3, 4], [6, 7], [8, 9]]
    with pytest.raises(DataError, match=r"No text has 9 tokens \(the longest has 5\)"):
        windows_of([[1, 2, 3, 4, 5]], 9, 10)
    with pytest.raises(DataError, match="reads 63 tokens"):
        reach(Repeats(2), [[1] * 100], most=64)  # type: ignore[arg-type]
