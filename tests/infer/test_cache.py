"""The roomy cache computes what transformers' own does, while it grows and when rows leave."""

import torch
from tiny_chat import tiny_module
from transformers import DynamicCache

from septet.infer.cache import make_cache


@torch.inference_mode()
def test_same_logits_as_transformers_while_growing_and_dropping_rows():
    module = tiny_module()
    ids = torch.randint(6, 384, (3, 40))
    ours, theirs = make_cache(module.config, 4), DynamicCache(config=module.config)
    pieces = [slice(0, 3), slice(3, 4), slice(4, 5), slice(5, 17), *(slice(t, t + 1) for t in range(17, 40))]
    for number, piece in enumerate(pieces):
        if number == 6:
            keep = torch.tensor([2, 0])
            ids = ids[keep]
            ours.batch_select_indices(keep)
            theirs.batch_select_indices(keep)
        got = module(ids[:, piece], past_key_values=ours, use_cache=True).logits
        torch.testing.assert_close(got, module(ids[:, piece], past_key_values=theirs, use_cache=True).logits)
    assert ours.get_seq_length() == 40
    torch.testing.assert_close(got[:, -1], module(ids).logits[:, -1], atol=1e-5, rtol=1e-4)
