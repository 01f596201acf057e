"""The linear classifier: its features and weights beside scikit-learn's own, its calibration by hand, its file.

python -m pytest tests/data/test_linear.py
"""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import hstack
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from septet.core.errors import DataError, StoreError
from septet.data.labelled import read_labelled
from septet.data.linear import Classifier, Features, calibrate, train

SMALL = Features(words=2, characters=3, bits=10)
TEXTS = [f"{tone} film number {n}" for n in range(20) for tone in ("good", "bad", "dull")]
LABELS = ["+", "-", "0"] * 20


def test_weights_and_features_are_those_of_scikit_learn():
    texts, labels = TEXTS[::3] + TEXTS[1::3], ["+"] * 20 + ["-"] * 20
    made = train(texts, labels, features=SMALL, inverse_regularisation=2.0).classifier
    words = HashingVectorizer(n_features=1024, ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]", dtype=np.float32)
    inside = HashingVectorizer(n_features=1024, ngram_range=(2, 3), analyzer="char_wb", dtype=np.float32)
    x = hstack([words.transform(texts), inside.transform(texts)], format="csr")
    peer = LogisticRegression(C=2.0, class_weight="balanced", max_iter=1000).fit(x, labels)
    assert made.labels == ("+", "-")
    np.testing.assert_allclose(made.weight, peer.coef_, atol=1e-5)
    margin = made.scale * peer.decision_function(x) + made.shift[1]
    np.testing.assert_allclose(made.probabilities(texts)[:, 1], 1 / (1 + np.exp(-margin)), atol=1e-4)


def test_calibration_by_hand():
    # two scores only: at s = 1, 3 of 4 are positive, at s = -1, 1 of 4. The logit ln 3 = a s + b at both: a = ln 3, b = 0
    scores = np.array([[0.0, 1.0]] * 4 + [[0.0, -1.0]] * 4)
    scale, shift = calibrate(scores, np.array([1, 1, 1, 0, 1, 0, 0, 0]))
    assert scale == pytest.approx(np.log(3), abs=1e-4)
    assert shift == pytest.approx([0, 0], abs=1e-4)


def test_calibration_beside_scikit_learn():
    rng = np.random.default_rng(0)
    score = rng.normal(size=400)
    y = (rng.random(400) < 1 / (1 + np.exp(-(0.7 * score - 1.2)))).astype(int)
    scale, shift = calibrate(np.stack([np.zeros(400), score], axis=1), y)
    peer = LogisticRegression(C=np.inf).fit(score[:, None], y)
    assert scale == pytest.approx(peer.coef_[0, 0], rel=1e-3)
    assert shift[1] == pytest.approx(peer.intercept_[0], rel=1e-3)


def test_balanced_weights_do_not_spoil_the_probabilities():
    rng = np.random.default_rng(1)
    texts, labels = [], []
    for n in range(600):
        bad = rng.random() < 0.1
        texts.append(f"{'rude' if rng.random() < (0.7 if bad else 0.1) else 'kind'} words {n}")
        labels.append("bad" if bad else "good")
    found = train(texts, labels, features=Features(words=1, characters=0, bits=12))
    share = labels.count("bad") / len(labels)
    assert found.out_of_fold[:, 0].mean() == pytest.approx(share, abs=0.01)


def test_three_labels_and_the_folder(tmp_path: Path):
    made = train(TEXTS, LABELS, features=SMALL, positive="-").classifier
    made.save(tmp_path)
    again = Classifier.open(tmp_path)
    texts = [*TEXTS, "", "\ud800 lone", "x" * 10_000]
    found = again.probabilities(texts)
    assert found.shape == (len(texts), 3)
    np.testing.assert_array_equal(found, made.probabilities(texts))
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert [again.labels[row.argmax()] for row in found[: len(TEXTS)]] == LABELS
    assert again.column() == again.labels.index("-")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["classifier.json", "classifier.safetensors"]
    np.testing.assert_array_equal(again.probabilities(texts[:1])[0], found[0])  # a batch changes nothing


def test_what_cannot_be_used(tmp_path: Path):
    with pytest.raises(DataError, match="at least 5 texts"):
        train(TEXTS[:4], LABELS[:4])
    with pytest.raises(DataError, match="only '\\+'"):
        train(TEXTS, ["+"] * len(TEXTS))
    with pytest.raises(DataError, match="positive label 'x'"):
        train(TEXTS, LABELS, positive="x")
    with pytest.raises(StoreError, match="made by the step 'classifier'"):
        Classifier.open(tmp_path)
    made = train(TEXTS, LABELS, features=SMALL).classifier
    with pytest.raises(DataError, match="trained without 'positive'"):
        made.column()
    with pytest.raises(DataError, match="no label 'bad'"):
        made.column("bad")
    made.save(tmp_path)
    settings = json.loads((tmp_path / "classifier.json").read_text())
    (tmp_path / "classifier.json").write_text(json.dumps({**settings, "format": 9}))
    with pytest.raises(StoreError, match="format 9"):
        Classifier.open(tmp_path)


def test_equal_texts_stay_in_one_fold():
    # every text twice: a fold that saw the twin would be right about noise
    rng = np.random.default_rng(0)
    texts = [f"w{n} v{n}" for n in range(100)] * 2
    labels = [str(x) for x in rng.integers(2, size=100)] * 2
    found = train(texts, labels, features=Features(words=1, characters=0, bits=16), inverse_regularisation=100)
    assert log_loss([int(x) for x in labels], found.out_of_fold[:, 1]) > 0.6


# -- labelled rows ------------------------------------------------------------------------------------------------------


def test_rows_in_every_form(tmp_path: Path):
    rows = [("a, b", "1"), ('say "x"\nnow', "0")]
    with open(tmp_path / "a.csv", "w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([("label", "text"), *((label, text) for text, label in rows), ("1", " ")])
    (tmp_path / "b.jsonl").write_text("".join(json.dumps({"text": t, "label": int(y)}) + "\n" for t, y in rows))
    with gzip.open(tmp_path / "c.tsv.gz", "wt") as file:
        file.write("label\ttext\n1\ta, b\n")
    (tmp_path / "d.train").write_text("1 a, b\n\n0\tsay  it\n")
    for name in ("a.csv", "b.jsonl"):
        assert [(row.text, row.label) for row in read_labelled(tmp_path / name)] == rows
    assert [(row.text, row.label) for row in read_labelled(tmp_path / "c.tsv.gz")] == rows[:1]
    found = read_labelled(tmp_path / "d.train", format="label-first")
    assert [(row.text, row.label) for row in found] == [("a, b", "1"), ("say  it", "0")]


def test_rows_that_do_not_fit(tmp_path: Path):
    (tmp_path / "a.csv").write_text("comment,toxic\nx,1\n")
    with pytest.raises(DataError, match=r"row 1: There is no field 'text'.* Known: comment, toxic"):
        read_labelled(tmp_path / "a.csv")
    (tmp_path / "b.txt").write_text("1\n")
    with pytest.raises(DataError, match="set 'format'"):
        read_labelled(tmp_path / "b.txt")
    with pytest.raises(DataError, match="row 1: The line has no text"):
        read_labelled(tmp_path / "b.txt", format="label-first")
    (tmp_path / "c.csv").write_bytes(b"text,label\n\xff,1\n")
    with pytest.raises(DataError, match="not UTF-8"):
        read_labelled(tmp_path / "c.csv")
    (tmp_path / "d.csv.gz").write_bytes(gzip.compress(b"text,label\nx,1\n" * 100)[:-20])
    with pytest.raises(DataError, match="damaged"):
        read_labelled(tmp_path / "d.csv.gz")
    (tmp_path / "e.csv").write_text('text,label\n"never closed,1\n')
    with pytest.raises(DataError, match="damaged at line"):
        read_labelled(tmp_path / "e.csv")


def test_sentiment_of_real_sentences(real_data: Path):
    folder = real_data / "classification" / "sst2"
    rows = read_labelled(folder / "stsa.binary.dev.gz", format="label-first")
    assert len(rows) == 872
    made = train([row.text for row in rows], [row.label for row in rows], features=Features(bits=16)).classifier
    test = read_labelled(folder / "stsa.binary.test.gz", format="label-first")[:600]
    score = made.probabilities([row.text for row in test])[:, 1]
    assert roc_auc_score([row.label == "1" for row in test], score) > 0.7
