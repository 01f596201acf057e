"""What stands in for a tokenizer and for text that are not made yet: right sizes and special tokens, no meaning.

What it is not: data to learn from; a dry run needs shapes.

    python -m pytest tests/train/test_estimate.py
"""

from __future__ import annotations

from typing import Any

import numpy as np

from septet.data.packing import Row, Sample, pack, separator_of
from septet.data.tokenizers.families import FAMILIES, FamilyName

__all__ = ["random_rows", "tokenizer"]


def tokenizer(size: int, family: FamilyName) -> Any:
    """Return a transformers tokenizer of `size` tokens with the special tokens of a family; its words are numbers."""
    from tokenizers import Tokenizer, models, pre_tokenizers  # with transformers 2 s
    from transformers import PreTrainedTokenizerFast

    known = FAMILIES[family]
    filling = max(0, size - len(known.tokens))
    names = [*known.first, *map(str, range(filling)), *known.last]
    inner = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token=names[0]))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue]
    roles = {f"{role}_token": token for role, token in known.roles.items()}
    others = [token for token in known.tokens if token not in known.roles.values()]
    return PreTrainedTokenizerFast(tokenizer_object=inner, additional_special_tokens=others, **roles)


def random_rows(count: int, context: int, tokenizer: Any, *, seed: int = 0) -> list[Row]:
    """Return full rows [context] of random ordinary tokens, four documents in each, as packed text has them."""
    rng = np.random.default_rng(seed)
    special = set(tokenizer.all_special_ids)
    ordinary = np.array([number for number in range(min(len(tokenizer), 1 << 16)) if number not in special], np.int32)
    separator = separator_of(tokenizer)
    each = max(2, context // 4)
    sizes = [each] * (context // each)
    sizes[-1] += context - sum(sizes)
    samples = []
    for size in sizes * count:
        line = np.concatenate([[separator], rng.choice(ordinary, size - 1), [separator]]).astype(np.int32)
        samples.append(Sample(line[:-1], line[1:]))
    return pack(samples, context, pad=tokenizer.pad_token_id or 0)[0][:count]
