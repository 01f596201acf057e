"""Widen a vocabulary: new tokens at its end, every old token under its old id.

Given tokens are found as they are written, anywhere in a text. Learnt tokens are those that save most on a corpus: for byte-pair
encoding the training goes on where it ended, merge by merge (Gage 1994; Sennrich et al. 2016, algorithm 1); for WordPiece and
Unigram whole words are taken, by how many tokens each saves over the corpus.

What it is not: the model's side; its embeddings grow in the step `resize`.

    python -m pytest tests/data/test_tokenizer_widen.py
"""

from __future__ import annotations

import heapq
import itertools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from septet.core.errors import ComponentError, DataError
from septet.data.tokenizers.folder import Parts, content_of, from_content
from septet.data.tokenizers.sampling import pieces_of
from septet.data.tokenizers.spelling import guard_literals

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["learn", "with_tokens"]

Pair = tuple[str, str]
_SPACED_WORD = re.compile("▁*[^▁\\s]+|\\s+")


def with_tokens(parts: Parts, tokens: Sequence[str] = (), *, special: Sequence[str] = ()) -> Parts:
    """The tokenizer with given tokens at its end. Errors: ComponentError for a token that is there already, or is empty."""
    from tokenizers import AddedToken  # 0.1 s; the command line does without

    encoder = from_content(content_of(parts.encoder))
    seen: set[str] = set()
    for token in (*tokens, *special):
        if not token.strip():
            raise ComponentError(f"the new token {token!r} is empty or nothing but white space.")
        if token in seen or encoder.token_to_id(token) is not None:
            raise ComponentError(f"the token {token!r} is in the vocabulary already; name new ones only, each once.")
        seen.add(token)
    encoder.add_tokens([AddedToken(token, normalized=False) for token in tokens])
    encoder.add_special_tokens(list(special))
    return parts.with_encoder(encoder)


def learn(parts: Parts, texts: Iterable[str], count: int) -> tuple[Parts, list[str]]:
    """(the tokenizer with at most `count` tokens learnt from the texts, those tokens in the order of their ids).

    A token must occur twice. Errors: DataError where there is no text.
    """
    words = _words(parts.encoder, texts)
    if not words:
        raise DataError("there is no text to learn new tokens from.")
    content = content_of(parts.encoder)
    _pin(content)
    kind = content["model"]["type"]
    if kind == "BPE":
        new = _learn_merges(parts.encoder, content, words, count)
    elif kind in ("WordPiece", "Unigram"):
        new = _learn_words(parts.encoder, content, words, count)
    else:
        raise DataError(f"new tokens cannot be learnt for a model of the kind {kind}; give them with 'add'.")
    return parts.with_encoder(from_content(content)), new


def _words(encoder: Tokenizer, texts: Iterable[str]) -> Counter[str]:
    """How often each word occurs, as the model sees it: normalised, cut, and in the names of bytes where it is over bytes."""
    found: Counter[str] = Counter()
    normaliser, cut = encoder.normalizer, encoder.pre_tokenizer
    # models in SentencePiece's manner see a text in one piece; what is worth a token is within a word and the space before it
    whole = type(encoder.model).__name__ == "Unigram"
    for text in pieces_of(texts):
        seen = text if normaliser is None else normaliser.normalize_str(text)
        if cut is None or whole:
            found.update(_SPACED_WORD.findall(seen))
        else:
            found.update(word for word, _ in cut.pre_tokenize_str(seen))
    return found


def _pin(content: dict[str, Any]) -> None:
    """Write the added tokens into the model's vocabulary, so that a longer vocabulary does not move their ids."""
    vocabulary = content["model"]["vocab"]
    if isinstance(vocabulary, dict):
        for token in content["added_tokens"]:
            vocabulary.setdefault(token["content"], token["id"])
        return
    lowest = min(score for _, score in vocabulary)
    known = {token for token, _ in vocabulary}
    for token in sorted(content["added_tokens"], key=lambda token: token["id"]):
        if token["content"] not in known:
            assert token["id"] == len(vocabulary), "added tokens of a Unigram model follow on its vocabulary"
            vocabulary.append([token["content"], lowest])
    guard_literals(content)  # the names of special tokens are now where the model looks


def _next_id(content: dict[str, Any]) -> int:
    return max(content["model"]["vocab"].values()) + 1


def _learn_merges(encoder: Tokenizer, content: dict[str, Any], words: Counter[str], count: int) -> list[str]:
    vocabulary, merges = content["model"]["vocab"], content["model"]["merges"]
    model, unknown = encoder.model, content["model"].get("unk_token")
    parts: list[list[str]] = []
    times: list[int] = []
    for word, number in sorted(words.items()):
        cut = [token.value for token in model.tokenize(word)]
        # the bytes that a character falls back to, and unknown tokens, cannot be joined: no text stands for them
        if len(cut) > 1 and unknown not in cut and "".join(cut) == word:
            parts.append(cut)
            times.append(number)
    pairs: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[int]] = defaultdict(set)
    for place, cut in enumerate(parts):
        for pair in itertools.pairwise(cut):
            pairs[pair] += times[place]
            where[pair].add(place)
    heap = [(-number, pair) for pair, number in pairs.items()]
    heapq.heapify(heap)
    new: list[str] = []
    number_of_next = _next_id(content)
    while heap and len(new) < count:
        number, pair = heapq.heappop(heap)
        if pairs[pair] != -number:
            continue  # the pair has changed since; its true number is further down
        if -number < 2:
            break
        made = pair[0] + pair[1]
        if made in vocabulary:
            continue  # the old merges make it of other parts, or never; that stays so
        changed: Counter[Pair] = Counter()
        for place in where.pop(pair):
            _merge(parts[place], pair, made, times[place], changed, where, place)
        for other, difference in changed.items():
            pairs[other] += difference
            if pairs[other] > 0:
                heapq.heappush(heap, (-pairs[other], other))
        pairs.pop(pair, None)
        vocabulary[made] = number_of_next
        number_of_next += 1
        new.append(made)
        merges.append(list(pair))
    return new


def _merge(
    cut: list[str], pair: Pair, made: str, times: int, changed: Counter[Pair], where: dict[Pair, set[int]], place: int
) -> None:
    """Join the pair wherever it stands in a word, and count the pairs that this takes away and brings."""
    for old in itertools.pairwise(cut):
        changed[old] -= times
    at = 0
    while at < len(cut) - 1:
        if (cut[at], cut[at + 1]) == pair:
            cut[at : at + 2] = [made]
        at += 1
    for new in itertools.pairwise(cut):
        changed[new] += times
        where[new].add(place)


def _learn_words(encoder: Tokenizer, content: dict[str, Any], words: Counter[str], count: int) -> list[str]:
    vocabulary, model = content["model"]["vocab"], encoder.model
    known = set(vocabulary) if isinstance(vocabulary, dict) else {token for token, _ in vocabulary}
    unknown = content["model"].get("unk_id", encoder.token_to_id(content["model"].get("unk_token", "")))
    saved: list[tuple[int, str]] = []
    for word, number in words.items():
        if number > 1 and word not in known:
            cut = model.tokenize(word)
            # an unknown word would else be lost; it counts as its characters
            pieces = len(word) if unknown in {token.id for token in cut} else len(cut)
            if pieces > 1:
                saved.append((-number * (pieces - 1), word))
    chosen = [word for _, word in sorted(saved)[:count]]
    if isinstance(vocabulary, dict):
        first = _next_id(content)
        vocabulary.update({word: first + place for place, word in enumerate(chosen)})
        return chosen
    # the score of a piece is the logarithm of its share (Kudo 2018); the new pieces are not let below the lowest there is,
    # which sets the price of an unknown character
    total = sum(words.values())
    lowest = min(score for _, score in vocabulary)
    vocabulary += [[word, max(lowest, math.log(words[word] / total))] for word in chosen]
    return chosen
