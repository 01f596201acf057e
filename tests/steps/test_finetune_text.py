"""Fine-tuning on text to text and completion: the step from a data set to a folder that writes, resumed, and what it refuses.

python -m pytest tests/steps/test_finetune_text.py
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from tests.train.text_models import WORDS, WRITERS, save
from tiny_chat import artifact, contents, work_at, write_rows
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from septet.core.errors import ComponentError, DataError, Stopped
from septet.infer.task import Task
from septet.steps.finetune import Finetune

FIELDS = {"model": "$base", "data": "$rows", "batch_size": 12, "adapter": "full", "learning_rate": 1e-2}


def rows(count: int = 12) -> list[dict[str, str]]:
    """A word, and the two after it."""
    return [{"source": WORDS[n], "target": f"{WORDS[n + 1]} {WORDS[n + 2]}"} for n in range(count)]


def dataset(folder, train, task="text-to-text", held_out=()):
    write_rows(folder / "train.jsonl", train)
    write_rows(folder / "held_out.jsonl", list(held_out) or train[:4])
    (folder / "dataset.json").write_text(json.dumps({"task": task}))
    return artifact(folder, "dataset")


@pytest.mark.parametrize("family", WRITERS)
def test_a_model_learns_to_write_and_its_folder_says_what_it_has_learned(family, tmp_path):
    inputs = {
        "model": artifact(save(family, tmp_path / "base", WORDS), "model"),
        "data": dataset(tmp_path / "rows", rows()),
    }
    task = {"kind": "text-to-text", "beams": 2, "max_new_tokens": 6}
    work = work_at(tmp_path / "work")
    facts = Finetune(**FIELDS, epochs=150, task=task).run(work, **inputs)
    assert (facts["task"], facts["train_rows"], facts["train_cut"]) == ("text-to-text", 12, 0)
    assert facts["held_out_loss"] < 0.2 * facts["held_out_loss_before"]
    learned, labels = Task.of_folder(work.out)
    assert learned == Task.parse(task)
    assert labels == ()
    found = learned.predict(learned.open(work.out, device="cpu"), [{"source": one["source"]} for one in rows()])
    assert [one.prediction for one in found] == [one["target"] for one in rows()]
    # plain transformers, with nothing but the folder
    auto = AutoModelForSeq2SeqLM if family in ("t5", "bart") else AutoModelForCausalLM
    module, tokenizer = auto.from_pretrained(work.out).eval(), AutoTokenizer.from_pretrained(work.out)
    if family in ("t5", "bart"):
        read = tokenizer(rows()[3]["source"], return_tensors="pt")["input_ids"]
        line = module.generate(read, attention_mask=torch.ones_like(read))[0]
    else:
        talk = [{"role": "user", "content": rows()[3]["source"]}]
        read = tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_tensors="pt", return_dict=False)
        line = module.generate(read, attention_mask=torch.ones_like(read))[0, read.shape[1] :]
    assert tokenizer.decode(line, skip_special_tokens=True) == rows()[3]["target"]


@pytest.mark.parametrize(("family", "targets"), [("t5", ("q", "v")), ("bart", ("q_proj", "v_proj"))])
def test_lora_in_an_encoder_decoder_with_smoothing_resumes_with_the_same_bits(family, targets, tmp_path):
    inputs = {
        "model": artifact(save(family, tmp_path / "base", WORDS), "model"),
        "data": dataset(tmp_path / "rows", rows()),
    }
    fields = {**FIELDS, "adapter": {"kind": "lora", "rank": 4, "targets": targets}, "batch_size": 5, "epochs": 3}
    fields |= {"task": {"kind": "text-to-text", "label_smoothing": 0.1}, "optimizer": "muon", "learning_rate": None}
    whole = work_at(tmp_path / "whole")
    facts = Finetune(**fields).run(whole, **inputs)
    assert facts["held_out_loss"] < facts["held_out_loss_before"]
    # the rate that LoRA has with AdamW, in Muon's units
    assert facts["learning_rate"] == pytest.approx(5e-3 / 0.4)
    assert facts["merge_difference"] < 1e-3
    assert (whole.out / "adapter" / "adapter_model.safetensors").is_file()
    with pytest.raises(Stopped):
        Finetune(**fields).run(work_at(tmp_path / "cut", stop_after=3), **inputs)
    resumed = work_at(tmp_path / "cut")
    Finetune(**fields).run(resumed, **inputs)
    assert contents(resumed.out) == contents(whole.out)


def test_completion_learns_and_an_empty_prompt_is_a_row_like_any_other(tmp_path):
    some = [{"prompt": one["source"], "completion": one["target"]} for one in rows(8)]
    some.append({"prompt": "", "completion": "w20 w20"})
    inputs = {
        "model": artifact(save("llama", tmp_path / "base", WORDS), "model"),
        "data": dataset(tmp_path / "rows", some, task="completion"),
    }
    work = work_at(tmp_path / "work")
    facts = Finetune(**{**FIELDS, "epochs": 120}).run(work, **inputs)
    assert (facts["task"], facts["added_tokens"]) == ("completion", [])
    learned, _ = Task.of_folder(work.out)
    found = learned.predict(learned.open(work.out, device="cpu"), some)
    assert [one.prediction for one in found] == [one["completion"] for one in some]


def test_what_is_refused_is_named(tmp_path):
    base = {family: artifact(save(family, tmp_path / family, WORDS, context=32), "model") for family in ("t5", "llama")}
    long = dataset(tmp_path / "long", [*rows(2), {"source": " ".join(WORDS * 3), "target": "w1"}])
    with pytest.raises(DataError, match=r"train.jsonl, row 3: the row has 73 tokens, and 32 are read"):
        Finetune(**FIELDS).run(work_at(tmp_path / "a"), model=base["t5"], data=long)
    said: list[str] = []
    work = replace(work_at(tmp_path / "b"), emit=lambda event: said.append(getattr(event, "text", "")))
    cut = {"kind": "text-to-text", "too_long": "cut"}
    facts = Finetune(**FIELDS, task=cut).run(work, model=base["t5"], data=long)
    assert (facts["train_cut"], facts["train_lost"]) == (1, 73 - 32)
    assert "1 of 3 rows are longer than 32 tokens and were cut; 41 tokens were lost." in said
    smooth = {"kind": "text-to-text", "label_smoothing": 0.1}
    with pytest.raises(ComponentError, match="a decoder learns without"):
        Finetune(**FIELDS, task=smooth).run(
            work_at(tmp_path / "c"), model=base["llama"], data=dataset(tmp_path / "short", rows(2))
        )
