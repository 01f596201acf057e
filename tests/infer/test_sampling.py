"""Filters by hand and against transformers, streaming text, stop strings."""

import pytest
import torch
from tiny_chat import tiny_tokenizer
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from septet.infer.engine import EngineError, Request
from septet.infer.sampling import Sampler, StopText, Utf8Text, Writer, filter_logits


def test_filters_by_hand():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    assert filter_logits(logits, top_k=2).isfinite().tolist() == [True, True, False, False]
    # 0.5 alone reaches 0.5; to reach 0.6 the second is needed
    assert filter_logits(logits, top_p=0.5).isfinite().tolist() == [True, False, False, False]
    assert filter_logits(logits, top_p=0.6).isfinite().tolist() == [True, True, False, False]
    assert filter_logits(logits, top_p=1e-9).isfinite().tolist() == [True, False, False, False]
    # halving the temperature squares the probabilities: 0.25 / 0.365
    assert filter_logits(logits, temperature=0.5).softmax(-1)[0].item() == pytest.approx(0.25 / 0.365)


def test_filters_agree_with_transformers():
    torch.manual_seed(0)
    theirs = LogitsProcessorList([TemperatureLogitsWarper(0.7), TopKLogitsWarper(20), TopPLogitsWarper(0.8)])
    for _ in range(20):
        logits = torch.randn(100) * 3
        wanted = theirs(torch.zeros(1, 1, dtype=torch.long), logits[None])[0]
        torch.testing.assert_close(filter_logits(logits, temperature=0.7, top_k=20, top_p=0.8), wanted)


def test_repetition_penalty_agrees_with_transformers():
    torch.manual_seed(0)
    prompt = [3, 7, 7, 11]
    sampler = Sampler(Request(tokens=prompt, repetition_penalty=1.7), prompt)
    seen = list(prompt)
    for _ in range(30):
        logits = torch.randn(16)
        wanted = int(RepetitionPenaltyLogitsProcessor(1.7)(torch.tensor([seen]), logits[None].clone())[0].argmax())
        assert sampler(logits) == wanted
        seen.append(wanted)


def test_a_seed_repeats_and_requests_do_not_share_random_numbers():
    logits = torch.zeros(50)

    def draw(seed):
        sampler = Sampler(Request(prompt="x", temperature=1.0, seed=seed))
        return [sampler(logits) for _ in range(20)]

    alone = draw(5)
    first, second = (Sampler(Request(prompt="x", temperature=1.0, seed=5)) for _ in range(2))
    mixed = [(first(logits), torch.rand(1), second(logits)) for _ in range(20)]
    assert [a for a, _, _ in mixed] == alone == [b for _, _, b in mixed]
    assert draw(6) != alone
    assert draw(None) != draw(None)


def test_sampling_follows_the_probabilities():
    logits = torch.tensor([0.6, 0.3, 0.1]).log()
    sampler = Sampler(Request(prompt="x", temperature=1.0, seed=0))
    counts = torch.bincount(torch.tensor([sampler(logits) for _ in range(4000)]), minlength=3) / 4000
    torch.testing.assert_close(counts, logits.exp(), atol=0.03, rtol=0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", 0),
        ("temperature", -1.0),
        ("top_p", 0.0),
        ("top_k", -1),
        ("repetition_penalty", 0.0),
        ("timeout", 0.0),
    ],
)
def test_bad_requests_are_refused(field, value):
    with pytest.raises(EngineError, match=field):
        Request(prompt="x", **{field: value})


def test_a_request_has_exactly_one_prompt():
    with pytest.raises(EngineError, match="exactly one"):
        Request()
    with pytest.raises(EngineError, match="messages and prompt"):
        Request(prompt="x", messages=[{"role": "user", "content": "x"}])
    with pytest.raises(EngineError, match="role 'robot'"):
        Request(messages=[{"role": "robot", "content": "x"}])


def test_text_is_whole_characters_and_loses_nothing():
    tokenizer = tiny_tokenizer()
    text = "naïve 한국 👩‍🔬🦕 and then a long plain ending, well beyond the window of tokens. " * 3
    stream = Utf8Text(lambda ids: tokenizer.decode(ids))
    pieces = [stream.push(token) for token in tokenizer.encode(text)]
    assert "".join(pieces) == text
    assert "\ufffd" not in "".join(pieces)
    assert any(piece == "" for piece in pieces), "some tokens of this text end inside a character"


def test_bytes_that_are_no_character_are_replaced_once_certain():
    bytes_of = {0: b"a", 1: b"\xf0\x9f\x98", 2: b"\x80", 3: b"b", 4: b"\x80"}
    stream = Utf8Text(lambda ids: b"".join(bytes_of[i] for i in ids).decode("utf-8", "replace"))
    assert [stream.push(token) for token in (0, 1, 2, 3)] == ["a", "", "😀", "b"]
    assert "".join(stream.push(token) for token in (4, 4, 3)) == "\ufffd\ufffdb"


def test_stop_strings_across_pieces():
    stop = StopText(["\nUser:", "END"])
    assert [stop.push(piece) for piece in ("a\n", "Us", "ed E", "N", "x")] == ["a", "", "\nUsed ", "", "ENx"]
    assert stop.push("\nUse") == ""
    assert stop.push("r: hello") == ""
    assert stop.stopped
    assert stop.push("more") == ""


def test_of_several_stop_strings_the_earliest_in_the_text_wins():
    stop = StopText(["cd", "b"])
    assert stop.push("abcd") == "a"
    assert stop.stopped


def test_writer_ends_at_the_end_token_the_stop_string_and_the_length():
    words = ["one ", "two ", "three"]

    def write(request, tokens):
        out = []
        writer = Writer(
            request, decode=lambda ids: "".join(words[i] for i in ids), end_ids=frozenset({9}), room=3, emit=out.append
        )
        reasons = [writer.push(token) for token in tokens]
        return "".join(out), reasons[-1], writer.num_tokens

    assert write(Request(prompt="x"), [0, 1, 9]) == ("one two ", "stop", 3)
    assert write(Request(prompt="x", stop="two"), [0, 1]) == ("one ", "stop", 2)
    assert write(Request(prompt="x", stop="two three four"), [0, 1, 9]) == ("one two ", "stop", 3)
    assert write(Request(prompt="x", max_tokens=2), [0, 1]) == ("one two ", "length", 2)
    assert write(Request(prompt="x"), [0, 1, 2]) == ("one two three", "length", 3)
