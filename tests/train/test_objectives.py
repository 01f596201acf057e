"""The objectives of pre-training by hand and beside reference implementations.

python -m pytest tests/train/test_objectives.py
"""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.train.families import SENTINELS, WORDS, Toy, rows_of, texts, tiny
from transformers import DataCollatorForPermutationLanguageModeling

from septet.core.errors import DataError
from septet.data.layout import lay, pieces
from septet.data.surface import surface
from septet.nn.architecture import block_mask
from septet.train.corruption import decoder_start, parts, span_mask
from septet.train.masking import choose, hide, pseudo_likelihood
from septet.train.objective import generators
from septet.train.objectives.denoising import Denoising, infilled, permuted
from septet.train.objectives.masked_lm import MaskedLM
from septet.train.objectives.next_sentence import NextSentence
from septet.train.objectives.permutation_lm import PermutationLM, _batch, span_targets
from septet.train.objectives.prefix_lm import PrefixLM
from septet.train.objectives.sentence_order import SentenceOrder
from septet.train.objectives.span_corruption import SpanCorruption, corrupted
from septet.train.runtime import Settled
from septet.train.segments import trimmed

TOY = Toy()
CPU = Settled(torch.device("cpu"), 1, torch.float32)


# -- rows -------------------------------------------------------------------------------------------------------------


def test_pieces_are_the_documents_and_lay_puts_them_back():
    documents = texts(20, longest=40)
    found = [piece for row in rows_of(documents, 45) for piece in pieces(row, 1)]
    assert sorted(piece.tolist() for piece in found) == sorted(document.tolist() for document in documents)
    places = lay([len(text) for text in documents], 45)
    values, positions, numbers = places.fill(documents, empty=0)
    assert values.shape[1] <= 45
    for text, row, number in zip(documents, places.row, places.number, strict=True):
        at = numbers[row] == number
        assert values[row, at].tolist() == text.tolist()
        assert positions[row, at].tolist() == list(range(len(text)))
    assert (values[numbers == 0] == 0).all()


def test_a_document_that_is_cut_keeps_every_token():
    document = np.arange(7, 47, dtype=np.int32)
    found = [piece for row in rows_of([document], 16) for piece in pieces(row, 1)]
    assert sorted(token for piece in found for token in piece.tolist()) == document.tolist()


def test_the_mask_by_hand():
    documents = torch.tensor([[1, 1, 2, 0]])
    seen = block_mask(documents, documents, dtype=torch.float32)[0, 0] == 0
    assert seen.tolist() == [
        [True, True, False, False],
        [True, True, False, False],
        [False, False, True, False],
        [False] * 3 + [True],
    ]
    causal = block_mask(documents, documents, causal=True, dtype=torch.float32)[0, 0] == 0
    assert causal.tolist()[0] == [True, False, False, False]
    prefix = torch.tensor([[True, True, False, False]])
    assert (block_mask(documents, documents, causal=True, prefix=prefix, dtype=torch.float32)[0, 0] == 0).tolist()[0][
        :2
    ] == [True, True]


def test_the_surface_of_the_toy():
    table = surface(TOY)
    assert table.ordinary.tolist() == list(range(7, WORDS))
    assert table.words(np.array([9, 8, 9, 12, 10, 9])).tolist() == [0, 1, 1, 1, 2, 2]  # 9 and 12 go on with a word
    assert table.sentences(np.array([10, 8, 20, 7, 15])).tolist() == [1, 3]  # the last token ends the text anyhow


# -- masked words -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["token", "word", "span"])
def test_about_the_share_is_hidden(unit):
    table, rng = surface(TOY), np.random.default_rng(0)
    text = rng.integers(7, WORDS, 200)
    counts = [int((choose(text, 0.15, unit, table, rng) >= 0).sum()) for _ in range(200)]
    assert max(counts) <= 30
    assert np.mean(counts) > 25
    if unit == "token":
        assert set(counts) == {30}


def test_whole_words_are_hidden_whole():
    table, rng = surface(TOY), np.random.default_rng(0)
    for text in texts(50, longest=40):
        hidden = choose(text, 0.3, "word", table, rng) >= 0
        words = table.words(text)
        for word in range(words[-1] + 1):
            assert len(set(hidden[words == word])) == 1


def test_spans_share_their_fate():
    table, rng = surface(TOY), np.random.default_rng(1)
    text = rng.integers(7, WORDS, 300)
    groups = choose(text, 0.3, "span", table, rng)
    hidden, _ = hide(text, groups, (0.5, 0.0, 0.5), mask=5, surface=table, rng=rng)
    for group in range(groups.max() + 1):
        assert len(set((hidden == 5)[groups == group])) == 1
    lengths = np.bincount(groups[groups >= 0])
    assert lengths.max() > 2


def test_eighty_ten_ten():
    """Over 40,000 hidden tokens: the mask, another token, the same, as 80, 10 and 10 %, within four standard errors."""
    table, rng = surface(TOY), np.random.default_rng(0)
    text = rng.integers(7, WORDS, 40_000)
    hidden, labels = hide(text, np.arange(len(text)), (0.8, 0.1, 0.1), mask=5, surface=table, rng=rng)
    assert (labels == text).all()
    assert (hidden == 5).mean() == pytest.approx(0.8, abs=4 * (0.8 * 0.2 / 40_000) ** 0.5)
    # a random token is the same one now and then
    changed = 0.1 * (1 - 1 / len(table.ordinary))
    assert ((hidden != 5) & (hidden != text)).mean() == pytest.approx(changed, abs=4 * (0.1 * 0.9 / 40_000) ** 0.5)
    assert set(hidden[hidden != 5]) <= set(table.ordinary)


def test_static_masks_are_the_same_every_time_and_dynamic_ones_not():
    rows = rows_of(texts(10))
    for masking, same in (("static", True), ("dynamic", False)):
        objective = MaskedLM(masking=masking)
        one, two = (objective.prepare(rows, TOY, generators(len(rows), seed)) for seed in (0, 1))
        assert torch.equal(one.inputs["input_ids"], two.inputs["input_ids"]) is same


def test_a_batch_by_hand():
    objective = MaskedLM(share=0.99, replaced=(1.0, 0.0, 0.0))
    batch = objective.prepare(rows_of([np.array([8, 9, 10]), np.array([11])], 45), TOY, generators(1, 0))
    assert batch.inputs["input_ids"].tolist() == [[3, 5, 5, 5, 4, 3, 5, 4]]
    assert batch.inputs["position_ids"].tolist() == [[0, 1, 2, 3, 4, 0, 1, 2]]
    assert batch.inputs["documents"].tolist() == [[1, 1, 1, 1, 1, 2, 2, 2]]
    assert batch.labels is not None
    assert batch.labels.tolist() == [[-100, 8, 9, 10, -100, -100, 11, -100]]
    assert (batch.weights, batch.tokens) == ({"nll": 4.0}, 8)


@pytest.mark.parametrize("objective", [MaskedLM(), NextSentence(), SentenceOrder()], ids=lambda o: o.kind)
def test_the_loss_is_transformers_own(objective):
    """One text a row, so that the reference needs no mask but that of the padding."""
    model = tiny("bert", objective=objective)
    rows = [row for text in texts(6, seed=2) for row in rows_of([text])]
    rows = list(zip(rows, rows[1:] + rows[:1], strict=True)) if objective.partners else rows
    batches = [objective.prepare([row], TOY, generators(1, 0, first=n)) for n, row in enumerate(rows)]
    for batch in batches:
        ids = batch.inputs["input_ids"]
        terms = objective.loss(batch, model, {})
        given = {"input_ids": ids, "labels": batch.labels}
        if objective.pairs:
            judged = batch.extra["judged"]
            if (judged == -100).all():
                continue
            assert (judged != -100).sum() == 1
            given |= {"token_type_ids": batch.inputs["token_type_ids"], "next_sentence_label": judged[:, 0]}
        loss = model.base(**given).loss
        ours = sum(term.sum / term.weight for term in terms.values() if term.minimised)
        torch.testing.assert_close(ours, loss, atol=1e-5, rtol=1e-5)


def test_pairs_are_next_or_from_elsewhere_half_and_half():
    rows = rows_of(texts(400, seed=3))
    pairs = list(zip(rows, rows[1:] + rows[:1], strict=True))
    batch = NextSentence(share=0.01, unit="token").prepare(pairs, TOY, generators(len(pairs), 0))
    judged = batch.extra["judged"][batch.extra["judged"] != -100]
    # a text of one token has nothing that follows it
    single = sum(len(text) == 1 for text in texts(400, seed=3))
    expected = (400 - single) / 2
    assert len(judged) == 400
    assert abs(int((judged == 0).sum()) - expected) < 4 * (400 * 0.25) ** 0.5
    ids, types, documents = (batch.inputs[name] for name in ("input_ids", "token_type_ids", "documents"))
    assert ids.shape[1] <= 48
    for row in range(len(ids)):
        for number in range(1, int(documents[row].max()) + 1):
            at = documents[row] == number
            line, kind = ids[row, at].tolist(), types[row, at].tolist()
            assert line[0] == 3
            assert line[-1] == 4
            first = line.index(4)
            assert kind == [0] * (first + 1) + [1] * (len(line) - first - 1)


def test_swapped_sentences_are_the_same_text():
    text = np.array([8, 9, 10, 11, 13, 14])  # 10 ends a sentence
    labels = Counter()
    for seed in range(40):
        batch = SentenceOrder(share=0.01).prepare(rows_of([text]), TOY, generators(1, seed))
        label = int(batch.extra["judged"][0, 0])
        labels[label] += 1
        assert batch.labels is not None
        whole = torch.where(batch.labels != -100, batch.labels, batch.inputs["input_ids"])[0].tolist()
        assert whole == ([3, 8, 9, 10, 4, 11, 13, 14, 4] if label == 0 else [3, 11, 13, 14, 4, 8, 9, 10, 4])
    assert 10 < labels[0] < 30


def test_trimming_takes_from_the_longer():
    rng = np.random.default_rng(0)
    a, b = trimmed(np.arange(10), np.arange(100, 104), 8, rng)
    assert (len(a), len(b)) == (4, 4)
    assert np.diff(a).tolist() == [1, 1, 1]  # a stretch of the text
    assert trimmed(np.arange(3), np.arange(4), 8, rng)[0].tolist() == [0, 1, 2]


def test_pseudo_likelihood_by_hand():
    model = tiny("bert")
    model.module.eval()
    text = np.array([8, 9, 10])
    with torch.no_grad():
        figure = pseudo_likelihood(model, [text], mask=5, settled=CPU)
        expected = 0.0
        for place in (1, 2, 3):
            ids = torch.tensor([[3, 8, 9, 10, 4]])
            token = int(ids[0, place])
            ids[0, place] = 5
            expected -= float(model.base(input_ids=ids).logits[0, place].log_softmax(-1)[token])
    assert figure.name == "pseudo_bits_per_byte"
    assert (figure.nats, figure.tokens) == (pytest.approx(expected, rel=1e-5), 3)


# -- spans and damage -------------------------------------------------------------------------------------------------


def test_the_published_example():
    """Thank you (for inviting) me to your party (last) week; figure 2 of the paper."""
    text = np.arange(10, 20)
    spans = np.array([-1, -1, 0, 0, -1, -1, -1, -1, 1, -1])
    source, target = corrupted(text, spans, np.array([60, 61, 62]))
    assert source.tolist() == [10, 11, 60, 14, 15, 16, 17, 61, 19]
    assert target.tolist() == [60, 12, 13, 61, 18]


def test_the_published_lengths():
    """568 tokens are 512 to read and 114 to write, the end of both included."""
    spans = span_mask(568, 0.15, 3.0, np.random.default_rng(0))
    assert int((spans >= 0).sum()) == 85
    assert spans.max() + 1 == 28
    source, target = corrupted(np.arange(568), spans, np.arange(1000, 1100))
    assert (len(source) + 1, len(target) + 1) == (512, 114)
    assert spans[0] == -1
    assert spans[-1] == 27


@given(st.integers(1, 120), st.floats(0.05, 0.6), st.floats(1, 6), st.integers(0, 2**31))
@settings(max_examples=200, deadline=None)
def test_the_text_can_be_put_together_again(length, density, mean, seed):
    text, sentinels = np.arange(length), np.arange(10_000, 10_100)
    source, target = corrupted(text, span_mask(length, density, mean, np.random.default_rng(seed)), sentinels)
    spans, name = {}, None
    for token in target:
        if token >= 10_000:
            name, spans[token] = token, []
        else:
            spans[name].append(token)
    whole = [token for item in source for token in (spans[item] if item >= 10_000 else [item])]
    assert whole == text.tolist()
    assert all(spans.values())


def test_every_split_is_as_likely():
    """5 in 3 parts: six ways, each a sixth of the time within four standard errors."""
    rng = np.random.default_rng(0)
    found = Counter(tuple(parts(5, 3, rng).tolist()) for _ in range(6000))
    assert len(found) == 6
    assert all(abs(count - 1000) < 4 * (6000 * 5 / 36) ** 0.5 for count in found.values())


def test_too_few_sentinels_are_said():
    with pytest.raises(DataError, match=f"has {SENTINELS} sentinels"):
        SpanCorruption(density=0.5, mean_length=1).prepare(rows_of([np.arange(7, 47)]), TOY, generators(1, 0))


def test_infilling_hides_the_share_behind_single_masks():
    table, rng = surface(TOY), np.random.default_rng(0)
    text = np.array([7, 8, 10, 11, 13, 14, 16, 17, 19, 20] * 10)  # each a word
    masks, kept = [], []
    for _ in range(300):
        damaged = infilled(text, 0.3, 3.0, 0.0, table, 5, rng)
        masks.append(int((damaged == 5).sum()))
        kept.append(len(damaged) - masks[-1])
    assert set(kept) == {70}
    # lengths are Poisson(3), those of none included: 30 words take about ten spans
    assert 9.5 < np.mean(masks) < 11.5


@given(st.integers(1, 60), st.integers(0, 2**31))
@settings(max_examples=100, deadline=None)
def test_what_infilling_leaves_is_in_order(length, seed):
    rng = np.random.default_rng(seed)
    text = rng.integers(7, WORDS, length)
    damaged = infilled(text, 0.3, 3.0, 0.0, surface(TOY), 5, rng)
    rest, place = damaged[damaged != 5].tolist(), 0
    for token in text:
        place += place < len(rest) and rest[place] == token
    assert place == len(rest)


def test_permuted_sentences_are_the_same_sentences():
    table, rng = surface(TOY), np.random.default_rng(0)
    text = np.array([7, 10, 8, 15, 9, 20, 11, 25, 12])
    found = {tuple(permuted(text, table, 1.0, rng).tolist()) for _ in range(3000)}
    assert all(sorted(text) == sorted(one) for one in found)
    assert len(found) == 120  # five sentences: every order comes up
    assert permuted(text, table, 0.0, rng).tolist() == text.tolist()


def test_each_damage_alone():
    table, rng = surface(TOY), np.random.default_rng(0)
    text = np.arange(7, 37)
    none = {"mask": 0.0, "permute_sentences": 0.0}
    assert Denoising(**none).damage(text, table, 5, rng).tolist() == text.tolist()
    shorter = Denoising(**none, delete=0.3).damage(text, table, 5, rng)
    assert 10 < len(shorter) < 30
    assert (np.diff(shorter) > 0).all()
    turned = Denoising(**none, rotate=1.0).damage(text, table, 5, rng)
    assert sorted(turned) == text.tolist()
    assert turned.tolist() == np.roll(text, -int(turned[0] - 7)).tolist()


@pytest.mark.parametrize(
    ("family", "objective"),
    [("t5", SpanCorruption()), ("bart", Denoising()), ("t5", PrefixLM().suited("encoder-decoder"))],
)
def test_the_loss_of_an_encoder_decoder_is_transformers_own(family, objective):
    model = tiny(family)
    for number, text in enumerate(texts(5, seed=4)):
        batch = objective.prepare(rows_of([text]), model.tokenizer, generators(1, 0, first=number))
        start = decoder_start(model.tokenizer)
        assert start == model.config.decoder_start_token_id
        loss = model.base(input_ids=batch.inputs["input_ids"], labels=batch.labels).loss  # it shifts the labels itself
        term = objective.loss(batch, model, {})["nll"]
        torch.testing.assert_close(term.sum / term.weight, loss, atol=1e-5, rtol=1e-5)


def test_a_prefix_sees_all_of_itself_and_nothing_of_the_rest():
    model = tiny("gpt2")
    model.module.eval()
    row = rows_of([np.arange(10, 30)])
    batch = PrefixLM().prepare(row, TOY, generators(1, 3))
    prefix = batch.inputs["prefix"][0]
    cut = int(prefix.sum())
    assert batch.labels is not None
    assert (batch.labels[0, : cut - 1] == -100).all()
    assert (batch.labels[0, cut - 1 :] != -100).all()
    assert 2 < cut < 20
    with torch.no_grad():
        before = model.outputs(batch.inputs).hidden[0]
        for place, changed in ((cut - 1, True), (cut, False)):
            other = {name: value.clone() for name, value in batch.inputs.items()}
            other["input_ids"][0, place] = 40
            moved = (model.outputs(other).hidden[0, 0] - before[0]).abs().max() > 1e-6
            assert bool(moved) is changed, place


# -- drawn orders -----------------------------------------------------------------------------------------------------


def test_a_sixth_are_targets():
    rng = np.random.default_rng(0)
    shares = [span_targets(240, 6, 5, rng).mean() for _ in range(400)]
    assert np.mean(shares) == pytest.approx(1 / 6, abs=0.01)
    assert span_targets(1, 6, 5, rng).sum() == 1


def test_who_sees_whom_is_as_in_transformers_collator(monkeypatch):
    """Its targets and its order, handed to ours, give its mask, for the tokens of the text."""
    tokenizer = SimpleNamespace(
        mask_token="<mask>",
        mask_token_id=5,
        pad_token="<pad>",
        pad_token_id=0,
        get_special_tokens_mask=lambda line, already_has_special_tokens: [int(id < 7) for id in line],
    )
    drawn, randperm = [], torch.randperm
    monkeypatch.setattr(torch, "randperm", lambda size: drawn.append(randperm(size)) or drawn[-1])
    torch.manual_seed(0)
    ids = torch.tensor([[*range(7, 29), 4, 3]])
    _, theirs, mapping, labels = DataCollatorForPermutationLanguageModeling(tokenizer).torch_mask_tokens(ids)
    # it cuts the row in halves and orders both alike
    order = torch.arange(24).reshape(2, 12).T[drawn[0]].T.flatten()
    targets = labels[0, :22] != -100
    ours = _batch([ids[0, :22].numpy()], [torch.where(targets, order[:22], -1).numpy()], 24, TOY)
    torch.testing.assert_close(ours.inputs["perm_mask"][0, :22], theirs[0, :22])
    assert targets.sum() > 1
    torch.testing.assert_close(ours.inputs["target_mapping"][0], mapping[0][labels[0] != -100])


def test_the_loss_of_xlnet_is_transformers_own():
    model = tiny("xlnet")
    batch = PermutationLM().prepare(rows := rows_of(texts(6, seed=5)), TOY, generators(len(rows), 0))
    logits = model.base(**batch.inputs, use_mems=False).logits
    assert batch.labels is not None
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), ignore_index=-100)
    term = PermutationLM().loss(batch, model, {})["nll"]
    torch.testing.assert_close(term.sum / term.weight, expected, atol=1e-5, rtol=1e-5)


def test_no_target_sees_itself_or_a_later_one():
    model = tiny("xlnet")
    model.module.eval()
    text = np.arange(7, 20)
    order = np.where(
        np.isin(np.arange(13), [2, 5, 9]), [0, 0, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0], -1
    )  # 9, then 2, then 5
    batch = _batch([text], [order], 15, TOY)
    with torch.no_grad():
        before = model.outputs(batch.inputs).hidden[0]  # targets at 2, 5, 9
        for place, moved in (
            (9, [True, True, False]),
            (2, [False, True, False]),
            (5, [False, False, False]),
            (0, [True] * 3),
        ):
            other = {name: value.clone() for name, value in batch.inputs.items()}
            other["input_ids"][0, place] = 40
            changed = ((model.outputs(other).hidden[0] - before).abs().amax(-1) > 1e-6).tolist()
            assert changed == moved, place


def test_left_to_right_likelihoods_add_up_to_one():
    """Over every text of two tokens: a likelihood of a text of known length."""
    model = tiny("xlnet")
    model.module.eval()
    size = len(TOY)
    total = 0.0
    with torch.no_grad():
        for first in range(size):
            some = [np.array([first, second]) for second in range(size)]
            batch = _batch(some, [np.arange(2)] * size, 4, TOY)
            total += float((-model.nll(batch.inputs, batch.labels).sum(1)).exp().sum())
    assert total == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(
    "objective", [MaskedLM(), SpanCorruption(), Denoising(), PermutationLM(), PrefixLM()], ids=lambda o: o.kind
)
def test_a_row_becomes_the_same_whoever_prepares_it(objective):
    rows = rows_of(texts(40, seed=6))
    whole = objective.prepare(rows, TOY, generators(len(rows), 7))
    apart = [objective.prepare([row], TOY, generators(1, 7, first=n)) for n, row in enumerate(rows)]
    assert whole.weights["nll"] == sum(batch.weights["nll"] for batch in apart)
    assert whole.tokens == sum(batch.tokens for batch in apart)

    def values(batch):
        return Counter(batch.inputs["input_ids"].flatten().tolist())

    found = sum((values(batch) for batch in apart), Counter())
    assert {k: v for k, v in values(whole).items() if k} == {k: v for k, v in found.items() if k}  # 0 is padding


@pytest.mark.parametrize(
    ("objective", "missing", "family"),
    [(MaskedLM(), "mask", "bert or roberta"), (Denoising(), "bos", "bart"), (PermutationLM(), "cls", "xlnet")],
)
def test_a_tokenizer_without_the_token_is_refused_by_name(objective, missing, family):
    with pytest.raises(DataError, match=f"token for '{missing}'.*family: {family}"):
        objective.prepare(rows_of(texts(1)), Toy(**{missing: None}), generators(1, 0))
