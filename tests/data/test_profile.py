"""What a data set is like, by rows whose words were counted by hand."""

from __future__ import annotations

from septet.data.profile import profile, share_longer, tokens_of

GERMAN = "Der alte Mann sitzt am Fenster und liest die Zeitung von gestern, waehrend draussen der Regen faellt."
ENGLISH = "The old man sits at the window and reads the newspaper of yesterday while the rain falls outside."


def test_tokens_are_estimated_from_words_and_marks():
    assert tokens_of("It is a fine film.", "en") == 8  # 6 words and marks, 1.25 each: 7.5
    assert tokens_of("Es ist ein guter Film.", "de") == 10  # 6, 1.6 each: 9.6
    assert tokens_of("一部 好电影", "zh") == 5  # characters, without blanks
    assert tokens_of("", "en") == 0


def test_lengths_and_labels_by_hand():
    rows = [{"text": "a b c", "label": "x"}, {"text": "a b c d e", "label": "y"}, {"text": "a", "label": "x"}]
    found = profile("classification", {"train": rows, "held_out": rows[:1], "test": []}, language="en")
    assert (found.rows, found.parts) == (3, {"train": 3, "held_out": 1})
    assert found.labels == {"x": 2, "y": 1}
    text = found.lengths["text"]
    assert (text.median, text.longest) == (3, 5)
    assert list(found.read) == [4, 7, 2]  # 3.75, 6.25, 1.25, rounded up
    assert found.written == ()
    assert share_longer(found.read, 4) == 1 / 3
    assert found.purpose == "classification"


def test_two_languages_are_a_translation_and_a_short_target_a_summary():
    pairs = [{"source": ENGLISH, "target": GERMAN}] * 12
    found = profile("text-to-text", {"train": pairs})
    assert (found.language, found.written_in, found.purpose) == ("en", "de", "translation")
    short = [{"source": f"{ENGLISH} " * 4, "target": "An old man reads."}] * 12
    assert profile("text-to-text", {"train": short}).purpose == "summarisation"
    same = [{"source": ENGLISH, "target": ENGLISH}] * 12
    assert profile("text-to-text", {"train": same}).purpose == "rewriting"


def test_a_conversation_is_read_up_to_its_last_message():
    row = {"messages": [{"role": "user", "content": "a b c d"}, {"role": "assistant", "content": "e"}]}
    found = profile("chat", {"train": [row]}, language="en")
    assert (list(found.read), list(found.written), list(found.whole)) == ([5], [2], [7])
