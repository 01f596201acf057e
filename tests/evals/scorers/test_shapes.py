"""What expected and predicted values may be.

python -m pytest tests/evals/scorers/test_shapes.py
"""

from __future__ import annotations

import pytest

from septet.core.errors import DataError
from septet.evals.sample import Output, Sample
from septet.evals.scorer import Scorer
from septet.evals.scorers.f1 import F1
from septet.evals.scorers.squad import Squad
from septet.evals.shapes import right_labels, said_labels, span


def test_labels_are_sets() -> None:
    assert right_labels(Sample("a", expected="x")) == {"x"}
    assert right_labels(Sample("a", expected=["x", "y", "x"])) == {"x", "y"}
    assert right_labels(Sample("a", expected=[])) == set()
    assert said_labels(Output(), Sample("a")) == set()


def test_a_sample_without_what_is_right_is_refused_not_counted_as_right() -> None:
    with pytest.raises(DataError, match="sample 'a': expected a right label or a list of them; got None"):
        Scorer.parse("accuracy").score(Sample("a"), Output())


@pytest.mark.parametrize("value", [3, {"label": "x"}, ["x", 1]])
def test_what_is_no_label_is_refused(value: object) -> None:
    with pytest.raises(DataError, match="sample 'a': expected a label or a list of labels; got"):
        F1().score(Sample("a", expected="x"), Output(prediction=value))


def test_spans() -> None:
    assert span({"text": "x", "no_answer": 0.5}, Sample("a")) == ("x", 0.5)
    assert span({"text": ""}, Sample("a")) == ("", None)
    for wrong in (None, "x", {"answer": "x"}, {"text": None}):
        with pytest.raises(DataError, match="sample 'a': expected a mapping"):
            span(wrong, Sample("a"))
    with pytest.raises(DataError, match=r"a list of right answers.*got 'x'"):
        Squad().score(Sample("a", expected="x"), Output(prediction={"text": "x"}))


def test_scorers_read_what_they_say_and_nothing_like_it() -> None:
    assert F1().can_read("label")
    assert F1().can_read("labels")
    assert not F1().can_read("text")
    assert not Scorer.parse("matthews-corrcoef").can_read("labels")

    class OnlySets(F1):
        """Reads sets; "label" is a part of the word "labels", and not meant."""

        reads = "labels"

    assert OnlySets().can_read("labels")
    assert not OnlySets().can_read("label")
