"""The tokenizer step.

python -m pytest tests/steps/test_tokenizer.py
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Encoder

from septet.core.artifact import Artifact
from septet.core.errors import ComponentError, DataError
from septet.core.step import Step, Work
from septet.data.documents import Document, write_documents
from septet.data.special import RESERVED
from septet.steps.tokenizer import save, train

TEXTS = [f"def function_{i}(value):\n    return value + {i}  # naïve comment\n" for i in range(200)]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return train(TEXTS, size=320)


@pytest.fixture(scope="module")
def opened(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory):
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    save(encoder, folder)
    assert {path.name for path in folder.iterdir()} == {"tokenizer.json", "tokenizer_config.json"}
    return AutoTokenizer.from_pretrained(folder)


def corpus(folder: Path, train_texts: list[str], held_out: list[str]) -> Artifact:
    for part, texts in (("train", train_texts), ("held_out", held_out)):
        write_documents(
            folder / f"{part}.jsonl", (Document(id=f"{part}{i}", text=text) for i, text in enumerate(texts))
        )
    return Artifact(id="0" * 32, kind="corpus", inputs={}, step={}, path=folder)


@settings(deadline=None)
@given(st.text())
def test_any_text_comes_back_exactly(encoder: Encoder, text: str):
    ids = encoder.encode(text, add_special_tokens=False).ids
    assert encoder.decode(ids, skip_special_tokens=False) == text


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back_through_transformers(opened, text: str):
    assert opened.decode(opened(text).input_ids) == text


def test_reserved_tokens_have_the_first_ids(opened):
    assert opened.convert_tokens_to_ids(list(RESERVED)) == [0, 1, 2, 3, 4, 5]
    assert opened("<|user|>Hi<|end|>").input_ids[0] == 3
    assert opened.bos_token == opened.eos_token == "<|endoftext|>"
    assert opened.pad_token == "<|pad|>"
    assert len(opened) == opened.vocab_size == 320
    assert opened.decode(opened("a<|end|>b").input_ids, skip_special_tokens=True) == "ab"
    # What a user types can be told apart from the markers of a chat.
    assert not set(opened("<|end|>", split_special_tokens=True).input_ids) & set(range(6))


def test_nothing_is_added_to_a_text(opened):
    assert opened("").input_ids == []
    assert opened("value").input_ids == opened("value", add_special_tokens=False).input_ids


def test_order_and_repetition_change_nothing(encoder: Encoder):
    shuffled = TEXTS[:]
    random.Random(0).shuffle(shuffled)
    assert train(shuffled, size=320).to_str() == encoder.to_str()
    assert train(TEXTS, size=320).to_str() == encoder.to_str()


def test_a_pair_that_is_frequent_becomes_a_token():
    # "abab" three times: the pair (a, b) occurs six times and is merged first, then (ab, ab).
    encoder = train(["abab", "abab", "abab"], size=264)
    assert encoder.encode("abab").tokens == ["abab"]
    assert [encoder.id_to_token(i) for i in (262, 263)] == ["ab", "abab"]


def test_the_step(tmp_path: Path):
    messages: list = []
    (tmp_path / "out").mkdir()
    step = Step.parse({"kind": "tokenizer", "corpus": "text", "size": 320})
    inputs = {"corpus": corpus(tmp_path / "corpus", TEXTS, ["other text"])}
    facts = step.run(Work(out=tmp_path / "out", state=tmp_path / "state", emit=messages.append), **inputs)
    assert facts["tokens"] == 320
    assert facts["train_bytes_per_token"] > facts["held_out_bytes_per_token"] >= 1
    assert facts["train_tokens"] > 0
    assert 0 < facts["unused_tokens"] < 314


def test_a_small_text_gives_fewer_tokens_and_says_so(tmp_path: Path):
    events: list = []
    step = Step.parse({"kind": "tokenizer", "corpus": "text", "size": 5000})
    inputs = {"corpus": corpus(tmp_path / "corpus", TEXTS[:3], [])}
    facts = step.run(Work(out=tmp_path / "out", state=tmp_path / "state", emit=events.append), **inputs)
    assert facts["tokens"] < 500
    assert facts["held_out_bytes_per_token"] is None
    assert any("5000 were asked for" in getattr(event, "text", "") for event in events)


def test_errors(tmp_path: Path):
    with pytest.raises(ComponentError, match=r"size.*262"):
        Step.parse({"kind": "tokenizer", "corpus": "text", "size": 100})
    with pytest.raises(ComponentError, match="model"):
        Step.parse({"kind": "tokenizer", "corpus": "text", "model": "trigram"})
    with pytest.raises(DataError, match="no training text"):
        train([], size=300)
