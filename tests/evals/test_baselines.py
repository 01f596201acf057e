"""The two baselines: worked numbers, probabilities that sum to one, and costs charged to the right document.

python -m pytest tests/evals/test_baselines.py
"""

import lzma
import math

import numpy as np
import pytest

from septet.evals.baselines import ByteNgram, xz_bits

TEXTS = ["abracadabra", "cadabra abra", "the cat sat on the mat", "the cat ate the rat", "naïve café"] * 3


def test_unigram_by_hand() -> None:
    # one text "aab" and its separator: counts a 2, b 1, NUL 1 (no counts of counts above 2, so D = 0.5 throughout)
    # total 4, weight = 3 * 0.5 / 4; p(a) = 1.5/4 + 0.375/256, p(b) = 0.5/4 + 0.375/256, p(z) = 0.375/256
    model = ByteNgram(["aab"], order=1)
    p = model.probabilities(b"")
    assert p[ord("a")] == pytest.approx(1.5 / 4 + 0.375 / 256)
    assert p[ord("b")] == pytest.approx(0.5 / 4 + 0.375 / 256)
    assert p[0] == p[ord("b")]
    assert p[ord("z")] == pytest.approx(0.375 / 256)
    assert model.bits(["az"])[0] == pytest.approx(-math.log2(p[ord("a")] * p[ord("z")] * p[0]))


def test_bigram_by_hand() -> None:
    # "ab", "ab", "cb": bigrams NUL-a 2, a-b 2, b-NUL 3, NUL-c 1, c-b 1; D = 0.5
    # continuation: a 1 (NUL), b 2 (a, c), NUL 1 (b), c 1 (NUL): total 5, four types
    # p1(b) = (2 - .5)/5 + (4*.5/5)/256;  p(b|a) = (2 - .5)/2 + (.5/2) p1(b)
    model = ByteNgram(["ab", "ab", "cb"], order=2)
    p1 = 1.5 / 5 + 0.4 / 256
    assert model.probabilities(b"a")[ord("b")] == pytest.approx(0.75 + 0.25 * p1)
    # "a" begins a document: (2 - .5)/3 + (2 * .5/3) p1(a), p1(a) = .5/5 + .4/256
    assert model.probabilities(b"")[ord("a")] == pytest.approx(0.5 + (0.1 + 0.4 / 256) / 3)
    # a context never seen falls to the shorter one
    assert model.probabilities(b"z")[ord("b")] == pytest.approx(p1)


@pytest.mark.parametrize("order", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("context", [b"", b"a", b"the ", b"abra", b"\xc3", b"zzzzzzzz", b"the cat "])
def test_probabilities_sum_to_one(order: int, context: bytes) -> None:
    p = ByteNgram(TEXTS, order=order).probabilities(context)
    assert p.min() > 0
    assert p.sum() == pytest.approx(1, abs=1e-12)


def test_discounts_follow_the_formula() -> None:
    rng = np.random.default_rng(0)
    texts = [
        "".join(rng.choice(list("abcdefgh"), p=[0.3, 0.2, 0.15, 0.1, 0.1, 0.05, 0.05, 0.05], size=40))
        for _ in range(30)
    ]
    table = ByteNgram(texts, order=3)._tables[-1]
    n = [int((table.counts == k).sum()) for k in range(1, 5)]
    share = n[0] / (n[0] + 2 * n[1])
    assert table.discounts[1] == pytest.approx(1 - 2 * share * n[1] / n[0])
    assert table.discounts[2] == pytest.approx(2 - 3 * share * n[2] / n[1])


def test_bits_are_the_chain_of_probabilities() -> None:
    model, text = ByteNgram(TEXTS, order=4), "the cat café"
    raw = text.encode() + b"\0"
    by_hand = -sum(math.log2(model.probabilities(raw[:i])[byte]) for i, byte in enumerate(raw))
    assert model.bits([text])[0] == pytest.approx(by_hand)
    # documents are apart: neighbours change nothing
    assert model.bits(["zzz", text, "abra"])[1] == pytest.approx(by_hand)


def test_ngram_learns_its_text_and_refuses_a_wrong_order() -> None:
    model = ByteNgram(TEXTS)
    known, strange = model.bits(["the cat sat on the rat", "QWERTY qwerty 12345 !!"])
    assert known < strange / 3
    assert "5-gram" in model.signature
    with pytest.raises(ValueError, match="1 to 8"):
        ByteNgram(["a"], order=9)
    with pytest.raises(ValueError, match="at least one"):
        ByteNgram([])


def test_xz_is_the_difference_of_two_compressions() -> None:
    train, test = TEXTS * 20, ["the cat sat", "something else entirely"]
    before = b"".join(t.encode() + b"\0" for t in train)
    after = b"".join(t.encode() + b"\0" for t in test)
    preset = 9 | lzma.PRESET_EXTREME
    expected = 8 * (len(lzma.compress(before + after, preset=preset)) - len(lzma.compress(before, preset=preset)))
    found = xz_bits(train, test)
    assert found.total == expected
    assert found.by_text.sum() == pytest.approx(found.total)
    assert len(found.by_text) == 2


def test_xz_charges_the_document_that_costs() -> None:
    # noise that the training text does not hold costs about six bits a letter, a copy of training text next to nothing
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-"))
    noise = ["".join(rng.choice(letters, size=30_000)) for _ in range(2)]
    texts = [noise[1][:8000], noise[0][:8000], noise[1][8000:16000], noise[0][10_000:18_000], noise[1][16_000:26_000]]
    found = xz_bits([noise[0]], texts)
    assert found.by_text[[0, 2]] == pytest.approx([6 * 8000] * 2, rel=0.04)
    assert found.by_text[4] == pytest.approx(6 * 10_000, rel=0.04)
    assert found.by_text[[1, 3]].max() < 6 * 8000 * 0.02


def test_xz_on_very_little_text_shares_by_length() -> None:
    found = xz_bits(["abc" * 10], ["hello", "x" * 11])
    assert found.by_text[1] == pytest.approx(2 * found.by_text[0])
    assert found.by_text.sum() == pytest.approx(found.total)
