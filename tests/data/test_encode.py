"""Fast encoding: the ids of tokenizers, typed markers stay text, and what tiktoken cannot do is seen.

python -m pytest tests/data/test_encode.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.texts import AWKWARD, everything, novel
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

from septet.core.errors import DataError
from septet.data.encode import Encoder
from septet.data.special import RESERVED
from septet.data.tokenizers.folder import content_of, from_content, save
from septet.data.tokenizers.spelling import PATTERNS, byte_names
from septet.data.tokenizers.training import Design, train

TEXTS = [f"def function_{i}(value):\n    return value + {i}  # naïve comment, 你好\n" for i in range(200)]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train(TEXTS, size=400)


@pytest.fixture(scope="module")
def encoder(tokenizer: Tokenizer) -> Encoder:
    return Encoder(tokenizer)


COPIES: dict[int, tuple[Tokenizer, Tokenizer]] = {}


def plain(tokenizer: Tokenizer, text: str) -> list[int]:
    """What tokenizers gives when markers are text."""
    if id(tokenizer) not in COPIES:
        COPIES[id(tokenizer)] = tokenizer, from_content(content_of(tokenizer))
    other = COPIES[id(tokenizer)][1]
    other.encode_special_tokens = True
    return other.encode(text, add_special_tokens=False).ids


def test_our_own_vocabulary_is_encoded_by_tiktoken_with_the_same_ids(tokenizer: Tokenizer, encoder: Encoder):
    assert (encoder.backend, encoder.reason) == ("tiktoken", "")
    for text in (*AWKWARD, *TEXTS[:20]):
        ids = encoder.encode(text)
        assert ids.dtype == np.uint32
        assert ids.tolist() == plain(tokenizer, text), text[:40]


@settings(deadline=None, max_examples=300)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_has_the_same_ids(tokenizer: Tokenizer, encoder: Encoder, text: str):
    assert encoder.encode(text).tolist() == plain(tokenizer, text)


def test_every_character_of_unicode_is_cut_alike(tokenizer: Tokenizer, encoder: Encoder):
    for start in range(0, 0x30000, 0x4000):
        points = [point for point in range(start, start + 0x4000) if not 0xD800 <= point < 0xE000]
        text = "".join(f"a{chr(point)}{chr(point)}1 {chr(point)}" for point in points)
        assert encoder.encode(text).tolist() == plain(tokenizer, text)


def test_on_real_text(real_data: Path):
    tokenizer = train([novel(real_data, length=400_000)], size=4000)
    encoder = Encoder(tokenizer)
    assert encoder.backend == "tiktoken"
    for name, text in everything(real_data).items():
        assert encoder.encode(text).tolist() == plain(tokenizer, text), name


@pytest.mark.parametrize("design", [Design(size=400), Design(size=400, family="llama", byte_level=False)])
def test_text_that_looks_like_a_special_token_stays_text(design: Design):
    tokenizer = train(TEXTS, design)
    encoder = Encoder(tokenizer)
    assert encoder.special
    for token in (*RESERVED, "<s>", "</s>"):
        for text in (token, f"a {token}b", token * 3):
            ids = encoder.encode(text).tolist()
            assert not set(ids) & (encoder.special - {tokenizer.token_to_id("<unk>")}), text
            assert tokenizer.decode(ids, skip_special_tokens=False).strip() == text.strip()


def test_a_unigram_model_does_not_read_typed_markers(real_data: Path):
    text = novel(real_data)
    tokenizer = train([text], Design(model="unigram", size=700, byte_level=False, family="t5"))
    encoder = Encoder(tokenizer)
    for typed in ("</s>", "<pad>", "<unk>", "<extra_id_7>", "<0x41>", "a</s>b"):
        ids = encoder.encode(typed).tolist()
        assert not set(ids) & encoder.special, typed
        assert tokenizer.decode(ids, skip_special_tokens=False) == typed
    # without the guard the library does read them; opening such a file is refused
    content = content_of(tokenizer)
    content["pre_tokenizer"] = None
    with pytest.raises(DataError, match=r"'<pad>' is encoded as the special token"):
        Encoder(from_content({**content, "model": {**content["model"], "vocab": _with_score(content, "<pad>", 0.0)}}))


def _with_score(content: dict, token: str, score: float) -> list:
    return [[name, score if name == token else value] for name, value in content["model"]["vocab"]]


def test_batches_and_the_flat_form(encoder: Encoder):
    texts = ["one two", "", "three"]
    parts = encoder.encode_batch(texts)
    flat, offsets = encoder.encode_flat(texts)
    assert offsets.tolist() == [0, len(parts[0]), len(parts[0]), len(parts[0]) + len(parts[2])]
    assert flat.dtype == np.uint32
    for number, part in enumerate(parts):
        assert flat[offsets[number] : offsets[number + 1]].tolist() == part.tolist()
    assert encoder.encode_flat([])[0].size == 0
    assert encoder.encode_flat([])[1].tolist() == [0]


def test_more_threads_give_the_same(tokenizer: Tokenizer, encoder: Encoder):
    many = Encoder(tokenizer, threads=2)
    assert [ids.tolist() for ids in many.encode_batch(TEXTS)] == [ids.tolist() for ids in encoder.encode_batch(TEXTS)]


def test_a_folder_opens(tokenizer: Tokenizer, encoder: Encoder, tmp_path: Path):
    save(tokenizer, tmp_path)
    opened = Encoder(tmp_path)
    assert opened.size == tokenizer.get_vocab_size()
    assert opened.encode(TEXTS[0]).tolist() == encoder.encode(TEXTS[0]).tolist()


def test_added_tokens_are_found_as_tokenizers_finds_them(tokenizer: Tokenizer):
    wider = from_content(content_of(tokenizer))
    wider.add_tokens([AddedToken(token, normalized=False) for token in ("value", "value +", "<tool>", "  ")])
    encoder = Encoder(wider)
    assert encoder.backend == "tiktoken"
    for text in ("value +1", "a<tool>b  c   d", "values", "<tool><tool>", *TEXTS[:3], "x<|end|>value"):
        assert encoder.encode(text).tolist() == plain(wider, text), text


def test_a_normaliser_comes_first(tokenizer: Tokenizer):
    other = from_content(content_of(tokenizer))
    other.normalizer = normalizers.NFC()
    encoder = Encoder(other)
    assert encoder.backend == "tiktoken"
    assert encoder.encode("e\u0301 nai\u0308ve").tolist() == plain(other, "e\u0301 nai\u0308ve")
    assert encoder.encode("e\u0301").tolist() == encoder.encode("é").tolist()


def test_merges_whose_order_is_not_that_of_ids_keep_their_ids(tokenizer: Tokenizer):
    content = content_of(tokenizer)
    size = len(content["model"]["vocab"])
    content["model"]["vocab"] = {token: size - 1 - number for token, number in content["model"]["vocab"].items()}
    for token in content["added_tokens"]:
        token["id"] = size - 1 - token["id"]
    mirrored = from_content(content)
    encoder = Encoder(mirrored)
    assert encoder.backend == "tiktoken"
    assert encoder.encode(TEXTS[0]).tolist() == plain(mirrored, TEXTS[0])
    assert encoder.encode(TEXTS[0]).tolist() != Encoder(tokenizer).encode(TEXTS[0]).tolist()


def byte_bpe(merges: list[tuple[str, str]], extra: tuple[str, ...] = ()) -> Tokenizer:
    vocab = {name: number for number, name in enumerate(byte_names())}
    for token in (*(a + b for a, b in merges), *extra):
        vocab.setdefault(token, len(vocab))
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERNS["auto"]), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return tokenizer


@pytest.mark.parametrize(
    ("merges", "reason"),
    [
        # "abc" is a token, but "bc" is merged first, so the merge (ab, c) never comes about: tiktoken would give "abc"
        ([("b", "c"), ("a", "b"), ("ab", "c")], "'abc', encoded alone, is not itself"),
        ([("ab", "c"), ("a", "b"), ("b", "c")], "stands before the merge that makes one of its parts"),
        ([("a", "b"), ("b", "c"), ("ab", "c"), ("c", "d"), ("a", "bc")], "do not stand together"),
    ],
)
def test_merges_on_which_the_libraries_part_are_left_to_tokenizers(merges: list[tuple[str, str]], reason: str):
    tokenizer = byte_bpe(merges)
    encoder = Encoder(tokenizer)
    assert encoder.backend == "tokenizers"
    assert reason in encoder.reason
    for text in ("abc", "xabcd abc", "bcabcab"):
        assert encoder.encode(text).tolist() == plain(tokenizer, text)


def test_what_tiktoken_would_have_made_of_such_merges():
    import tiktoken

    tokenizer = byte_bpe([("b", "c"), ("a", "b"), ("ab", "c")])
    back = {name: byte for byte, name in enumerate(byte_names())}
    ranks = {bytes(back[c] for c in token): rank for token, rank in tokenizer.get_vocab().items()}
    other = tiktoken.Encoding("t", pat_str=PATTERNS["auto"], mergeable_ranks=ranks, special_tokens={})
    assert other.encode_ordinary("abc") != plain(tokenizer, "abc")


def test_other_models_are_left_to_tokenizers():
    encoder = Encoder(train(TEXTS, Design(size=300, model="wordpiece", byte_level=False, family="bert")))
    assert encoder.backend == "tokenizers"
    assert encoder.reason


def test_a_pattern_that_leaves_text_out_is_seen(tokenizer: Tokenizer):
    content = content_of(tokenizer)
    content["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"\p{L}+"
    other = from_content(content)
    encoder = Encoder(other)
    # tiktoken forgets what no word covers
    assert encoder.backend == "tokenizers"
    assert "differ on a probe" in encoder.reason
    assert encoder.encode("a 1").tolist() == plain(other, "a 1")


def test_without_tiktoken(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    encoder = Encoder(tokenizer)
    assert encoder.backend == "tokenizers"
    assert "septet[corpus]" in encoder.reason
    assert encoder.encode(TEXTS[0]).tolist() == plain(tokenizer, TEXTS[0])


def test_very_long_words_and_gaps(tokenizer: Tokenizer, encoder: Encoder):
    for text in ("a" * 200_000, " " * 200_000 + "b", "\n" * 200_000, "ab" * 100_000 + "!" * 100_000):
        assert encoder.encode(text).tolist() == plain(tokenizer, text)


def test_truncation_in_the_file_cuts_nothing(tokenizer: Tokenizer):
    cut = from_content(content_of(tokenizer))
    cut.enable_truncation(4)
    cut.enable_padding(length=64)
    assert Encoder(cut).encode(TEXTS[0]).tolist() == plain(tokenizer, TEXTS[0])


def test_a_lone_surrogate_is_named(encoder: Encoder):
    with pytest.raises(DataError, match=r"character 2 of a text is a lone surrogate.*normalise"):
        encoder.encode("ab\ud800c")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "no 'model'"),
        ('{"model": {"type": "BPE", "vocab": {"a": 0, "b": 0}, "merges": []}}', "share the id 0"),
        ('{"model": {"type": "BPE", "vocab": {"a": 0, "a": 1}, "merges": []}}', "'a' stands twice"),
        ('{"model": {"type": "Unigram", "unk_id": 0, "vocab": [["a", 0.0], ["a", 1.0]]}}', "'a' stands twice"),
        ('{"model": {"type": "BPE", "vocab": {"a": "x"}, "merges": []}}', "whole number"),
        ('{"model": {"type": "Magic", "vocab": {}}}', "does not fit together"),
        ('{"added_tokens": [], "model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "q"]]}}', "does not fit together"),
    ],
)  # fmt: skip
def test_a_broken_file_is_named(tmp_path: Path, content: str, message: str):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        Encoder(tmp_path)
    assert "tokenizer.json" in str(caught.value)
