"""Turn text into token ids quickly: through tiktoken where its ids are the same, else through tokenizers.

tiktoken encodes several times faster than tokenizers, but knows only byte-level byte-pair encoding, and merges the pair whose
*result* has the lowest rank, where tokenizers merges the pair that stands first in the list of merges. Both give the same ids
where (1) the merges make the tokens in the order of their ranks, each from tokens made before, and (2) every token, encoded
alone, is itself: for then the state of a stretch of text just before it becomes a token is the one state that leads to it. Both
are checked when a tokenizer is opened, and a probe of all kinds of characters shows that the words are cut alike. What is not
checked is encoded by tokenizers, and `reason` says why.

Text that looks like a special token stays text. Nothing is put around a text.

What it is not: a decoder, or a tokenizer of chats (`septet.infer.chat`).

    python -c "from septet.data.encode import Encoder; e = Encoder('FOLDER'); print(e.backend, e.reason, e.encode('a text'))"
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from septet.core.errors import DataError
from septet.data.tokenizers.folder import content_of, from_content, open_folder
from septet.data.tokenizers.spelling import PATTERNS, byte_names

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["Encoder"]

_LOOKS_BACK = r"|\s+(?!\S)|\s+"
"""How patterns in GPT-2's manner end: white space, all but the last of it where a word follows."""

_NOT_UTF8 = frozenset({0xC0, 0xC1, *range(0xF5, 0x100)})
"""Bytes that occur in no UTF-8 text; some vocabularies do without them."""

_NEVER = "<|never a token|>"
"""tiktoken wants at least one special token; this one is never allowed, so it is never given."""


@dataclass(frozen=True, slots=True)
class _Fast:
    """pattern: cuts words. encode: text -> ranks. ids: rank -> id. added: finds ordinary added tokens. normalise: comes first."""

    pattern: str
    encode: Callable[[str], np.ndarray]
    ids: np.ndarray
    added: re.Pattern[str] | None
    added_ids: dict[str, int]
    normalise: Callable[[str], str] | None

    def __call__(self, text: str) -> np.ndarray:
        if self.added is None:
            return self._plain(text)
        found: list[np.ndarray] = []
        # the pattern is one group, so that every second part is an added token
        for place, part in enumerate(self.added.split(text)):
            if place % 2:
                found.append(np.array([self.added_ids[part]], dtype=np.uint32))
            elif part:
                found.append(self._plain(part))
        return np.concatenate(found) if found else np.empty(0, dtype=np.uint32)

    def _plain(self, text: str) -> np.ndarray:
        return self.ids[self.encode(text if self.normalise is None else self.normalise(text))]


class Encoder:
    """A tokenizer that only encodes. source: the folder of a tokenizer (tokenizer.json), or a `tokenizers.Tokenizer`."""

    def __init__(self, source: str | Path | Tokenizer, *, threads: int = 1) -> None:
        encoder = open_folder(Path(source)).encoder if isinstance(source, str | Path) else source
        content = content_of(encoder)
        content["truncation"] = content["padding"] = None
        self._slow = from_content(content)
        self._slow.encode_special_tokens = True
        self.threads = threads
        self.special = frozenset(token["id"] for token in content["added_tokens"] if token["special"])
        self._check_special(content)
        self._fast, self.reason = _open_fast(content, self._slow)
        """reason: why tiktoken is not used; "" where it is."""

    @property
    def backend(self) -> str:
        """What encodes: tiktoken or tokenizers."""
        return "tokenizers" if self._fast is None else "tiktoken"

    @property
    def pattern(self) -> str:
        """The regular expression by which tiktoken cuts words; "" where it does not encode."""
        return "" if self._fast is None else self._fast.pattern

    @property
    def size(self) -> int:
        """The number of ids."""
        return self._slow.get_vocab_size()

    def encode(self, text: str) -> np.ndarray:
        """The ids of a text, uint32 [tokens]. Errors: DataError for a lone surrogate, which is no Unicode text."""
        try:
            if self._fast is not None:
                return self._fast(text)
            # one text at a time: a batch would take every core
            return np.array(self._slow.encode_batch_fast([text], add_special_tokens=False)[0].ids, dtype=np.uint32)
        except (UnicodeEncodeError, TypeError):
            place = next((i for i, character in enumerate(text) if "\ud800" <= character <= "\udfff"), None)
            if place is None:
                raise
            raise DataError(
                f"character {place} of a text is a lone surrogate ({text[place]!r}), which cannot be encoded; "
                "the filter 'normalise' takes them out."
            ) from None

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids of each text, uint32 [tokens], in the order of the texts."""
        if self.threads == 1 or len(texts) < 2:
            return [self.encode(text) for text in texts]
        with ThreadPoolExecutor(self.threads) as pool:  # both libraries let go of the interpreter's lock
            return list(pool.map(self.encode, texts))

    def encode_flat(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(ids, offsets): the ids of all texts one after the other, uint32; text i is ids[offsets[i] : offsets[i + 1]]."""
        found = self.encode_batch(texts)
        offsets = np.zeros(len(found) + 1, dtype=np.int64)
        np.cumsum([len(ids) for ids in found], out=offsets[1:])
        return np.concatenate(found) if found else np.empty(0, dtype=np.uint32), offsets

    def _check_special(self, content: dict[str, Any]) -> None:
        for token in content["added_tokens"]:
            text = token["content"]
            if not token["special"] or _is_unknown(content, text):
                continue  # the unknown token comes of characters that are unknown
            if token["id"] in self._slow.encode_batch_fast([f"a {text} {text}b"], add_special_tokens=False)[0].ids:
                raise DataError(
                    f"the text {text!r} is encoded as the special token of that name, so what people type could pass for a "
                    "marker. Take the tokenizer over anew: septet tokenizer --import-from FILE."
                )


def _is_unknown(content: dict[str, Any], token: str) -> bool:
    model = content["model"]
    number = model.get("unk_id")
    return token == model.get("unk_token") or (number is not None and model["vocab"][number][0] == token)


# -- may tiktoken do it? --------------------------------------------------------------------------------------------


def _open_fast(content: dict[str, Any], slow: Tokenizer) -> tuple[_Fast | None, str]:
    try:
        import tiktoken  # 0.05 s; the extra 'corpus'
    except ImportError:
        return None, "tiktoken is not installed (pip install 'septet[corpus]')"
    model = content["model"]
    if model["type"] != "BPE":
        return None, f"its model is {model['type']}, not byte-pair encoding"
    pattern = _pattern(content.get("pre_tokenizer"))
    if pattern is None:
        return None, "its words are not cut by one pattern over bytes"
    if any(model.get(name) for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")):
        return None, "its byte-pair encoding has a prefix, a suffix, dropout or byte fallback"
    ranks, why = _ranks(model)
    if why:
        return None, why
    others = [token for token in content["added_tokens"] if not token["special"]]
    normaliser = slow.normalizer
    flags = ("single_word", "lstrip", "rstrip", *(["normalized"] if normaliser is not None else []))
    if any(token[flag] for token in others for flag in flags):
        return None, "an added token is not found as it is written, or takes the space around it"
    # the longest first: of two added tokens at one place, tokenizers takes the longer
    names = sorted((token["content"] for token in others), key=lambda name: (-len(name), name))
    table = np.array([model["vocab"][_name(token)] for token in ranks], dtype=np.uint32)
    for cut in dict.fromkeys((_grouped(pattern), pattern)):
        try:
            made = tiktoken.Encoding("septet", pat_str=cut, mergeable_ranks=ranks, special_tokens={_NEVER: len(ranks)})
        except ValueError as error:
            why = f"tiktoken does not take its pattern ({error})"
            continue
        fast = _Fast(
            cut,
            lambda text, made=made: made.encode_to_numpy(text, disallowed_special=()),
            table,
            re.compile(f"({'|'.join(map(re.escape, names))})") if names else None,
            {token["content"]: token["id"] for token in others},
            None if normaliser is None else normaliser.normalize_str,
        )
        why = _differs(fast, slow, content)
        if not why:
            return fast, ""
    return None, why


def _grouped(pattern: str) -> str:
    """The same pattern, its part without look-around in one group: the matcher then runs it at once, 1.4 times as fast."""
    head = pattern.removesuffix(_LOOKS_BACK)
    return pattern if head == pattern else f"(?:{head}){_LOOKS_BACK}"


def _pattern(step: dict[str, Any] | None) -> str | None:
    if step is None:
        return None
    steps = step["pretokenizers"] if step["type"] == "Sequence" else [step]
    last = steps[-1]
    if last["type"] != "ByteLevel" or last["add_prefix_space"]:
        return None
    if len(steps) == 1 and last["use_regex"]:
        return PATTERNS["gpt2"]
    first = steps[0]
    if len(steps) != 2 or last["use_regex"] or first["type"] != "Split":
        return None
    if first["behavior"] != "Isolated" or first["invert"] or "Regex" not in first["pattern"]:
        return None
    return first["pattern"]["Regex"]


def _name(token: bytes) -> str:
    names = byte_names()
    return "".join(names[byte] for byte in token)


def _ranks(model: dict[str, Any]) -> tuple[dict[bytes, int], str]:
    """(token -> rank in the order in which merges make them, "") or ({}, why the two libraries may differ)."""
    vocabulary = model["vocab"]
    back = {name: byte for byte, name in enumerate(byte_names())}
    present = [name for name in byte_names() if name in vocabulary]
    if any(back[name] not in _NOT_UTF8 and name not in vocabulary for name in back):
        return {}, "it lacks some of the bytes"
    order = {name: place for place, name in enumerate(present)}
    ways: dict[str, list[tuple[str, str]]] = {}
    early = last = ""
    for pair in model["merges"]:
        left, right = pair if isinstance(pair, list) else pair.split(" ")
        made = left + right
        if made in ways and made != last:
            return {}, f"the token {made!r} is made by merges that do not stand together"
        if not early and (left not in order or right not in order):
            early = f"the merge {left!r} {right!r} stands before the merge that makes one of its parts"
        order.setdefault(made, len(order))
        ways.setdefault(made, []).append((left, right))
        last = made
    alone = _alone({**model, "ignore_merges": False, "dropout": None})
    splits = {
        token: [cut for cut in range(1, len(token)) if token[:cut] in order and token[cut:] in order] for token in ways
    }
    if all(len(ways[token]) == len(cuts) for token, cuts in splits.items()):
        # every pair whose result is a token is a merge: the libraries can part only where two pairs have one result
        why = _ties(splits, order, alone)
    else:
        several = next((token for token, pairs in ways.items() if len(pairs) > 1), None)
        why = early or ("" if several is None else f"the token {several!r} is made by some of several merges")
    if why:
        return {}, why
    if model.get("ignore_merges"):
        # such a model gives a word that is a token at once, also one that no merge makes
        for token in vocabulary:
            if token not in order and all(name in back for name in token):
                order[token] = len(order)
        if early:
            return _as_bytes(order, back), ""
    strange = next((token for token in ways if alone(token) != [token]), None)
    if strange is not None:
        return {}, f"the token {strange!r}, encoded alone, is not itself"
    return _as_bytes(order, back), ""


def _as_bytes(order: dict[str, int], back: dict[str, int]) -> dict[bytes, int]:
    return {bytes(back[character] for character in token): rank for token, rank in order.items()}


def _alone(model: dict[str, Any]) -> Callable[[str], list[str]]:
    """What the model alone makes of one word, written in the names of its bytes."""
    empty = dict.fromkeys(("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"), None)
    bare = from_content({"version": "1.0", **empty, "added_tokens": [], "model": model}).model
    return lambda word: [token.value for token in bare.tokenize(word)]


def _ties(splits: dict[str, list[int]], order: dict[str, int], alone: Callable[[str], list[str]]) -> str:
    """Of pairs with one result tiktoken takes the leftmost, tokenizers the first in the list of merges.

    They part only where x + y and y + z are the same token, which then repeats itself; each such x + y + z is tried.
    """
    for token, cuts in splits.items():
        for cut in cuts:
            if token.startswith(token[cut:]) and token[-cut:] in order:
                word = token[:cut] + token
                if alone(word) != _lowest(word, order):
                    return f"the token {token!r} repeats itself, and {word!r} is not merged alike"
    return ""


def _lowest(word: str, order: dict[str, int]) -> list[str]:
    """Merge as tiktoken does: again and again the pair whose result has the lowest rank, the leftmost of equals."""
    parts = list(word)
    while len(parts) > 1:
        found = [(order[a + b], i) for i, (a, b) in enumerate(itertools.pairwise(parts)) if a + b in order]
        if not found:
            break
        _, place = min(found)
        parts[place : place + 2] = ["".join(parts[place : place + 2])]
    return parts


def _differs(fast: _Fast, slow: Tokenizer, content: dict[str, Any]) -> str:
    for text in _probe(content):
        ours = fast(text)
        theirs = slow.encode_batch_fast([text], add_special_tokens=False)[0].ids
        if ours.tolist() != theirs:
            place = next((i for i, (a, b) in enumerate(zip(ours.tolist(), theirs, strict=False)) if a != b), 0)
            return f"the ids differ on a probe, at token {place} of {text[:40]!r}..."
    return ""


def _probe(content: dict[str, Any]) -> Iterable[str]:
    """Texts on which two ways of cutting words would show: every kind of character, runs of each length, special tokens as text."""
    yield from (
        "",
        " ",
        "\n",
        "a",
        "'",
        "''s 'S's'll'LL I'd we'VE",
        "x" * 3000,
        " \n \t  x\r\n\r\ny \u00a0\u3000z\u2028\u0085",
    )
    # a character in every sixteen beyond the first blocks: characters come to Unicode by blocks
    points = [*range(0x3000), *range(0x3000, 0xD800, 16), *range(0xE000, 0x30000, 16)]
    for start in range(0, len(points), 4096):
        characters = map(chr, points[start : start + 4096])
        yield "".join(f"a{character}{character}1 {character}" for character in characters)
    for character in " \n\ta-=0é界":
        yield "x".join(character * length for length in range(1, 80))
    yield " 12345678901 3,141.59 2²Ⅻ٣٤٥ e\u0301e\u0301 नमस्ते สวัสดี 안녕하세요 👩‍👩‍👧‍👦🏳️‍🌈 \ufeffﬁn\u200d"
    for token in content["added_tokens"]:
        yield f"{token['content']}a {token['content']} b{token['content'][:-1]} {token['content'] * 2}"
