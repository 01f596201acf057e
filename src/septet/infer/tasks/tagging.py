"""A tag for each word: named entities and other parts of a sentence, in BIO.

Rows: {"words": [...], "tags": ["O", "B-PER", "I-PER", ...]}. The words are read as one text with blanks between them. A word of
several tokens is judged at its first, and in a decoder, which sees only what came before, at its last. What is longer than the
model's context is read in pieces that end between words.

What it is not: a check that an I- follows its B-; malformed sequences are scored as conlleval does.

    septet finetune --model base --data entities
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from septet.core.errors import ComponentError, DataError
from septet.data.packing import IGNORE
from septet.infer.inputs import Encoded, collate, dressed, frame, has_segments, place_of
from septet.infer.task import Gives, Predicted, Prepared, Row, Rows, Task, Tell, by_length
from septet.infer.tasks.classification import number_of

if TYPE_CHECKING:
    from septet.nn.model import Model

__all__ = ["Tagging"]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Consecutive words of a sentence as tokens. at: the place in `text.ids` where each word is judged; -1: it has no token."""

    text: Encoded
    first: int
    at: np.ndarray


class Tagging(Task):
    """A tag for each word."""

    objective: ClassVar[str] = "tagging"
    gives: ClassVar[Gives] = "tags"
    in_pieces: ClassVar[bool] = True
    learns: ClassVar[str] = "tagged words"

    def open(self, folder: str | Path, *, labels: Sequence[str] = (), device: str = "auto", seed: int = 0) -> Model:
        from septet.nn.heads import open_with_head  # torch, 1.5 s

        return open_with_head(folder, "tokens", labels, device=device, seed=seed)

    def encode(self, rows: Rows, model: Model, *, max_tokens: int, file: object = None) -> tuple[list[Any], Prepared]:
        """Return an `Encoded` for each piece of a sentence. Nothing is cut off; `cut` counts sentences of several pieces."""
        samples: list[Encoded] = []
        longest = cut = targets = count = 0
        for number, row in rows:
            words, tags = _words(row, file, number), row.get("tags")
            if not isinstance(tags, list) or len(tags) != len(words):
                found = len(tags) if isinstance(tags, list) else type(tags).__name__
                raise DataError(
                    f"'tags' must hold a tag for each of the {len(words)} words; it has {found}.", file=file, row=number
                )
            numbers = np.array([number_of(tag, model, file=file, number=number) for tag in tags], dtype=np.int64)
            pieces = _pieces(words, model, max_tokens)
            for piece in pieces:
                target = np.full(len(piece.text), IGNORE, dtype=np.int64)
                judged = piece.at >= 0
                target[piece.at[judged]] = numbers[piece.first : piece.first + len(piece.at)][judged]
                targets += int(judged.sum())
                longest = max(longest, len(piece.text))
                samples.append(Encoded(piece.text.ids, target, piece.text.types))
            count, cut = count + 1, cut + (len(pieces) > 1)
        return samples, Prepared(count, sum(map(len, samples)), targets, longest, cut, 0)

    def predict(
        self, model: Model, rows: Sequence[Row], *, max_tokens: int | None = None, tell: Tell = lambda done, total: None
    ) -> list[Predicted]:
        import torch

        most = min(max_tokens or model.context, model.context)
        found = [["O"] * len(_words(row, None, number)) for number, row in enumerate(rows, start=1)]
        pieces = [(place, piece) for place, row in enumerate(rows) for piece in _pieces(row["words"], model, most)]
        left, done = model.architecture == "permuted", 0
        model.module.eval()
        for chosen in by_length([len(piece.text) for _, piece in pieces]):
            texts = [pieces[place][1].text for place in chosen]
            inputs = {name: x.to(model.device) for name, x in collate(texts, model.tokenizer, left=left).items()}
            with torch.inference_mode(), model.autocast():
                best = model.module(**inputs).logits.argmax(-1).cpu().numpy()
            for place, line in zip(chosen, best, strict=True):
                row, piece = pieces[place]
                line = line[place_of(piece.text, len(line), left)]
                for word, at in enumerate(piece.at):
                    if at >= 0:
                        found[row][piece.first + word] = model.labels[line[at]]
            done += len(chosen)
            tell(done, len(pieces))
        return [Predicted(tags) for tags in found]

    def row(self, text: str, *, pair: str | None = None, context: str | None = None) -> dict[str, Any]:
        """Return the words and marks of a text as CoNLL has them, each mark by itself."""
        if pair is not None or context is not None:
            raise ComponentError("tagging reads one text; leave the other out.")
        words = re.findall(r"\w+(?:[-'’.]\w+)*|[^\w\s]", text)
        return {"words": words or [text]}

    def expected(self, row: Row) -> list[str]:
        return list(row["tags"])


def _words(row: Row, file: object, number: int) -> list[str]:
    words = row.get("words")
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise DataError("'words' must be a list of texts that is not empty.", file=file, row=number)
    return words


def _pieces(words: Sequence[str], model: Model, most: int) -> list[_Piece]:
    """Return a sentence as pieces of at most `most` tokens; a single word of more tokens is judged by its beginning."""
    tokenizer = model.tokenizer
    ends = np.cumsum([len(word) + 1 for word in words])
    found = tokenizer(" ".join(words), add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True)
    ids = found["input_ids"]
    # a token may begin with the blank before its word, so its last character tells which word it is of
    of = np.searchsorted(ends, [max(0, end - 1) for _, end in found["offset_mapping"]], side="right")
    spans = [np.flatnonzero(of == word) for word in range(len(words))]
    before, _, after = frame(tokenizer, model.architecture)
    room = most - len(before) - len(after)
    pieces, first, size = [], 0, 0
    for word, span in enumerate(spans):
        if size and size + len(span) > room:
            pieces.append((first, word))
            first, size = word, 0
        size += len(span)
    pieces.append((first, len(words)))
    return [_piece(ids, spans, first, stop, model, most, (len(before), len(after))) for first, stop in pieces]


def _piece(
    ids: Sequence[int],
    spans: Sequence[np.ndarray],
    first: int,
    stop: int,
    model: Model,
    most: int,
    around: tuple[int, int],
) -> _Piece:
    before, after = around
    chosen = np.concatenate(spans[first:stop]) if stop > first else np.zeros(0, np.int64)
    text = dressed(
        [ids[int(place)] for place in chosen],
        model.tokenizer,
        model.architecture,
        most=most,
        segments=has_segments(model),
    )
    lengths = np.array([len(span) for span in spans[first:stop]])
    at = before + np.cumsum(lengths) - lengths
    if model.architecture == "decoder":
        at = at + lengths - 1
    # only a word that fills a piece alone can be cut
    return _Piece(text, first, np.where(lengths > 0, np.minimum(at, len(text) - after - 1), -1))
