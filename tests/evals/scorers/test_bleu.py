"""BLEU: by hand, then sacrebleu's own command for one and for several references.

python -m pytest tests/evals/scorers/test_bleu.py
"""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import pytest
import sacrebleu

from septet.evals.sample import Output, Sample, Score
from septet.evals.scorers.bleu import Bleu

SAID = ["The cat sat on the mat.", "There is a dog in the garden", "", "Ein Hund läuft.", "Guten Tag"]
RIGHT = [
    ["The cat is on the mat.", "There is a cat on the mat."],
    ["A dog is in the garden.", "There is a dog in a garden."],
    ["Nothing.", "No."],
    ["Ein Hund rennt.", "Ein Hund läuft."],
    ["Guten Tag", "Guten Morgen"],
]


def judged(scorer: Bleu, said: list[str], right: list[list[str]]) -> list[Score]:
    pairs = zip(said, right, strict=True)
    return [scorer.score(Sample(str(i), r[0], expected=r), Output(text=s)) for i, (s, r) in enumerate(pairs)]


def test_bleu_by_hand() -> None:
    # "a b c d e" for "a b c d f": 4/5, 3/4, 2/3, 1/2, equal length: (1/5)^(1/4)
    scorer = Bleu()
    found = scorer.reduce(judged(scorer, ["a b c d e"], [["a b c d f"]]), seed=0)["bleu"]
    assert found.value == pytest.approx(100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** (1 / 4))
    # shorter than the reference: e^(1 - 6/5)
    found = scorer.reduce(judged(scorer, ["a b c d e"], [["a b c d e f"]]), seed=0)["bleu"]
    assert found.value == pytest.approx(100 * math.exp(1 - 6 / 5))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"tokenize": "char", "lowercase": True},
        {"tokenize": "intl", "smooth_method": "floor"},
        {"smooth_method": "none", "max_ngram_order": 2},
    ],
)
@pytest.mark.parametrize("num_references", [1, 2])
def test_bleu_is_sacrebleus(settings: dict, num_references: int) -> None:
    scorer = Bleu(**settings)
    right = [texts[:num_references] for texts in RIGHT]
    scores = judged(scorer, SAID, right)
    metric = sacrebleu.metrics.BLEU(**settings)
    theirs = metric.corpus_score(SAID, [list(stream) for stream in zip(*right, strict=True)])
    assert scorer.reduce(scores, seed=0)["bleu"].value == pytest.approx(theirs.score)
    assert scorer.note(scores) == f"{theirs.name}|{metric.get_signature()}"
    for score, said, texts in zip(scores, SAID, right, strict=True):
        single = sacrebleu.metrics.BLEU(**settings, effective_order=True).sentence_score(said, texts)
        assert score.values["bleu"] == pytest.approx(single.score)


def test_a_changing_number_of_references() -> None:
    right = [RIGHT[0], RIGHT[1][:1], *RIGHT[2:]]
    scores = judged(Bleu(), SAID, right)
    streams = [[texts[place] if place < len(texts) else None for texts in right] for place in range(2)]
    metric = sacrebleu.metrics.BLEU()
    assert Bleu().reduce(scores, seed=0)["bleu"].value == pytest.approx(metric.corpus_score(SAID, streams).score)
    assert Bleu().note(scores) == f"BLEU|{metric.get_signature()}"
    assert "nrefs:var" in Bleu().note(scores)
    assert "nrefs:1|" in Bleu().signature()


def test_two_systems_on_real_captions(real_data: Path) -> None:
    folder = real_data / "translation" / "multi30k_en_de"
    english, german = (
        gzip.decompress((folder / f"val.{language}.gz").read_bytes()).decode().splitlines()[:100]
        for language in ("en", "de")
    )
    right = [[text] for text in german]
    close = [" ".join(text.split()[:-1]) for text in german]  # a word is missing at the end
    scores = {name: judged(Bleu(), said, right) for name, said in (("close", close), ("english", english))}
    for name, said in (("close", close), ("english", english)):
        found = Bleu().reduce(scores[name], seed=0)["bleu"]
        assert found.value == pytest.approx(sacrebleu.corpus_bleu(said, [german]).score)
    found = Bleu().compare(scores["close"], scores["english"], seed=0)["bleu"]
    assert found.low > 50
