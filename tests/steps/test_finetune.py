"""Fine-tuning a tiny model: it learns, the result opens everywhere, resuming changes no bit, errors name the row."""

import json

import pytest
import torch
from peft import PeftModel
from tiny_chat import artifact, chat_rows, contents, save_model, tiny_module, work_at, write_rows
from transformers import AutoModelForCausalLM, AutoTokenizer

from septet.core.errors import DataError, Stopped
from septet.infer.engine import Request, open_engine
from septet.steps.finetune import Finetune

FIELDS = {"model": "$base", "data": "$rows", "epochs": 12, "batch_size": 8, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_rows(folder / "rows" / "train.jsonl", chat_rows(24))
    write_rows(folder / "rows" / "held_out.jsonl", chat_rows(6))
    return {"model": artifact(save_model(folder / "base"), "model"), "data": artifact(folder / "rows", "dataset")}


@pytest.fixture(scope="module")
def tuned(inputs, tmp_path_factory):
    work = work_at(tmp_path_factory.mktemp("tuned"))
    return Finetune(**FIELDS).run(work, **inputs), work.out


def test_it_learns_the_answers_and_says_what_it_did(tuned):
    facts, _ = tuned
    assert facts["held_out_loss"] < 0.5 * facts["held_out_loss_before"]
    assert facts["loss"] < facts["first_loss"]
    assert (facts["train_rows"], facts["train_cut"], facts["steps"]) == (24, 0, 36)
    assert facts["merge_difference"] < 1e-3
    assert facts["added_tokens"] == []


def test_the_folder_opens_in_transformers_and_chats_alike(tuned):
    _, out = tuned
    module, tokenizer = AutoModelForCausalLM.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    talk = chat_rows(1)[0]["messages"][:1]
    ids = tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_tensors="pt", return_dict=False)
    theirs = module.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
    assert set(module.generation_config.eos_token_id) == {0, 5}
    with open_engine(out, device="cpu") as engine:
        ours = engine.submit(Request(messages=talk, max_tokens=12))
        assert ours.text() == tokenizer.decode(theirs[0, ids.shape[1] :], skip_special_tokens=True)
        assert ours.finish_reason == "stop", "it has learned to stop"


def test_the_adapter_over_the_base_is_the_merged_model(tuned, inputs):
    from septet.infer.chat import prepare_for_chat
    from septet.nn.load import open_model

    _, out = tuned
    base = open_model(inputs["model"].path, device="cpu")
    prepare_for_chat(base.module, base.tokenizer)
    ids = torch.arange(6, 30)[None]
    adapted = PeftModel.from_pretrained(base.module, str(out / "adapter")).eval()
    merged = AutoModelForCausalLM.from_pretrained(out)
    torch.testing.assert_close(adapted(ids).logits, merged(ids).logits, atol=1e-3, rtol=1e-3)


def test_curve_has_no_clock_times(tuned):
    rows = [json.loads(line) for line in (tuned[1] / "curve.jsonl").read_text().splitlines()]
    assert len(rows) == 36
    assert {"step", "tokens", "loss", "grad_norm"} <= set(rows[0])
    assert not any("second" in name or "time" in name for name in rows[0])


def test_stopped_and_resumed_equals_uninterrupted(tuned, inputs, tmp_path):
    step = Finetune(**FIELDS)
    with pytest.raises(Stopped):
        step.run(work_at(tmp_path, stop_after=7), **inputs)
    assert (tmp_path / "state" / "fit-000001.safetensors").is_file()
    step.run(work_at(tmp_path), **inputs)
    assert contents(tmp_path / "out") == contents(tuned[1])


def test_full_has_no_adapter_folder_and_learns(inputs, tmp_path):
    work = work_at(tmp_path)
    facts = Finetune(**{**FIELDS, "epochs": 2, "adapter": "full", "learning_rate": 5e-3}).run(work, **inputs)
    assert not (work.out / "adapter").exists()
    assert facts["merge_difference"] == 0
    assert facts["held_out_loss"] < facts["held_out_loss_before"]


def test_a_foreign_model_gets_the_tokens_it_lacks(inputs, tmp_path):
    """A GPT-2 whose tokenizer knows no roles and whose embedding has no room for them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    plain.train_from_iterator(
        [], trainers.BpeTrainer(special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False)
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, bos_token="<|endoftext|>", eos_token="<|endoftext|>")
    module = tiny_module(family="gpt2")
    module.resize_token_embeddings(len(tokenizer))
    module.save_pretrained(tmp_path / "foreign")
    tokenizer.save_pretrained(tmp_path / "foreign")

    work = work_at(tmp_path / "work")
    model = artifact(tmp_path / "foreign", "model")
    facts = Finetune(**{**FIELDS, "epochs": 1}).run(work, model=model, data=inputs["data"])
    assert facts["added_tokens"] == ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
    assert facts["held_out_loss"] < facts["held_out_loss_before"]
    saved = AutoTokenizer.from_pretrained(work.out)
    assert len(saved) == len(tokenizer) + 4
    assert AutoModelForCausalLM.from_pretrained(work.out).get_input_embeddings().weight.shape[0] == len(saved)
    with open_engine(work.out, device="cpu") as engine:
        assert engine.submit(Request(messages=chat_rows(1)[0]["messages"][:1], max_tokens=3)).text() is not None


def test_errors_name_file_and_row(inputs, tmp_path):
    bad = write_rows(tmp_path / "rows" / "train.jsonl", [*chat_rows(2), {"text": "x"}]).parent
    with pytest.raises(DataError, match=r"train.jsonl, row 3: the row has no list of messages"):
        Finetune(**FIELDS).run(work_at(tmp_path), model=inputs["model"], data=artifact(bad, "dataset"))
    empty = write_rows(tmp_path / "empty" / "train.jsonl", []).parent
    with pytest.raises(DataError, match="nothing to learn from"):
        Finetune(**FIELDS).run(work_at(tmp_path), model=inputs["model"], data=artifact(empty, "dataset"))


def test_limit_and_no_held_out_rows(inputs, tmp_path):
    rows = write_rows(tmp_path / "rows" / "train.jsonl", chat_rows(24)).parent
    facts = Finetune(**{**FIELDS, "epochs": 1, "limit": 9}).run(
        work_at(tmp_path), model=inputs["model"], data=artifact(rows, "dataset")
    )
    assert (facts["train_rows"], facts["held_out_rows"], facts["held_out_loss"]) == (9, 0, None)


def test_rows_of_a_pass_and_recomputing_change_nothing_that_is_learned(inputs, tmp_path):
    def losses(name, **more):
        work = work_at(tmp_path / name)
        Finetune(**{**FIELDS, "epochs": 2, "precision": "float32", **more}).run(work, **inputs)
        return [json.loads(line)["loss"] for line in (work.out / "curve.jsonl").read_text().splitlines()]

    whole = losses("whole")
    assert losses("split", micro_rows=3) == pytest.approx(whole, rel=1e-4)
    assert losses("again", recompute=True) == pytest.approx(whole, rel=1e-4)


@pytest.mark.slow
def test_compiled_it_learns_the_same(inputs, tmp_path):
    plain = Finetune(**{**FIELDS, "epochs": 2}).run(work_at(tmp_path / "plain"), **inputs)
    facts = Finetune(**{**FIELDS, "epochs": 2, "compile": True}).run(work_at(tmp_path / "compiled"), **inputs)
    assert facts["compiled"] is True
    assert facts["held_out_loss"] == pytest.approx(plain["held_out_loss"], rel=0.02)
