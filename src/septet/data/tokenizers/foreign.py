"""Take over a tokenizer of another project: the same text gives the same ids.

Formats: tokenizer.json (Hugging Face); SentencePiece .model (Unigram, and BPE with or without byte fallback); GPT-2's vocabulary
and merges (encoder.json or vocab.json with vocab.bpe or merges.txt); WordPiece vocab.txt (BERT); tiktoken ranks. The format is told
by the content. Where ids may differ from the original is in docs/guides/tokenizer.md.

What it is not: a reader of pickles or of Python code.

    septet tokenizer --import-from tokenizer.model --name theirs
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from septet.core.errors import DataError
from septet.data.tokenizers import sentencepiece as sp
from septet.data.tokenizers.families import FAMILIES, FamilyName, guess_roles, surround
from septet.data.tokenizers.folder import (
    CONFIG,
    FILE,
    Parts,
    check_ids,
    content_of,
    from_content,
    open_folder,
    open_json,
)
from septet.data.tokenizers.spelling import BYTES, PATTERNS, byte_names, guard_literals, spaced_decoder

__all__ = ["Found", "beside", "find", "loses_marks", "of_sentencepiece", "take_over"]

_RANK = re.compile(rb"[A-Za-z0-9+/]+={0,2} \d+\r?\n?")
_MERGES = ("vocab.bpe", "merges.txt")


@dataclass(frozen=True, slots=True)
class Found:
    """The files of a tokenizer and their format: huggingface, sentencepiece, gpt2, wordpiece or tiktoken.

    beside: the second file that is read, merges or a configuration.
    """

    kind: str
    path: Path
    beside: Path | None = None


def find(path: Path) -> Found:
    """Tell the format of a file, or of the one tokenizer in a folder. Errors: DataError naming what was looked for."""
    return _in_folder(path) if path.is_dir() else _file(path)


def _in_folder(folder: Path) -> Found:
    if (folder / FILE).is_file():
        return _file(folder / FILE)
    names = sorted(child.name for child in folder.iterdir() if child.is_file())
    for vocabulary in ("encoder.json", "vocab.json"):
        if vocabulary in names:
            return _file(folder / vocabulary)
    likely = [name for name in names if name.endswith((".model", ".tiktoken", ".json")) or name == "vocab.txt"]
    if len(likely) == 1:
        return _file(folder / likely[0])
    told = f"it holds several ({', '.join(likely)}); name one of the files" if likely else f"it holds {names[:8]}"
    raise DataError(
        f"one tokenizer is expected (tokenizer.json, *.model, encoder.json with vocab.bpe, vocab.txt, *.tiktoken): {told}.",
        file=folder,
    )


def _file(path: Path) -> Found:
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise DataError("the file is empty.", file=path)
    if _RANK.match(head):
        return Found("tiktoken", path)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        content = open_json(path)
        if "model" in content and isinstance(content["model"], dict):
            config = path.with_name(CONFIG)
            return Found("huggingface", path, config if path.name == FILE and config.is_file() else None)
        return Found("gpt2", path, _merges_of(path))
    if path.name.endswith((".bpe", "merges.txt")):
        for name in ("encoder.json", "vocab.json", path.name.replace("merges.txt", "vocab.json")):
            if (path.parent / name).is_file():
                return Found("gpt2", path.parent / name, path)
        raise DataError("these are merges; the vocabulary (encoder.json or vocab.json) is not beside them.", file=path)
    if path.suffix == ".txt":
        return Found("wordpiece", path)
    return Found("sentencepiece", path)


def _merges_of(vocabulary: Path) -> Path:
    for name in (*_MERGES, vocabulary.name.replace("vocab.json", "merges.txt")):
        path = vocabulary.parent / name
        if path.is_file() and path != vocabulary:
            return path
    raise DataError(
        "it is neither a tokenizer.json (no 'model') nor a vocabulary with its merges beside it (vocab.bpe or merges.txt).",
        file=vocabulary,
    )


def beside(path: Path) -> Path | None:
    """The second file that taking over `path` reads, where `path` is a file; None where there is none, or no tokenizer."""
    if path.is_dir():
        return None
    try:
        found = find(path)
    except DataError:
        return None
    return found.path if found.beside == path else found.beside


def take_over(path: Path, *, family: FamilyName = "none", lowercase: bool = False, pattern: str = "auto") -> Parts:
    """The tokenizer of a file or folder, whatever its format.

    family: the special tokens that belong to it; "none" keeps what the file says. Those that the vocabulary lacks are appended.
    lowercase: the text is lower-cased first (WordPiece; a vocabulary without capitals is taken as uncased anyway). pattern: how
    text is cut into words, which GPT-2's files and tiktoken's do not say; "auto" is GPT-2's and Llama 3's.
    """
    found = find(path)
    if found.kind == "huggingface":
        parts = _huggingface(found)
    elif found.kind == "sentencepiece":
        parts = _sentencepiece(found.path)
    elif found.kind == "gpt2":
        parts = _gpt2(found, pattern)
    elif found.kind == "wordpiece":
        parts = _wordpiece(found.path, lowercase)
    else:
        parts = _tiktoken(found.path, pattern)
    return parts if family == "none" else with_family(parts, family)


def loses_marks(parts: Parts) -> bool:
    """Whether a mark that joins with no letter is lost in normalisation.

    The library reads SentencePiece's tables by grapheme, and of a letter with such a mark keeps the letter alone where the table
    folds case; SentencePiece keeps both.
    """
    normaliser = parts.encoder.normalizer
    return (
        normaliser is not None
        and "\u0303" not in normaliser.normalize_str("T\u0303")
        and "Precompiled" in repr(normaliser)
    )


def with_family(parts: Parts, name: FamilyName) -> Parts:
    """The tokenizer with a family's special tokens; those that its vocabulary lacks get the next ids, the others keep theirs."""
    family = FAMILIES[name]
    parts.encoder.add_special_tokens(list(family.tokens))
    surround(parts.encoder, family)
    return Parts(parts.encoder, family.roles, family.padding_side, parts.config)


def _huggingface(found: Found) -> Parts:
    parts = open_folder(found.path)
    content = content_of(parts.encoder)
    if content["model"]["type"] != "Unigram":
        return parts
    guard_literals(content)
    return parts.with_encoder(from_content(content, file=found.path))


def _added(content: str, number: int, *, special: bool) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": content, **flags, "special": special}


def _content(model: dict[str, Any], added: Sequence[dict[str, Any]], **parts: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"), None)
    return {"version": "1.0", **empty, "added_tokens": list(added), **parts, "model": model}


# -- SentencePiece --------------------------------------------------------------------------------------------------


def _sentencepiece(path: Path) -> Parts:
    try:
        model = sp.parse_sentencepiece(path.read_bytes())
        content = of_sentencepiece(model)
    except DataError as error:
        raise DataError(str(error), file=path) from None
    special = {token["content"] for token in content["added_tokens"] if token["special"]}
    roles = {role: text for role, text in model.names.items() if text in special}
    return Parts(from_content(content, file=path), roles)


def of_sentencepiece(model: sp.SentencePiece) -> dict[str, Any]:
    """The content of tokenizer.json that gives the ids of a SentencePiece model. Errors: DataError for what has no counterpart."""
    if model.model not in (sp.UNIGRAM, sp.BPE):
        raise DataError("its model is neither Unigram nor BPE; other SentencePiece models are not taken over.")
    if model.space_behind or not model.escape_spaces:
        raise DataError("it puts the space behind a word, or keeps it as it is; neither is taken over.")
    ids: dict[str, int] = {}
    for number, piece in enumerate(model.pieces):
        if piece.text in ids:
            raise DataError(f"the pieces {ids[piece.text]} and {number} are both {piece.text!r}.")
        ids[piece.text] = number
    unknown = next((n for n, piece in enumerate(model.pieces) if piece.kind == sp.UNKNOWN), None)
    if unknown is None:
        raise DataError("it has no unknown piece, which every SentencePiece model has.")
    if model.byte_fallback and any(token not in ids for token in BYTES):
        raise DataError("it falls back to bytes, but lacks some of the pieces <0x00> to <0xFF>.")
    added = [
        _added(piece.text, number, special=piece.kind != sp.USER)
        for number, piece in enumerate(model.pieces)
        if piece.kind in (sp.UNKNOWN, sp.CONTROL, sp.USER)
    ]
    if model.model == sp.UNIGRAM:
        inner: dict[str, Any] = {
            "type": "Unigram",
            "unk_id": unknown,
            "vocab": [[piece.text, piece.score] for piece in model.pieces],
            "byte_fallback": model.byte_fallback,
        }
    else:
        inner = {
            "type": "BPE",
            "dropout": None,
            "unk_token": model.pieces[unknown].text,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": model.byte_fallback,
            "ignore_merges": False,
            "vocab": ids,
            "merges": _merges(model.pieces),
        }
    content = _content(inner, added, normalizer=_normaliser(model), decoder=_decoder(model))
    if model.model == sp.UNIGRAM:
        guard_literals(content)
    return content


def _merges(pieces: Sequence[sp.Piece]) -> list[list[str]]:
    """Every way to make a piece of two, best score first: SentencePiece merges the pair whose result has the best score."""
    normal = {piece.text: number for number, piece in enumerate(pieces) if piece.kind in (sp.NORMAL, sp.UNUSED)}
    order = sorted(normal.values(), key=lambda number: (-pieces[number].score, number))
    found: list[list[str]] = []
    for number in order:
        text = pieces[number].text
        ways = [(text[:cut], text[cut:]) for cut in range(1, len(text))]
        # among ways to the same piece SentencePiece takes the leftmost place, which is where the left part is shortest
        found += [[left, right] for left, right in ways if left in normal and right in normal]
    return found


def _normaliser(model: sp.SentencePiece) -> dict[str, Any] | None:
    from tokenizers import normalizers

    steps: list[dict[str, Any]] = []
    if model.charsmap:
        table = base64.b64encode(model.charsmap).decode()
        if normalizers.Precompiled(model.charsmap).normalize_str("e\u0301") == "\u00e9":
            # the library forgets a mark that the table does not join with its letter; so all that can be are joined before
            steps.append({"type": "NFC"})
        steps.append({"type": "Precompiled", "precompiled_charsmap": table})
    if model.remove_spaces:
        steps.append(_replace({"Regex": r"\A +| +\z"}, ""))
        steps.append(_replace({"Regex": " {2,}"}, " "))
    if model.dummy_prefix:
        steps.append({"type": "Prepend", "prepend": "▁"})
    steps.append(_replace({"String": " "}, "▁"))
    return {"type": "Sequence", "normalizers": steps}


def _replace(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def _decoder(model: sp.SentencePiece) -> dict[str, Any]:
    from tokenizers import decoders

    if model.dummy_prefix:
        return json.loads(spaced_decoder().__getstate__())
    return json.loads(
        decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]).__getstate__()
    )


# -- GPT-2 ----------------------------------------------------------------------------------------------------------


def _gpt2(found: Found, pattern: str) -> Parts:
    vocabulary = open_json(found.path)
    if not isinstance(vocabulary, dict):
        raise DataError("a JSON object from token to id is expected.", file=found.path)
    check_ids(vocabulary, found.path)
    assert found.beside is not None, "GPT-2's files are two"
    merges: list[list[str]] = []
    seen: dict[tuple[str, str], int] = {}
    lines = found.beside.read_bytes().split(b"\n")
    for row, raw in enumerate(lines, start=1):
        line = _text(raw, found.beside, row).rstrip("\r")
        if not line or (row == 1 and line.startswith("#version")):
            continue
        pair = line.split(" ")
        if len(pair) != 2 or not all(pair):
            raise DataError(
                f"two tokens with a space between them are expected, not {line!r}.", file=found.beside, row=row
            )
        for token in (*pair, "".join(pair)):
            if token not in vocabulary:
                message = (
                    f"the merge {line!r} needs the token {token!r}, which {found.path.name} lacks. Are both files of one "
                    "tokenizer?"
                )
                raise DataError(message, file=found.beside, row=row)
        if tuple(pair) in seen:
            raise DataError(f"the merge {line!r} is also in row {seen[pair[0], pair[1]]}.", file=found.beside, row=row)
        seen[pair[0], pair[1]] = row
        merges.append(pair)
    return _bytes_bpe(vocabulary, merges, PATTERNS["gpt2"] if pattern == "auto" else PATTERNS.get(pattern, pattern))


def _text(raw: bytes, path: Path, row: int) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"the row is not UTF-8 ({error.reason} at byte {error.start}).", file=path, row=row) from None


def _bytes_bpe(vocabulary: dict[str, int], merges: list[list[str]], pattern: str, *, whole: bool = False) -> Parts:
    special = sorted(
        (token for token in vocabulary if re.fullmatch(r"<\|.+\|>|</?s>|<(?:unk|pad|mask)>", token)),
        key=vocabulary.__getitem__,
    )
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": whole,
        "vocab": vocabulary,
        "merges": merges,
    }
    content = _content(
        model,
        [_added(token, vocabulary[token], special=True) for token in special],
        pre_tokenizer={"type": "Sequence", "pretokenizers": [split, byte_level]},
        decoder=byte_level,
    )
    return Parts(from_content(content), guess_roles(special))


# -- tiktoken -------------------------------------------------------------------------------------------------------


def _tiktoken(path: Path, pattern: str) -> Parts:
    ranks: dict[bytes, int] = {}
    for row, raw in enumerate(path.read_bytes().splitlines(), start=1):
        if not raw.strip():
            continue
        parts = raw.split()
        try:
            token, rank = base64.b64decode(parts[0], validate=True), int(parts[1])
        except (binascii.Error, ValueError, IndexError):
            raise DataError("a token in base64, a space and its rank are expected.", file=path, row=row) from None
        if token in ranks or not token:
            raise DataError(f"the token {token!r} is empty or stands twice.", file=path, row=row)
        ranks[token] = rank
    names = byte_names()
    missing = [number for number in range(256) if bytes([number]) not in ranks]
    if missing:
        raise DataError(f"the byte {missing[0]} has no rank, so some texts could not be written.", file=path)
    vocabulary = {"".join(names[byte] for byte in token): rank for token, rank in ranks.items()}
    check_ids(vocabulary, path)
    merges: list[list[str]] = []
    for token in sorted(ranks, key=ranks.__getitem__):
        ways = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
        merges += [
            ["".join(names[byte] for byte in part) for part in way]
            for way in ways
            if way[0] in ranks and way[1] in ranks
        ]
    # tiktoken gives a word that is a token at once, whatever its merges
    return _bytes_bpe(
        vocabulary, merges, PATTERNS["llama3"] if pattern == "auto" else PATTERNS.get(pattern, pattern), whole=True
    )


# -- WordPiece ------------------------------------------------------------------------------------------------------


def _wordpiece(path: Path, lowercase: bool) -> Parts:
    vocabulary: dict[str, int] = {}
    lines = path.read_bytes().split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    for row, raw in enumerate(lines, start=1):
        token = _text(raw, path, row).rstrip("\r")
        if token in vocabulary:
            raise DataError(f"the token {token!r} is also in row {vocabulary[token] + 1}.", file=path, row=row)
        vocabulary[token] = row - 1
    family = FAMILIES["bert"]
    if "[UNK]" not in vocabulary:
        raise DataError("it has no [UNK], so it is not a WordPiece vocabulary (one token a line).", file=path)
    special = sorted((token for token in family.tokens if token in vocabulary), key=vocabulary.__getitem__)
    plain = "".join(token for token in vocabulary if token not in special and not token.startswith("[unused"))
    model = {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": vocabulary,
    }
    content = _content(
        model,
        [_added(token, vocabulary[token], special=True) for token in special],
        normalizer={
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": lowercase or plain == plain.lower(),
        },
        pre_tokenizer={"type": "BertPreTokenizer"},
        decoder={"type": "WordPiece", "prefix": "##", "cleanup": False},
    )
    encoder = from_content(content, file=path)
    if {"[CLS]", "[SEP]"} <= set(special):
        surround(encoder, family)
    return Parts(encoder, {role: token for role, token in family.roles.items() if token in vocabulary})
