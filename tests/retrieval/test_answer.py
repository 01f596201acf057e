import math
from collections.abc import Sequence

import pytest

from septet.retrieval.answer import LOGIT, NOT_FOUND, Answerer, confidence
from septet.retrieval.index import SearchIndex


class Says:
    """Answers with a fixed text, as a model would."""

    def __init__(self, text: str) -> None:
        self.text = text

    def generate(self, question: str, passages: Sequence[str]) -> str:
        return self.text


QUESTION = "join pathname components"


def test_passages_are_the_answer_without_a_model(words_only: SearchIndex) -> None:
    answer = Answerer(words_only).ask(QUESTION)
    assert answer.supported
    first = answer.citations[0]
    assert (first.number, first.name, first.file, first.line) == (1, "os.path.join", "posixpath.py", 71)
    assert [(part.kind, part.citation) for part in answer.text] == [("quote", 1)]
    assert answer.plain() == "Join two or more pathname components. [1]"


def test_supported_words_of_the_model_are_marked_and_cited(words_only: SearchIndex) -> None:
    answer = Answerer(words_only, engine=Says("It joins two or more pathname components.")).ask(QUESTION)
    assert [(part.kind, part.citation) for part in answer.text] == [("model", 1), ("quote", 1)]


@pytest.mark.parametrize("text", ["It joins components. It was invented in 1923.", "Bananas are yellow.", "", "  \n "])
def test_unsupported_words_of_the_model_are_not_shown(words_only: SearchIndex, text: str) -> None:
    answer = Answerer(words_only, engine=Says(text)).ask(QUESTION)
    assert [part.kind for part in answer.text] == ["notice", "quote"]
    assert answer.supported


@pytest.mark.parametrize("question", ["how long should I boil an egg", "", "   ", "zebra", "?!"])
def test_what_is_not_there_is_refused(words_only: SearchIndex, question: str) -> None:
    answer = Answerer(words_only, engine=Says("Nine minutes.")).ask(question)
    assert not answer.supported
    assert answer.citations == ()
    assert answer.plain() == NOT_FOUND


def test_confidence_by_hand() -> None:
    found = {"cosine": 0.5, "coverage": 0.6, "best": 0.7, "named": 0.0}
    dense, words = LOGIT["dense"], LOGIT["words"]
    assert confidence(found, by="dense") == pytest.approx(
        1 / (1 + math.exp(-(dense["intercept"] + 0.5 * dense["cosine"] + 0.7 * dense["best"])))
    )
    assert confidence(found, by="words") == pytest.approx(
        1 / (1 + math.exp(-(words["intercept"] + 0.6 * words["coverage"] + 0.7 * words["best"])))
    )
    asked = LOGIT["asked"]
    logit = asked["intercept"] + sum(
        asked[name] * value for name, value in (("cosine", 0.6), ("best", 0.5), ("asked", 0.7))
    )
    told = {"cosine": 0.6, "coverage": 0.4, "best": 0.5, "asked": 0.7, "named": 0.0}
    assert confidence(told, by="asked") == pytest.approx(1 / (1 + math.exp(-logit)))
    assert confidence({**found, "named": 1.0}, by="dense") == 1.0


def test_many_questions_are_answered_in_order(both: SearchIndex) -> None:
    answers = Answerer(both).ask_all([QUESTION, "zzz qqq"])
    assert [answer.question for answer in answers] == [QUESTION, "zzz qqq"]
