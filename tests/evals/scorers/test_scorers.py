"""Every metric: a number worked by hand, then its reference.

python -m pytest tests/evals/scorers
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from septet.core import registry
from septet.evals.sample import Output, Sample, Score
from septet.evals.scorer import Scorer
from septet.evals.scorers.bits_per_byte import BitsPerByte
from septet.evals.scorers.chrf import Chrf
from septet.evals.scorers.exact_match import ExactMatch
from septet.evals.scorers.perplexity import Perplexity
from septet.evals.scorers.preference_accuracy import PreferenceAccuracy
from septet.evals.stats import Estimate

SAID = ["Return the joined path.", "Split it", "", "naïve café"]
EXPECTED = ["Return a joined path string.", "Split a path into head and tail.", "Nothing.", "naïve café"]


def reduced(scorer: Scorer, samples: list[Sample], outputs: list[Output]) -> dict[str, Estimate]:
    return scorer.reduce([scorer.score(s, o) for s, o in zip(samples, outputs, strict=True)], seed=0)


def test_bits_per_byte_by_hand() -> None:
    # 8 ln2 nats for "abcd" (4 bytes) and 4 ln2 for "é" (2 bytes): 12 bits over 6 bytes
    samples = [Sample("a", "abcd"), Sample("b", "é")]
    outputs = [Output(nll=8 * math.log(2), num_tokens=3), Output(nll=4 * math.log(2), num_tokens=1)]
    found = reduced(BitsPerByte(), samples, outputs)["bits_per_byte"]
    assert found.value == pytest.approx(2.0)
    assert found.n == 2


def test_the_three_perplexities_by_hand() -> None:
    # L = 6 nats over 4 tokens, 3 words, 12 bytes
    samples = [Sample("a", "to be or"), Sample("b", "nine")]
    outputs = [Output(nll=4, num_tokens=3), Output(nll=2, num_tokens=1)]
    found = reduced(Perplexity(), samples, outputs)
    assert found["token_perplexity"].value == pytest.approx(math.exp(6 / 4))
    assert found["word_perplexity"].value == pytest.approx(math.exp(6 / 4))  # four words
    assert found["byte_perplexity"].value == pytest.approx(math.exp(6 / 12))
    # the byte perplexity is 2 to the bits per byte
    assert found["byte_perplexity"].value == pytest.approx(
        2 ** reduced(BitsPerByte(), samples, outputs)["bits_per_byte"].value
    )
    # a system without tokens has no token perplexity
    assert "token_perplexity" not in reduced(Perplexity(), samples, [Output(nll=4), Output(nll=2)])


def test_chrf_by_hand() -> None:
    # "ab" for "abc": unigrams 2/2 and 2/3, bigrams 1/1 and 1/2, trigrams 0 of none; orders both sides have: 1 and 2
    # P = 1, R = 7/12; chrF2 = 5 P R / (4 P + R) = 5 * 7/12 / (4 + 7/12) = 0.636364
    found = Chrf().score(Sample("a", "abc"), Output(text="ab"))
    assert found.values["chrf"] == pytest.approx(100 * 35 / 55)


@pytest.mark.parametrize("word_order", [0, 2])
def test_chrf_is_sacrebleus(word_order: int) -> None:
    import sacrebleu

    scorer = Chrf(word_order=word_order)
    samples = [Sample(str(i), text) for i, text in enumerate(EXPECTED)]
    scores = [scorer.score(s, Output(text=t)) for s, t in zip(samples, SAID, strict=True)]
    for score, said, expected in zip(scores, SAID, EXPECTED, strict=True):
        assert score.values["chrf"] == pytest.approx(
            sacrebleu.sentence_chrf(said, [expected], word_order=word_order).score
        )
    found = scorer.reduce(scores, seed=0)
    assert found["chrf"].value == pytest.approx(sacrebleu.corpus_chrf(SAID, [EXPECTED], word_order=word_order).score)
    assert found["chrf"].low <= found["chrf"].value <= found["chrf"].high
    assert scorer.signature().startswith("chrF2" + "+" * word_order + "|nrefs:1|case:mixed")


def test_exact_match_raw_and_normalised() -> None:
    samples = [Sample(str(i), "The answer.") for i in range(4)]
    outputs = [Output(text=text) for text in ("The answer.\n", "answer", "an Answer!", "answers")]
    found = reduced(ExactMatch(), samples, outputs)
    assert found["exact_match"].value == 0.25
    assert found["exact_match_normalised"].value == 0.75


def test_preference_accuracy_by_kind_and_per_token() -> None:
    samples = [
        Sample("1", kind="weaker"),
        Sample("2", kind="weaker"),
        Sample("3", kind="neighbour"),
        Sample("4", kind="neighbour"),
    ]
    outputs = [
        Output(chosen=-1, rejected=-2, chosen_tokens=1, rejected_tokens=1),
        Output(chosen=-2, rejected=-2, chosen_tokens=1, rejected_tokens=1),  # a tie is wrong
        Output(chosen=-6, rejected=-5, chosen_tokens=6, rejected_tokens=2),  # right only per token
        Output(chosen=-1, rejected=-9, chosen_tokens=1, rejected_tokens=3),
    ]
    found = reduced(PreferenceAccuracy(), samples, outputs)
    assert found["preference_accuracy"].value == 0.5
    assert found["preference_accuracy, weaker"].value == 0.5
    assert found["preference_accuracy, neighbour"].value == 0.5
    assert found["margin"].value == pytest.approx((1 + 0 - 1 + 8) / 4)
    assert reduced(PreferenceAccuracy(per="token"), samples, outputs)["preference_accuracy"].value == 0.75


def test_several_references() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    samples = [Sample(str(i), text, expected=[text, f"Or: {text} Yes."]) for i, text in enumerate(EXPECTED)]
    outputs = [Output(text=text) for text in (*SAID[:3], "Or: naïve café Yes.")]
    assert samples[0].references == (EXPECTED[0], f"Or: {EXPECTED[0]} Yes.")
    assert Sample("a", "b").references == ("b",)
    streams = [list(part) for part in zip(*(sample.references for sample in samples), strict=True)]
    found = reduced(Chrf(), samples, outputs)["chrf"]
    assert found.value == pytest.approx(sacrebleu.corpus_chrf([o.text for o in outputs], streams).score)
    scores = [Chrf().score(s, o) for s, o in zip(samples, outputs, strict=True)]
    assert "nrefs:2|" in Chrf().note(scores)
    # one of them suffices
    assert reduced(ExactMatch(), samples, outputs)["exact_match"].value == 0.25


def test_ratios_are_compared_as_ratios() -> None:
    # 4 and 2 bytes: (12 - 9) bits of 6 bytes; a mean of the samples' own rates would give (1 + .5)/2 instead
    samples = [Sample("a", "abcd"), Sample("b", "é")]
    first = [Output(nll=8 * math.log(2), num_tokens=3), Output(nll=4 * math.log(2), num_tokens=1)]
    second = [Output(nll=6 * math.log(2), num_tokens=3), Output(nll=3 * math.log(2), num_tokens=1)]
    for scorer, name, expected in (
        (BitsPerByte(), "bits_per_byte", 0.5),
        (Perplexity(), "byte_perplexity", 2**2 - 2**1.5),
    ):
        a, b = ([scorer.score(s, o) for s, o in zip(samples, made, strict=True)] for made in (first, second))
        found = scorer.compare(a, b, seed=0)[name]
        assert found.value == pytest.approx(expected)
        assert found.method.startswith("paired")
        figures = scorer.corpus(a)
        assert figures is not None
        assert figures(np.arange(2))[name] == pytest.approx(scorer.reduce(a, seed=0)[name].value)


READINGS = {
    "text": (EXPECTED, SAID),
    "likelihood": (EXPECTED, SAID),
    "preference": (EXPECTED, SAID),
    "label": (["yes", "no", "no", "yes"], ["yes", "yes", "no", "yes"]),
    "labels": ([["a"], ["a", "b"], [], ["b"]], [["a"], ["b"], [], ["a", "b"]]),
    "value": ([1.0, 2.0, 3.5, 0.0], [1.5, 2.0, 2.5, 1.0]),
    "tags": ([["B-A", "O"], ["O", "B-B"], ["O"], ["B-A"]], [["B-A", "O"], ["O", "O"], ["O"], ["B-A"]]),
    "span": (
        [["a b"], [], [], ["d"]],
        [{"text": text, "no_answer": p} for text, p in (("a", 0.0), ("", 0.9), ("c", 0.2), ("d", 0.1))],
    ),
}
"""What is expected and what is predicted, for each thing that a scorer may read."""


@pytest.mark.parametrize("kind", registry.names("septet.evals.scorers"))
def test_every_scorer_keeps_the_contract(kind: str) -> None:
    scorer = Scorer.parse(kind)
    assert Scorer.parse(scorer.dump()) == scorer
    assert registry.summary("septet.evals.scorers", kind)
    assert scorer.signature()
    for reads in (what for what in READINGS if scorer.can_read(what)):
        expected, said = READINGS[reads]
        reference = expected if reads == "text" else EXPECTED
        samples = [
            Sample(
                str(i), reference[i], group="ab"[i % 2], kind="what", expected=None if reads == "text" else expected[i]
            )
            for i in range(4)
        ]
        p = [{"a": 0.7, "b": 0.4, "yes": 0.75, "no": 0.25}, {"a": 0.2, "b": 0.9, "yes": 0.6, "no": 0.4}] * 2
        outputs = [
            Output(SAID[i], 3.0 + i, 4, -1, -2, prediction=said[i], probabilities=p[i] if "label" in reads else {})
            for i in range(4)
        ]
        scores = [scorer.score(s, o) for s, o in zip(samples, outputs, strict=True)]
        assert all(isinstance(score, Score) and score.values for score in scores)
        found, again = scorer.reduce(scores, seed=3), scorer.reduce(scores, seed=3)
        assert found
        assert found == again
        assert scorer.note(scores).startswith(scorer.signature())
        assert set(scorer.units) | set(scorer.lower_figures) <= set(found), "a figure that does not exist"
        for estimate in found.values():
            assert estimate.n > 0
            assert estimate.low <= estimate.value + 1e-9
            assert estimate.value <= estimate.high + 1e-9
            assert estimate.method
        # a system differs from itself by nothing
        for difference in scorer.compare(scores, scores, seed=3).values():
            assert (difference.value, difference.low, difference.high) == pytest.approx((0, 0, 0))
