"""Long texts: windows that together are the text, borders where a reader expects them, every window read, an end.

python -m pytest tests/infer/test_long_text.py
"""

from __future__ import annotations

import gzip
import itertools
import json
import re

import pytest

from septet.core.errors import SeptetError
from septet.infer.long_text import first_sentences, fold, windows


def words(text: str) -> int:
    return len(text.split())


def test_windows_end_where_lines_end():
    text = "#A#: one two three\n#B#: four five\n#A#: six\n"
    assert windows(text, size=words, limit=7) == ["#A#: one two three\n#B#: four five\n", "#A#: six\n"]


def test_a_line_that_is_too_long_is_cut_between_sentences_words_and_at_last_characters():
    assert windows("One two. Three four! Five?", size=words, limit=4) == ["One two. Three four! ", "Five?"]
    assert windows("a b c d e", size=words, limit=2) == ["a b ", "c d ", "e"]
    assert windows("abcdefgh", size=len, limit=3) == ["ab", "cd", "ef", "gh"]
    assert windows("很好。再见！好", size=len, limit=4) == ["很好。", "再见！好"]


def test_the_first_sentences():
    assert first_sentences(" It rained. “We left!” Why?", 2) == "It rained. “We left!”"
    assert first_sentences("#A#: Hi! Well?\n\n#B#: Hi.", 2) == "#A#: Hi! Well?"
    assert first_sentences("a line\nwithout marks", 1) == "a line"
    assert first_sentences("one only", 3) == "one only"


def test_what_fits_is_one_window_as_it_is():
    assert windows(" a\n b ", size=words, limit=2) == [" a\n b "]


def test_where_not_one_character_fits_it_is_said():
    with pytest.raises(SeptetError, match="a window of 3 tokens does not hold the character 'a'"):
        windows("ab", size=lambda text: 4, limit=3)


@pytest.mark.parametrize("limit", [1, 2, 7, 40, 10_000])
def test_no_sentence_is_lost_whatever_the_limit(limit, real_data):
    path = real_data / "summarization/dialogsum/dialogsum.dev.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        dialogues = [json.loads(line)["dialogue"] for line in file][:40]
    for text in dialogues:
        parts = windows(text, size=words, limit=limit)
        assert "".join(parts) == text
        assert all(words(part) <= limit for part in parts)
        turns = [words(turn) for turn in text.splitlines()]
        if limit >= max(turns):
            assert all(part.endswith("\n") for part in parts[:-1]), "turns stay whole"
            # no two neighbours would have fitted into one window
            assert all(words(a) + words(b.split("\n")[0]) > limit for a, b in itertools.pairwise(parts))


def test_every_window_is_read_until_one_summary_is_left():
    seen: list[list[str]] = []

    def summarise(texts):
        seen.append(list(texts))
        return [text.split()[0] for text in texts]

    long = "\n".join(f"s{number} x x x." for number in range(8))
    found = fold([long, "short one"], size=words, limit=8, summarise=summarise)
    # 8 lines of 4 words are 4 windows; their 4 summaries fit into one
    assert (found[0].windows, found[0].read, found[0].text) == (4, 5, "s0")
    assert (found[1].windows, found[1].read, found[1].text) == (1, 1, "short")
    assert seen[1] == ["s0\ns2\ns4\ns6"]
    read = " ".join(seen[0])
    assert re.findall(r"s\d", read) == [f"s{number}" for number in range(8)]
    assert len(seen) == 2, "windows of all texts are read together"


def test_as_many_rounds_as_it_takes():
    found = fold(
        ["\n".join(f"w{number} w w w" for number in range(64))],
        size=words,
        limit=4,
        summarise=lambda texts: [text.split()[0] for text in texts],
    )
    assert (found[0].windows, found[0].read) == (64, 64 + 16 + 4 + 1)


def test_summaries_that_do_not_get_shorter_are_an_error_and_no_endless_loop():
    with pytest.raises(SeptetError, match="summaries of 3 windows fill 3 windows of 2 tokens"):
        fold(["a a\nb b\nc c"], size=words, limit=2, summarise=lambda texts: list(texts))


def test_a_model_that_says_nothing_gives_nothing():
    (found,) = fold(["a a\nb b\nc c"], size=words, limit=2, summarise=lambda texts: [""] * len(texts))
    assert (found.text, found.windows, found.read) == ("", 3, 3)
