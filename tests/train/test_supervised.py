"""The loss falls on the answers alone; nothing is lost silently."""

import numpy as np
import pytest
import torch
from tiny_chat import chat_rows, tiny_model, tiny_tokenizer

from septet.core.errors import DataError
from septet.data.packing import IGNORE
from septet.infer.chat import Chat
from septet.infer.tasks.chat import prepare_conversations
from septet.train.objectives.supervised import Supervised

TALK = (("user", "Hi"), ("assistant", "Hello you"))


def prepare(rows, **options):
    return prepare_conversations(
        list(enumerate(rows, 1)), tiny_tokenizer(), **{"max_tokens": 128, "file": "rows.jsonl", **options}
    )


def row(*said):
    return {"messages": [{"role": role, "content": text} for role, text in said]}


def test_labels_are_the_answer_and_its_end_each_predicted_from_what_stands_before():
    samples, report = prepare([row(("system", "Be kind."), *TALK, ("user", "x"), ("assistant", "y"))])
    tokenizer = tiny_tokenizer()
    (sample,) = samples
    learned = sample.labels != IGNORE
    assert tokenizer.decode(sample.labels[learned].tolist()) == "Hello you<|end|>y<|end|>"
    # the label of a position is the token that follows it
    assert np.array_equal(sample.labels[learned][:-1], sample.ids[1:][learned[:-1]])
    assert tokenizer.decode(sample.ids[: int(learned.argmax()) + 1].tolist()).endswith("Hi<|end|><|assistant|>")
    assert report.targets == learned.sum()
    assert (report.cut, report.lost) == (0, 0)


def test_the_loss_is_that_of_each_conversation_alone():
    model = tiny_model()
    samples, _ = prepare(chat_rows(7))
    objective = Supervised()
    batch = objective.prepare(samples, model.tokenizer, [])
    assert batch.inputs["input_ids"].shape[0] < 7, "conversations are packed"
    term = objective.loss(batch, model, {})["nll"]
    total, count = 0.0, 0
    for sample in samples:  # the second way: transformers' own loss on one unpacked row
        ids = torch.tensor([[*sample.ids, 0]])
        labels = torch.tensor([[IGNORE, *sample.labels]])
        number = int((sample.labels != IGNORE).sum())
        total += model.module(input_ids=ids, labels=labels.long()).loss.item() * number
        count += number
    assert term.weight == count
    assert term.sum.item() == pytest.approx(total, rel=1e-5)


def test_splitting_a_batch_changes_nothing():
    model = tiny_model()
    samples, _ = prepare(chat_rows(6))
    objective = Supervised()
    whole = objective.loss(objective.prepare(samples, model.tokenizer, []), model, {})["nll"]
    parts = [objective.loss(objective.prepare([s], model.tokenizer, []), model, {})["nll"] for s in samples]
    assert whole.weight == sum(part.weight for part in parts)
    assert whole.sum.item() == pytest.approx(sum(part.sum.item() for part in parts), rel=1e-5)


def test_what_is_cut_is_reported():
    long = row(("user", "Hi"), ("assistant", "word " * 60))
    whole = len(Chat(tiny_tokenizer()).conversation(long["messages"]).ids)
    samples, report = prepare([long], max_tokens=20, too_long="cut")
    assert len(samples[0].ids) == 20
    assert (report.cut, report.longest, report.lost) == (1, whole, whole - 21)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row(("user", "long " * 100), ("assistant", "x")), "begins beyond the limit of 16 tokens"),
        (row(("user", "Hi")), "nobody answers"),
        (row(("user", "Hi"), ("assistant", "  ")), "nobody answers"),
        (row(("robot", "Hi"), ("assistant", "x")), "robot"),
        ({"messages": "Hi"}, "no list of messages"),
        ({"text": "Hi"}, "no list of messages"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages\\[0\\]"),
    ],
)
def test_a_row_that_teaches_nothing_is_an_error(bad, message):
    with pytest.raises(DataError, match=f"rows.jsonl, row 2: .*{message}"):
        prepare([row(("user", "a"), ("assistant", "b")), bad], max_tokens=16, too_long="cut")


def test_conversations_that_are_too_long_are_refused_or_left_out():
    short, long = row(("user", "a"), ("assistant", "b")), row(("user", "Hi"), ("assistant", "word " * 60))
    with pytest.raises(DataError, match=r"row 2: the row has \d+ tokens, and 20 are read; so it is with 1 more: 3\."):
        prepare([short, long, long], max_tokens=20)
    samples, report = prepare([short, long, long], max_tokens=20, too_long="drop")
    assert (len(samples), report.rows, report.dropped, report.cut, report.lost) == (1, 1, 2, 0, 0)
