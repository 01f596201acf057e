"""The transcript of an answer, the cancel signal, and a recipe's `serve` mapping.

python -m pytest tests/api/test_app.py
"""

from __future__ import annotations

import pytest
from toys.scripted import JOIN

from septet.api.app import Cancel, ChatRequest, Finish, Found, Piece, Transcript, configure
from septet.core.errors import ComponentError, RecipeError
from septet.retrieval.answer import Citation


def written(*events) -> Transcript:
    transcript = Transcript()
    total = "".join(transcript.add(event).text for event in events)
    assert total == transcript.text
    return transcript


def test_the_text_of_an_answer_by_hand() -> None:
    second = Citation(2, "notes", "notes.md", 0, 0.4, "One.\nTwo.")
    transcript = written(
        Found((JOIN, second), grounded=True),
        Piece("Use ", citation=1),
        Piece("join.", citation=1),
        Piece("One.\nT", "quote", 2),
        Piece("wo.", "quote", 2),
        Finish(),
    )
    assert transcript.text == (
        "Use join. [1]\n\n> One.\n> Two. [2]\n\nSources:\n[1] os.path.join (posixpath.py:71)\n[2] notes (notes.md)"
    )
    assert [(part["kind"], part["text"], part["citation"]) for part in transcript.parts] == [
        ("model", "Use join.", 1),
        ("quote", "One.\nTwo.", 2),
    ]


def test_a_mark_that_is_there_is_not_doubled() -> None:
    assert written(Piece("Use join [1]", citation=1), Finish()).text == "Use join [1]"


def test_parts_that_say_so_stay_apart() -> None:
    transcript = written(Piece("a", "quote", 1), Piece("b", "quote", 1, new=True), Finish())
    assert [part["text"] for part in transcript.parts] == ["a", "b"]
    assert transcript.text == "> a [1]\n\n> b [1]"


def test_deltas_send_what_must_not_be_added_up_once() -> None:
    transcript = Transcript()
    transcript.add(Found((JOIN,), grounded=True))
    assert transcript.add(Piece("a")).extra == {"parts": [{"index": 0, "kind": "model", "text": "a", "citation": None}]}
    assert transcript.add(Piece("b")).extra == {"parts": [{"index": 0, "text": "b"}]}


def test_cancel_reaches_those_who_came_before_and_after() -> None:
    cancel, calls = Cancel(), []
    cancel.then(lambda: calls.append("before"))
    cancel()
    cancel()
    cancel.then(lambda: calls.append("after"))
    assert (calls, cancel.is_set()) == (["before", "after"], True)


def test_the_question_is_the_last_user_turn() -> None:
    turns = [("user", "one"), ("assistant", "two"), ("user", "three"), ("assistant", "four")]
    messages = tuple({"role": role, "content": content} for role, content in turns)
    assert ChatRequest(messages).question == "three"
    assert ChatRequest(()).question == ""


def test_configure_names_what_is_wrong() -> None:
    app = configure({"app": "assistant", "model": "$liked", "index": "$docs"}, ids={"$liked": "ab12", "docs": "cd34"})
    assert (app.kind, app.model, app.index) == ("assistant", "ab12", "cd34")
    both = {"app": "assistant", "model": "$base", "adapters": {"short": "$liked", "long": "by-hand/long"}}
    assert configure(both, ids={"base": "ab12", "liked": "cd34"}).adapters == {"short": "cd34", "long": "by-hand/long"}
    with pytest.raises(RecipeError, match=r"serve\.adapters\.short: '\$liked' has not been made"):
        configure(both, ids={"base": "ab12"})
    with pytest.raises(RecipeError, match="'serve' says no 'app'"):
        configure({"model": "x"})
    with pytest.raises(RecipeError, match=r"serve\.model: '\$liked' has not been made"):
        configure({"app": "assistant", "model": "$liked"})
    with pytest.raises(ComponentError, match="assistant"):
        configure({"app": "asistant", "model": "x"})
    with pytest.raises(ComponentError, match="temperature"):
        configure({"app": "assistant", "model": "x", "temperatur": 1})
