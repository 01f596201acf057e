"""What a tokenizer's tokens look like: which begin a word, which end a sentence, which are no special tokens.

Objectives that hide whole words or move sentences work on token ids; these tables tell them, for a whole row at once, what a person
would see in the text. They are made once for a tokenizer and kept on it.

What it is not: a sentence splitter for people; a token that ends with a full stop ends a sentence, abbreviations too.

    python -m pytest tests/data/test_surface.py
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from septet.core.errors import DataError

__all__ = ["Surface", "special", "surface"]

_KEPT = "_septet_surface"
_SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’»)\]]*$")
_CONTINUES, _BEGINS = "##", ("▁", "Ġ")


@dataclass(frozen=True, slots=True)
class Surface:
    """begins_word, ends_sentence: bool [V]. ordinary: the ids that are no special tokens, int64, ascending."""

    begins_word: np.ndarray
    ends_sentence: np.ndarray
    ordinary: np.ndarray

    def words(self, ids: np.ndarray) -> np.ndarray:
        """Return the number of the word to which each token belongs, from 0; the first token begins one in any case."""
        begins = self.begins_word[ids].copy()
        begins[0] = True
        return begins.cumsum() - 1

    def sentences(self, ids: np.ndarray) -> np.ndarray:
        """Return where a sentence begins after the first: int64, within 1 .. len(ids) - 1, ascending; may be empty."""
        return np.flatnonzero(self.ends_sentence[ids[:-1]]) + 1


def surface(tokenizer: Any) -> Surface:
    """Return the tables of a transformers tokenizer."""
    known = tokenizer.__dict__.get(_KEPT)
    if known is not None and len(known.begins_word) == len(tokenizer):
        return known
    size = len(tokenizer)
    tokens = [token or "" for token in tokenizer.convert_ids_to_tokens(list(range(size)))]
    outside = np.zeros(size, bool)
    outside[[id for id in tokenizer.all_special_ids if id < size]] = True
    for id in getattr(tokenizer, "added_tokens_decoder", {}):
        if id < size:
            outside[id] = True  # sentinels and reserved tokens are no text either
    if any(token.startswith(_CONTINUES) for token in tokens):
        begins = np.array([not token.startswith(_CONTINUES) for token in tokens])
    elif any(token.startswith(_BEGINS) for token in tokens):
        begins = np.array([token.startswith((*_BEGINS, "Ċ")) for token in tokens])
    else:
        begins = np.ones(size, bool)
    ends = np.array([bool(_SENTENCE_END.search(token)) or "Ċ" in token or "\n" in token for token in tokens])
    found = Surface(begins | outside, ends & ~outside, np.flatnonzero(~outside))
    tokenizer.__dict__[_KEPT] = found
    return found


def special(tokenizer: Any, role: str, *, families: str, objective: str) -> int:
    """Return the id of a special token by its role ("mask", "cls", ...).

    Raises DataError where the tokenizer has none, naming the families of the step `tokenizer` that bring it.
    """
    found = getattr(tokenizer, f"{role}_token_id", None)
    if found is None:
        raise DataError(
            f"the objective '{objective}' needs a tokenizer with a token for '{role}', and this one has none. Make one with "
            f"`family: {families}`."
        )
    return int(found)
