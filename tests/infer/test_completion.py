"""Completion: which tokens are learned, empty prompts, what is cut, models that reproduce, and that no roles are added.

python -m pytest tests/infer/test_completion.py
"""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
import torch
from tests.train.text_models import WORDS, save
from transformers import AutoModelForCausalLM

from septet.core.errors import ComponentError, DataError
from septet.core.step import Runtime, Work
from septet.data.batches import Batches
from septet.data.packing import IGNORE
from septet.infer.tasks.completion import Completion
from septet.train.loop import fit
from septet.train.objective import Objective, generators
from septet.train.plan import Plan
from septet.train.schedules.cosine import Cosine


def encode(task, model, *rows, max_tokens=None):
    return task.encode(enumerate(rows, 1), model, max_tokens=max_tokens or model.context, file="train.jsonl")


def row(prompt, completion="w2 w3"):
    return {"prompt": prompt, "completion": completion}


@pytest.fixture(params=["gpt2", "llama", "falcon"])
def model(request, tmp_path):
    return Completion().open(save(request.param, tmp_path / "base", WORDS, context=32), device="cpu")


def test_what_is_read_and_what_is_learned(model):
    (whole, empty), prepared = encode(Completion(), model, row("w1 w1"), row(""))
    say = model.tokenizer.convert_ids_to_tokens
    begin = model.tokenizer.bos_token or model.tokenizer.eos_token
    assert say(whole.ids.tolist()) == [begin, "w1", "w1", "w2", "w3"]
    assert whole.labels.tolist()[:2] == [IGNORE, IGNORE]
    assert say(whole.labels.tolist()[2:]) == ["w2", "w3", model.tokenizer.eos_token]
    assert say(empty.ids.tolist()) == [begin, "w2", "w3"]
    assert say(empty.labels.tolist()) == ["w2", "w3", model.tokenizer.eos_token]
    assert (prepared.rows, prepared.targets, prepared.longest, prepared.cut) == (2, 6, 5, 0)
    assert model.tokenizer.chat_template is None


def test_the_loss_is_that_of_transformers(model):
    rows = [row("w1 w4 w5", "w2"), row("", "w3 w3"), row("w9", "w8 w7 w6 w5")]
    samples, prepared = encode(Completion(), model, *rows)
    objective = Objective.parse(Completion().taught_by(model)).suited(model.architecture)
    term = objective.loss(objective.prepare(samples, model.tokenizer, generators(3, 0)), model, {})["nll"]
    total = 0.0
    for sample in samples:
        ids = torch.tensor([[*sample.ids.tolist(), model.tokenizer.eos_token_id]])
        labels = torch.tensor([[IGNORE, *sample.labels.tolist()]])
        with torch.no_grad():
            total += model.module(input_ids=ids, labels=labels).loss.item() * int((labels != IGNORE).sum())
    assert term.weight == prepared.targets
    assert term.sum.item() == pytest.approx(total, rel=1e-5)


def test_what_is_too_long(model):
    long = row(" ".join(f"w{number % 20}" for number in range(40)), "w21 w22")
    with pytest.raises(DataError, match="row 1: the row has 43 tokens, and 32 are read"):
        encode(Completion(), model, long)
    with pytest.raises(DataError, match="the row has 41 tokens, and 32 are read"):
        Completion().predict(model, [long])
    cuts = Completion(too_long="cut", max_new_tokens=4)
    (sample,), prepared = encode(cuts, model, long)
    say = model.tokenizer.convert_ids_to_tokens
    # the end of the prompt is what the completion follows
    assert say(sample.ids.tolist())[-3:] == ["w19", "w21", "w22"]
    assert (len(sample.ids), prepared.cut, prepared.lost) == (32, 1, 11)
    (endless,), prepared = encode(cuts, model, row("w1", " ".join(["w2"] * 50)))
    assert say(endless.labels.tolist()) == ["w2"] * 32
    assert prepared.lost == 1 + 50 + 1 - 32
    (found,) = cuts.predict(model, [long])
    assert found.facts["cut_tokens"] == 41 - (32 - 4)


def test_it_learns_to_reproduce_exactly_and_plain_transformers_agrees(model, tmp_path):
    rng = np.random.default_rng(2)
    rows = [
        row(" ".join(rng.choice(WORDS, 3)), " ".join(rng.choice(WORDS, int(rng.integers(1, 6))))) for _ in range(10)
    ]
    rows.append(row("", "w1 w2 w3"))
    task = Completion(max_new_tokens=8)
    samples, _ = encode(task, model, *rows)
    objective = Objective.parse(task.taught_by(model)).suited(model.architecture)
    plan = Plan(steps=150, learning_rate=1e-2, schedule=Cosine(warmup=10), precision="float32")
    work = Work(out=tmp_path, state=tmp_path, runtime=Runtime(device="cpu", threads=1))
    fit(model, objective, Batches(samples, 11, seed=0), plan, work=work)
    found = task.predict(model, rows)
    assert [one.prediction for one in found] == [task.expected(one) for one in rows]
    assert not any(one.facts for one in found)
    model.save(tmp_path / "saved")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "saved").eval()
    prompt = torch.from_numpy(samples[0].ids[:4].astype(np.int64))[None]
    line = plain.generate(prompt, attention_mask=torch.ones_like(prompt))[0, 4:]
    assert model.tokenizer.decode(line, skip_special_tokens=True) == rows[0]["completion"]


def test_bad_rows_and_other_models(tmp_path):
    task = Completion()
    model = task.open(save("llama", tmp_path / "llama", WORDS), device="cpu")
    with pytest.raises(DataError, match="row 1: the field 'completion' is empty"):
        encode(task, model, row("w1", " "))
    with pytest.raises(DataError, match="row 2: the field 'prompt' holds int"):
        encode(task, model, row("w1"), row(3))
    with pytest.raises(DataError, match="'decoder' is needed"):
        task.open(save("t5", tmp_path / "t5", WORDS), device="cpu")
    assert task.row("typed") == {"prompt": "typed"}
    with pytest.raises(ComponentError, match="reads one text"):
        task.row("typed", context="passage")


def test_real_prompts_are_encoded_without_loss(real_data, tmp_path):
    """Bytes are tokens here: prompt and completion come back byte for byte; marks of special tokens in a text stay text."""
    path = sorted((real_data / "sft/t0_multitask").glob("*.gz"))[0]
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file][:100]
    rows = [row(one["prompt"], one["completion"]) for one in rows]
    task = Completion()
    model = task.open(save("gpt2", tmp_path, context=20_000), device="cpu")
    samples, prepared = encode(task, model, *rows)
    assert (prepared.rows, prepared.lost) == (100, 0)
    for sample, real in zip(samples, rows, strict=True):
        learned = sample.labels[sample.labels != IGNORE]
        assert model.tokenizer.decode(learned[:-1]) == real["completion"]
        assert learned[-1] == model.tokenizer.eos_token_id
        assert model.tokenizer.decode(sample.ids[1 : len(sample.ids) + 1 - len(learned)]) == real["prompt"]
