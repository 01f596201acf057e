"""The Llama family: the dial's figures by hand, and a configuration that makes what it says.

python -m pytest tests/nn/test_llama.py
"""

from __future__ import annotations

import pytest
from tests.train.tiny import TOKENIZER
from transformers import AutoModelForCausalLM

from septet.core.errors import ComponentError
from septet.nn.families.llama import Llama


def test_the_dial_by_hand():
    dial = Llama().dial(3, vocabulary=512)
    # 32 * 3; 96 is one head and a half; 8/3 * 96 = 256, a multiple of 64 already
    assert (dial.width, dial.heads, dial.feed_forward) == (96, 1, 256)
    # 1.5 tokens for each of 3 * (4 * 96^2 + 3 * 96 * 256) parameters
    assert dial.tokens == 497_664


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_every_depth_makes_a_model_with_tied_embeddings(depth):
    family = Llama()
    dial = family.dial(depth, vocabulary=512)
    module = AutoModelForCausalLM.from_config(family.config(dial, TOKENIZER))
    assert module.get_input_embeddings().weight is module.get_output_embeddings().weight
    matrices = depth * (4 * dial.width**2 + 3 * dial.width * dial.feed_forward)
    norms = (2 * depth + 1) * dial.width
    assert module.num_parameters() == matrices + norms + 512 * dial.width


def test_untied_has_a_second_table():
    dial = Llama().dial(1, vocabulary=512)
    tied, untied = (AutoModelForCausalLM.from_config(Llama(tied=t).config(dial, TOKENIZER)) for t in (True, False))
    assert untied.num_parameters() - tied.num_parameters() == 512 * dial.width


def test_more_depth_is_more_of_everything_but_the_rate():
    small, large = (Llama().dial(depth, vocabulary=512) for depth in (2, 8))
    assert small.width < large.width
    assert small.tokens < large.tokens
    assert small.learning_rate >= large.learning_rate


def test_given_fields_replace_derived_ones():
    dial = Llama().dial(2, vocabulary=512)
    assert dial.with_(context=64, tokens=None).context == 64
    assert dial.with_(tokens=None) == dial
    with pytest.raises(ComponentError, match="do not fit"):
        dial.with_(heads=3)
