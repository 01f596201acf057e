"""A linear text classifier: hashed word and character n-grams, logistic regression, calibrated probabilities.

The features are scikit-learn's HashingVectorizer (no vocabulary is kept, so no word of the training text is in the model), the
weights its LogisticRegression. Probabilities are calibrated on scores of texts that the weights did not see (out of fold):

    p_c = softmax_c(a * s_c + b_c)        with two classes: Platt (1999), p = 1 / (1 + exp(-(a s + b)))

The folder holds `classifier.json` and `classifier.safetensors`; nothing in it can run code. It reads no context beyond n-grams:
irony and quotation look the same to it.

    python -m pytest tests/data/test_linear.py
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from septet.core.artifact import write_json
from septet.core.errors import DataError
from septet.core.extras import need
from septet.data.labelled import hash_text
from septet.data.saved import open_settings

__all__ = ["Classifier", "Features", "Trained", "train"]

Array = np.ndarray[Any, np.dtype[Any]]

SETTINGS, WEIGHTS = "classifier.json", "classifier.safetensors"
FORMAT = 1
_SURROGATE = re.compile("[\ud800-\udfff]")
FOLDS = 5
BATCH = 512  # texts that are vectorised at a time: 10 MB of sparse rows for pages of 300 words


class Features(BaseModel):
    """What a text is described by: how often each n-gram occurs, hashed into a fixed number of columns."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    words: int = Field(default=2, ge=0, le=5)
    """Word n-grams of 1 to this many words; 0: none."""
    characters: int = Field(default=5, ge=0, le=8)
    """Character n-grams of 2 to this many characters inside words; 0: none. They see through odd spelling, and cost most time."""
    bits: int = Field(default=18, ge=8, le=24)
    """Columns for words, and as many for characters: 2 to this power."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.words and not self.characters:
            raise ValueError("words and characters are both 0; at least one of them describes a text.")
        return self

    def matrix(self, texts: Sequence[str]) -> Any:
        """Return the texts as a sparse matrix [N, columns], each kind of n-gram scaled to length 1 in every row."""
        # 1.5 s to import, and only a classifier needs it
        vectorizer = need("sklearn.feature_extraction.text", "corpus").HashingVectorizer
        texts = [text if text.isascii() else _SURROGATE.sub("\ufffd", text) for text in texts]  # they cannot be hashed
        shared = {"n_features": 1 << self.bits, "lowercase": True, "norm": "l2", "dtype": np.float32}
        parts = []
        if self.words:
            # single letters and marks count as words here: "I", "!" and "?" carry much of a text's tone
            word = vectorizer(ngram_range=(1, self.words), token_pattern=r"\w+|[^\w\s]", **shared)
            parts.append(word.transform(texts))
        if self.characters:
            within = vectorizer(analyzer="char_wb", ngram_range=(min(2, self.characters), self.characters), **shared)
            parts.append(within.transform(texts))
        from scipy.sparse import hstack

        return hstack(parts, format="csr")


@dataclass(frozen=True, slots=True)
class Classifier:
    """A trained classifier.

    weight: float32 [C, columns], or [1, columns] for two classes. bias: [C] or [1]. scale, shift: the calibration, a number and
    [C]. positive: the label that a filter asks for, "" where none was named.
    """

    labels: tuple[str, ...]
    features: Features
    weight: Array
    bias: Array
    scale: float
    shift: Array
    positive: str = ""

    def probabilities(self, texts: Sequence[str]) -> Array:
        """Return float64 [N, C], rows summing to 1, columns in the order of `labels`."""
        found = np.empty((len(texts), len(self.labels)))
        for start in range(0, len(texts), BATCH):
            rows = self.features.matrix(texts[start : start + BATCH])
            found[start : start + BATCH] = _softmax(self.scale * _scores(rows, self.weight, self.bias) + self.shift)
        return found

    def column(self, label: str = "") -> int:
        """Return the column of a label, of the positive one where none is named. Errors: DataError naming the labels."""
        label = label or self.positive
        if label not in self.labels:
            what = (
                f"The classifier has no label {label!r}" if label else "The classifier was trained without 'positive'"
            )
            raise DataError(f"{what}; name one of its labels: {', '.join(self.labels)}.")
        return self.labels.index(label)

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        save_file({"weight": self.weight, "bias": self.bias, "shift": self.shift}, folder / WEIGHTS)
        settings = {"labels": self.labels, "positive": self.positive, "scale": self.scale}
        write_json(folder / SETTINGS, {"format": FORMAT, **settings, "features": self.features.model_dump()})

    @classmethod
    def open(cls, folder: Path) -> Classifier:
        """Read a folder that `save` wrote. Errors: StoreError where it is none."""
        from safetensors.numpy import load_file

        settings = open_settings(folder / SETTINGS, FORMAT, "classifier")
        return cls(
            labels=tuple(settings["labels"]),
            features=Features(**settings["features"]),
            scale=settings["scale"],
            positive=settings["positive"],
            **load_file(folder / WEIGHTS),
        )


@dataclass(frozen=True, slots=True)
class Trained:
    """A classifier, and the probabilities that each training text got from weights that had not seen it: [N, C]."""

    classifier: Classifier
    out_of_fold: Array


def train(
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    features: Features | None = None,
    inverse_regularisation: float = 10.0,
    class_weight: Literal["balanced", "none"] = "balanced",
    positive: str = "",
    seed: int = 0,
) -> Trained:
    """Train on texts with their labels, one of at least two for each text.

    Equal texts stay in one fold, so that the calibration never sees a text that its weights were fitted on.
    Errors: DataError where there are fewer than two labels, or fewer texts of a label than folds.
    """
    names = tuple(sorted(set(labels)))
    rare = [f"{name!r} {count}" for name, count in Counter(labels).items() if count < FOLDS]
    if len(names) < 2 or rare:
        what = f"these have {', '.join(rare)}" if rare else f"there is only {', '.join(map(repr, names)) or 'none'}"
        raise DataError(f"A classifier needs two labels or more with at least {FOLDS} texts each; {what}.")
    if positive and positive not in names:
        raise DataError(f"The positive label {positive!r} does not occur; the labels are {', '.join(names)}.")
    features = features or Features()
    x, y = features.matrix(texts), np.searchsorted(names, labels)

    def fit(rows: Any, targets: Array) -> tuple[Array, Array]:
        weighted = "balanced" if class_weight == "balanced" else None
        logistic = need("sklearn.linear_model", "corpus").LogisticRegression
        model = logistic(C=inverse_regularisation, class_weight=weighted, max_iter=1000, tol=1e-4).fit(rows, targets)
        # scikit-learn's weights lie column by column, and safetensors writes bytes as they lie
        return np.ascontiguousarray(model.coef_, np.float32), model.intercept_.astype(np.float32)

    fold = _folds(texts, labels, seed)
    scores = np.empty((len(texts), len(names)))
    for number in range(FOLDS):
        inside = fold != number
        if set(y[inside]) != set(range(len(names))):
            raise DataError("Too many texts are equal to one another to hold some out; give more different texts.")
        scores[~inside] = _scores(x[~inside], *fit(x[inside], y[inside]))
    scale, shift = calibrate(scores, y)
    weight, bias = fit(x, y)
    made = Classifier(names, features, weight, bias, scale, shift, positive)
    return Trained(made, _softmax(scale * scores + shift))


def calibrate(scores: Array, targets: Array) -> tuple[float, Array]:
    """Return (a, b [C]) that minimise the mean of -log softmax(a * scores + b)[target], with b[0] = 0 and a > 0."""
    from scipy.optimize import minimize

    rows, classes = scores.shape
    picked = np.eye(classes)[targets]

    def loss(point: Array) -> tuple[float, Array]:
        scale, shift = np.exp(point[0]), np.concatenate([[0.0], point[1:]])
        p = _softmax(scale * scores + shift)
        error = (p - picked) / rows
        value = -np.log(np.maximum(p[np.arange(rows), targets], 1e-300)).mean()
        return float(value), np.concatenate([[scale * (error * scores).sum()], error.sum(axis=0)[1:]])

    found = minimize(
        loss, np.zeros(classes), jac=True, method="L-BFGS-B", bounds=[(-5, 5)] + [(-20, 20)] * (classes - 1)
    )
    return float(np.exp(found.x[0])), np.concatenate([[0.0], found.x[1:]])


def _folds(texts: Sequence[str], labels: Sequence[str], seed: int) -> Array:
    """The fold of each text: the different texts of each label dealt out in the order of their hash."""
    order: dict[str, dict[str, None]] = {}
    for text, label in zip(texts, labels, strict=True):
        order.setdefault(label, {})[text] = None
    fold: dict[str, int] = {}
    for known in order.values():
        for place, text in enumerate(sorted(known, key=lambda text: hash_text(text, seed))):
            fold.setdefault(text, place % FOLDS)
    return np.asarray([fold[text] for text in texts])


def _scores(rows: Any, weight: Array, bias: Array) -> Array:
    """Return [N, C]; with two classes the first one's score is 0."""
    found = np.asarray(rows @ weight.T, dtype=np.float64) + bias
    return np.concatenate([np.zeros_like(found), found], axis=1) if found.shape[1] == 1 else found


def _softmax(scores: Array) -> Array:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)
