"""Contamination: planted copies in every disguise, the hashes beside plain n-grams, and the overlaps of real sets.

python -m pytest tests/data/test_decontaminate.py
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from septet.core.errors import ComponentError, DataError
from septet.data.documents import Document
from septet.data.filter import Filter
from septet.data.ngrams import _grams, _hash_words, overlap, read_items, targets, word_places, words

PASSAGE = " ".join(f"Word{n}," for n in range(30)) + "."
LONG = " ".join(f"filler{n}" for n in range(400))


def write(path: Path, rows: Iterable[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


class Dropped(list[tuple[str, str]]):
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def __call__(self, doc: Document, reason: str) -> None:
        self.append((doc.id, reason))


def apply(path: Path, texts: list[str], **fields: Any) -> tuple[list[Document], Dropped]:
    made, dropped = Filter.parse({"kind": "decontaminate", "against": [str(path)], **fields}), Dropped()
    return list(made.apply((Document(str(n), text) for n, text in enumerate(texts)), dropped)), dropped


# -- words and hashes ---------------------------------------------------------------------------------------------------


def test_words():
    assert words("It's re-used:\tA_B (ÉTÉ) e\u0301te\u0301 Straße") == [
        "it",
        "s",
        "re",
        "used",
        "a",
        "b",
        "été",
        "été",
        "strasse",
    ]
    assert words("東京 ＡＢＣ") == ["東", "京", "abc"]
    text = "Ein „Straßen“-Test"
    assert [text[a:b] for a, b in word_places(text)] == ["Ein", "Straßen", "Test"]


@settings(deadline=None)
@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=40), st.integers(1, 6))
def test_hashes_are_equal_where_the_words_are(known: list[str], n: int):
    plain = [tuple(known[i : i + n]) for i in range(len(known) - n + 1)]
    found = [grams.tolist() for _, grams in _grams(_hash_words(known), (n,))]
    if not plain:
        assert found == []
        return
    assert len(found[0]) == len(plain)
    assert len(set(zip(plain, found[0], strict=True))) == len(set(plain)) == len(set(found[0]))


def test_several_lengths_are_those_of_one_at_a_time():
    hashes = _hash_words([str(n) for n in range(20)])
    together = dict(_grams(hashes, (3, 8, 13)))
    for n, grams in together.items():
        ((_, alone),) = _grams(hashes, (n,))
        np.testing.assert_array_equal(grams, alone)
    assert not set(together[3]) & set(together[8])


# -- reading ------------------------------------------------------------------------------------------------------------


def test_every_layout(tmp_path: Path):
    messages = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "id": 7}
    assert [(one.id, one.texts) for one in read_items(write(tmp_path / "a.jsonl", [messages, {"q": "c", "n": 3}]))] == [
        ("7", ("user", "a", "assistant", "b")),
        ("2", ("c",)),
    ]
    (tmp_path / "b.csv").write_text('q,a\n"x, y",z\n')
    assert [one.texts for one in read_items(tmp_path / "b.csv")] == [("q", "a"), ("x, y", "z")]
    (tmp_path / "c.txt").write_text("one\n\ntwo\n")
    assert [(one.id, one.texts) for one in read_items(tmp_path / "c.txt")] == [("1", ("one",)), ("3", ("two",))]
    squad = {"data": [{"paragraphs": [{"context": "C", "qas": [{"id": "q1", "question": "Q"}]}]}]}
    with gzip.open(tmp_path / "d.json.gz", "wt") as file:
        json.dump(squad, file)
    assert [(one.id, one.texts) for one in read_items(tmp_path / "d.json.gz")] == [
        ("paragraph 1", ("C",)),
        ("question q1", ("Q",)),
    ]
    assert {one.id for one in read_items(tmp_path)} == {
        "a.jsonl:7", "a.jsonl:2", "b.csv:1", "b.csv:2", "c.txt:1", "c.txt:3", "d.json.gz:paragraph 1", "d.json.gz:question q1",
    }  # fmt: skip
    (tmp_path / "e.json").write_text('["one", {"a": ["two", {"b": "three"}]}]')
    assert [(one.id, one.texts) for one in read_items(tmp_path / "e.json")] == [
        ("1", ("one",)),
        ("2", ("two", "three")),
    ]
    (tmp_path / "e.json").write_text('{\n"idx": 0,\n"a": "one"}')
    assert [(one.id, one.texts) for one in read_items(tmp_path / "e.json")] == [("0", ("one",))]
    (tmp_path / "e.json").write_text('{"a": "one"}\nnot json\n')
    with pytest.raises(DataError, match="row 2: The line is not JSON"):
        list(read_items(tmp_path / "e.json"))
    (tmp_path / "e.json").write_text('{"data": [{"paragraphs": [{"text": "x"}]}]}')
    with pytest.raises(DataError, match="SQuAD's layout"):
        list(read_items(tmp_path / "e.json"))
    (tmp_path / "f").mkdir()
    with pytest.raises(DataError, match="holds no"):
        list(read_items(tmp_path / "f"))


# -- planted contamination ----------------------------------------------------------------------------------------------


def test_planted_copies(tmp_path: Path):
    path = write(tmp_path / "test.jsonl", [{"id": "q", "text": PASSAGE}])
    shouted = PASSAGE.upper().replace(",", "  --\n")
    changed = PASSAGE.replace("Word15", "other")  # 15 words before it, 14 after it
    in_two = PASSAGE.replace("Word12", "other").replace("Word20", "other")  # runs of 12, 7 and 9 words
    texts = [
        LONG,
        f"{LONG} {PASSAGE} {LONG}",
        shouted,
        changed,
        in_two,
        " ".join(PASSAGE.split()[:12]),
        " ".join(PASSAGE.split()[5:18]),
    ]
    kept, dropped = apply(path, texts)
    assert [doc.id for doc in kept] == ["0", "4", "5"]
    assert dropped == [(n, "shares words with an evaluation set") for n in ("1", "2", "3", "6")]
    assert dropped.counts == {"test.jsonl:q": 4}
    # the changed passage has 3 + 2 of the 18 runs, the last one has a single run
    assert [doc.id for doc in apply(path, texts, min_hits=3)[0]] == ["0", "4", "5", "6"]
    assert [doc.id for doc in apply(path, texts, min_hits=6)[0]] == ["0", "3", "4", "5", "6"]
    assert "4" not in [doc.id for doc in apply(path, texts, ngram=12)[0]]


def test_short_items(tmp_path: Path):
    eight = "Who was the first to cross the strait"
    path = write(
        tmp_path / "t.jsonl",
        [{"q": eight, "choices": ["yes", "no"]}, {"q": "Who was it?"}, {"q": PASSAGE, "a": eight + " alone"}],
    )
    found = targets([path])
    assert found.ignored == {"t.jsonl": 1}
    assert found.lengths == (8, 13)
    kept, dropped = apply(path, [f"so: {eight.lower()}!", eight.replace("strait", "sea"), "Who was it? " * 20])
    assert [doc.id for doc in kept] == ["1", "2"]
    # the short text of an item that can be met by a longer one is not looked for by itself
    assert dropped.counts == {"t.jsonl:1": 1}
    assert overlap(found, [eight, LONG, PASSAGE])["t.jsonl"].seen == ("1", "3")
    assert overlap(found, [eight])["t.jsonl"].share == 0.5


def test_what_all_items_share_can_be_left_out(tmp_path: Path):
    prompt = " ".join(f"please{n}" for n in range(13))
    items = [{"q": f"{prompt} " + " ".join(f"own{n}x{k}" for k in range(13))} for n in range(5)]
    path = write(tmp_path / "t.jsonl", items)
    texts = [prompt, items[3]["q"].split(" ", 13)[1] + " " + " ".join(items[3]["q"].split()[13:])]
    assert len(apply(path, texts)[1]) == 2
    kept, dropped = apply(path, texts, too_common=4)
    assert [doc.id for doc in kept] == ["0"]
    assert dropped.counts == {"t.jsonl:4": 1}


def test_cutting(tmp_path: Path):
    path = write(tmp_path / "t.jsonl", [{"id": "q", "text": PASSAGE}])
    before, after = "b" * 9 + " " + "before " * 100, "after " * 100
    kept, dropped = apply(path, [before + PASSAGE + " " + after, PASSAGE, LONG], mode="cut")
    assert [doc.id for doc in kept] == ["0", "2"]
    first, second = kept[0].text.split("\n\n")
    assert before.startswith(first)
    assert len(before) - 200 - 7 <= len(first) <= len(before) - 200
    assert len(second) == pytest.approx(len(after) - 200, abs=8)
    assert kept[0].meta == {"contamination": ["t.jsonl:q"]}
    assert kept[1].text == LONG
    assert dropped == [("1", "nothing is left beside what an evaluation set holds")]
    assert dropped.counts == {"t.jsonl:q": 2, "cut": 1}
    many = (LONG + " " + PASSAGE + " ") * 4
    assert len(apply(path, [many], mode="cut")[0][0].text.split("\n\n")) == 4
    assert apply(path, [many], mode="cut", max_pieces=3)[1] == [("0", "shares many passages with an evaluation set")]
    near, _ = apply(path, [before + PASSAGE + " " + after], mode="cut", distance=0, min_chars=1)
    assert words(near[0].text) == words(before + after)
    # what was cut is clean, and the texts beside the main one are cut as well
    assert apply(path, [kept[0].text])[1] == []
    doc = Document("a", LONG + PASSAGE, meta={"doc": PASSAGE, "signature": "f(x)"})
    made = Filter.parse({"kind": "decontaminate", "against": [str(path)], "mode": "cut"})
    (cut,) = made.apply([doc], Dropped())
    assert cut.meta["doc"] == ""
    assert cut.meta["signature"] == "f(x)"


def test_data_sets_of_the_store(tmp_path: Path):
    write(tmp_path / "held_out.jsonl", [{"messages": [{"role": "user", "content": PASSAGE}], "document": "d"}])
    made, dropped = Filter.parse({"kind": "decontaminate", "datasets": ["$questions"]}), Dropped()
    assert list(made.refs().values()) == ["$questions"]
    made.given({"$questions": tmp_path})
    assert list(made.apply([Document("a", PASSAGE)], dropped)) == []
    with pytest.raises(ComponentError, match="name the evaluation sets"):
        Filter.parse({"kind": "decontaminate"})


def test_files_of_the_same_name_stay_apart(tmp_path: Path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "test.jsonl", [{"q": f"{folder} {PASSAGE}"}])
    found = targets([tmp_path / "x/test.jsonl", tmp_path / "y/test.jsonl"])
    assert found.names == ("x/test.jsonl:1", "y/test.jsonl:1")


# -- real sets ----------------------------------------------------------------------------------------------------------


def contexts(path: Path) -> list[str]:
    content = json.loads(gzip.decompress(path.read_bytes()))
    return [paragraph["context"] for article in content["data"] for paragraph in article["paragraphs"]]


def test_paragraphs_that_two_real_sets_share(real_data: Path):
    test = real_data / "qa" / "xquad" / "xquad.en.json.gz"
    training = contexts(real_data / "qa" / "squad_v2_dev" / "dev-v2.0.json.gz")
    exact = set(contexts(test)) & set(training)
    found = overlap(targets([test]), training)["xquad.en.json.gz"]
    seen = [one for one in found.seen if one.startswith("paragraph")]
    assert found.items == 240 + 1190
    assert len(exact) == 78
    assert {f"paragraph {n}" for n, text in enumerate(contexts(test), start=1) if text in exact} <= set(seen)
    assert len(seen) <= 82


def test_nothing_is_shared_with_novels(real_data: Path):
    test = real_data / "qa" / "xquad" / "xquad.en.json.gz"
    path = sorted((real_data / "pretraining" / "english_novels").glob("*.gz"))[0]
    novel = gzip.decompress(path.read_bytes()).decode("utf-8-sig")
    assert overlap(targets([test]), novel.split("\n\n"))["xquad.en.json.gz"].seen == ()
