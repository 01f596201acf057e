"""classifier: trains a small linear text classifier on labelled rows, and measures it on a part that it never saw.

Writes `classifier.json` and `classifier.safetensors`, which the filter `toxicity` reads. Rows are held out by a hash of their text,
so equal texts stay together. It makes no language model: n-grams and one layer of weights.

    septet classifier --path comments.csv --text-field comment --label-field toxic --positive True --name toxic
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from septet.core.artifact import Artifact, Fact
from septet.core.component import InputPath
from septet.core.errors import DataError
from septet.core.extras import need
from septet.core.step import Step, Work
from septet.data.labelled import Format, is_held_out, read_labelled
from septet.data.linear import Features, train
from septet.evals import stats

__all__ = ["Classifier"]

RESAMPLES = 1000


class Classifier(Step):
    """Train a linear text classifier."""

    produces: ClassVar[str] = "classifier"

    path: InputPath
    """A file of labelled texts: csv or tsv with a header, JSON lines, or lines that begin with their label; plain or .gz."""
    format: Format = "auto"
    """What the file is; auto: by its ending. label-first: a label, white space and the text in each line, without a header."""
    text_field: str = "text"
    """The column of the text."""
    label_field: str = "label"
    """The column of the label."""
    positive: str = ""
    """The label that a filter asks for, as the file writes it; f1 and average precision are those of this label."""
    held_out: float = Field(default=0.2, gt=0, le=0.5)
    """Share of the different texts that is only measured on."""
    features: Features = Features()
    """What of a text the classifier sees."""
    inverse_regularisation: float = Field(default=10.0, gt=0)
    """scikit-learn's C: the larger, the closer the weights follow the training rows."""
    class_weight: Literal["balanced", "none"] = "balanced"
    """balanced: a rare label weighs as much as a frequent one. The calibration takes the shift out of the probabilities again."""
    seed: int = 0
    """Chooses the held-out part and the folds of the calibration."""

    @field_validator("positive", mode="before")
    @classmethod
    def _as_written(cls, label: Any) -> Any:
        # YAML reads True and 1 as something else than the text that the file holds
        return str(label) if isinstance(label, bool | int) else label

    def run(self, work: Work, **inputs: Artifact) -> dict[str, Fact]:
        """Errors: DataError where a label has too few rows, on either side."""
        rows = read_labelled(self.path, format=self.format, text_field=self.text_field, label_field=self.label_field)
        aside = [is_held_out(row.text, share=self.held_out, seed=self.seed) for row in rows]
        inside = [row for row, out in zip(rows, aside, strict=True) if not out]
        outside = [row for row, out in zip(rows, aside, strict=True) if out]
        missing = {row.label for row in inside} ^ {row.label for row in outside}
        if missing or not rows:
            where = ", ".join(sorted(missing)) or "every label"
            raise DataError(
                f"{len(rows)} rows are too few to train and to measure: {where} is on one side of the split only."
                " Give more rows, or another seed.",
                file=self.path,
            )
        made = train(
            [row.text for row in inside],
            [row.label for row in inside],
            features=self.features,
            inverse_regularisation=self.inverse_regularisation,
            class_weight=self.class_weight,
            positive=self.positive,
            seed=self.seed,
        )
        made.classifier.save(work.out)
        work.progress(1, 2, unit="stages", rows=len(inside))
        labels = made.classifier.labels
        probabilities = made.classifier.probabilities([row.text for row in outside])
        facts = {
            "train_rows": len(inside),
            "held_out_rows": len(outside),
            "labels": dict(sorted(Counter(row.label for row in rows).items())),
            "held_out": measure(
                probabilities, [row.label for row in outside], labels, positive=self.positive, seed=self.seed
            ),
            "out_of_fold": measure(
                made.out_of_fold, [row.label for row in inside], labels, positive=self.positive, seed=self.seed
            ),
        }
        work.progress(2, 2, unit="stages", rows=len(outside))
        return facts


def measure(
    probabilities: np.ndarray, gold: Sequence[str], labels: Sequence[str], *, positive: str = "", seed: int = 0
) -> dict[str, Any]:
    """Return scikit-learn's metrics with 95% intervals: probabilities [N, C] of `labels` against the labels of N texts.

    accuracy: Wilson. brier: mean squared error, t interval. f1, average_precision: percentile bootstrap; roc_auc: the same by
    class. With two labels they are those of `positive`, or of the second label. With more, f1 is the plain mean over labels,
    brier sums the squared errors of all labels, and the two curves are left out.
    """
    metrics = need("sklearn.metrics", "corpus")
    y = np.searchsorted(list(labels), list(gold))
    guess = probabilities.argmax(axis=1)
    found = {"accuracy": stats.proportion(int((guess == y).sum()), len(y))}
    if len(labels) == 2:
        column = list(labels).index(positive) if positive else 1
        truth, score, said = y == column, probabilities[:, column], guess == column

        def f1(rows: np.ndarray) -> float:
            both = int((truth[rows] & said[rows]).sum())
            total = int(truth[rows].sum() + said[rows].sum())
            return 2 * both / total if total else 0.0

        found["f1"] = stats.bootstrap(f1, len(y), seed=seed, resamples=RESAMPLES)
        found["roc_auc"] = stats.auroc(score[truth].tolist(), score[~truth].tolist(), seed=seed, resamples=RESAMPLES)
        found["average_precision"] = stats.bootstrap(
            lambda rows: float(metrics.average_precision_score(truth[rows], score[rows])) if truth[rows].any() else 0.0,
            len(y),
            seed=seed,
            resamples=RESAMPLES,
        )
        found["brier"] = stats.mean(((score - truth) ** 2).tolist())
    else:
        found["f1"] = stats.bootstrap(
            lambda rows: float(metrics.f1_score(y[rows], guess[rows], average="macro", zero_division=0)),
            len(y),
            seed=seed,
            resamples=RESAMPLES,
        )
        found["brier"] = stats.mean(((probabilities - np.eye(len(labels))[y]) ** 2).sum(axis=1).tolist())
    return {name: one.to_json() for name, one in found.items()}
