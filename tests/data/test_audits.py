"""The audit of identity: counts by hand, the same report from any cut of the corpus, real books, and what changed.

python -m pytest tests/data/test_audits.py
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from septet.core.errors import DataError
from septet.data.audit import Audit
from septet.data.audits.identity import Identity
from septet.data.documents import Document
from septet.data.fairness import changes
from septet.data.filters.counterfactual import Counterfactual
from septet.data.lexicon import Lexicon, words


def doc(number: int, text: str, **fields) -> Document:
    return Document(id=f"d{number}", text=text, **fields)


def report(docs: list[Document], audit: Audit | None = None, beside: dict | None = None) -> dict:
    audit = audit or Identity()
    return audit.report(audit.merge([audit.look(docs)]), beside)


def group(found: dict, name: str) -> dict:
    return next(row for row in found["groups"] if row["group"] == name)


def made(count: int, seed: int = 0) -> list[Document]:
    """Documents that speak of women and men, Germans and migrants, in sentences of chance."""
    rng = random.Random(seed)
    who = [
        "the woman",
        "a man",
        "she",
        "he",
        "some Germans",
        "the refugees",
        "my wife",
        "a rock",
        "the nurse",
        "a doctor",
    ]
    what = ["liked a good song", "lost her bad dog", "told him lies", "went away", "was kind", "cooked", "fought hard"]
    return [
        doc(i, " ".join(f"Then {rng.choice(who)} {rng.choice(what)}." for _ in range(rng.randrange(1, 12))),
            source=rng.choice(["web", "books"]))
        for i in range(count)
    ]  # fmt: skip


def test_counts_by_hand():
    found = report(
        [doc(0, "She is kind. The refugees lost."), doc(1, "He sang. His wife sang. A rock fell on a rock.")]
    )
    assert (found["documents"], found["words"], found["sentences"]) == (2, 17, 5)
    assert found["other_languages"] == 0
    women, men, migrants = (group(found, name) for name in ("women", "men", "migrants"))
    assert (women["rate"]["n"], men["rate"]["n"], migrants["rate"]["n"]) == (2, 2, 1)
    assert women["rate"]["value"] == pytest.approx(2 / 17 * 1e6, rel=1e-5)
    assert women["terms"] == [["she", 1], ["wife", 1]]
    assert (women["documents"], migrants["documents"]) == (2, 1)
    # "She is kind" counts 1 and "His wife sang" 0; "kind" is the only good word and "lost" the only bad one of five sentences
    assert (women["sentiment"]["value"], women["sentiment"]["n"]) == (0.5, 2)
    assert (migrants["sentiment"]["value"], migrants["sentiment"]["n"]) == (-1.0, 1)
    assert found["sentiment"]["mean"]["value"] == 0.0
    assert found["pronouns"]["feminine"]["n"] == 3
    assert found["pronouns"]["feminine"]["value"] == pytest.approx(1 / 3, rel=1e-5)
    assert found["sources"] == {}


@pytest.mark.parametrize("limit", [500_000, 60])
@pytest.mark.parametrize("pieces", [2, 5])
def test_the_pieces_of_a_corpus_give_the_same_report(pieces: int, limit: int):
    docs, audit = made(120), Identity(limit=limit, least=1)
    whole = audit.look(docs)
    parts = [json.loads(json.dumps(audit.look(docs[place::pieces]))) for place in range(pieces)]
    for order in (parts, parts[::-1]):
        again = audit.merge(order)
        assert json.dumps(again) == json.dumps(audit.merge([whole]))
        assert json.dumps(audit.report(again)) == json.dumps(audit.report(whole))
    assert (whole["words"]["level"] > 0) == (limit == 60)


def test_sources_are_told_apart():
    found = report(made(60))
    assert set(found["sources"]) == {"web", "books"}
    women = group(found, "women")
    assert sum(side["n"] for side in women["by_source"].values()) == women["rate"]["n"]
    assert set(found["pronouns"]["by_source"]) == {"web", "books"}


def test_other_languages_are_counted_and_left_alone():
    found = report([doc(0, "She sang.", language="en"), doc(1, "Sie hat her.", language="de"), doc(2, "He sang.")])
    assert (found["documents"], found["other_languages"], found["words"]) == (2, 1, 4)


def test_a_weight_counts_as_so_many_documents():
    docs = made(30)
    weighted = [replace(one, meta={"weight": 3}) if place % 2 else one for place, one in enumerate(docs)]
    heavy, plain = report(weighted), report([*docs, *docs[1::2], *docs[1::2]])
    assert heavy["words"] == plain["words"]
    assert heavy["documents"] == plain["documents"]
    for one, two in zip(heavy["groups"], plain["groups"], strict=True):
        assert (one["rate"]["value"], one["rate"]["n"], one["terms"]) == (
            two["rate"]["value"],
            two["rate"]["n"],
            two["terms"],
        )
        # the same document three times over is no more evidence than once
        if one["rate"]["n"]:
            assert one["rate"]["high"] >= two["rate"]["high"]
    assert report([doc(0, "She.", meta={"weight": 0})])["documents"] == 0


def test_the_word_that_sets_a_group_apart_comes_first():
    docs = [doc(i, "The woman was knitting quietly. The man was fighting quietly.") for i in range(40)]
    found = report(docs, Identity(prior=10.0))
    assert group(found, "women")["words"][0]["word"] == "knitting"
    assert group(found, "men")["words"][0]["word"] == "fighting"
    assert "quietly" not in [row["word"] for row in group(found, "women")["words"]]
    row = group(found, "women")["words"][0]
    assert (row["n"], row["others"]) == (40, 0)
    assert 0 < row["low"] < row["value"] < row["high"]


def test_names_are_left_out_of_the_words():
    found = report([doc(i, "Mary saw the woman Jane knitting. The man Tom was fighting.") for i in range(40)])
    named = {row["word"].lower() for one in found["groups"] for row in one["words"]}
    assert not named & {"mary", "jane", "tom"}


def test_occupations_beside_one_gender():
    docs = [doc(i, "The nurse lost her hat. The doctor saw his dog. The doctor and his wife left.") for i in range(20)]
    found = {row["occupation"]: row["feminine"] for row in report(docs)["occupations"]}
    assert (found["nurse"]["value"], found["nurse"]["n"]) == (1.0, 20)
    # the sentence with "his wife" has both genders and is left out
    assert (found["doctor"]["value"], found["doctor"]["n"]) == (0.0, 20)


def test_an_empty_corpus_is_told_without_a_figure():
    found = report([])
    assert found["documents"] == 0
    assert all(row["rate"] is None and row["sentiment"] is None for row in found["groups"])
    assert changes(found, found) == []


def test_what_changed():
    docs = made(400, seed=2)
    before = report(docs)
    swapped = list(Counterfactual().apply(docs, lambda *_: None))
    after = report(swapped, beside=before)
    rows = {(one.what, one.of): one for one in changes(before, after)}
    share = rows["share of pronouns", "she, her"]
    assert share.before.value > 0.5
    assert share.after.value == pytest.approx(0.5, abs=0.01)
    assert group(after, "women")["rate"]["n"] == pytest.approx(group(after, "men")["rate"]["n"], abs=3)
    germans = rows["mentions per million words", "nationality: German"]
    assert germans.side == 0
    assert abs(germans.difference.value) < 0.1 * germans.before.value
    assert 3 <= sum(what == "log-odds of a word" for what, _ in rows) <= 5
    # what is beside women before is beside both after; the words of before are looked up even where they are named no more
    word = max((row for row in group(before, "women")["words"]), key=lambda row: row["z"])
    again = next(row for row in group(after, "women")["compared"] if row["word"] == word["word"])
    assert abs(again["z"]) < word["z"] / 2


def test_nothing_changed_where_nothing_was_done():
    before = report(made(50))
    assert all(one.side == 0 and one.difference.value == 0 for one in changes(before, before))


def test_a_classifier_reads_the_sentences(tmp_path: Path):
    from septet.data import linear

    texts = [f"{a} {b}" for a in ("kind", "vile") for b in ("day", "song", "word", "house", "tree", "dog")]
    trained = linear.train(texts, [text.split()[0] for text in texts], positive="vile")
    trained.classifier.save(tmp_path)
    audit = Identity(sentiment="$toxic")  # pyright: ignore[reportArgumentType]
    audit.given({"$toxic": tmp_path})
    docs = [doc(i, "A vile Muslim song. A kind Jewish song. A tree.") for i in range(40)]
    found = report(docs, audit)
    assert (found["sentiment"]["by"], found["sentiment"]["label"]) == ("classifier", "vile")
    assert group(found, "Muslim")["sentiment"]["value"] > 0.5 > group(found, "Jewish")["sentiment"]["value"]
    assert found["gaps"]["religion"]["highest"] == "Muslim"
    whole = audit.look(docs)
    assert audit.merge([audit.look(docs[:7]), audit.look(docs[7:])]) == audit.merge([whole])
    part = Identity(sentiment="$toxic", share=0.5)  # pyright: ignore[reportArgumentType]
    part.given({"$toxic": tmp_path})
    assert 30 < report(docs, part)["sentiment"]["mean"]["n"] < 90  # of 120


def test_a_lexicon_that_cannot_be_read_is_told(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text("axes: []\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"mine\.yaml"):
        Identity(lexicon=str(path)).look([])  # pyright: ignore[reportArgumentType]


# -- real text --------------------------------------------------------------------------------------------------------------


def novel(folder: Path, name: str) -> Document:
    with gzip.open(folder / "pretraining" / "english_novels" / f"{name}.txt.gz", "rt", encoding="utf-8-sig") as file:
        return Document(id=name, text=file.read(), source=name.split("_")[0])


def test_novels_differ_in_whom_they_speak_of(real_data: Path):
    names = ["Stevenson_Treasure_1883", "Haggard_Mines_1885", "Gaskell_Ruth_1855", "Burnett_Princess_1905"]
    docs = [novel(real_data, name) for name in names]
    found = report(docs)
    shares = found["pronouns"]["by_source"]
    # a treasure island without women, and the story of a seamstress; counted by hand with a regular expression
    for one in docs:
        every = Counter(re.findall(r"\b(she|her|hers|herself|he|him|his|himself)\b", one.text.lower()))
        feminine = sum(every[word] for word in ("she", "her", "hers", "herself"))
        assert shares[one.source]["value"] == pytest.approx(feminine / every.total(), abs=0.005)
    assert shares["Stevenson"]["value"] < 0.1 < 0.5 < shares["Gaskell"]["value"]
    assert shares["Stevenson"]["high"] < shares["Gaskell"]["low"]
    assert found["words"] == sum(len(words(one.text)) for one in docs)


def test_swapped_terms_of_real_comments_are_seen(real_data: Path):
    """The same comments with identity terms exchanged, by others: other groups are mentioned, and hardly more of them."""
    import csv

    sides = []
    for name in ("nonfuzzed", "fuzzed"):
        path = real_data / "classification" / "wikipedia_toxicity" / f"toxicity_{name}_testset.csv.gz"
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        sides.append([doc(i, row["comment"]) for i, row in enumerate(rows)])
    before = report(sides[0])
    after = report(sides[1], beside=before)
    mentions = [
        np.array(
            [row["rate"]["n"] for row in side["groups"] if row["axis"] in ("religion", "orientation", "nationality")]
        )
        for side in (before, after)
    ]
    assert mentions[0].sum() > 300
    assert np.abs(mentions[0] - mentions[1]).sum() > 100
    told = [one for one in changes(before, after) if one.what.startswith("mentions") and one.side]
    assert told


def test_every_group_of_the_lexicon_has_a_row(real_data: Path):
    found = report([novel(real_data, "Stevenson_Treasure_1883")])
    lexicon = Lexicon.read()
    assert [(row["axis"], row["group"]) for row in found["groups"]] == [
        (axis, name) for axis, names in lexicon.axes.items() for name in names
    ]
    assert group(found, "bisexual")["rate"]["value"] == 0
    assert group(found, "bisexual")["rate"]["high"] > 0
