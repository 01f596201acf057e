"""Spans: a loss worked by hand, transformers' own loss, windows, predictions against all spans, and every family learns.

python -m pytest tests/train/test_spans.py
"""

from __future__ import annotations

import contextlib
import gzip
import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tests.train.families import FAMILIES
from tests.train.folders import save_family

from septet.core.errors import ComponentError, DataError
from septet.core.step import Runtime, Work
from septet.data.batches import Batches
from septet.data.tokenizers.foreign import take_over
from septet.infer.inputs import Encoded
from septet.infer.tasks.question_answering import QuestionAnswering, _place, best_span
from septet.train.evaluation import evaluate
from septet.train.loop import fit
from septet.train.objective import Objective, generators
from septet.train.objectives.spans import Spans
from septet.train.plan import Plan
from septet.train.runtime import settle
from septet.train.schedules.constant import Constant

TASK = QuestionAnswering()


def a_row(context: str, *answers: str, question: str = "w50 w51") -> dict:
    """A row whose answers are where they are found first."""
    found = [{"text": answer, "start": context.index(answer)} for answer in answers]
    return {"id": "1", "question": question, "context": context, "answers": found}


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request, tmp_path_factory):
    return save_family(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return TASK.open(save_family("bert", tmp_path_factory.mktemp("one")), device="cpu")


# -- the objective -------------------------------------------------------------------------------------------------------


def test_a_loss_worked_by_hand():
    # the second text has one token of padding, whose logit is as high as it can be and must not count
    start = torch.tensor([[0.0, math.log(3), 0.0], [0.0, 0.0, 99.0]])
    end = torch.tensor([[0.0, 0.0, math.log(2)], [math.log(4), 0.0, 99.0]])
    model = SimpleNamespace(module=lambda **inputs: SimpleNamespace(start_logits=start, end_logits=end))
    rows = [Encoded(np.array([3, 4, 5]), (1, 2)), Encoded(np.array([3, 4]), (0, 1))]
    batch = Spans().prepare(rows, SimpleNamespace(pad_token_id=0), generators(2, 0))
    terms = Spans().loss(batch, model, {})  # type: ignore[arg-type]
    # p(1) = 3/5 and p(2) = 2/4; p(0) = 1/2 and p(1) = 1/5
    by_hand = (math.log(5 / 3) + math.log(2) + math.log(2) + math.log(5)) / 2
    assert float(terms["nll"].sum) == pytest.approx(by_hand)
    assert terms["nll"].weight == batch.weights["nll"] == 2.0
    assert float(terms["accuracy"].sum) == 1.0  # the second text's end is wrong


def test_padding_on_the_left_moves_the_places():
    rows = [Encoded(np.array([7, 8, 9]), (0, 2)), Encoded(np.array([7]), (0, 0))]
    batch = Spans(pad_side="left").prepare(rows, SimpleNamespace(pad_token_id=0), generators(2, 0))
    assert batch.labels is not None
    assert batch.labels.tolist() == [[0, 2], [2, 2]]


def toy_rows(count: int = 64) -> list[dict]:
    """Passages of random words; the answer is w10 and the word w11 after it, and every fourth passage has none."""
    rng = np.random.default_rng(5)
    rows = []
    for number in range(count):
        words = [f"w{word}" for word in rng.integers(20, 40, int(rng.integers(4, 12)))]
        if number % 4:
            place = int(rng.integers(len(words)))
            words[place:place] = ["w10", "w11"]
        rows.append(a_row(" ".join(words), *(["w10 w11"] if number % 4 else [])))
    return rows


def test_every_family_learns_where_the_answer_is(folder, tmp_path_factory):
    torch.manual_seed(0)
    model = TASK.open(folder, device="cpu")
    objective = Objective.parse(TASK.objective).suited(model.architecture)
    rows = toy_rows()
    samples, prepared = TASK.encode(enumerate(rows, start=1), model, max_tokens=48)
    assert (prepared.rows, prepared.targets, prepared.cut, prepared.lost) == (64, 64, 0, 0)
    # without padding the loss is the one that transformers computes from the same inputs
    length = len(samples[0])
    same = [sample for sample in samples if len(sample) == length][:6]
    batch = objective.prepare(same, model.tokenizer, generators(len(same), 0))
    assert batch.labels is not None
    with torch.no_grad():
        ours = float(objective.loss(batch, model, {})["nll"].sum) / len(same)
        ends = {"start_positions": batch.labels[:, 0], "end_positions": batch.labels[:, 1]}
        assert ours == pytest.approx(float(model.module(**batch.inputs, **ends).loss), rel=1e-4)
    # padding changes nothing: the losses of texts alone add up to the loss of the padded batch
    ragged = samples[:5]
    assert len({len(sample) for sample in ragged}) > 1
    with torch.no_grad():
        batch = objective.prepare(ragged, model.tokenizer, generators(5, 0))
        together = float(objective.loss(batch, model, {})["nll"].sum)
        alone = 0.0
        for sample in ragged:
            batch = objective.prepare([sample], model.tokenizer, generators(1, 0))
            alone += float(objective.loss(batch, model, {})["nll"].sum)
    assert together == pytest.approx(alone, rel=1e-4)
    out = tmp_path_factory.mktemp("fit")
    plan = Plan(steps=90, learning_rate=3e-3, schedule=Constant(warmup=5), precision="float32")
    work = Work(out=out, state=out, runtime=Runtime(device="cpu"))
    fit(model, objective, Batches(samples, 16, seed=0), plan, work=work)
    found = evaluate(model, objective, samples, settled=settle(Runtime(device="cpu"), precision="float32"))
    assert found["accuracy"] > 0.8
    predicted = [one.prediction for one in TASK.predict(model, rows)]
    right = [one["text"] in (TASK.expected(row) or [""]) for one, row in zip(predicted, rows, strict=True)]
    assert sum(right) > 0.8 * len(right)
    assert {one["text"] for one in predicted} >= {"", "w10 w11"}
    # saved, plain transformers opens it and gives the same logits
    from transformers import AutoModelForQuestionAnswering

    model.save(out / "made")
    plain = AutoModelForQuestionAnswering.from_pretrained(str(out / "made"))
    with torch.no_grad():
        ours, theirs = model.module(**batch.inputs), plain(**batch.inputs)
    torch.testing.assert_close(theirs.start_logits, ours.start_logits)
    torch.testing.assert_close(theirs.end_logits, ours.end_logits)


# -- windows -------------------------------------------------------------------------------------------------------------


def test_a_passage_in_three_windows_with_the_answer_in_one(bert):
    words = [f"w{10 + number}" for number in range(9)]
    row = a_row(" ".join(words), "w15 w16")
    # 10 tokens a window: [CLS] w50 w51 [SEP] and five words and [SEP]; two windows share two words
    task = QuestionAnswering(stride=2)
    samples, prepared = task.encode([(1, row)], bert, max_tokens=10)
    assert [sample.ids.tolist() for sample in samples] == [
        [3, 50, 51, 4, 10, 11, 12, 13, 14, 4],
        [3, 50, 51, 4, 13, 14, 15, 16, 17, 4],
        [3, 50, 51, 4, 16, 17, 18, 4],
    ]
    assert [sample.target for sample in samples] == [(0, 0), (6, 7), (0, 0)]
    assert [sample.types.tolist() for sample in samples] == [[0] * 4 + [1] * 6, [0] * 4 + [1] * 6, [0] * 4 + [1] * 4]
    assert prepared.facts() == {"rows": 1, "tokens": 28, "targets": 3, "longest": 14, "cut": 1, "lost": 0, "dropped": 0}


def test_an_answer_that_no_window_holds_whole_is_counted_and_not_taught_as_none(bert):
    row = a_row(" ".join(f"w{10 + number}" for number in range(9)), "w13 w14 w15")
    samples, prepared = QuestionAnswering(stride=0).encode([(1, row)], bert, max_tokens=10)
    assert samples == [], "both windows hold a part of the answer"
    assert (prepared.targets, prepared.cut, prepared.lost) == (0, 1, 3)


def test_a_long_question_is_cut_to_half_a_window_and_counted(bert):
    row = a_row("w10 w11", "w11", question=" ".join(["w50"] * 9))
    samples, prepared = TASK.encode([(1, row)], bert, max_tokens=11)
    assert samples[0].ids.tolist() == [3, 50, 50, 50, 50, 4, 10, 11, 4]
    assert (samples[0].target, prepared.cut, prepared.lost) == ((7, 7), 1, 5)


@pytest.mark.parametrize(
    ("family", "ids", "answer", "none"),
    [
        ("roberta", [3, 50, 4, 10, 11, 4], (4, 4), (0, 0)),
        ("xlnet", [10, 11, 4, 50, 4, 3], (1, 1), (5, 5)),
        ("llama", [50, 1, 10, 11, 1], (3, 3), (4, 4)),
        ("bart", [50, 1, 10, 11, 1], (3, 3), (4, 4)),
    ],
)
def test_the_order_and_the_place_of_no_answer(family, ids, answer, none, tmp_path):
    model = TASK.open(save_family(family, tmp_path), device="cpu")
    rows = [a_row("w10 w11", "w11", question="w50"), a_row("w10 w11", question="w50")]
    samples, _ = TASK.encode(enumerate(rows, start=1), model, max_tokens=48)
    assert [sample.ids.tolist() for sample in samples] == [ids, ids]
    assert [sample.target for sample in samples] == [answer, none]


# -- predictions ---------------------------------------------------------------------------------------------------------


def test_the_best_span_is_the_best_of_all_spans():
    rng = np.random.default_rng(3)
    for count in (1, 2, 7, 40):
        for longest in (1, 3, 30, 100):
            start, end = rng.normal(size=(2, count))
            best = max((start[i] + end[j], i, j) for i in range(count) for j in range(i, min(count, i + longest)))
            assert best_span(start, end, longest=longest) == pytest.approx(best)


def test_a_prediction_is_the_best_of_all_windows(folder):
    # the model knows nothing, which is when a mistake in the bookkeeping shows
    model = TASK.open(folder, device="cpu", seed=4)
    model.autocast = contextlib.nullcontext  # the reference is in float32
    rng = np.random.default_rng(7)
    rows = [a_row("  ".join(f"w{word}" for word in rng.integers(10, 60, count))) for count in (3, 30, 11, 45)]
    task = QuestionAnswering(stride=4, max_answer_tokens=3, null_threshold=None)
    found = [one.prediction for one in task.predict(model, rows, max_tokens=16)]
    for row, prediction in zip(rows, found, strict=True):
        words, question = row["context"].split(), row["question"].split()
        best, none = (-math.inf, ""), math.inf
        for sample in task.encode([(1, row)], model, max_tokens=16)[0]:
            with torch.no_grad():
                out = model.module(input_ids=torch.tensor(sample.ids)[None], **_types(sample))
            start, end = out.start_logits[0].tolist(), out.end_logits[0].tolist()
            place = sample.target[0]  # no answer is taught, so this is its place
            none = min(none, start[place] + end[place])
            tokens = model.tokenizer.convert_ids_to_tokens(sample.ids.tolist())
            passage = [p for p, token in enumerate(tokens) if token[0] == "w"]
            asked = len(question)
            passage = passage[:-asked] if model.architecture == "permuted" else passage[asked:]
            for i in passage:
                for j in passage:
                    if i <= j < i + 3:
                        best = max(best, (start[i] + end[j], "  ".join(tokens[i : j + 1])))
        assert prediction["text"] == best[1]
        assert prediction["no_answer"] == pytest.approx(none - best[0], abs=1e-3)
        assert row["context"][prediction["start"] :].startswith(prediction["text"])
        assert set(prediction["text"].split()) <= set(words)


def _types(sample: Encoded) -> dict[str, torch.Tensor]:
    return {} if sample.types is None else {"token_type_ids": torch.tensor(sample.types)[None]}


def test_the_threshold_decides_about_no_answer(bert):
    rows = [a_row("w10 w11 w12")]
    score = QuestionAnswering(null_threshold=None).predict(bert, rows)[0].prediction["no_answer"]
    above = QuestionAnswering(null_threshold=score + 0.01).predict(bert, rows)[0].prediction
    below = QuestionAnswering(null_threshold=score - 0.01).predict(bert, rows)[0].prediction
    assert above["text"]
    assert below == {"text": "", "no_answer": score, "start": None}


def test_what_a_person_types_becomes_a_row(bert):
    row = TASK.row("w50", context="w10 w11")
    assert TASK.predict(bert, [row])[0].prediction.keys() == {"text", "no_answer", "start"}
    for wrong in ({}, {"pair": "w10", "context": "w10"}):
        with pytest.raises(ComponentError, match="takes a question and the passage"):
            TASK.row("w50", **wrong)


# -- bad rows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"answers": [{"text": "w11", "start": 0}]},
            r"row 3.*'w11' is not at character 0.*'w10' stands.*at character 4",
        ),
        ({"answers": [{"text": "w99", "start": 4}]}, r"'w99' is not at character 4.*nowhere in the context"),
        ({"answers": [{"text": "w12", "start": -3}]}, "is not at character -3"),
        ({"answers": [{"text": " ", "start": 3}]}, "text that is not empty"),
        ({"answers": [{"text": "w11", "answer_start": 4}]}, r"answer_start"),
        ({"answers": "w11"}, "must be a list.*it is str"),
        ({"context": "  "}, "'context' is empty"),
        ({"question": 4}, "'question' holds int"),
    ],
)
def test_a_wrong_row_is_named(bert, changes, message):
    with pytest.raises(DataError, match=f"(?s){message}"):
        TASK.encode([(3, {**a_row("w10 w11 w12"), **changes})], bert, max_tokens=48, file="train.jsonl")


def test_missing_answers_and_a_small_window_are_named(bert):
    row = a_row("w10 w11")
    del row["answers"]
    with pytest.raises(DataError, match="it is missing"):
        TASK.encode([(1, row)], bert, max_tokens=48)
    with pytest.raises(ComponentError, match="4 tokens, 3 of them special, has no room"):
        TASK.encode([(1, a_row("w10 w11"))], bert, max_tokens=4)


# -- real data -----------------------------------------------------------------------------------------------------------


def squad(path) -> list[dict]:
    articles = json.loads(gzip.decompress(path.read_bytes()))["data"]
    rows = []
    for paragraph in (paragraph for article in articles for paragraph in article["paragraphs"]):
        for asked in paragraph["qas"]:
            answers = [{"text": answer["text"], "start": answer["answer_start"]} for answer in asked["answers"]]
            rows.append({"question": asked["question"], "context": paragraph["context"], "answers": answers})
    return rows


@pytest.mark.parametrize(
    ("name", "exact"),
    [
        ("bert_base_uncased", 10_037),
        pytest.param("gpt2", 9_971, marks=pytest.mark.slow),
        pytest.param("t5", 9_808, marks=pytest.mark.slow),
    ],
)
def test_every_answer_of_squad_is_found_back_through_tokens(real_data, name, exact):
    """The others begin or end inside a token ("Japan" in "Japanese", "n2)" in "n2),"): the token's own text is found then."""
    from transformers import PreTrainedTokenizerFast

    parts = take_over(real_data / "tokenizers" / name)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=parts.encoder, eos_token="e", cls_token="c", sep_token="s")
    model: Any = SimpleNamespace(tokenizer=tokenizer, architecture="decoder")
    rows = squad(real_data / "qa" / "squad_v2_dev" / "dev-v2.0.json.gz")
    assert (len(rows), sum(not row["answers"] for row in rows)) == (6_078, 3_168)
    same = inside = 0
    for number, row in enumerate(rows, start=1):
        samples, _ = TASK.encode([(number, row)], model, max_tokens=10_000)
        read = TASK._read(row, model, 10_000, file=None, number=number)
        (window,) = read.windows
        for place, answer in enumerate(row["answers"]):
            first, last = _place(answer, read, file=None, number=number)
            if not place:
                assert samples[0].target == (window.at + first, window.at + last)
            found = row["context"][read.spans[first, 0] : read.spans[last, 1]]
            same += found == answer["text"]
            inside += found != answer["text"] and answer["text"].strip() in found
    assert (same, inside) == (exact, 10_052 - exact)
