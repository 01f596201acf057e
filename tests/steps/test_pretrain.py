"""pretrain and checkpoint: a folder that transformers opens, facts that hold, the same bits twice, errors for people.

python -m pytest tests/steps/test_pretrain.py
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from tests.train.tiny import work_in
from transformers import AutoModelForCausalLM, AutoTokenizer

from septet.core.artifact import Artifact, digest_folder
from septet.core.errors import DataError, Stopped
from septet.core.events import Message
from septet.data.documents import Document, write_documents
from septet.nn.load import open_model
from septet.steps import tokenizer as vocab
from septet.steps.checkpoint import Checkpoint, add_tokens
from septet.steps.pretrain import Pretrain

SENTENCES = [f"def f{n}(a, b): Return the sum of {n} and the product of a and b." for n in range(60)]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> dict[str, Artifact]:
    root = tmp_path_factory.mktemp("inputs")
    for part, lines in (("train", SENTENCES[:50]), ("held_out", SENTENCES[50:])):
        write_documents(root / "corpus" / f"{part}.jsonl", [Document(id=line[4:8], text=line) for line in lines])
    vocab.save(vocab.train(SENTENCES, size=300), root / "tokenizer")
    return {
        kind: Artifact(id="0" * 32, kind=kind, inputs={}, step={}, path=root / kind) for kind in ("corpus", "tokenizer")
    }


def step(**changes) -> Pretrain:
    fields = {"depth": 1, "width": 32, "heads": 2, "context": 64, "batch_tokens": 256, "tokens": 256 * 12, "seed": 3}
    return Pretrain(corpus="$text", tokenizer="$vocab", **{**fields, **changes})


@pytest.fixture(scope="module")
def made(inputs, tmp_path_factory) -> tuple[Path, dict, list]:
    events: list = []
    work = work_in(tmp_path_factory.mktemp("made"), emit=events.append)
    return work.out, step().run(work, **inputs), events


def test_transformers_opens_what_was_made(made):
    out, facts, _ = made
    model = AutoModelForCausalLM.from_pretrained(out)
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert model.num_parameters() == facts["parameters"]
    assert model.config.eos_token_id == tokenizer.eos_token_id
    assert model.dtype == torch.float32
    assert (out / "generation_config.json").is_file()


def test_facts_agree_with_the_model(made):
    out, facts, _ = made
    model, total, size = open_model(out, device="cpu"), 0.0, 0
    for text in SENTENCES[50:]:
        ids = [0, *model.tokenizer(text, add_special_tokens=False)["input_ids"], 0]
        line = torch.tensor([ids])
        with torch.no_grad():
            total += float(model.module(input_ids=line, labels=line).loss) * (len(ids) - 1)
        size += len(text.encode())
    assert facts["bits_per_byte"] == pytest.approx(total / math.log(2) / size, rel=0.02)
    assert facts["steps"] == 12
    assert facts["loss"]["nll"] < 5
    assert facts["derived"]["width"] == 32


def test_the_curve_has_a_row_a_step_and_no_clock(made):
    rows = [json.loads(line) for line in (made[0] / "curve.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert set(rows[0]) == {"step", "tokens", "loss", "learning_rate", "grad_norm"}
    assert "held_out_loss" in rows[-1]
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_what_was_derived_is_told(made):
    told = " ".join(event.text for event in made[2] if isinstance(event, Message))
    assert "width 32 (given)" in told
    assert "feed forward 128," in told
    assert "50 documents" in told


def test_a_stopped_run_ends_with_the_same_files(made, inputs, tmp_path):
    seen = []
    with pytest.raises(Stopped):
        step().run(work_in(tmp_path, emit=seen.append, stopping=lambda: len(seen) > 6), **inputs)
    work = work_in(tmp_path)
    step().run(work, **inputs)
    assert digest_folder(work.out) == digest_folder(made[0])


def test_another_seed_is_another_model(made, inputs, tmp_path):
    work = work_in(tmp_path)
    step(seed=4).run(work, **inputs)
    assert digest_folder(work.out)["model.safetensors"] != digest_folder(made[0])["model.safetensors"]


def test_an_empty_corpus_is_an_error_for_people(inputs, tmp_path):
    (tmp_path / "corpus").mkdir()
    for part in ("train", "held_out"):
        (tmp_path / "corpus" / f"{part}.jsonl").touch()
    empty = Artifact(id="1" * 32, kind="corpus", inputs={}, step={}, path=tmp_path / "corpus")
    with pytest.raises(DataError, match="no training text"):
        step().run(work_in(tmp_path), corpus=empty, tokenizer=inputs["tokenizer"])


def test_no_held_out_text_is_no_obstacle(inputs, tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "train.jsonl").write_bytes((inputs["corpus"].path / "train.jsonl").read_bytes())
    (tmp_path / "corpus" / "held_out.jsonl").touch()
    corpus = Artifact(id="1" * 32, kind="corpus", inputs={}, step={}, path=tmp_path / "corpus")
    facts = step(tokens=512).run(work_in(tmp_path), corpus=corpus, tokenizer=inputs["tokenizer"])
    assert "bits_per_byte" not in facts


def test_a_derived_length_does_not_go_over_a_small_text_for_ever(inputs, tmp_path):
    derived = step(tokens=None)
    assert derived.derive(300).tokens > 4 * 1024  # 1.5 tokens a parameter, far more than this text has
    corpus = Artifact(id="0" * 32, kind="corpus", inputs={}, step={}, path=tmp_path / "corpus")
    for part, lines in (("train", SENTENCES[:8]), ("held_out", [])):
        write_documents(tmp_path / "corpus" / f"{part}.jsonl", [Document(id=line[4:8], text=line) for line in lines])
    facts = derived.run(work_in(tmp_path), corpus=corpus, tokenizer=inputs["tokenizer"])
    assert 1 < facts["epochs"] <= 4.5


def test_a_checkpoint_is_taken_as_it_is(made, tmp_path):
    work = work_in(tmp_path)
    facts = Checkpoint(folder=str(made[0])).run(work)
    assert facts["added_tokens"] == []
    assert digest_folder(work.out)["model.safetensors"] == digest_folder(made[0])["model.safetensors"]


def test_missing_chat_tokens_are_added_as_the_mean(made, tmp_path):
    source = tmp_path / "plain"
    model = open_model(made[0], device="cpu")
    model.save(source)
    # the same model with a tokenizer that knows none of the chat tokens
    raw = json.loads((source / "tokenizer.json").read_text())
    raw["added_tokens"] = [token for token in raw["added_tokens"] if token["content"] == "<|endoftext|>"]
    for number in range(1, 6):
        name = next(name for name, index in raw["model"]["vocab"].items() if index == number)
        raw["model"]["vocab"][f"unused{number}"] = raw["model"]["vocab"].pop(name)
    (source / "tokenizer.json").write_text(json.dumps(raw))
    (source / "tokenizer_config.json").write_text(
        json.dumps(
            {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>", "bos_token": "<|endoftext|>"}
        )
    )
    events: list = []
    work = work_in(tmp_path, emit=events.append)
    facts = Checkpoint(folder=str(source)).run(work)
    assert facts["added_tokens"] == ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|pad|>"]
    assert any("<|user|>" in event.text for event in events)
    taken = open_model(work.out, device="cpu")
    table, before = taken.base.get_input_embeddings().weight, model.base.get_input_embeddings().weight
    old = before.shape[0]
    torch.testing.assert_close(table[:old], before)
    for row in table[old:]:
        torch.testing.assert_close(row, before.mean(dim=0))
    ids = torch.arange(6, 20)[None]
    torch.testing.assert_close(taken.module(input_ids=ids).logits[..., :old], model.module(input_ids=ids).logits)
    assert add_tokens(taken) == []


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="has no config"):
        Checkpoint(folder=str(tmp_path / "folder")).run(work_in(tmp_path))


def test_the_bias_of_a_new_head_is_how_often_tokens_come(inputs, tmp_path):
    learned = work_in(tmp_path / "learned")
    vocab.Tokenizer(corpus="$text", model="bpe", family="roberta", size=300).run(learned, corpus=inputs["corpus"])
    made = inputs | {"tokenizer": Artifact(id="1" * 32, kind="tokenizer", inputs={}, step={}, path=learned.out)}
    work = work_in(tmp_path)
    step(family="roberta", learning_rate=1e-9).run(work, **made)  # so small a rate leaves it where it began
    model = open_model(work.out, device="cpu", architectures=("encoder",))
    bias = model.head().bias.detach()
    counts = torch.zeros(len(bias))
    rows = 0
    for text in SENTENCES[:50]:
        ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
        counts += torch.bincount(torch.tensor(ids), minlength=len(bias))
        rows += len(ids)
    common = counts.topk(5).indices  # a pass is 12 batches of 4 rows, which may take a text twice or not at all
    torch.testing.assert_close(bias[common], ((counts + 1) / (rows + len(bias))).log()[common], atol=0.2, rtol=0)
    assert bias[counts == 0].max() < bias[common].min() - 2
