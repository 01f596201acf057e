"""The tokenizer step.

python -m pytest tests/steps/test_tokenizer.py
"""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Encoder

from septet.cli.main import Settings
from septet.cli.shows.tokenizer import show
from septet.core.artifact import Artifact, make_id
from septet.core.errors import ComponentError, DataError, StoreError
from septet.core.step import Step, Work
from septet.data.documents import Document, write_documents
from septet.data.special import RESERVED
from septet.data.tokenizers.families import FAMILIES
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


# -- every kind of tokenizer opens ---------------------------------------------------------------------------------


def made(tmp_path: Path, messages: list | None = None, texts: list[str] = TEXTS, **fields: object):
    """Run the step; returns (facts, report, the folder)."""
    out = tmp_path / "out"
    out.mkdir(parents=True)
    step = Step.parse({"kind": "tokenizer", **fields})
    inputs = {}
    if "corpus" in fields:
        inputs["corpus"] = corpus(tmp_path / "corpus", texts, ["held-out text"])
    if "extend" in fields:
        inputs["extend"] = Artifact(id="1" * 32, kind="tokenizer", inputs={}, step={}, path=Path(str(fields["extend"])))
    emit = (lambda event: None) if messages is None else messages.append
    facts = step.run(Work(out=out, state=tmp_path / "state", emit=emit), **inputs)
    return facts, json.loads((out / "report.json").read_text()), out


FAMILIES_AND_MODELS = [
    ("bert", "wordpiece"), ("roberta", "bpe"), ("bart", "bpe"), ("xlnet", "unigram"),
    ("gpt2", "bpe"), ("falcon", "bpe"), ("llama", "bpe"), ("t5", "unigram"),
]  # fmt: skip


@pytest.mark.parametrize(("family", "model"), FAMILIES_AND_MODELS)
def test_a_family_opens_with_transformers(tmp_path: Path, family: str, model: str):
    from transformers import AutoTokenizer

    facts, report, out = made(tmp_path, corpus="text", size=420, model=model, family=family)
    opened = AutoTokenizer.from_pretrained(out)
    expected = FAMILIES[family]
    assert len(opened) == facts["tokens"] == report["tokens"] <= 420
    for role, token in expected.roles.items():
        assert getattr(opened, f"{role}_token") == token
    for token in expected.tokens:
        assert opened.convert_ids_to_tokens(opened.convert_tokens_to_ids(token)) == token
        assert opened.tokenize(token, split_special_tokens=True) != [token]
    assert (
        opened("value", "other").input_ids
        == Encoder.from_file(str(out / "tokenizer.json")).encode("value", "other").ids
    )
    assert opened.decode(opened("value").input_ids, skip_special_tokens=True).strip() == "value"
    assert set(opened.all_special_tokens) >= set(expected.roles.values())


def test_the_default_is_what_it_was(tmp_path: Path):
    """The bytes of the first version, so that models trained with such a vocabulary still fit."""
    _, _, out = made(tmp_path, corpus="text", size=320)
    digest = {
        name: hashlib.sha256((out / name).read_bytes()).hexdigest()[:16]
        for name in ("tokenizer.json", "tokenizer_config.json")
    }
    assert digest == {"tokenizer.json": "b8b7e0b5c493aec1", "tokenizer_config.json": "572c46021951bdeb"}


# -- the report ----------------------------------------------------------------------------------------------------


def test_the_report_counts_by_hand(tmp_path: Path):
    folder = tmp_path / "corpus"
    docs = [
        Document(id="a", text="ab ab", source="one", language="en"),
        Document(id="b", text="ab é", source="two", language="fr"),
        Document(id="c", text="zq", source="two", language="en"),
    ]
    write_documents(folder / "train.jsonl", docs)
    write_documents(folder / "held_out.jsonl", [])
    out = tmp_path / "out"
    out.mkdir()
    step = Step.parse({"kind": "tokenizer", "corpus": "text", "size": 263})
    inputs = {"corpus": Artifact(id="0" * 32, kind="corpus", inputs={}, step={}, path=folder)}
    facts = step.run(Work(out=out, state=tmp_path / "state"), **inputs)
    report = json.loads((out / "report.json").read_text())
    # the one merge is (a, b): "ab", " " + "ab" -> 3 tokens; "ab", " ", the two bytes of é -> 4; "z", "q" -> 2
    assert report["longest"][0] == "ab"
    assert report["by_language"]["en"] == {
        "documents": 2, "bytes": 7, "words": 3, "tokens": 5,
        "tokens_per_word": round(5 / 3, 4), "tokens_per_character": round(5 / 7, 4), "bytes_per_token": 1.4,
    }  # fmt: skip
    assert report["by_source"]["two"]["tokens"] == 6
    assert report["by_language"]["fr"]["bytes_per_token"] == round(5 / 4, 4)
    assert report["parts"]["train"]["tokens"] == facts["train_tokens"] == 9
    assert report["parts"]["held_out"]["bytes_per_token"] is None
    assert report["single_byte_share"] == round(2 / 9, 6)
    # a token, space, z, q, two bytes are used: 6 of 257 ordinary ones
    assert report["unused"]["count"] == facts["unused_tokens"] == 257 - 6
    assert report["round_trip"] == {"documents": 3, "same": 3, "examples": []}
    assert report["encoded_by"] == "tiktoken"


def test_what_does_not_come_back_is_shown(tmp_path: Path):
    facts, report, _ = made(
        tmp_path,
        texts=["The Cat  sat.", "a b"] * 9,
        corpus="text",
        size=60,
        model="wordpiece",
        family="bert",
        lowercase=True,
    )
    assert facts["same_after_decoding"] < 1
    trip = report["round_trip"]
    assert trip["same"] < trip["documents"] == 19
    assert {"id": "train0", "text": "The Cat  sat.", "back": "the cat sat ."} in trip["examples"]
    assert report["unknown_share"] == 0
    assert report["by_language"][""]["tokens_per_word"] > 0


def test_a_sample_is_learnt_from_and_measured(tmp_path: Path):
    whole, _, _ = made(tmp_path / "a", corpus="text", size=320)
    part, report, _ = made(tmp_path / "b", corpus="text", size=320, sample_bytes=whole["sample_bytes"] // 4)
    assert part["sample_bytes"] == pytest.approx(whole["sample_bytes"] / 4, rel=0.01)
    assert report["parts"]["train"]["documents"] == pytest.approx(50, abs=20)
    assert report["parts"]["held_out"]["documents"] == 1


def test_weights_change_what_is_learnt_and_not_what_is_measured(tmp_path: Path):
    folder = tmp_path / "corpus"
    docs = [Document(id=f"a{i}", text="alpha beta " * 5, source="a") for i in range(100)]
    docs += [Document(id=f"b{i}", text="gamma delta " * 5, source="b") for i in range(100)]
    write_documents(folder / "train.jsonl", docs)
    write_documents(folder / "held_out.jsonl", [])
    inputs = {"corpus": Artifact(id="0" * 32, kind="corpus", inputs={}, step={}, path=folder)}
    out = tmp_path / "out"
    out.mkdir()
    step = Step.parse({"kind": "tokenizer", "corpus": "text", "size": 264, "weights": {"b": 0}})
    step.run(Work(out=out, state=tmp_path / "state"), **inputs)
    report = json.loads((out / "report.json").read_text())
    assert {name: row["documents"] for name, row in report["by_source"].items()} == {"a": 100, "b": 100}
    encoder = Encoder.from_file(str(out / "tokenizer.json"))
    assert not {encoder.id_to_token(number) for number in (262, 263)} & {"Ġg", "ga", "mm", "el", "Ġd"}


def test_show_prints_the_report(tmp_path: Path):
    _, _, out = made(tmp_path, corpus="text", size=320)
    artifact = Artifact(id="2" * 32, kind="tokenizer", inputs={}, step={}, path=out)
    text = show(artifact, Settings(tmp_path, False, False, 0))
    assert "BPE, 320 tokens" in text
    assert "<|endoftext|> 0" in text
    assert "encoded by tiktoken" in text
    assert "come back exactly: 201 of 201 documents" in text
    assert json.loads(show(artifact, Settings(tmp_path, False, True, 0)))["tokens"] == 320
    with pytest.raises(StoreError, match="no tokenizer report"):
        show(
            Artifact(id="3" * 32, kind="corpus", inputs={}, step={}, path=tmp_path), Settings(tmp_path, False, False, 0)
        )


# -- taken over and widened ----------------------------------------------------------------------------------------


def test_a_tokenizer_is_taken_over_without_a_corpus_and_with_one(tmp_path: Path):
    from transformers import AutoTokenizer

    save(train(TEXTS, size=300), tmp_path / "theirs")
    facts, report, out = made(tmp_path / "a", import_from=str(tmp_path / "theirs"))
    assert facts == {"tokens": 300}
    assert "parts" not in report
    assert (out / "tokenizer.json").read_bytes() == (tmp_path / "theirs/tokenizer.json").read_bytes()
    assert AutoTokenizer.from_pretrained(out).eos_token == "<|endoftext|>"
    facts, report, _ = made(tmp_path / "b", import_from=str(tmp_path / "theirs"), corpus="text")
    assert facts["train_tokens"] > 0
    assert report["round_trip"]["same"] == report["round_trip"]["documents"]


def test_a_file_beside_the_named_one_is_in_the_id(tmp_path: Path):
    (tmp_path / "vocab.json").write_text('{"a": 0, "b": 1, "ab": 2}')
    (tmp_path / "merges.txt").write_text("a b\n")
    step = Step.parse({"kind": "tokenizer", "import_from": str(tmp_path / "vocab.json")})
    before = make_id(step.identity())
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\n")
    assert make_id(step.identity()) != before


@pytest.mark.parametrize(("tokens", "told"), [("[PAD]\n[UNK]\nword\n", True), ("[PAD]\n[UNK]\n[SEP]\nword\n", False)])
def test_a_tokenizer_that_cannot_end_a_text_says_so(tmp_path: Path, tokens: str, told: bool):
    messages: list = []
    (tmp_path / "vocab.txt").write_text(tokens)
    made(tmp_path, messages, import_from=str(tmp_path / "vocab.txt"))
    assert any("no token that ends a text" in getattr(event, "text", "") for event in messages) is told


def test_fields_without_effect_are_named(tmp_path: Path):
    save(train(TEXTS, size=300), tmp_path / "old")
    messages: list = []
    made(tmp_path / "a", messages, import_from=str(tmp_path / "old"), size=500, model="unigram")
    made(tmp_path / "b", messages, extend=str(tmp_path / "old"), corpus="text", size=280, family="t5")
    texts = [event.text for event in messages if hasattr(event, "text")]
    assert any(text.endswith("no effect: model, size.") for text in texts)
    assert any(text.endswith("no effect: family.") for text in texts)
    assert any("has 300 tokens already, and size is 280" in text for text in texts)


def test_a_vocabulary_is_widened(tmp_path: Path):
    from transformers import AutoTokenizer

    save(train(TEXTS, size=300), tmp_path / "old")
    new = [f"myocardial infarction {i}" for i in range(50)]
    facts, _, out = made(
        tmp_path / "a", texts=new, extend=str(tmp_path / "old"), corpus="text", size=312, add=["xyzzy"], add_special=["<|tool|>"]
    )  # fmt: skip
    assert facts["tokens"] == 312
    assert (facts["old_tokens"], facts["learnt_tokens"]) == (300, 10)
    old, wider = AutoTokenizer.from_pretrained(tmp_path / "old"), AutoTokenizer.from_pretrained(out)
    assert {token: wider.get_vocab()[token] for token in old.get_vocab()} == old.get_vocab()
    assert wider.convert_tokens_to_ids(["xyzzy", "<|tool|>"]) == [310, 311]
    assert "<|tool|>" in wider.all_special_tokens
    assert wider.eos_token == old.eos_token
    assert wider("<|tool|>", split_special_tokens=True).input_ids != [311]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "nothing to make a tokenizer of"),
        ({"corpus": "t", "model": "wordpiece", "byte_level": True}, "byte_level: wordpiece is learnt over characters"),
        ({"corpus": "t", "pattern": "("}, r"pattern: '\(' is no regular expression"),
        ({"corpus": "t", "size": 300, "family": "t5"}, r"size.*at least 359"),
        ({"corpus": "t", "weights": {"a": -1}}, "weights.a"),
        ({"corpus": "t", "sample_bytes": 10**10}, "sample_bytes"),
        ({"extend": "a", "import_from": "."}, "exclude each other"),
        ({"corpus": "t", "family": "bart2"}, "family"),
    ],
)
def test_fields_that_do_not_fit(fields: dict, message: str):
    with pytest.raises(ComponentError, match=message):
        Step.parse({"kind": "tokenizer", **fields})


def test_too_little_memory_stops_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("septet.steps.tokenizer.available_memory", lambda: 1000)
    with pytest.raises(ComponentError, match=r"needs about .* Learn from less: sample_bytes"):
        made(tmp_path, corpus="text", size=320)


def test_an_empty_corpus(tmp_path: Path):
    with pytest.raises(DataError, match="no training text"):
        made(tmp_path, texts=[], corpus="text", size=320)
