"""The step that trains a text classifier: what it writes and measures, on real comments and sentences.

python -m pytest tests/steps/test_classifier.py
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, brier_score_loss, f1_score, roc_auc_score

from septet.core.artifact import digest_folder
from septet.core.errors import DataError
from septet.core.step import Step, Work
from septet.data.linear import Classifier
from septet.steps.classifier import measure


def run(out: Path, **fields: Any) -> dict[str, Any]:
    out.mkdir(parents=True)
    return Step.parse({"kind": "classifier", **fields}).run(Work(out=out, state=out))


def rows(path: Path, count: int = 80) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows([f"{'vile' if n % 4 == 0 else 'fine'} words {n}", str(n % 4 == 0)] for n in range(count))
    return path


def test_the_figures_are_scikit_learns():
    rng = np.random.default_rng(0)
    p = rng.random(150)
    gold = ["yes" if rng.random() < x else "no" for x in p]
    y = np.array([label == "yes" for label in gold])
    found = measure(np.stack([1 - p, p], axis=1), gold, ("no", "yes"), positive="yes")
    wanted = {
        "accuracy": accuracy_score(y, p > 0.5),
        "f1": f1_score(y, p > 0.5),
        "roc_auc": roc_auc_score(y, p),
        "average_precision": average_precision_score(y, p),
        "brier": brier_score_loss(y, p),
    }
    assert {name: one["value"] for name, one in found.items()} == pytest.approx(wanted)
    assert all(one["low"] < one["value"] < one["high"] and one["n"] == 150 for one in found.values())
    other = measure(np.stack([1 - p, p], axis=1), gold, ("no", "yes"), positive="no")
    assert other["f1"]["value"] == pytest.approx(f1_score(~y, p <= 0.5))


def test_figures_of_three_labels():
    p = np.array([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7]])
    gold = ["a", "b", "c", "c"]
    found = measure(p, gold, ("a", "b", "c"))
    assert found["accuracy"]["value"] == 0.75
    assert found["f1"]["value"] == pytest.approx(f1_score(gold, ["a", "b", "b", "c"], average="macro"))
    # by hand: .04+.01+.01, .04+.25+.09, .04+.25+.49, .01+.04+.09
    assert found["brier"]["value"] == pytest.approx((0.06 + 0.38 + 0.78 + 0.14) / 4)
    assert set(found) == {"accuracy", "f1", "brier"}


def test_the_same_making_gives_the_same_bytes(tmp_path: Path):
    path = rows(tmp_path / "a.csv")
    facts = run(tmp_path / "one", path=str(path), positive="True")
    assert facts["train_rows"] + facts["held_out_rows"] == 80
    assert facts["labels"] == {"False": 60, "True": 20}
    assert facts["held_out"]["roc_auc"]["value"] == 1.0
    assert run(tmp_path / "two", path=str(path), positive="True") == facts
    assert digest_folder(tmp_path / "one") == digest_folder(tmp_path / "two")
    assert Classifier.open(tmp_path / "one").probabilities(["vile words", "fine words"])[:, 1].round() == pytest.approx(
        [1, 0]
    )


def test_a_label_that_yaml_reads_as_something_else(tmp_path: Path):
    path = str(rows(tmp_path / "a.csv"))
    assert Step.parse({"kind": "classifier", "path": path, "positive": True}) == Step.parse(
        {"kind": "classifier", "path": path, "positive": "True"}
    )


def test_too_few_rows(tmp_path: Path):
    with pytest.raises(DataError, match="one side of the split only"):
        run(tmp_path / "one", path=str(rows(tmp_path / "a.csv", count=2)))


def test_toxic_comments(real_data: Path, tmp_path: Path):
    path = real_data / "classification" / "wikipedia_toxicity" / "toxicity_nonfuzzed_testset.csv.gz"
    fields = {"text_field": "comment", "label_field": "toxic", "positive": "True"}
    facts = run(tmp_path / "one", path=str(path), **fields)
    assert facts["train_rows"] + facts["held_out_rows"] == 1492
    assert facts["out_of_fold"]["roc_auc"]["low"] > 0.8
    # a classifier that knows only how frequent the label is has this Brier score
    share = facts["labels"]["True"] / 1492
    assert facts["out_of_fold"]["brier"]["high"] < share * (1 - share)
