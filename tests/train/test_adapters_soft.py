"""Virtual tokens: what they begin as, who sees them, packed rows, padding, recomputing, generating, and files that are peft's."""

import contextlib
import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from tests.train.adapter_models import (
    DECODER_IDS,
    HEADS,
    OTHERS,
    ROWS,
    has,
    headed,
    inputs_for,
    language_model,
    logits_of,
    plain_peft,
    shake,
)
from tests.train.families import FAMILIES, tiny
from tiny_chat import chat_rows, tiny_model, work_at

from septet.core.errors import ComponentError, DataError, Stopped
from septet.data.batches import Batches
from septet.infer.engine import Request
from septet.infer.engines.torch import Torch
from septet.infer.tasks.chat import prepare_conversations
from septet.nn.adapted import head_of, open_adapter
from septet.nn.heads import open_with_head
from septet.nn.load import open_model
from septet.nn.soft import _prefixed
from septet.train.adapter import Adapter
from septet.train.adapters.lora import Lora
from septet.train.adapters.p_tuning import PTuning
from septet.train.adapters.prefix import Prefix
from septet.train.adapters.prompt import Prompt
from septet.train.loop import fit
from septet.train.objectives.supervised import Supervised
from septet.train.plan import Plan

PROMPT, PREFIX = Prompt(tokens=5), Prefix(tokens=5)
KINDS = [PROMPT, PTuning(tokens=5, width=8), PTuning(tokens=5, width=8, network="lstm"), PREFIX]
COMPUTES_ITS_ATTENTION = {"xlnet", "falcon", "deberta-v2", "mpnet", "albert"}
"""Families that prefixes are refused for."""


def name_of(adapter):
    return adapter.kind + getattr(adapter, "network", "")


def cases():
    return [
        pytest.param(family, adapter, id=f"{family}-{name_of(adapter)}")
        for family in FAMILIES + OTHERS
        for adapter in KINDS
        if not (adapter.kind == "prefix" and family in COMPUTES_ITS_ATTENTION)
    ]


def compute(model, inputs):
    """The logits of a language model, with gradient; by `Model` where it knows the family's head."""
    known = model.config.model_type in FAMILIES
    return model.outputs(inputs).logits if known else model.module(**inputs).logits


def cut(logits, wanted):
    """peft leaves the places of the virtual tokens in."""
    return logits[:, -wanted.shape[1] :] if logits.ndim > 1 else logits


# -- what learns, and that it is a function of the base --------------------------------------------------------------------


@pytest.mark.parametrize(("family", "adapter"), cases())
def test_only_the_vectors_learn_and_the_base_is_beneath(family, adapter):
    model = language_model(family)
    inputs = inputs_for(model)
    before = compute(model, inputs)
    adapted = adapter.attach(model, seed=0)
    assert all(name.startswith("vectors.") for name in adapted.trainable())
    after = compute(adapted, inputs)
    assert after.shape == before.shape
    assert (after - before).abs().max() > 1e-4
    with adapted.without_adapter():
        torch.testing.assert_close(compute(adapted, inputs), before)
    torch.testing.assert_close(compute(adapted, inputs), after)
    after.square().sum().backward()
    assert {n for n, p in adapted.module.named_parameters() if p.grad is not None} == set(adapted.trainable())
    with pytest.raises(ComponentError, match="cannot be merged"):
        adapter.merge(adapted)
    beneath = adapter.beneath(adapted)
    torch.testing.assert_close(compute(beneath, inputs), before)


@pytest.mark.parametrize("family", sorted(COMPUTES_ITS_ATTENTION))
def test_a_prefix_is_refused_where_it_has_no_place(family):
    with pytest.raises(ComponentError, match="Use prompt"):
        PREFIX.attach(language_model(family), seed=0)


# -- files ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "adapter"), cases())
def test_saved_and_opened(family, adapter, tmp_path):
    adapted = shake(adapter.attach(language_model(family), seed=0))
    inputs = inputs_for(adapted)
    assert adapter.save(adapted, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    again = adapter.load(language_model(family), tmp_path)
    torch.testing.assert_close(compute(again, inputs), compute(adapted, inputs))
    assert not again.trainable()
    with pytest.raises(DataError, match="another base"):
        open_adapter(language_model(family, seed=1), tmp_path)


@pytest.mark.parametrize("adapter", KINDS, ids=name_of)
@pytest.mark.parametrize("family", ["llama", "gpt2", "falcon", "t5", "bart"])
def test_peft_computes_the_same(family, adapter, tmp_path):
    if adapter.kind == "prefix" and family in COMPUTES_ITS_ATTENTION:
        return
    adapted = shake(adapter.attach(language_model(family), seed=0))
    inputs = inputs_for(adapted)
    wanted = logits_of(adapted.module, **inputs)
    adapter.save(adapted, tmp_path)
    found = logits_of(plain_peft(language_model(family).module, tmp_path), **inputs)
    torch.testing.assert_close(cut(found, wanted), wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(adapted.outputs(inputs).logits, wanted, rtol=1e-4, atol=1e-5)


# in Electra peft does not pass on the cache that holds its prefix
PEFT_HEADS = [
    pytest.param(family, task, adapter, id=f"{family}-{task}-{adapter.kind}")
    for family in ("bert", "roberta", "electra", "llama", "gpt2")
    for task in HEADS
    for adapter in (PROMPT, PREFIX)
    if has(family, task) and (family, adapter.kind) != ("electra", "prefix")
]


@pytest.mark.parametrize(("family", "task", "adapter"), PEFT_HEADS)
def test_peft_computes_the_same_with_heads(family, task, adapter, tmp_path):
    adapted = shake(adapter.attach(headed(family, task), seed=0))
    wanted = logits_of(adapted.module, input_ids=ROWS)
    assert {n.split(".")[1] for n in adapted.trainable() if n.startswith("base_model.")}
    adapter.save(adapted, tmp_path)
    again = adapter.load(headed(family, task, seed=0), tmp_path)
    torch.testing.assert_close(logits_of(again.module, input_ids=ROWS), wanted)
    found = logits_of(plain_peft(headed(family, task).module, tmp_path), input_ids=ROWS)
    if task != "SEQ_CLS":
        found = cut(found, wanted)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES + OTHERS)
@pytest.mark.parametrize("adapter", [PROMPT, PREFIX], ids=name_of)
def test_padding_changes_nothing(family, adapter):
    """A text alone and beside a longer one gets the same judgement; peft reads the padding of a decoder."""
    if adapter.kind == "prefix" and family in COMPUTES_ITS_ATTENTION:
        return
    adapted = shake(adapter.attach(headed(family, "SEQ_CLS"), seed=0))
    alone = logits_of(adapted.module, input_ids=ROWS[:1], attention_mask=torch.ones_like(ROWS[:1]))
    left = family == "xlnet"
    ids = torch.nn.functional.pad(ROWS[:1], (3, 0) if left else (0, 3))
    padded = logits_of(adapted.module, input_ids=ids, attention_mask=(ids != 0).long())
    torch.testing.assert_close(padded, alone, rtol=1e-4, atol=1e-5)


def test_a_grouped_query_model(tmp_path):
    from transformers import LlamaConfig, LlamaForCausalLM

    from septet.nn.model import Model

    def model():
        torch.manual_seed(0)
        sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
        config = LlamaConfig(**sizes, num_attention_heads=4, num_key_value_heads=2, initializer_range=0.2)
        return Model(LlamaForCausalLM(config).eval(), tiny("llama").tokenizer)

    adapted = shake(PREFIX.attach(model(), seed=0))
    PREFIX.save(adapted, tmp_path)
    wanted = logits_of(adapted.module, input_ids=ROWS)
    torch.testing.assert_close(logits_of(plain_peft(model().module, tmp_path), input_ids=ROWS), wanted)


def test_the_encoders_prefix_is_kept_and_peft_leaves_it_out(tmp_path):
    both, one = Prefix(tokens=4, encoder=True), Prefix(tokens=4)
    for family in ("t5", "bart"):
        adapted = shake(both.attach(language_model(family), seed=0), 2.0)
        wanted = logits_of(adapted.module, **inputs_for(adapted))
        both.save(adapted, tmp_path / family)
        again = both.load(language_model(family), tmp_path / family)
        torch.testing.assert_close(logits_of(again.module, **inputs_for(again)), wanted)
        plain = logits_of(plain_peft(language_model(family).module, tmp_path / family), **inputs_for(again))
        assert (plain - wanted).abs().max() > 1e-4
        assert one.attach(language_model(family), seed=0).module.vectors.weight.numel() * 2 == (
            adapted.module.vectors.weight.numel()
        )
    with pytest.raises(ComponentError, match="has one stack"):
        both.attach(language_model("llama"), seed=0)


def test_another_size_is_refused(tmp_path):
    PROMPT.save(PROMPT.attach(tiny_model(), seed=0), tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["peft_type"] == "PROMPT_TUNING"
    assert config["base_model_name_or_path"] is None
    from safetensors.torch import save_file

    save_file({"prompt_embeddings": torch.zeros(5, 16)}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(DataError, match=r"\[5, 16\], and this model needs \[5, 32\]"):
        open_adapter(tiny_model(), tmp_path)
    save_file(
        {"prompt_embeddings": torch.zeros(5, 32), "base_model.score.weight": torch.zeros(1)},
        tmp_path / "adapter_model.safetensors",
    )
    with pytest.raises(DataError, match="no head of that name"):
        open_adapter(tiny_model(), tmp_path)


# -- what they begin as ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize(
    "adapter",
    [Prompt(tokens=4, text="red blue"), PTuning(tokens=4, text="red blue"), Prefix(tokens=4, text="red blue")],
)
def test_they_begin_as_the_text_and_compute_as_if_it_were_read(family, adapter):
    """At the start, virtual tokens are the words that they begin as, bit for bit what the model makes of them."""
    model = tiny_model(family=family)
    words = model.tokenizer("red blue", add_special_tokens=False)["input_ids"]
    words = (words * 4)[:4]
    ids = torch.arange(6, 20)
    whole = torch.cat([torch.tensor(words), ids])[None]
    wanted = model.outputs({"input_ids": whole}).logits[:, 4:]
    adapted = adapter.attach(model, seed=0)
    torch.testing.assert_close(adapted.outputs({"input_ids": ids[None]}).logits, wanted, rtol=1e-4, atol=1e-5)


def test_without_a_text_ordinary_tokens_are_drawn_by_the_seed():
    model = tiny_model()
    first = Prompt(tokens=30).attach(tiny_model(), seed=1).module.vectors.weight
    table = model.module.get_input_embeddings().weight
    rows = [int((table == row).all(dim=1).nonzero()[0]) for row in first]
    assert len(set(rows)) == 30
    assert not set(rows) & set(model.tokenizer.all_special_ids)
    torch.testing.assert_close(first, Prompt(tokens=30).attach(tiny_model(), seed=1).module.vectors.weight)
    assert not torch.equal(first, Prompt(tokens=30).attach(tiny_model(), seed=2).module.vectors.weight)


def test_no_place_and_no_words():
    with pytest.raises(ComponentError, match="leave no place in a context of 128"):
        Prompt(tokens=128).attach(tiny_model(), seed=0)
    with pytest.raises(ComponentError, match="text: it has no tokens"):
        Prompt(text="").attach(tiny_model(), seed=0)
    assert Prompt(tokens=20).attach(tiny_model(), seed=0).context == 108


def test_attention_with_a_prefix_by_hand():
    """One head of width 1; the query 0 sees all alike: (3 + 6 + 9) / 3. With the key ln 2 it sees the prefix twice as much."""
    module = SimpleNamespace(is_causal=False, septet_prefix=lambda: (torch.zeros(1, 1, 1), torch.full((1, 1, 1), 3.0)))
    values = torch.tensor([6.0, 9.0]).view(1, 1, 2, 1)
    found, _ = _prefixed(module, torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 2, 1), values, None, scaling=1.0)
    assert found.item() == pytest.approx(6.0)
    module.septet_prefix = lambda: (torch.full((1, 1, 1), 2.0).log(), torch.full((1, 1, 1), 3.0))
    found, _ = _prefixed(module, torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 2, 1), values, None, scaling=1.0)
    assert found.item() == pytest.approx((2 * 3 + 6 + 9) / 4)


# -- packed rows, recomputing, generating ----------------------------------------------------------------------------------


@pytest.mark.parametrize("family", sorted({*FAMILIES} - COMPUTES_ITS_ATTENTION))
def test_documents_of_a_packed_row_see_the_prefix_and_not_each_other(family):
    adapted = shake(PREFIX.attach(language_model(family), seed=0))
    first, second = ROWS[0, :5], ROWS[1, :7]
    documents = torch.tensor([[1] * 5 + [2] * 7])
    positions = torch.tensor([[*range(5), *range(7)]])
    inputs = {"input_ids": torch.cat([first, second])[None], "documents": documents, "position_ids": positions}
    alone = [{"input_ids": ids[None]} for ids in (first, second)]
    if adapted.architecture == "encoder-decoder":
        inputs |= {
            "decoder_input_ids": torch.cat([DECODER_IDS[0], DECODER_IDS[1]])[None],
            "decoder_documents": torch.tensor([[1] * 4 + [2] * 4]),
            "decoder_position_ids": torch.tensor([[*range(4), *range(4)]]),
        }
        for number, one in enumerate(alone):
            one["decoder_input_ids"] = DECODER_IDS[number : number + 1]
    wanted = torch.cat([adapted.outputs(one).logits for one in alone], dim=1)
    if (
        family == "t5"
    ):  # its positions are distances, and the second document is farther from the prefix than it would be alone
        inputs, wanted = alone[0], wanted[:, :4]
    torch.testing.assert_close(adapted.outputs(inputs).logits, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("family", "adapter"), cases())
def test_recomputed_activations_give_the_same_gradient(family, adapter):
    def gradient(recompute):
        adapted = shake(adapter.attach(language_model(family), seed=0))
        if recompute:
            adapted.recompute()
        adapted.module.train()
        compute(adapted, inputs_for(adapted)).square().mean().backward()
        return torch.cat([p.grad.flatten() for p in adapted.trainable().values()])

    if not getattr(language_model(family).base, "supports_gradient_checkpointing", False):
        return
    torch.manual_seed(3)
    wanted = gradient(False)
    torch.manual_seed(3)
    torch.testing.assert_close(gradient(True), wanted, rtol=1e-4, atol=1e-6)
    assert wanted.abs().max() > 0


@pytest.mark.parametrize("adapter", [PROMPT, PREFIX], ids=name_of)
@pytest.mark.parametrize("family", ["llama", "gpt2", "t5", "bart"])
def test_generating_with_a_cache_is_generating_without(family, adapter):
    adapted = shake(adapter.attach(language_model(family), seed=0), 0.5)
    found = [
        adapted.module.generate(
            input_ids=ROWS[:1, :5],
            attention_mask=torch.ones(1, 5, dtype=torch.long),
            max_new_tokens=8,
            min_new_tokens=8,
            do_sample=False,
            num_beams=1,
            use_cache=use_cache,
        )
        for use_cache in (True, False)
    ]
    assert torch.equal(*found)
    assert head_of(adapted.base) == []


# -- kept as base and adapter, and used ------------------------------------------------------------------------------------


def kept(adapter, folder, **options):
    """Write what fine-tuning writes: the base, and the adapter beside it."""
    adapted = shake(adapter.attach(tiny_model(**options), seed=0), 0.5)
    wanted = adapted.outputs({"input_ids": torch.arange(6, 30)[None]}).logits
    adapter.save(adapted, folder / "adapter")
    adapter.beneath(adapted).save(folder)
    return wanted


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("adapter", KINDS, ids=name_of)
def test_a_folder_of_base_and_adapter_is_one_model(family, adapter, tmp_path):
    wanted = kept(adapter, tmp_path, family=family)
    model = open_model(tmp_path)
    torch.testing.assert_close(model.outputs({"input_ids": torch.arange(6, 30)[None]}).logits, wanted)
    assert model.context == 123
    for another in (Lora(rank=2), PROMPT, Adapter.parse("full"), Adapter.parse("last-layers")):
        with pytest.raises(ComponentError, match="has virtual tokens already"):
            another.attach(open_model(tmp_path), seed=0)
    shutil.rmtree(tmp_path / "adapter")
    assert (open_model(tmp_path).outputs({"input_ids": torch.arange(6, 30)[None]}).logits - wanted).abs().max() > 1e-3


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("adapter", [PROMPT, PREFIX], ids=name_of)
def test_the_engine_writes_and_scores_with_them(family, adapter, tmp_path):
    """Greedy text of the engine, alone and in a batch, is what whole forward passes without a cache give."""
    kept(adapter, tmp_path, family=family)
    model = open_model(tmp_path)

    def greedy(ids):
        ids = list(ids)
        for _ in range(6):
            ids.append(int(model.outputs({"input_ids": torch.tensor([ids])}).logits[0, -1].argmax()))
        return ids[-6:]

    prompts = [[0, 20, 31], [0, 44, 50, 61, 72, 33]]
    requests = [Request(tokens=tuple(p), max_tokens=6, temperature=0.0) for p in prompts]
    with contextlib.closing(Torch().open(tmp_path, device="cpu")) as engine:
        assert engine.context == 123
        alone = [engine.submit(request).text() for request in requests]
        together = [answer.text for answer in engine.generate_batch(requests)]
        assert alone == together
        for prompt, text in zip(prompts, alone, strict=True):
            # bytes of a character that is not whole are not written
            assert text
            assert engine._decode(greedy(prompt)).startswith(text.rstrip("\ufffd"))
        found = engine.score([(prompts[0], "apple")])[0]
    ids = prompts[0] + model.tokenizer.encode("apple")
    logps = model.outputs({"input_ids": torch.tensor([ids])}).logits[0].log_softmax(-1)
    assert found.logprob == pytest.approx(sum(float(logps[i - 1, ids[i]]) for i in range(3, len(ids))), rel=1e-4)


def test_a_classifier_is_opened_with_them(tmp_path):
    labels = ["bad", "good"]
    tiny_model(family="gpt2").save(tmp_path / "base")
    adapted = shake(PREFIX.attach(open_with_head(tmp_path / "base", "classes", labels), seed=0))
    wanted = logits_of(adapted.module, input_ids=ROWS)
    PREFIX.save(adapted, tmp_path / "out" / "adapter")
    PREFIX.beneath(adapted).save(tmp_path / "out")
    torch.testing.assert_close(
        logits_of(open_with_head(tmp_path / "out", "classes", labels).module, input_ids=ROWS), wanted
    )


# -- learning --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adapter", [Prompt(tokens=8), PTuning(tokens=8, width=16), Prefix(tokens=8)], ids=name_of)
def test_they_learn_and_a_killed_run_goes_on(adapter, tmp_path):
    rows = prepare_conversations(list(enumerate(chat_rows(24), 1)), tiny_model().tokenizer, max_tokens=64)[0]
    objective = Supervised(packed=adapter.packs)

    def train(steps, state):
        (tmp_path / state).mkdir(exist_ok=True)
        model = adapter.attach(tiny_model(), seed=0)
        plan = Plan(steps=30, learning_rate=adapter.learning_rate(model), checkpoint_every=5)
        work = work_at(tmp_path / state, stop_after=steps)
        try:
            return fit(model, objective, Batches(rows, 8, seed=0), plan, work=work), model
        except Stopped:
            return None, model

    whole, model = train(None, "whole")
    assert whole.losses["nll"] < 0.9 * whole.curve[0]["loss"]
    train(11, "cut")
    again, resumed = train(None, "cut")
    assert again.resumed_at
    assert again.losses == whole.losses
    for name, parameter in model.trainable().items():
        assert torch.equal(parameter, resumed.trainable()[name])


def test_rows_of_their_own_learn_the_same():
    model = tiny_model()
    rows = prepare_conversations(list(enumerate(chat_rows(6), 1)), model.tokenizer, max_tokens=64)[0]
    losses = []
    for packed in (True, False):
        objective = Supervised(packed=packed)
        batch = objective.prepare(rows, model.tokenizer, [])
        assert len(batch.inputs["input_ids"]) == (6 if not packed else 1)
        losses.append(float(objective.loss(batch, model, {})["nll"].sum))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_prompt_before_packed_rows_is_refused():
    model = PROMPT.attach(tiny_model(), seed=0)
    rows = prepare_conversations(list(enumerate(chat_rows(6), 1)), model.tokenizer, max_tokens=64)[0]
    batch = Supervised().prepare(rows, model.tokenizer, [])
    with pytest.raises(ComponentError, match="Give each text a row of its own, or use prefix"):
        Supervised().loss(batch, model, {})
