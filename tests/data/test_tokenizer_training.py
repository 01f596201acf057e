"""Learning a vocabulary: models, families, the sample, the memory.

python -m pytest tests/data/test_tokenizer_training.py
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from tests.data.texts import novel
from tokenizers import Tokenizer

from septet.core.errors import ComponentError, DataError, SeptetError
from septet.data.documents import Document
from septet.data.special import RESERVED
from septet.data.tokenizers.families import FAMILIES, guess_roles
from septet.data.tokenizers.sampling import plan
from septet.data.tokenizers.training import Design, Need, available_memory, estimate, guard, train

TEXTS = [f"Line {i} of The Text, naïvely said: {i * 37} words.\nEnd {i}\n\n  of it" for i in range(300)]

DESIGNS = {
    "bpe bytes": Design(size=500),
    "bpe characters": Design(size=500, byte_level=False),
    "bpe characters, no fallback": Design(size=300, byte_level=False, byte_fallback=False),
    "bpe lower case": Design(size=500, lowercase=True, unicode_form="nfc", pattern="llama3"),
    "wordpiece": Design(model="wordpiece", byte_level=False, size=200, family="bert", lowercase=True),
    "wordpiece cased": Design(model="wordpiece", byte_level=False, size=200, family="none"),
    "unigram": Design(model="unigram", byte_level=False, size=400, unicode_form="nfkc"),
    "unigram, no fallback": Design(model="unigram", byte_level=False, byte_fallback=False, size=120, family="xlnet"),
}
LOSSLESS = ("bpe bytes", "bpe characters", "unigram")


@pytest.fixture(scope="module")
def learnt() -> dict[str, Tokenizer]:
    return {name: train(TEXTS, design) for name, design in DESIGNS.items()}


@pytest.mark.parametrize("name", DESIGNS)
def test_the_order_of_texts_changes_nothing(learnt: dict[str, Tokenizer], name: str):
    shuffled = TEXTS[:]
    random.Random(0).shuffle(shuffled)
    assert train(shuffled, DESIGNS[name]).to_str() == learnt[name].to_str()


@pytest.mark.parametrize("name", DESIGNS)
def test_the_size_is_kept_and_the_special_tokens_come_first(learnt: dict[str, Tokenizer], name: str):
    design, encoder = DESIGNS[name], learnt[name]
    assert encoder.get_vocab_size() <= design.size
    assert [encoder.id_to_token(number) for number in range(len(design.first))] == list(design.first)
    special = {token.content for token in encoder.get_added_tokens_decoder().values() if token.special}
    assert special == {*design.first, *FAMILIES[design.family].last}
    assert sorted(encoder.get_vocab().values()) == list(range(encoder.get_vocab_size()))


@pytest.mark.parametrize("name", LOSSLESS)
@pytest.mark.parametrize("text", ["", " ", "  two  ", "\n\nThe\tend ", "unseen: Ω 你好 😀\x00", "<0x41> </s> <|end|>"])
def test_what_falls_back_to_bytes_comes_back(learnt: dict[str, Tokenizer], name: str, text: str):
    encoder = learnt[name]
    encoder.encode_special_tokens = True
    ids = encoder.encode(text, add_special_tokens=False).ids
    assert encoder.decode(ids, skip_special_tokens=False) == text
    assert not set(ids) & set(range(len(RESERVED)))


def test_without_fallback_a_new_character_is_unknown(learnt: dict[str, Tokenizer]):
    for name, unknown in (
        ("bpe characters, no fallback", "<unk>"),
        ("wordpiece", "[UNK]"),
        ("unigram, no fallback", "<unk>"),
    ):
        number = learnt[name].token_to_id(unknown)
        assert number in learnt[name].encode("Ω").ids, name
        assert number not in learnt[name].encode("text").ids, name


def test_case_and_form(learnt: dict[str, Tokenizer]):
    def ids(name: str, text: str) -> list[int]:
        return learnt[name].encode(text).ids

    assert ids("wordpiece", "THE NAÏVE") == ids("wordpiece", "the naive")
    assert ids("wordpiece cased", "The") != ids("wordpiece cased", "the")
    assert ids("bpe lower case", "THE nai\u0308ve") == ids("bpe lower case", "the naïve")
    assert ids("bpe bytes", "THE") != ids("bpe bytes", "the")
    assert ids("unigram", "\ufb01t") == ids("unigram", "fit")


def test_wordpiece_by_hand():
    # "hug" ten times, "hugs" five times: the pairs (h, ##u) and (##u, ##g) occur fifteen times each, (##g, ##s) five times
    encoder = train(["hug hug"] * 5 + ["hugs"] * 5, Design(model="wordpiece", byte_level=False, size=7 + 5 + 2 + 3))
    assert encoder.encode("hug").tokens == ["hug"]
    assert encoder.encode("hugs").tokens == ["hugs"]
    assert set(encoder.get_vocab()) >= {"h", "##u", "##g", "##s", "hug", "hugs"}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_puts_its_tokens_around(family: str):
    design = Design(size=700, family=family)  # type: ignore[arg-type]
    encoder, expected = train(TEXTS, design), FAMILIES[family]
    plain = encoder.encode("one two", add_special_tokens=False).tokens
    around = {
        "bert": (["[CLS]"], ["[SEP]"]),
        "roberta": (["<s>"], ["</s>"]),
        "bart": (["<s>"], ["</s>"]),
        "xlnet": ([], ["<sep>", "<cls>"]),
        "llama": (["<s>"], []),
        "t5": ([], ["</s>"]),
    }.get(family, ([], []))
    assert encoder.encode("one two").tokens == [*around[0], *plain, *around[1]]
    assert {token: encoder.token_to_id(token) for token in expected.first} == {
        t: i for i, t in enumerate(expected.first)
    }
    if family == "t5":
        assert encoder.token_to_id("<extra_id_0>") == encoder.get_vocab_size() - 1
        assert encoder.token_to_id("<extra_id_99>") == encoder.get_vocab_size() - 100


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("bert", "BertTokenizer"),
        ("roberta", "RobertaTokenizer"),
        ("xlnet", "XLNetTokenizer"),
        ("t5", "T5Tokenizer"),
        ("gpt2", "GPT2Tokenizer"),
    ],
)
def test_roles_are_those_of_transformers(family: str, name: str):
    import inspect

    import transformers

    defaults = inspect.signature(getattr(transformers, name).__init__).parameters
    for role, token in FAMILIES[family].roles.items():
        given = defaults.get(f"{role}_token")
        if given is not None and given.default not in (None, inspect.Parameter.empty):
            assert str(given.default) == token, role


def test_roles_are_guessed_from_published_names():
    assert guess_roles(["<s>", "</s>", "<unk>"]) == {"bos": "<s>", "eos": "</s>", "unk": "<unk>"}
    assert guess_roles(["<|endoftext|>"]) == {"bos": "<|endoftext|>", "eos": "<|endoftext|>"}
    assert guess_roles([]) == {}


def test_too_many_characters_for_the_size():
    text = "".join(chr(point) for point in range(0x4E00, 0x4E00 + 500))
    for model in ("bpe", "wordpiece"):
        with pytest.raises(DataError, match=r"more different characters than a size of 100 holds|could not be learnt"):
            train([text, text], Design(model=model, byte_level=False, byte_fallback=False, size=100))  # type: ignore[arg-type]


def test_unigram_without_sentencepiece_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    import sys

    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(SeptetError, match=r"pip install 'septet\[corpus\]'"):
        train(TEXTS, DESIGNS["unigram"])


@pytest.mark.parametrize("name", ["bpe bytes", "wordpiece", "unigram"])
def test_errors_of_the_texts_pass_through(name: str):
    class Broken:
        def __iter__(self):
            yield "some text"
            raise DataError("row 7 is broken")

    with pytest.raises(DataError, match="row 7 is broken"):
        train(Broken(), DESIGNS[name])


@pytest.mark.parametrize("name", ["bpe bytes", "wordpiece", "unigram"])
@pytest.mark.parametrize("texts", [[], [""]])
def test_no_text_is_named(name: str, texts: list[str]):
    with pytest.raises(DataError, match="no training text"):
        train(texts, DESIGNS[name])


# -- the sample -----------------------------------------------------------------------------------------------------

DOCS = [
    *(Document(id=f"n{i}", text="novel text " * 10, source="novels") for i in range(400)),
    *(Document(id=f"w{i}", text="web page " * 10, source="web") for i in range(1600)),
]


def taken(weights: dict[str, float] | None, budget: int, seed: int = 0) -> Counter[str]:
    sample = plan(lambda: DOCS, budget=budget, weights=weights, seed=seed)
    found: Counter[str] = Counter()
    for doc in DOCS:
        found[doc.source] += sample.copies(doc) * len(doc.text)
    return found


def test_everything_is_taken_once_where_there_is_room():
    sample = plan(lambda: DOCS, budget=10**9)
    assert all(sample.copies(doc) == 1 for doc in DOCS)
    assert sample.expected_bytes == sum(len(doc.text) for doc in DOCS)
    assert list(sample.texts(lambda: DOCS)) == [doc.text for doc in DOCS]


def test_a_budget_is_kept_and_the_choice_is_by_document():
    total = sum(len(doc.text) for doc in DOCS)
    sample = plan(lambda: DOCS, budget=total // 4)
    chosen = {doc.id for doc in DOCS if sample.copies(doc)}
    size = sum(len(doc.text) for doc in DOCS if doc.id in chosen)
    assert size == pytest.approx(total / 4, rel=0.15)
    assert sample.expected_bytes == pytest.approx(total / 4, rel=0.001)
    backwards = plan(lambda: DOCS[::-1], budget=total // 4)
    assert {doc.id for doc in DOCS if backwards.copies(doc)} == chosen
    # a larger sample holds the smaller one
    larger = plan(lambda: DOCS, budget=total // 2)
    assert chosen < {doc.id for doc in DOCS if larger.copies(doc)}
    other = plan(lambda: DOCS, budget=total // 4, seed=1)
    assert {doc.id for doc in DOCS if other.copies(doc)} != chosen


def test_weights_are_shares_of_the_bytes():
    total = sum(len(doc.text) for doc in DOCS)
    found = taken({"novels": 1, "web": 3}, total // 4)
    assert found["novels"] / (found["novels"] + found["web"]) == pytest.approx(0.25, abs=0.04)
    # the novels are too few for their share and are counted more than once: 44,000 bytes of 188,000, and half is wanted
    found = taken({"novels": 1, "web": 1}, total)
    assert found["novels"] == pytest.approx(total / 2, rel=0.03)
    assert found["web"] == pytest.approx(total / 2, rel=0.03)
    assert taken({"web": 0}, total)["web"] == 0


def test_weights_of_what_is_not_there():
    with pytest.raises(DataError, match=r"no source 'nowels'. Did you mean 'novels'"):
        plan(lambda: DOCS, budget=1, weights={"nowels": 1})
    with pytest.raises(DataError, match="every source with text weighs 0"):
        plan(lambda: DOCS, budget=1, weights={"novels": 0, "web": 0})


# -- memory ---------------------------------------------------------------------------------------------------------


def test_the_number_of_words_is_guessed_from_the_beginning(real_data: Path):
    text = novel(real_data, "Eliot_Adam_1859", length=1_100_000)
    size = len(text.encode())
    design = Design()
    known = estimate([text], design, total=size, look=10**9).words
    guessed = estimate([text], design, total=size, look=250_000).words
    assert guessed == pytest.approx(known, rel=0.35)
    assert estimate([text], design, total=10 * size, look=10**9).words > 1.5 * known


def test_too_little_memory_is_said_before_it_is_used():
    need = Need(words=1_000_000, bytes=2_000_000_000)
    assert "2.0 GB" in guard(need, 3_000_000_000, sample_bytes=10**9)
    with pytest.raises(ComponentError, match=r"needs about 2.0 GB.*500.0 MB are free.*sample_bytes: 200000000"):
        guard(need, 500_000_000, sample_bytes=10**9)
    assert guard(need, None, sample_bytes=10**9)
    free = available_memory()
    assert free is None or free > 0
