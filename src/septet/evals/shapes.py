"""What `Sample.expected` and `Output.prediction` hold, read with a check: JSON values of a shape that the metric needs.

A wrong shape is refused with the sample's id; it is never guessed at, because a metric of something else is a wrong number.

    python -m pytest tests/evals/scorers/test_shapes.py
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from septet.core.errors import DataError
from septet.evals.sample import Output, Sample, Score

__all__ = ["number", "probabilities", "right_labels", "said_labels", "span", "text_list", "with_probabilities"]


def right_labels(sample: Sample) -> frozenset[str]:
    """Return the labels of a sample: one, or several, or an empty set for an empty list."""
    if sample.expected is None:
        raise _wrong(None, sample, "a right label or a list of them")
    return _labels(sample.expected, sample)


def said_labels(output: Output, sample: Sample) -> frozenset[str]:
    """Return the labels that a system named; None, where no label could be read from its answer, is the empty set."""
    return frozenset() if output.prediction is None else _labels(output.prediction, sample)


def _labels(value: Any, sample: Sample) -> frozenset[str]:
    return frozenset([value] if isinstance(value, str) else text_list(value, sample, "a label or a list of labels"))


def text_list(value: Any, sample: Sample, what: str) -> list[str]:
    """Return a list of strings, such as tags or right answers."""
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise _wrong(value, sample, what)
    return list(value)


def number(value: Any, sample: Sample) -> float:
    """Return a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _wrong(value, sample, "a finite number")
    return float(value)


def span(value: Any, sample: Sample) -> tuple[str, float | None]:
    """Return the answer's text ("" for none) and how likely there is none; None where the system does not say."""
    if not isinstance(value, Mapping) or not isinstance(value.get("text"), str):
        raise _wrong(value, sample, 'a mapping {"text": the answer or "", "no_answer": number}')
    return value["text"], number(value["no_answer"], sample) if value.get("no_answer") is not None else None


def probabilities(output: Output, sample: Sample) -> dict[str, float]:
    """Return the probabilities by label; each is in [0, 1] and the expected labels are among them."""
    found = {label: number(p, sample) for label, p in output.probabilities.items()}
    for label, p in found.items():
        if not -1e-6 <= p <= 1 + 1e-6:
            raise _wrong(p, sample, f"a probability of '{label}' between 0 and 1")
    missing = sorted(right_labels(sample) - set(found)) if found else []
    if missing:
        raise _wrong(sorted(found), sample, f"a probability for each right label, also for '{missing[0]}'")
    return found


def with_probabilities(scores: Sequence[Score]) -> Sequence[Score]:
    """Return the scores if their outputs had probabilities, an empty list if none had; some with and some without is an error."""
    with_them = [score for score in scores if score.values]
    if with_them and len(with_them) < len(scores):
        bare = next(score.sample.id for score in scores if not score.values)
        raise DataError(
            f"{len(with_them)} of {len(scores)} outputs have probabilities, sample '{bare}' has none; a system gives them for all "
            "its outputs or for none."
        )
    return with_them


def _wrong(value: Any, sample: Sample, what: str) -> DataError:
    said = repr(value)
    return DataError(f"sample '{sample.id}': expected {what}; got {said if len(said) < 80 else said[:77] + '...'}.")
