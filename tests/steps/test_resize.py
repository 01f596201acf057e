"""A model takes a wider vocabulary.

python -m pytest tests/steps/test_resize.py
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from septet.core.artifact import Artifact
from septet.core.errors import DataError
from septet.core.step import Step, Work
from septet.data.tokenizers.families import FAMILIES
from septet.data.tokenizers.folder import Parts, save
from septet.data.tokenizers.training import Design, train
from septet.data.tokenizers.widen import learn, with_tokens

GENERAL = [f"the quick brown fox {i}, jumps: over the lazy dog; cat sat on a mat" for i in range(200)]
MEDICAL = [f"myocardial infarction, case {i}: ischaemia of the myocardium" for i in range(100)]


def artifact(path: Path, kind: str) -> Artifact:
    return Artifact(id="0" * 32, kind=kind, inputs={}, step={}, path=path)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Parts, Parts]:
    """(folder of the old tokenizer, folder of the wider one, old, wider)."""
    folder = tmp_path_factory.mktemp("tokenizers")
    old = Parts(train(GENERAL, Design(size=330)), FAMILIES["none"].roles)
    wider = with_tokens(learn(old, MEDICAL, 12)[0], ("<tool>",), special=("<|think|>",))
    save(old.encoder, folder / "old", old)
    save(wider.encoder, folder / "wider", wider)
    return folder / "old", folder / "wider", old, wider


def model(folder: Path, tokenizer: Path, kind: str, *, rows: int, dtype: torch.dtype = torch.float32) -> Path:
    torch.manual_seed(0)
    if kind == "gpt2":
        module = GPT2LMHeadModel(GPT2Config(vocab_size=rows, n_embd=16, n_layer=1, n_head=2, n_positions=64))
    else:
        config = LlamaConfig(
            vocab_size=rows, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=kind == "llama tied",
        )  # fmt: skip
        module = LlamaForCausalLM(config)
    module.to(dtype).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
    return folder


def resized(tmp_path: Path, base: Path, tokenizer: Path) -> tuple[dict, Path]:
    step = Step.parse({"kind": "resize", "model": "m", "tokenizer": "t"})
    out = tmp_path / "out"
    out.mkdir()
    inputs = {"model": artifact(base, "model"), "tokenizer": artifact(tokenizer, "tokenizer")}
    return step.run(Work(out=out, state=tmp_path / "state"), **inputs), out


@pytest.mark.parametrize("kind", ["gpt2", "llama tied", "llama untied"])
@pytest.mark.parametrize("padding", [0, 64])
def test_new_rows_are_means_and_old_logits_stay(tmp_path: Path, tokenizers, kind: str, padding: int):
    old_folder, wider_folder, old, wider = tokenizers
    size = old.encoder.get_vocab_size()
    base = model(tmp_path / "base", old_folder, kind, rows=size + padding)
    facts, out = resized(tmp_path, base, wider_folder)
    before = AutoModelForCausalLM.from_pretrained(base)
    after = AutoModelForCausalLM.from_pretrained(out)
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert len(tokenizer) == wider.encoder.get_vocab_size() == facts["vocabulary"]
    assert facts["new_tokens"] == len(tokenizer) - size
    ids = torch.tensor([old.encoder.encode("the cat sat").ids])
    with torch.no_grad():
        # the rows are the same to the bit; a product of another size may be summed in another order
        torch.testing.assert_close(after(ids).logits[..., :size], before(ids).logits[..., :size], rtol=1e-5, atol=1e-6)
    old.encoder.encode_special_tokens = True
    for getter in ("get_input_embeddings", "get_output_embeddings"):
        rows, kept = getattr(after, getter)().weight, getattr(before, getter)().weight
        assert torch.equal(rows[:size], kept[:size])
        for token in ("<tool>", "<|think|>"):
            pieces = old.encoder.encode(token).ids
            assert len(pieces) > 1
            torch.testing.assert_close(rows[tokenizer.convert_tokens_to_ids(token)], kept[pieces].mean(0))
        # a learnt token: what the old merges make of the same text
        number = size + 11
        text = wider.encoder.decode([number])
        assert len(text) > 1
        torch.testing.assert_close(rows[number], kept[old.encoder.encode(text).ids].mean(0))
    tied = after.get_input_embeddings().weight.data_ptr() == after.get_output_embeddings().weight.data_ptr()
    assert tied == (kind != "llama untied")


def test_half_precision_stays_half_precision(tmp_path: Path, tokenizers):
    old_folder, wider_folder, old, _ = tokenizers
    base = model(tmp_path / "base", old_folder, "llama untied", rows=old.encoder.get_vocab_size(), dtype=torch.bfloat16)
    _, out = resized(tmp_path, base, wider_folder)
    assert AutoModelForCausalLM.from_pretrained(out, dtype="auto").dtype == torch.bfloat16


def test_nothing_new_changes_nothing(tmp_path: Path, tokenizers):
    old_folder, _, old, _ = tokenizers
    base = model(tmp_path / "base", old_folder, "gpt2", rows=old.encoder.get_vocab_size())
    facts, out = resized(tmp_path, base, old_folder)
    assert facts["new_tokens"] == 0
    assert (out / "model.safetensors").read_bytes() == (base / "model.safetensors").read_bytes()


def test_another_tokenizer_is_refused(tmp_path: Path, tokenizers):
    old_folder, _, old, _ = tokenizers
    base = model(tmp_path / "base", old_folder, "gpt2", rows=old.encoder.get_vocab_size())
    save(train(MEDICAL, size=330), tmp_path / "other")
    with pytest.raises(DataError, match=r"the token '.+' has the id \d+ in the model's tokenizer"):
        resized(tmp_path, base, tmp_path / "other")
