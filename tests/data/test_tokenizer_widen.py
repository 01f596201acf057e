"""New tokens for an old vocabulary: old ids stay, new tokens are used.

python -m pytest tests/data/test_tokenizer_widen.py
"""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer

from septet.core.errors import ComponentError, DataError
from septet.data.encode import Encoder
from septet.data.tokenizers.families import FAMILIES
from septet.data.tokenizers.folder import Parts
from septet.data.tokenizers.training import Design, train
from septet.data.tokenizers.widen import learn, with_tokens

GENERAL = [f"the quick brown fox {i}, jumps: over the lazy dog; cat sat on a mat" for i in range(200)]
MEDICAL = [f"myocardial infarction, case {i}: myocardial ischaemia of the myocardium" for i in range(100)]

DESIGNS = {
    "bpe": Design(size=340),
    "bpe characters": Design(size=340, byte_level=False),
    "bpe t5": Design(size=440, family="t5"),
    "wordpiece": Design(model="wordpiece", byte_level=False, size=120, family="bert", lowercase=True),
    "unigram": Design(model="unigram", byte_level=False, size=310, family="llama"),
    "unigram t5": Design(model="unigram", byte_level=False, size=410, family="t5"),
}


def parts(name: str) -> Parts:
    design = DESIGNS[name]
    return Parts(train(GENERAL, design), FAMILIES[design.family].roles)


def tokens(encoder: Tokenizer, text: str) -> list[str]:
    return encoder.encode(text, add_special_tokens=False).tokens


@pytest.mark.parametrize("name", DESIGNS)
def test_learnt_tokens_follow_the_old_ones_and_shorten_their_text(name: str):
    base = parts(name)
    old = base.encoder.get_vocab()
    wider, new = learn(base, MEDICAL, 20)
    now = wider.encoder.get_vocab()
    assert 5 < len(new) <= 20
    assert {token: now[token] for token in old} == old
    assert [now[token] for token in new] == list(range(len(old), len(old) + len(new)))
    assert len(tokens(wider.encoder, MEDICAL[0])) < len(tokens(base.encoder, MEDICAL[0])) * 0.8
    text = "myocardial infarction"
    assert wider.encoder.decode(wider.encoder.encode(text, add_special_tokens=False).ids).strip() == text
    assert wider.special == base.special
    # typed markers are still text
    encoder = Encoder(wider.encoder)
    typed = encoder.encode(f"a {list(base.special)[-1]} b</s>").tolist()
    assert not set(typed) & encoder.special - {wider.encoder.token_to_id(base.roles.get("unk", ""))}
    # again, and in another order
    assert learn(base, MEDICAL[::-1], 20)[1] == new


@pytest.mark.parametrize("name", ["bpe", "bpe characters"])
def test_text_without_new_tokens_is_encoded_as_before(name: str):
    base = parts(name)
    wider, _ = learn(base, MEDICAL, 20)
    assert tokens(wider.encoder, GENERAL[3]) == tokens(base.encoder, GENERAL[3])


def test_merges_go_on_where_they_ended_by_hand():
    base = Parts(train(["abab ab"] * 3, size=263), FAMILIES["none"].roles)
    assert base.encoder.id_to_token(262) == "ab"
    # "abc" five times: (ab, c) is the most frequent pair; then (abc, d), twice
    wider, new = learn(base, ["abc"] * 3 + ["abcd"] * 2, 5)
    assert new == ["abc", "abcd"]
    assert tokens(wider.encoder, "abcd") == ["abcd"]
    assert tokens(wider.encoder, "abcabd") == ["abc", "ab", "d"]


def test_a_longer_training_and_a_continued_one_are_the_same():
    # on the same text, merges learnt later are those that a longer training would have learnt next
    whole = train(MEDICAL, size=330)
    base = Parts(train(MEDICAL, size=300), FAMILIES["none"].roles)
    wider, new = learn(base, MEDICAL, 30)
    assert set(new) == {whole.id_to_token(number) for number in range(300, whole.get_vocab_size())}
    for text in MEDICAL[:10]:
        assert len(tokens(wider.encoder, text)) == len(tokens(whole, text))


def test_a_wider_vocabulary_is_still_encoded_by_tiktoken():
    wider, _ = learn(parts("bpe"), MEDICAL, 20)
    encoder = Encoder(wider.encoder)
    assert encoder.backend == "tiktoken"
    wider.encoder.encode_special_tokens = True
    for text in (*MEDICAL[:5], *GENERAL[:5], "<|end|> myo"):
        assert encoder.encode(text).tolist() == wider.encoder.encode(text).ids


def test_given_tokens_are_found_as_they_are_written():
    base = parts("bpe")
    size = base.encoder.get_vocab_size()
    wider = with_tokens(base, ("myocardial", "<tool>"), special=("<|think|>",))
    ids = [wider.encoder.token_to_id(token) for token in ("myocardial", "<tool>", "<|think|>")]
    assert ids == [size, size + 1, size + 2]
    assert tokens(wider.encoder, "a myocardial<tool>") == [*tokens(base.encoder, "a "), "myocardial", "<tool>"]
    # a special one is a marker, which typed text never gives
    assert size + 2 not in Encoder(wider.encoder).encode("a <|think|> b").tolist()
    assert size + 1 in Encoder(wider.encoder).encode("a <tool> b").tolist()
    assert "<|think|>" in wider.special
    assert "<tool>" not in wider.special
    assert base.encoder.get_vocab_size() == size


def test_given_then_learnt_tokens_keep_their_ids():
    given = with_tokens(parts("unigram"), ("<tool>",))
    number = given.encoder.token_to_id("<tool>")
    wider, new = learn(given, MEDICAL, 5)
    assert wider.encoder.token_to_id("<tool>") == number
    assert wider.encoder.token_to_id(new[0]) == number + 1
    assert "<tool>" in tokens(wider.encoder, "a<tool>b")


def test_errors():
    base = parts("bpe")
    with pytest.raises(ComponentError, match="'the' is in the vocabulary already"):
        with_tokens(base, ("the",))
    with pytest.raises(ComponentError, match="'x1y' is in the vocabulary already"):
        with_tokens(base, ("x1y", "x1y"))
    with pytest.raises(ComponentError, match="empty"):
        with_tokens(base, (" ",))
    with pytest.raises(DataError, match="no text"):
        learn(base, [], 5)
