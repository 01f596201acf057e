"""Tokenizers of other projects: the same text gives the same ids as their own implementation does.

python -m pytest tests/data/test_tokenizer_import.py
"""

from __future__ import annotations

import base64
import io
import json
import math
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.data.texts import everything
from tokenizers import Tokenizer

from septet.core.errors import DataError
from septet.data.encode import Encoder
from septet.data.tokenizers.folder import save
from septet.data.tokenizers.foreign import beside, find, loses_marks, take_over
from septet.data.tokenizers.sentencepiece import BPE, BYTE, UNIGRAM, parse_sentencepiece
from septet.data.tokenizers.spelling import PATTERNS


@pytest.fixture(scope="module")
def files(real_data: Path) -> Path:
    return real_data / "tokenizers"


@pytest.fixture(scope="module")
def texts(real_data: Path) -> dict[str, str]:
    found = everything(real_data)
    assert len(found) > 400
    return found


def different(texts: dict[str, str], ours: Callable[[str], list[int]], theirs: Callable[[str], list[int]]) -> list[str]:
    return [name for name, text in texts.items() if ours(text) != theirs(text)]


def ids(encoder: Encoder) -> Callable[[str], list[int]]:
    return lambda text: encoder.encode(text).tolist()


def sentencepiece(path: Path) -> Callable[[str], list[int]]:
    import sentencepiece as reference

    return reference.SentencePieceProcessor(model_file=str(path)).encode


def test_llama_2_is_sentencepiece(files: Path, texts: dict[str, str]):
    parts = take_over(files / "llama2")
    assert parts.roles == {"unk": "<unk>", "bos": "<s>", "eos": "</s>"}
    assert parts.special == {"<unk>": 0, "<s>": 1, "</s>": 2}
    assert different(texts, ids(Encoder(parts.encoder)), sentencepiece(files / "llama2/tokenizer.model")) == []


def test_llama_2_comes_back(files: Path, texts: dict[str, str]):
    encoder = take_over(files / "llama2").encoder
    fast = Encoder(encoder)
    for name, text in texts.items():
        if "▁" not in text:  # the sign that stands for a space
            assert encoder.decode(fast.encode(text).tolist(), skip_special_tokens=False) == text, name


def not_better(path: Path, texts: dict[str, str], ours: Encoder, names: list[str]) -> list[str]:
    """Of texts that are cut otherwise, those where our cut is less likely than SentencePiece's.

    A Unigram model takes the cut with the highest sum of scores. SentencePiece sums in single precision, so that in a long text, or
    between equals (a long run of one sign), it does not always find the highest; the library sums in double precision.
    """
    import sentencepiece as reference

    model = reference.SentencePieceProcessor(model_file=str(path))

    def total(ids: list[int]) -> float:
        return math.fsum(model.get_score(number) for number in ids)

    return [n for n in names if total(ours.encode(texts[n]).tolist()) < total(model.encode(texts[n])) - 1e-4]


def test_t5_is_sentencepiece(files: Path, texts: dict[str, str]):
    path = files / "t5/spiece.model"
    encoder = Encoder(take_over(path).encoder)
    # letters apart from their marks, for which the model's own table has no rule, are joined first
    composed = {name: unicodedata.normalize("NFC", text) for name, text in texts.items()}
    names = different(composed, ids(encoder), sentencepiece(path))
    assert not_better(path, composed, encoder, names) == []
    assert len(names) < 0.06 * len(texts), names
    assert [name for name in names if not name.startswith("awkward")] in ([], ["Totonaco-Latin1"])
    apart = set(different(texts, ids(encoder), sentencepiece(path))) - set(names)
    assert apart <= {"Vietnamese-ALRN-UTF8"}


def test_a_small_unigram_model_is_sentencepiece(files: Path, texts: dict[str, str]):
    path = files / "small_bpe/small_sentencepiece_m.model"
    assert different(texts, ids(Encoder(take_over(path).encoder)), sentencepiece(path)) == []


@pytest.mark.parametrize("model", ["unigram", "bpe"])
@pytest.mark.parametrize("fallback", [True, False])
@pytest.mark.parametrize("rule", ["nmt_nfkc", "identity", "nfkc_cf"])
def test_models_that_sentencepiece_trains(model: str, fallback: bool, rule: str, tmp_path: Path, texts: dict[str, str]):
    import sentencepiece as reference

    learnt = [line for text in list(texts.values())[:40] for line in text.splitlines() if line]
    made = io.BytesIO()
    reference.SentencePieceTrainer.train(
        sentence_iterator=iter(learnt), model_writer=made, vocab_size=700, model_type=model, byte_fallback=fallback,
        normalization_rule_name=rule, character_coverage=0.98, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    path = tmp_path / "m.model"
    path.write_bytes(made.getvalue())
    composed = {name: unicodedata.normalize("NFC", text) for name, text in texts.items() if "▁" not in text}
    parts, theirs = take_over(path), sentencepiece(path)
    assert loses_marks(parts) == (rule == "nfkc_cf")
    if loses_marks(parts):
        composed = {name: text for name, text in composed.items() if not re.search("[\u0300-\u036f]", text)}
    assert len(composed) > 400
    ours = Encoder(parts.encoder)
    names = different(composed, ids(ours), theirs)
    if model == "bpe":
        assert names == []
    assert not_better(path, composed, ours, names) == []
    assert len(names) < 0.03 * len(composed), names


def test_the_small_reader_reads_what_sentencepiece_reads(files: Path):
    import sentencepiece as reference

    for name, kind in (("llama2/tokenizer.model", BPE), ("t5/spiece.model", UNIGRAM)):
        theirs = reference.SentencePieceProcessor(model_file=str(files / name))
        ours = parse_sentencepiece((files / name).read_bytes())
        assert ours.model == kind
        assert len(ours.pieces) == theirs.get_piece_size()
        for number, piece in enumerate(ours.pieces):
            assert piece.text == theirs.id_to_piece(number)
            assert piece.score == pytest.approx(theirs.get_score(number))
            assert (piece.kind == BYTE) == theirs.is_byte(number)


def test_gpt_2_is_tiktoken_and_transformers(files: Path, texts: dict[str, str]):
    import tiktoken
    from tiktoken.load import data_gym_to_mergeable_bpe_ranks
    from transformers import GPT2Tokenizer

    parts = take_over(files / "gpt2")
    assert parts.roles["eos"] == "<|endoftext|>"
    assert parts.special == {"<|endoftext|>": 50256}
    encoder = Encoder(parts.encoder)
    assert encoder.backend == "tiktoken"
    vocabulary, merges = files / "gpt2/encoder.json", files / "gpt2/vocab.bpe"
    ranks = data_gym_to_mergeable_bpe_ranks(str(merges), str(vocabulary))
    theirs = tiktoken.Encoding("gpt2", pat_str=PATTERNS["gpt2"], mergeable_ranks=ranks, special_tokens={})
    assert different(texts, ids(encoder), theirs.encode_ordinary) == []
    other = GPT2Tokenizer(vocab=str(vocabulary), merges=str(merges))
    fewer = {name: text for number, (name, text) in enumerate(texts.items()) if number % 5 == 0}
    found = different(fewer, ids(encoder), lambda t: other(t, split_special_tokens=True, verbose=False).input_ids)
    assert found == []
    assert find(vocabulary) == find(merges) == find(files / "gpt2")
    assert beside(merges) == vocabulary
    assert beside(vocabulary) == merges


def test_bert_is_transformers(files: Path, texts: dict[str, str]):
    from transformers import BertTokenizer

    path = files / "bert_base_uncased/vocab.txt"
    parts = take_over(path)
    other = BertTokenizer(vocab=str(path), do_lower_case=True)
    assert parts.special == {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
    encoder = Encoder(parts.encoder)
    plain = lambda t: other(t, add_special_tokens=False, split_special_tokens=True, verbose=False).input_ids  # noqa: E731
    assert different(texts, ids(encoder), plain) == []
    whole = lambda t: parts.encoder.encode(t).ids  # noqa: E731
    assert different(texts, whole, lambda t: other(t, verbose=False).input_ids) == []
    assert parts.encoder.encode("one", "two").type_ids == [0, 0, 0, 1, 1]


def test_tiktoken_ranks_are_tiktoken(files: Path, texts: dict[str, str]):
    import tiktoken

    path = files / "small_bpe/tiktoken_small.model"
    lines = (line.split() for line in path.read_bytes().splitlines())
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    theirs = tiktoken.Encoding("small", pat_str=PATTERNS["llama3"], mergeable_ranks=ranks, special_tokens={})
    parts = take_over(path)
    assert different(texts, ids(Encoder(parts.encoder)), theirs.encode_ordinary) == []
    # the file that is written does without tiktoken
    assert different(texts, lambda t: parts.encoder.encode(t).ids, theirs.encode_ordinary) == []


@pytest.mark.parametrize(
    "name",
    [
        "gpt-neo-test-tokenizer.json",
        "llama-test-tokenizer.json",
        "tiny_bpe_tokenizer.json",
        "torchtune_small_tokenizer.json",
    ],
)
def test_tokenizer_json_is_what_the_library_reads(files: Path, texts: dict[str, str], name: str):
    theirs = Tokenizer.from_file(str(files / "hf_tokenizer_json" / name))
    theirs.encode_special_tokens = True
    parts = take_over(files / "hf_tokenizer_json" / name)
    ours = Encoder(parts.encoder)
    assert different(texts, ids(ours), lambda t: theirs.encode(t, add_special_tokens=False).ids) == []


def test_gpt_2_files_of_another_name(files: Path, texts: dict[str, str]):
    ours = take_over(files / "small_bpe/tiny_bpe_vocab.json", pattern="llama3").encoder
    theirs = Tokenizer.from_file(str(files / "hf_tokenizer_json/tiny_bpe_tokenizer.json"))
    # the file of that name has the same vocabulary, and puts text into NFC first
    composed = {name: unicodedata.normalize("NFC", text) for name, text in texts.items()}
    pattern = theirs.pre_tokenizer
    ours.pre_tokenizer = pattern
    assert different(composed, lambda t: ours.encode(t).ids, lambda t: theirs.encode(t).ids) == []


def test_a_family_brings_its_tokens(files: Path):
    parts = take_over(files / "t5", family="t5")
    # as in the published tokenizer: 32,000 pieces, then 100 sentinels, the first with the highest id
    assert parts.encoder.get_vocab_size() == 32100
    assert parts.special["<extra_id_0>"] == 32099
    assert parts.special["<extra_id_99>"] == 32000
    assert parts.encoder.encode("one").tokens[-1] == "</s>"
    assert parts.special["</s>"] == 1


def test_an_uncased_vocabulary_is_seen(tmp_path: Path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nword\n##s\n")
    assert take_over(tmp_path).encoder.encode("WORDS").tokens == ["[CLS]", "word", "##s", "[SEP]"]
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nWord\nword\n##s\n")
    assert take_over(tmp_path).encoder.encode("Words").tokens == ["[CLS]", "Word", "##s", "[SEP]"]
    assert take_over(tmp_path, lowercase=True).encoder.encode("Words").tokens == ["[CLS]", "word", "##s", "[SEP]"]


GPT2 = SimpleNamespace(vocab={"a": 0, "b": 1, "ab": 2}, merges="#version: 0.2\na b\n")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"x.model": b"\x01\x02 this is no model"}, "not a SentencePiece model"),
        ({"x.model": b""}, "empty"),
        ({"x.model": b"\x0a\xff\xff\x03abc"}, "not a SentencePiece model"),
        ({"x.tiktoken": b"AA== 0\nAQ== 1\n??? 2\n"}, "row 3.*base64"),
        ({"x.tiktoken": b"AA== 0\nAA== 1\n"}, "row 2.*twice"),
        ({"x.tiktoken": b"AA== 0\nAQ== 1\n"}, "byte 2 has no rank"),
        ({"vocab.txt": b"[PAD]\n[UNK]\nword\nother\nword\n"}, "row 5: the token 'word' is also in row 3"),
        ({"vocab.txt": b"one\ntwo\n"}, r"no \[UNK\]"),
        ({"vocab.txt": b"[UNK]\n\xff\xfe\n"}, "row 2.*UTF-8"),
        ({"vocab.json": json.dumps(GPT2.vocab).encode()}, "merges beside it"),
        ({"merges.txt": b"a b\n"}, "one tokenizer is expected"),
        ({"vocab.json": json.dumps(GPT2.vocab).encode(), "merges.txt": b"a b\nb c\n"}, "row 2.*needs the token 'c'.*one tokenizer"),
        ({"vocab.json": json.dumps(GPT2.vocab).encode(), "merges.txt": b"a b\na b\n"}, "also in row 1"),
        ({"vocab.json": json.dumps(GPT2.vocab).encode(), "merges.txt": b"a b c\n"}, "row 1: two tokens"),
        ({"vocab.json": b'{"a": 0, "a": 1}', "merges.txt": b""}, "'a' stands twice"),
        ({"vocab.json": b'{"a": 0, "b": 0}', "merges.txt": b""}, "share the id 0"),
        ({"vocab.json": b"[1", "merges.txt": b""}, "not a SentencePiece model"),
        ({"tokenizer.json": b'{"model": 5}'}, "neither a tokenizer.json"),
        ({"tokenizer.json": b'{"model": {"type": "BPE"'}, "not JSON"),
        ({}, "one tokenizer is expected"),
        ({"a.model": b"x", "b.model": b"y"}, "several.*a.model, b.model"),
    ],
)  # fmt: skip
def test_files_that_are_none_are_named(tmp_path: Path, files: dict[str, bytes], message: str):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        take_over(tmp_path)


def test_a_truncated_sentencepiece_file(files: Path, tmp_path: Path):
    raw = (files / "llama2/tokenizer.model").read_bytes()
    for size in (1, 7, 1000, len(raw) // 2):
        (tmp_path / "cut.model").write_bytes(raw[:size])
        with pytest.raises(DataError, match=r"cut\.model.*not a SentencePiece model|no unknown piece|byte"):
            take_over(tmp_path / "cut.model")


@pytest.mark.parametrize(
    "name",
    [
        "gpt2",
        "bert_base_uncased",
        "llama2",
        "t5",
        "small_bpe/tiktoken_small.model",
        "small_bpe/small_sentencepiece_m.model",
        "hf_tokenizer_json/gpt-neo-test-tokenizer.json",
        "hf_tokenizer_json/llama-test-tokenizer.json",
    ],
)
def test_what_is_saved_opens_with_transformers_and_gives_the_same_ids(
    files: Path, texts: dict[str, str], tmp_path: Path, name: str
):
    from transformers import AutoTokenizer

    parts = take_over(files / name)
    save(parts.encoder, tmp_path, parts)
    opened = AutoTokenizer.from_pretrained(tmp_path)
    encoder = Encoder(tmp_path)
    some = {key: text for number, (key, text) in enumerate(texts.items()) if number % 6 == 0}
    plain = {"add_special_tokens": False, "split_special_tokens": True, "verbose": False}
    assert different(some, ids(encoder), lambda t: opened(t, **plain).input_ids) == []
    assert different(some, lambda t: parts.encoder.encode(t).ids, lambda t: opened(t, verbose=False).input_ids) == []
    assert {role: getattr(opened, f"{role}_token") for role in parts.roles} == parts.roles
    again = take_over(tmp_path)
    assert again.encoder.to_str() == parts.encoder.to_str()
    assert again.roles == parts.roles
