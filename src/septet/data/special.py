"""The reserved tokens: what a tokenizer sets aside and what must not occur in text that people bring.

python -c "from septet.data.special import without_reserved; print(without_reserved('a<|end|>b'))"
"""

from __future__ import annotations

import re

__all__ = ["ASSISTANT", "END", "END_OF_TEXT", "PAD", "RESERVED", "SYSTEM", "USER", "without_reserved"]

END_OF_TEXT, PAD, SYSTEM, USER, ASSISTANT, END = (
    "<|endoftext|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>",
)  # fmt: skip
RESERVED = (END_OF_TEXT, PAD, SYSTEM, USER, ASSISTANT, END)  # in this order: ids 0 to 5

_ANY = re.compile("|".join(re.escape(token) for token in RESERVED))


def without_reserved(text: str) -> str:
    """The text with every reserved token taken out, also those that taking one out would form."""
    while _ANY.search(text):
        text = _ANY.sub("", text)
    return text
