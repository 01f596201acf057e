"""Entities and the tagger: tags, counts and Viterbi by hand, decoding beside brute force, learning, the file.

python -m pytest tests/data/test_tagger.py
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from septet.core.errors import DataError, StoreError
from septet.data.entities import Counts, Entity, Tagged, compare, read_tagged, spans, tally, tokenize
from septet.data.tagger import CONTEXT, FEATURES, PAIRS, SHARED, Tagger, _allowed, _best, _row, train, viterbi

NAMES = ["Ada", "Alan Turing", "Grace Hopper", "Emmy Noether", "Kurt", "Mary Ann Evans", "Ole Dahl", "Barbara Liskov"]
PLACES = ["Paris", "New York", "Oslo", "San Jose"]


def sentences(count: int = 60) -> list[Tagged]:
    found = []
    for n in range(count):
        name, place = NAMES[n * 5 % len(NAMES)].split(), PLACES[n % len(PLACES)].split()
        words = [*name, "went", "to", *place, "."] if n % 2 else ["In", *place, "we", "met", *name, "today"]
        parts = {"name": name, "place": place}
        tags = {key: [f"B-{key}"] + [f"I-{key}"] * (len(value) - 1) for key, value in parts.items()}
        before, between, after = ([], ["O", "O"], ["O"]) if n % 2 else (["O"], ["O", "O"], ["O"])
        first, second = ("name", "place") if n % 2 else ("place", "name")
        marked = [*before, *tags[first], *between, *tags[second], *after]
        found.append(Tagged(tuple(words), tuple(marked), f"group {n % 7}"))
    return found


# -- tags and counts ----------------------------------------------------------------------------------------------------


def test_words():
    text = "Mr. J. R. Smith-Jones (of O'Neill & Co.) isn't here...\nYes?"
    words = [text[a:b] for a, b in tokenize(text)]
    assert words == [
        "Mr.", "J.", "R.", "Smith-Jones", "(", "of", "O'Neill", "&", "Co", ".", ")", "isn't", "here", ".", ".", ".", "Yes", "?",
    ]  # fmt: skip


def test_tags_of_both_kinds():
    iob1 = ["I-A", "I-A", "B-A", "I-B", "O", "I-B"]
    assert spans(iob1) == [Entity(0, 2, "A"), Entity(2, 3, "A"), Entity(3, 4, "B"), Entity(5, 6, "B")]
    bio = ["B-A", "I-A", "B-A", "O", "B-B"]
    assert spans(bio) == [Entity(0, 2, "A"), Entity(2, 3, "A"), Entity(4, 5, "B")]
    assert spans(["O", "I-A", "I-B"]) == [Entity(1, 2, "A"), Entity(2, 3, "B")]
    assert spans([]) == []


def test_counts_by_hand():
    # gold: A 0-2, B 3-4, A 5-6. found: A 0-2 (right), B 3-5 (too long), B 5-6 of the wrong type is part of it
    gold = ["B-A", "I-A", "O", "B-B", "O", "B-A"]
    found = ["B-A", "I-A", "O", "B-B", "I-B", "B-B"]
    assert compare(gold, found) == Counts(right=1, found=3, gold=3)
    assert compare(gold, found, "A") == Counts(right=1, found=1, gold=2)
    assert compare(gold, found, "B") == Counts(right=0, found=2, gold=1)


def test_conll_files(tmp_path: Path):
    path = tmp_path / "a.conll"
    path.write_text(
        "-DOCSTART- -X- O O\n\nU.N. NNP I-NP I-ORG\nofficial NN I-NP O\n\nAda\tB-PER\n\n-DOCSTART- O\n\nx O\n"
    )
    found = read_tagged(path)
    assert [(one.words, one.tags) for one in found] == [
        (("U.N.", "official"), ("B-ORG", "O")),
        (("Ada",), ("B-PER",)),
        (("x",), ("O",)),
    ]
    assert found[0].group == found[1].group != found[2].group
    assert tally(read_tagged(path, entities={"PER": "name"})) == {"name": 1}
    with pytest.raises(DataError, match=r"No entity is of the type 'PERS'\. Did you mean 'PER'"):
        read_tagged(path, entities={"PERS": "name"})
    path.write_text("Ada B-PER\nalone\n")
    with pytest.raises(DataError, match="row 2: A word and at the end a tag"):
        read_tagged(path)
    path.write_text("a O\n")
    with pytest.raises(DataError, match="marks no entities"):
        read_tagged(path)


def test_files_with_spans(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    rows = [
        {
            "full_text": "I am Ada King.",
            "spans": [{"entity_type": "P", "start_position": 5, "end_position": 13}],
            "template_id": 3,
        },
        {"full_text": "Oslo", "spans": [{"label": "L", "start": 0, "end": 4}]},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_tagged(path)
    assert found[0] == Tagged(("I", "am", "Ada", "King", "."), ("O", "O", "B-P", "I-P", "O"), "3")
    assert found[1] == Tagged(("Oslo",), ("B-L",), "row 2")
    rows[0]["spans"][0]["end_position"] = 99
    path.write_text(json.dumps(rows))
    with pytest.raises(
        DataError, match="row 1: A span needs start_position, end_position, entity_type inside the text"
    ):
        read_tagged(path)
    with pytest.raises(DataError, match="no field 'txt'"):
        read_tagged(path, text_field="txt")


# -- decoding -----------------------------------------------------------------------------------------------------------


def test_viterbi_by_hand():
    # two tags. Alone, 0 then 0 scores 1 + 1; but going from 0 to 1 is worth 5: 0, 1 scores 1 + 0 + 5
    emissions = np.array([[1.0, 0.0], [1.0, 0.0]])
    transitions = np.array([[0.0, 5.0], [0.0, 0.0], [0.0, 0.0]])
    assert _best(emissions, transitions).tolist() == [0, 1]
    assert viterbi(emissions[:, None], transitions, np.array([2])).tolist() == [[0, 1]]


def test_viterbi_beside_every_path():
    rng = np.random.default_rng(0)
    lengths = np.array([1, 4, 5, 2, 5])
    emissions, transitions = rng.normal(size=(5, 5, 3)), rng.normal(size=(4, 3))
    found = viterbi(emissions, transitions, lengths)
    for n, length in enumerate(lengths):
        own = emissions[:length, n]

        def score(path: tuple[int, ...], own=own) -> float:
            steps = zip((3, *path), path, range(len(path)), strict=False)
            return sum(transitions[a, b] + own[place, b] for a, b, place in steps)

        best = max(itertools.product(range(3), repeat=int(length)), key=score)
        assert found[n, :length].tolist() == list(best) == _best(own, transitions).tolist()


def test_no_entity_goes_on_that_has_not_begun():
    tags = ("O", "B-x", "I-x", "B-y", "I-y")
    allowed = _allowed(tags) == 0
    assert allowed[:, 2].tolist() == [False, True, True, False, False, False]
    assert allowed[:, [0, 1, 3]].all()


def test_rows_spread_evenly():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 1 << 32, size=200_000, dtype=np.uint32)
    for place in (0, -1, 17):
        share = np.bincount(_row(hashes, place, 10), minlength=1024) / len(hashes) * 1024
        assert len(share) == 1024
        assert 0.6 < share.min() <= share.max() < 1.4  # 195 a row, whose standard deviation is 7%
    assert (_row(hashes, 1, 18) != _row(hashes, -1, 18)).mean() > 0.99


# -- learning -----------------------------------------------------------------------------------------------------------


def test_steps_by_hand():
    one = [Tagged(("Ada",), ("B-x",), "")]
    # step 1: all scores are 0, so the guess is O; every feature moves by 1 towards B-x and away from O
    first = train(one, epochs=1, bits=16)
    assert first.tags == ("O", "B-x", "I-x")
    touched = first.weight[np.abs(first.weight).sum(axis=1) > 0]
    assert len(touched) == FEATURES + len(CONTEXT) * SHARED + PAIRS
    assert (touched == [-1, 1, 0]).all()
    assert first.transition[-1].tolist() == [-1, 1, -1e6]
    # step 2 is right and changes nothing, and training ends; the mean after each step is the same
    np.testing.assert_array_equal(train(one, epochs=5, bits=16).weight, first.weight)


def test_the_mean_of_the_weights():
    # two sentences that contradict each other: whatever is met first, its change is undone by the second, halfway in the mean
    rows = [Tagged(("Ada",), ("B-x",), ""), Tagged(("Ada",), ("O",), "")]
    found = train(rows, epochs=1, bits=16)
    start = found.transition[-1, :2].tolist()
    assert start in (
        [-0.5, 0.5],
        [0.0, 0.0],
    )  # undone after one of two steps; or O was right at first, then one of two steps


def test_it_learns_and_comes_back_from_its_file(tmp_path: Path):
    rows = sentences()
    told: list[tuple[int, float]] = []
    tagger = train(rows, epochs=8, bits=14, tell=lambda epoch, wrong: told.append((epoch, wrong)))
    assert told[0][1] > told[-1][1]
    assert tagger.tag([one.words for one in rows]) == [list(one.tags) for one in rows]
    assert tagger.entities == ("name", "place")
    again_trained = train(rows, epochs=8, bits=14)
    np.testing.assert_array_equal(tagger.weight, again_trained.weight)
    tagger.save(tmp_path)
    again = Tagger.open(tmp_path)
    text = "Alan Turing went to Oslo. In San Jose we met\nGrace Hopper today"
    found = again.find(text)
    assert [(text[one.start : one.end], one.label) for one in found] == [
        ("Alan Turing", "name"), ("Oslo", "place"), ("San Jose", "place"), ("Grace Hopper", "name"),
    ]  # fmt: skip
    assert again.find("") == again.find(" \n ") == []
    assert again.tag([[], ["Ada"], []])[0] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recogniser.json", "recogniser.safetensors"]


def test_company_in_a_batch_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    rows = sentences()
    tagger = train(rows, epochs=2, bits=14)
    together = tagger.tag([one.words for one in rows])
    fresh = Tagger(tagger.tags, tagger.weight, tagger.transition)
    assert [fresh.tag([one.words])[0] for one in reversed(rows)][::-1] == together
    monkeypatch.setattr("septet.data.tagger.REMEMBERED", 10)  # it forgets words again and again
    assert Tagger(tagger.tags, tagger.weight, tagger.transition).tag([one.words for one in rows]) == together


def test_what_cannot_be_used(tmp_path: Path):
    with pytest.raises(DataError, match="mark no entities"):
        train([Tagged(("a",), ("O",), "")])
    with pytest.raises(StoreError, match="step 'recogniser'"):
        Tagger.open(tmp_path)
