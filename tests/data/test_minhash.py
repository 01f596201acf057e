"""MinHash: shingles, signatures, bands; by hand, against plain Python, and against the closed-form curve.

python -m pytest tests/data/test_minhash.py
"""

from __future__ import annotations

import random

import numpy as np
import pytest

from septet.data import minhash
from septet.data.documents import Document
from septet.data.filters.minhash_dedup import MinhashDedup
from septet.data.minhash import caught, shingle_hashes, shingle_text, signatures

MASK = 2**64 - 1


def mix(x: int) -> int:
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def slow_hash(shingle: str) -> int:
    return mix(sum(byte * pow(int(minhash._BASE), n, 2**64) for n, byte in enumerate(shingle.encode())) & MASK)


def shingles(text: str, ngram: int) -> list[str]:
    words = shingle_text(text).split()
    return [" ".join(words[n : n + ngram]) for n in range(max(len(words) - ngram + 1, 1))] if words else []


TEXTS = ["The quick brown fox; the QUICK brown dog.", "", "one two", "Ünïcode wörds und mehr, straße", "...", "a b c d"]


def test_the_shingles_of_a_text():
    assert shingle_text("Don't  STOP, 42 times — naïve_x") == "don t stop 42 times naive_x"
    assert shingles("A b, c d", 3) == ["a b c", "b c d"]
    hashes, bounds = shingle_hashes(["A b, c d", "b c d", "b c"], 3)
    assert bounds.tolist() == [0, 2, 3, 4]
    assert hashes[1] == hashes[2]  # "b c d" is one shingle wherever it stands
    assert len(set(hashes.tolist())) == 3


def test_hashes_equal_plain_python():
    for ngram in (1, 2, 3, 5):
        hashes, bounds = shingle_hashes(TEXTS, ngram)
        for number, text in enumerate(TEXTS):
            expected = [slow_hash(shingle) for shingle in shingles(text, ngram)]
            assert hashes[bounds[number] : bounds[number + 1]].tolist() == expected


def test_signatures_equal_plain_python():
    found = signatures(TEXTS, ngram=2, permutations=7, seed=3)
    assert found.shape == (6, 7)
    random_ = np.random.default_rng([3, 0x5E97E7])
    factors = [int(value) | 1 for value in random_.integers(0, 2**64, 7, np.uint64)]
    addends = [int(value) for value in random_.integers(0, 2**64, 7, np.uint64)]
    for number, text in enumerate(TEXTS):
        hashes = [slow_hash(shingle) for shingle in shingles(text, 2)]
        for place in range(7):
            expected = min((h * factors[place] + addends[place] & MASK for h in hashes), default=MASK)
            assert int(found[number, place]) == expected
    assert np.array_equal(signatures(TEXTS[3:4], ngram=2, permutations=7, seed=3)[0], found[3])


def test_the_published_curve():
    # anchors: FineWeb 14 x 8 and Lee et al. 450 x 20, at .7, .8, .9
    assert [round(caught(s, 14, 8), 3) for s in (0.7, 0.8, 0.9)] == [0.565, 0.924, 1.0]
    assert [round(caught(s, 450, 20), 3) for s in (0.7, 0.8, 0.9)] == [0.302, 0.995, 1.0]
    assert MinhashDedup(preset="lee").settings() == (5, 450, 20)
    assert MinhashDedup(bands=4).settings() == (5, 4, 8)


def pair(similarity: float, seed: int) -> tuple[str, str, float]:
    """Two texts and their exact Jaccard similarity: words replaced far from each other cost five shingles each."""
    drawn = random.Random(seed)
    words = [f"w{drawn.randrange(10**9)}" for _ in range(604)]
    changes = round(600 * (1 - similarity) / (1 + similarity) / 5)
    other = list(words)
    for n in range(changes):
        other[4 + n * (600 // changes)] = f"x{drawn.randrange(10**9)}"
    one, two = (set(shingles(" ".join(text), 5)) for text in (words, other))
    return " ".join(words), " ".join(other), len(one & two) / len(one | two)


@pytest.mark.parametrize("similarity", [0.5, 0.7, 0.8])
def test_signatures_agree_as_often_as_sets_overlap(similarity: float):
    found = []
    for seed in range(20):
        one, two, exact = pair(similarity, seed)
        a, b = signatures([one, two], ngram=5, permutations=256, seed=seed)
        found.append(float((a == b).mean()) - exact)
    # 20 x 256 draws: a standard error of at most .007
    assert abs(np.mean(found)) < 0.025


@pytest.mark.parametrize(("similarity", "low", "high"), [(0.7, 0.46, 0.68), (0.8, 0.86, 0.98)])
def test_bands_catch_what_the_closed_form_says(similarity: float, low: float, high: float):
    hits = 0
    for seed in range(150):
        one, two, exact = pair(similarity, 1000 + seed)
        assert abs(exact - similarity) < 0.01
        docs = [Document(id="a", text=one), Document(id="b", text=two)]
        hits += len(list(MinhashDedup(seed=seed).apply(docs, lambda doc, reason: None))) == 1
    assert low < hits / 150 < high
