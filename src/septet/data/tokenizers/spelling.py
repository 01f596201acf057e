"""How words, bytes, spaces and special tokens are written in vocabularies.

What it is not: a tokenizer; `training` and `foreign` build those of what is here.

    python -c "from septet.data.tokenizers.spelling import byte_names; print(byte_names()[32])"
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

__all__ = ["BYTES", "PATTERN", "PATTERNS", "byte_names", "guard_literals", "spaced_decoder"]

# Words with the space before them, numbers in groups of three digits, runs of signs, runs of white space.
PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

PATTERNS = {
    "auto": PATTERN,
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "llama3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+",
}
"""How text is cut into words before a byte-level model sees it, by name: Septet's own, and as published with these models."""

BYTES = tuple(f"<0x{number:02X}>" for number in range(256))
"""The tokens that a character falls back to, byte by byte, in SentencePiece's manner."""


@cache
def byte_names() -> tuple[str, ...]:
    """The character that stands for each byte in byte-level vocabularies (GPT-2, encoder.py: bytes_to_unicode)."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return tuple(chr(byte if byte in plain else next(others)) for byte in range(256))


def spaced_decoder() -> Any:
    """The way back from tokens where a space is U+2581: bytes become characters, the space put before the text goes."""
    from tokenizers import decoders

    return decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )


def guard_literals(content: dict[str, Any]) -> None:
    """Keep a Unigram model from reading typed text such as "</s>" or "<0x41>" as the token of that name.

    All tokens, special ones too, are in the one table that a Unigram model searches. Their score is set to the lowest of the
    ordinary tokens (an unknown character then costs what it costs in SentencePiece: that score minus 10), and the text is cut
    behind the first character of each such name, so that no name is ever whole.
    """
    model = content["model"]
    special = [token["content"] for token in content["added_tokens"] if token["special"]]
    hidden = set(special) | (set(BYTES) if model.get("byte_fallback") else set())
    lowest = min((score for token, score in model["vocab"] if token not in hidden), default=0.0)
    model["vocab"] = [[token, lowest if token in hidden else score] for token, score in model["vocab"]]
    names = [re.escape(token[1:]) for token in special if len(token) > 1]
    names += [r"0x[0-9A-F]{2}>"] if model.get("byte_fallback") else []
    heads = "".join(sorted({re.escape(token[0]) for token in hidden}))
    if not heads:
        return
    cut = {
        "type": "Split",
        "pattern": {"Regex": f"[{heads}](?={'|'.join(names)})"},
        "behavior": "MergedWithPrevious",
        "invert": False,
    }
    old = content.get("pre_tokenizer")
    steps = [] if old is None else old["pretokenizers"] if old["type"] == "Sequence" else [old]
    if steps and _is_guard(steps[0]):
        steps = steps[1:]  # of fewer special tokens
    content["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [cut, *steps]}


def _is_guard(step: dict[str, Any]) -> bool:
    if step["type"] != "Split" or step["behavior"] != "MergedWithPrevious":
        return False
    return re.match(r"\[[^\]]+\]\(\?=", step["pattern"].get("Regex", "")) is not None
