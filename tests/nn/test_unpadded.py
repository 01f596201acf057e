"""Padded rows computed without their padding, beside plain transformers with it: states, heads, gradients, adapters and positions.

python -m pytest tests/nn/test_unpadded.py
"""

from __future__ import annotations

import copy

import pytest
import torch
import transformers

from septet.nn import unpadded
from septet.nn.packed_attention import PACKABLE, PACKED
from septet.nn.soft import PREFIXED
from septet.nn.unpadded import unpad

LENGTHS = (5, 12, 1, 9)


def small(kind: str, auto: str, labels: int = 3):
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24}
    names = {"n_embd": 16, "n_layer": 2, "n_head": 4} if kind == "gpt2" else sizes
    more = {"num_key_value_heads": 2, "head_dim": 4} if kind in ("qwen2", "qwen3", "llama", "mistral") else {}
    config = transformers.AutoConfig.for_model(
        kind, vocab_size=40, max_position_embeddings=64, pad_token_id=1, num_labels=labels, **names, **more
    )
    config.sliding_window = None
    config.initializer_range = 0.3  # with the usual one all texts are judged alike
    for name in ("attention_probs_dropout_prob", "hidden_dropout_prob", "attn_pdrop", "embd_pdrop", "resid_pdrop"):
        if hasattr(config, name):
            setattr(config, name, 0.0)
    torch.manual_seed(0)
    return getattr(transformers, auto).from_config(config)


def batch(left: bool = False) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    ids, mask = torch.ones(len(LENGTHS), max(LENGTHS), dtype=torch.int64), torch.zeros(len(LENGTHS), max(LENGTHS))
    for row, length in enumerate(LENGTHS):
        at = slice(max(LENGTHS) - length, None) if left else slice(0, length)
        ids[row, at] = torch.randint(3, 40, (length,), generator=generator)
        mask[row, at] = 1
    return {"input_ids": ids, "attention_mask": mask.long()}


def both(kind: str, auto: str):
    """Return a plain model and one without padding, of the same weights."""
    plain = small(kind, auto, 2 if auto.endswith("QuestionAnswering") else 3)
    ours = copy.deepcopy(plain)
    unpad(ours)
    return plain, ours


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("kind", sorted(PACKABLE))
def test_the_states_are_those_of_padded_rows(kind, left):
    plain, ours = both(kind, "AutoModel")
    inputs = batch(left)
    rows = {}
    for name, model in (("plain", plain), ("ours", ours)):
        found = model(**inputs)
        rows[name] = found.last_hidden_state[inputs["attention_mask"].bool()]
        if kind in ("bert", "roberta", "camembert", "xlm-roberta") and not left:  # the pooler reads the first place
            rows[name] = torch.cat([rows[name], found.pooler_output])
        rows[name].square().sum().backward()
    assert ours.config._attn_implementation == PACKED
    torch.testing.assert_close(rows["ours"], rows["plain"], rtol=1e-4, atol=1e-5)
    for (name, p), q in zip(ours.named_parameters(), plain.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None), name
        if p.grad is not None:
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "auto"),
    [
        ("bert", "AutoModelForSequenceClassification"),
        ("roberta", "AutoModelForSequenceClassification"),
        ("llama", "AutoModelForSequenceClassification"),
        ("gpt2", "AutoModelForSequenceClassification"),
        ("bert", "AutoModelForTokenClassification"),
        ("bert", "AutoModelForQuestionAnswering"),
    ],
)
def test_heads_see_what_they_would(kind, auto):
    plain, ours = both(kind, auto)
    inputs = batch()
    for name in ("logits", "start_logits", "end_logits"):
        found, expected = (getattr(model.eval()(**inputs), name, None) for model in (ours, plain))
        if found is None:
            continue
        real = inputs["attention_mask"].bool() if found.shape[:2] == inputs["input_ids"].shape else ...
        torch.testing.assert_close(found[real], expected[real], rtol=1e-4, atol=1e-5)


def test_the_trunk_computes_no_padding(monkeypatch):
    monkeypatch.setattr(unpadded, "ROUND", 1)
    _, ours = both("bert", "AutoModelForSequenceClassification")
    seen = []
    ours.base_model.encoder.layer[0].register_forward_pre_hook(lambda module, args: seen.append(args[0].shape))
    ours(**batch())
    assert seen == [(1, sum(LENGTHS), 16)]


def test_what_it_does_not_understand_is_left_to_the_model():
    plain, ours = both("bert", "AutoModel")
    inputs = batch()
    real = inputs["attention_mask"].bool()
    for more in ({"output_hidden_states": True}, {"return_dict": False}):
        found, expected = ours(**inputs, **more), plain(**inputs, **more)
        torch.testing.assert_close(found[0][real], expected[0][real], rtol=1e-4, atol=1e-5)
        assert len(found) == len(expected)
    assert ours(inputs["input_ids"]).last_hidden_state.shape == (4, 12, 16)  # without a mask
    plain, ours = both("llama", "AutoModelForCausalLM")
    found, expected = (model.generate(**batch(left=True), max_new_tokens=5, do_sample=False) for model in (ours, plain))
    assert torch.equal(found, expected)


def test_a_prompt_and_segments_are_put_into_the_one_row():
    from septet.nn.soft import Prompt, Vectors

    plain, ours = both("bert", "AutoModelForSequenceClassification")
    inputs = batch()
    inputs["token_type_ids"] = (torch.arange(12) > 3).long().expand(4, -1) * inputs["attention_mask"]
    vectors = torch.randn(3, 16, generator=torch.Generator().manual_seed(5))
    found, expected = (Prompt(model, Vectors(vectors), 3).eval()(**inputs).logits for model in (ours, plain))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert ours.config._attn_implementation == PACKED
    assert not torch.allclose(found, ours.eval()(**inputs | {"token_type_ids": None}).logits, atol=1e-3)


@pytest.mark.parametrize("kind", ["bert", "roberta", "llama"])  # llama: two heads of queries share one of keys
def test_a_prefix_is_put_before_each_text_of_the_one_row(kind):
    from septet.nn.soft import Prefix, Vectors, places_of

    found, grads = [], []
    for model in both(kind, "AutoModelForSequenceClassification"):
        places = places_of(model, torch.tensor([5, 6, 7]))
        site = places.sites[0].keys
        size = len(places.sites) * 2 * site.shape[0] * site.shape[2]
        vectors = Vectors(torch.randn(3, size, generator=torch.Generator().manual_seed(5)))
        soft = Prefix(model, vectors, 3, places).eval()
        logits = soft(**batch()).logits
        (grad,) = torch.autograd.grad(logits.square().sum(), vectors.weight)
        with soft.disable_adapter():
            found.append((logits, soft(**batch()).logits))
        grads.append(grad)
        assert model.config._attn_implementation == PREFIXED
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-3, atol=1e-5)
    assert not torch.allclose(*found[1], atol=1e-3)


def test_a_prefix_leaves_the_padding_out(monkeypatch):
    from septet.nn.soft import Prefix, Vectors, places_of

    monkeypatch.setattr(unpadded, "ROUND", 1)
    _, ours = both("bert", "AutoModelForSequenceClassification")
    places = places_of(ours, torch.tensor([5, 6, 7]))
    soft = Prefix(ours, Vectors(torch.zeros(3, 64)), 3, places)
    seen = []
    ours.base_model.encoder.layer[0].register_forward_pre_hook(lambda module, args: seen.append(args[0].shape))
    soft(**batch())
    assert seen == [(1, sum(LENGTHS), 16)]
