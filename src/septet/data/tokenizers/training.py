"""Learn a vocabulary: byte-pair encoding, WordPiece or Unigram, over bytes or over characters.

Over bytes, every text comes back exactly and nothing is unknown. Over characters, a space is written U+2581 in front of its word,
as SentencePiece does, and a character that the vocabulary lacks becomes its bytes (`byte_fallback`) or the unknown token. WordPiece
cuts and cleans text as BERT does, and does not keep white space.
Sources: Sennrich et al. 2016 (byte-pair encoding), Radford et al. 2019 (over bytes), Schuster and Nakajima 2012 and Devlin et al.
2019 (WordPiece), Kudo 2018 (Unigram), Kudo and Richardson 2018 (SentencePiece). The trainers are those of `tokenizers`, and for
Unigram that of `sentencepiece`.

What it is not: the choice of the text; see `sampling`.

    python -m pytest tests/data/test_tokenizer_training.py
"""

from __future__ import annotations

import io
import math
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from septet.core.errors import ComponentError, DataError, SeptetError
from septet.core.extras import need
from septet.data.tokenizers.families import FAMILIES, FamilyName, surround
from septet.data.tokenizers.folder import content_of, from_content
from septet.data.tokenizers.foreign import of_sentencepiece
from septet.data.tokenizers.sampling import pieces_of
from septet.data.tokenizers.sentencepiece import parse_sentencepiece
from septet.data.tokenizers.spelling import BYTES, PATTERNS, spaced_decoder

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["Design", "Need", "available_memory", "estimate", "guard", "train"]

# The pattern "auto" where a space is written U+2581 ("▁"); combining marks stay with their letters.
_SPACED = r"'(?:[sdmt]|ll|ve|re)|▁?[\p{L}\p{M}]+|▁?\p{N}{1,3}|▁?[^\s▁\p{L}\p{M}\p{N}]+|[\s▁]+(?![^\s▁])|[\s▁]"

UNKNOWN = "<unk>"


@dataclass(frozen=True, slots=True)
class Design:
    """What is to be learnt; the fields are those of the step `tokenizer`."""

    model: Literal["bpe", "wordpiece", "unigram"] = "bpe"
    size: int = 4096
    byte_level: bool = True
    byte_fallback: bool = True
    family: FamilyName = "none"
    lowercase: bool = False
    unicode_form: Literal["none", "nfc", "nfkc"] = "none"
    pattern: str = "auto"

    @property
    def unknown(self) -> str | None:
        """The unknown token, which only a model over characters needs."""
        return None if self.byte_level else FAMILIES[self.family].roles.get("unk", UNKNOWN)

    @property
    def first(self) -> tuple[str, ...]:
        """The special tokens with the lowest ids."""
        tokens, unknown = FAMILIES[self.family].first, self.unknown
        return tokens if unknown is None or unknown in tokens else (*tokens, unknown)

    @property
    def falls_back(self) -> bool:
        return self.byte_fallback and not self.byte_level and self.model != "wordpiece"

    @property
    def smallest(self) -> int:
        """The number of tokens that are there before anything is learnt."""
        return len(self.first) + len(FAMILIES[self.family].last) + 256 * (self.byte_level or self.falls_back)


def train(texts: Iterable[str], design: Design | None = None, *, size: int | None = None) -> Tokenizer:
    """Learn a vocabulary of at most `size` tokens; the result does not depend on the order of the texts.

    texts: gone over twice for wordpiece, so that an iterator will not do there. Errors: DataError where there is no text, or
    where the size does not hold the text's characters.
    """
    design = design or Design()
    design = design if size is None else replace(design, size=size)
    family = FAMILIES[design.family]
    assert design.model == "bpe" or not design.byte_level, "only bpe is learnt over bytes"
    assert design.model != "wordpiece" or not isinstance(texts, Iterator), "wordpiece goes over the texts twice"
    watch = _Watch(texts)
    learn = {"bpe": _bpe, "wordpiece": _wordpiece, "unigram": _unigram}[design.model]
    try:
        encoder = learn(watch, design, design.size - len(family.last))
    except SeptetError:
        raise  # of the texts, or the user's wish to stop
    except Exception as error:  # the libraries raise plain Exception and RuntimeError
        if not watch.some:
            raise DataError(_EMPTY) from None
        raise DataError(f"the vocabulary could not be learnt: {error}") from None
    if not watch.some:
        raise DataError(_EMPTY)
    if encoder.get_vocab_size() > design.size - len(family.last):
        raise DataError(
            f"the text has more different characters than a size of {design.size} holds ({encoder.get_vocab_size()} tokens are "
            "needed before any is learnt). Raise the size, or learn over bytes (byte_level: true)."
        )
    if family.last:
        encoder.add_special_tokens(list(family.last))
    surround(encoder, family)
    return encoder


_EMPTY = "The corpus has no training text; a vocabulary needs some. Hold out less, or give more text."


class _Watch:
    """The texts, and whether any of them had something in it."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts, self.some = texts, False

    def __iter__(self) -> Iterator[str]:
        for text in self.texts:
            self.some = self.some or bool(text)
            yield text


def _bpe(texts: Iterable[str], design: Design, size: int) -> Tokenizer:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers  # 0.1 s; the command line does without

    over_characters = {} if design.byte_level else {"unk_token": design.unknown, "fuse_unk": True}
    encoder = Tokenizer(models.BPE(byte_fallback=design.falls_back, **over_characters))
    _prepare(encoder, design)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        show_progress=False,
        special_tokens=list(design.first) + (list(BYTES) if design.falls_back else []),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()) if design.byte_level else [],
    )
    encoder.train_from_iterator(texts, trainer=trainer)
    return _ordinary(encoder, BYTES) if design.falls_back else encoder


def _wordpiece(texts: Iterable[str], design: Design, size: int) -> Tokenizer:
    from tokenizers import Tokenizer, models, trainers

    # the trainer numbers the characters within words in the order in which it meets them, which is another one each time; given
    # as special tokens they have an order. The words are found by a trainer that does nothing but count them.
    words = Tokenizer(models.WordLevel())
    _prepare(words, design)
    words.train_from_iterator(
        texts, trainer=trainers.WordLevelTrainer(vocab_size=2**31, min_frequency=1, show_progress=False)
    )
    found = words.get_vocab()
    within = [f"##{character}" for character in sorted({character for word in found for character in word[1:]})]
    first = sorted({word[0] for word in found if word})
    encoder = Tokenizer(models.WordPiece(unk_token=str(design.unknown)))
    _prepare(encoder, design)
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, min_frequency=2, show_progress=False, special_tokens=[*design.first, *first, *within]
    )
    encoder.train_from_iterator(texts, trainer=trainer)
    return _ordinary(encoder, (*first, *within))


def _ordinary(encoder: Tokenizer, tokens: Iterable[str]) -> Tokenizer:
    """Tokens that took their ids as special ones become ordinary ones, which only the model gives."""
    content = content_of(encoder)
    plain = set(tokens)
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] not in plain]
    return from_content(content)


def _unigram(texts: Iterable[str], design: Design, size: int) -> Tokenizer:
    """By SentencePiece itself: the trainer of `tokenizers` gives another vocabulary each time (its words have no order)."""
    from tokenizers import normalizers

    sentencepiece = need("sentencepiece", "corpus")
    before = normalizers.Sequence(_forms(design))

    def lines() -> Iterator[str]:
        for text in texts:
            seen = before.normalize_str(text)
            yield from pieces_of((line for line in seen.splitlines() if line), 10_000)

    made = io.BytesIO()
    unknown = design.unknown
    assert unknown is not None, "a unigram model is over characters"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines(),
        model_writer=made,
        model_type="unigram",
        vocab_size=size,
        hard_vocab_limit=False,
        byte_fallback=design.byte_fallback,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        unk_id=design.first.index(unknown),
        unk_piece=unknown,
        bos_id=-1,
        eos_id=-1,
        pad_id=-1,
        control_symbols=[token for token in design.first if token != unknown],
        max_sentence_length=100_000,
        # sums of fractions depend on how the work is divided, so the number of threads is the same everywhere
        num_threads=4,
        minloglevel=2,
    )
    model = parse_sentencepiece(made.getvalue())
    content = of_sentencepiece(model)
    encoder = from_content(content)
    encoder.normalizer = normalizers.Sequence([*_forms(design), encoder.normalizer])
    return encoder


def _forms(design: Design) -> list[Any]:
    """The steps of normalisation that come first."""
    from tokenizers import Regex, normalizers

    forms: list[Any] = {"none": [], "nfc": [normalizers.NFC()], "nfkc": [normalizers.NFKC()]}[design.unicode_form]
    if design.model == "unigram" and not design.byte_fallback:
        # SentencePiece learns from lines, so no piece holds an end of line; without bytes it would be unknown
        forms.append(normalizers.Replace(Regex(r"\s"), " "))
    # BERT's own normaliser has a switch for this
    return [*forms, normalizers.Lowercase()] if design.lowercase and design.model != "wordpiece" else forms


def _prepare(encoder: Tokenizer, design: Design) -> None:
    from tokenizers import Regex, decoders, normalizers, pre_tokenizers

    forms = _forms(design)
    if design.model == "wordpiece":
        forms.append(normalizers.BertNormalizer(lowercase=design.lowercase))
        encoder.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        encoder.decoder = decoders.WordPiece(cleanup=False)
    elif design.byte_level:
        cut = Regex(PATTERNS.get(design.pattern, design.pattern))
        encoder.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(cut, behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        encoder.decoder = decoders.ByteLevel()
    else:
        forms += [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        cut = Regex(_SPACED if design.pattern == "auto" else PATTERNS.get(design.pattern, design.pattern))
        encoder.pre_tokenizer = pre_tokenizers.Split(cut, behavior="isolated")
        encoder.decoder = spaced_decoder()
    if forms:
        encoder.normalizer = forms[0] if len(forms) == 1 else normalizers.Sequence(forms)


# -- memory ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Need:
    """words: different words expected in the sample. bytes: memory that training needs beside the interpreter."""

    words: int
    bytes: int


# Bytes of memory for each different word and for each byte of text, measured on 7 and 27 MB of novels and rounded up
# (docs/design/tokenizers.md); SentencePiece holds the whole text.
_MEMORY = {"bpe": (3500, 0), "wordpiece": (5000, 0), "unigram": (0, 24)}


def estimate(texts: Iterable[str], design: Design, *, total: int, look: int = 4_000_000) -> Need:
    """Guess from the first `look` bytes how many different words `total` bytes hold, and what memory training will take.

    The number of different words grows as a power of the length (Heaps' law); the power is taken from the first half of what was
    looked at against the whole of it, and held between 0.4 and 1.
    """
    # \w and signs: near enough to the patterns, and quick
    word = re.compile(r" ?\w+| ?[^\s\w]+|\s+")
    seen: set[str] = set()
    size = half = half_words = 0
    for text in pieces_of(texts):
        seen.update(word.findall(text))
        size += len(text.encode("utf-8", "surrogatepass"))
        if not half and size >= look // 2:
            half, half_words = size, len(seen)
        if size >= look:
            break
    words = len(seen)
    if size and total > size:
        power = 0.7 if not half or size <= half else math.log(words / half_words) / math.log(size / half)
        words = round(words * (total / size) ** min(1.0, max(0.4, power)))
    for_word, for_byte = _MEMORY[design.model]
    return Need(words, words * for_word + max(total, size) * for_byte)


def available_memory() -> int | None:
    """Bytes that this process may still take: the machine's, or the container's where that is less; None where unknown."""
    found: list[int] = []
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
        if limit.isdigit():
            found.append(int(limit) - used)
    except (OSError, ValueError):
        pass
    if not found:
        try:
            found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        except (AttributeError, OSError, ValueError):
            return None
    return min(found)


def guard(need: Need, available: int | None, *, sample_bytes: int) -> str:
    """Return the line that tells what training will need. Errors: ComponentError where that is more than there is."""
    text = f"about {_size(need.bytes)} of memory for {need.words:,} different words"
    if available is not None and need.bytes > available:
        fits = max(1, int(sample_bytes * available / need.bytes * 0.8))
        raise ComponentError(
            f"Learning from {_size(sample_bytes)} of text needs {text}, and {_size(available)} are free. "
            f"Learn from less: sample_bytes: {fits}."
        )
    return text


def _size(number: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    raise AssertionError
