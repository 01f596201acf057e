import pytest

from septet.data.documents import Document
from septet.retrieval.text import content_words, encoder_text, frame, literals, paragraphs, split_name, terms


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("os.path.join", "os path join"),
        ("logging.getLogger", "logging get Logger"),
        ("http.HTTPServer", "http HTTP Server"),
        ("json.JSONDecodeError", "json JSON Decode Error"),
        ("my notes: part 2", "my notes part 2"),
        ("os.O_RDONLY", "os O RDONLY"),
    ],
)
def test_a_name_is_split_into_words(name: str, words: str) -> None:
    assert split_name(name) == words


def test_terms_are_words_without_syntax_or_stop_words() -> None:
    assert terms('How do I "join" two paths* NEAR(x) OR y:z?') == ["join", "two", "paths", "near", "x", "y", "z"]
    assert terms("what is it") == ["what", "is", "it"], "a question of stop words keeps them"
    assert terms("?!") == []


def test_literals() -> None:
    assert literals("is os.path.join like `zip` or map() or file_digest?") == [
        "os.path.join",
        "zip",
        "map",
        "file_digest",
    ]
    assert literals("how do I map a list") == []


def test_frame_takes_the_asking_off() -> None:
    assert frame("how can I join two paths?", "Python") == "How do I join two paths in Python?"
    assert frame("join two paths", "Python") == "How do I join two paths in Python?"
    assert frame("???", "Python") == "???"


def test_paragraphs_and_encoder_text() -> None:
    doc = "One\nline.\n\nMore."
    document = Document(id="a", name="m.f", text=f"m.f(x)\n\n{doc}", meta={"doc": doc, "signature": "f(x)"})
    assert paragraphs(document) == ("One line.", "More.")
    assert encoder_text(document) == "m.f(x): One line."
    section = Document(id="b", name="Setting up", text="Run it.")
    assert encoder_text(section) == "Setting up: Run it."


def test_content_words_meet_across_endings() -> None:
    assert content_words("It returns joined strings") == content_words("Return the joining of a string")
