"""What each adapter takes, on a model so small that its weights are counted by hand."""

from __future__ import annotations

import pytest

from septet.train.estimate.adapting import NF4, Load, costs_of
from septet.train.estimate.forecast import LIBRARIES

# width 64, one head, feed-forward 192: a layer has 4 x 64 x 64 + 3 x 64 x 192 = 53,248 weights in 7 maps, the head 128 x 64 = 8,192
SHAPE = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "vocab_size": 128,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
}
MATRICES, HEAD, NORMS = 2 * 53_248, 8_192, 5 * 64
ALL = MATRICES + HEAD + NORMS
LOAD = Load(batch=4, packed=4, rows=100, read=20, written=10, total_read=1500, total_written=500, writes=True)


@pytest.fixture(scope="module")
def costs():
    return costs_of(SHAPE, "decoder", LOAD)


def test_parameters_that_learn_by_hand(costs):
    assert costs["full"].learns == ALL
    assert costs["last-layers"].learns >= MATRICES  # both layers, since there are two
    # rank 16 x (in + out): 4 maps of 64 + 64, three of 64 + 192, in each layer
    assert costs["lora"].learns == costs["qlora"].learns == 2 * 16 * (4 * 128 + 3 * 256)
    assert costs["prompt"].learns == 20 * 64
    assert costs["prefix"].learns == 20 * 64 * 2 * 2  # keys and values of both layers


def test_memory_by_hand(costs):
    full, lora, qlora = (costs[kind].need for kind in ("full", "lora", "qlora"))
    assert (full.weights, full.gradients, full.states) == (4 * ALL, 4 * ALL, 8 * ALL)
    learns = costs["lora"].learns
    assert (lora.weights, lora.gradients, lora.states) == (4 * (ALL + learns), 4 * learns, 8 * learns)
    # the maps of the layers are in four bits
    assert qlora.weights == pytest.approx(4 * (ALL - MATRICES + learns) + NF4 * MATRICES)
    assert costs["qlora"].opening == LIBRARIES + 4 * ALL  # opened whole before
    assert 0 < lora.activations <= full.activations
    assert full.with_rows(8).activations == 2 * full.activations


def test_operations_by_hand(costs):
    # a row is 15 tokens read and 5 written; the head multiplies the written ones; 12 L d T for attention
    attention = 12 * 2 * 64 * 20 * 20
    assert costs["full"].flops == pytest.approx(100 * (6 * (MATRICES * 20 + HEAD * 5) + attention))
    assert costs["lora"].flops == pytest.approx(100 * (4 * (MATRICES * 20 + HEAD * 5) + attention))
    assert costs["last-layers"].flops == pytest.approx(costs["full"].flops)  # both of two layers learn
    assert costs["prompt"].flops > costs["lora"].flops  # twenty more positions in each row


def test_the_largest_batch_that_fits(costs):
    full = costs["full"]
    assert full.batch_that_fits(full.at(3).peak) == 3
    assert full.batch_that_fits(full.at(1).peak - 1) == 0
    assert not full.fits(full.peak - 1)
    assert full.fits(full.peak)


def test_batches_are_padded_to_their_longest_and_cut_at_the_room():
    load = Load.of([3, 5, 9, 1], [], rows=4, batch=2, room=8)
    assert (load.read, load.total_read) == (8, 2 * 5 + 2 * 8)
    # 14 tokens and 12 come to one row of 256 tokens each; nothing is padded
    packed = Load.of([3, 5, 9, 1], [2, 4, 1, 1], rows=4, batch=2, room=None, packs=True)
    assert (packed.batch, packed.packed, packed.total_read, packed.total_written) == (2, 1, 18, 8)
    assert Load.of([3, 5], [2, 2], rows=20, batch=2, room=None).total_read == 100  # two of twenty rows were looked at


def test_a_family_without_a_place_says_so_and_the_rest_is_worked_out():
    shape = {"model_type": "xlnet", "d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 64, "vocab_size": 64}
    found = costs_of(shape, "permuted", LOAD, ("full", "prefix"))
    assert found["full"].need is not None
    assert found["prefix"].need is None
    assert "xlnet" in found["prefix"].why_not
