"""Answers that are taken from a passage: where the answer begins and ends, or that there is none.

Rows: {"question", "context", "answers": [{"text", "start"}]}; `start` counts characters, an empty list says that the passage has no
answer. Of several answers the first is learned. A passage that is longer than the context is read in windows that overlap; a
window without the answer learns to point at the place that stands for none: [CLS] of an encoder and of XLNet, and in a decoder
and an encoder-decoder the token that ends the text, the only one that has seen all of it.

The question comes first, the passage second; for XLNet the other way round, as its authors have it. Of all spans inside the passage
and of all windows the one with the highest sum of the two logits is the answer; none is the answer where the least sum at the
no-answer place, over the windows, is higher by more than a threshold (Devlin et al. 2018, arXiv:1810.04805, section 4.3;
google-research/bert, run_squad.py).

What it is not: an answer in the model's own words; nor one of several parts.

    septet finetune --model base --data questions --adapter full
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from septet.core.errors import ComponentError, DataError
from septet.infer.chat import encode_text
from septet.infer.inputs import Encoded, collate, dressed, frame, has_segments, place_of
from septet.infer.task import Gives, Predicted, Prepared, Row, Rows, Task, Tell, by_length, text_of

if TYPE_CHECKING:
    from septet.nn.model import Model

__all__ = ["QuestionAnswering", "best_span"]


@dataclass(frozen=True, slots=True)
class _Window:
    """A question and consecutive tokens of its passage. at: the place in `text.ids` of the first of them, which is token `first` of
    the passage; count: how many there are; none: the place that stands for no answer."""

    text: Encoded
    at: int
    first: int
    count: int
    none: int

    def target(self, answer: tuple[int, int] | None) -> tuple[int, int]:
        """Return the places of the answer's first and last token, or of no answer where the window does not hold it whole."""
        if answer is None or answer[0] < self.first or answer[1] >= self.first + self.count:
            return self.none, self.none
        return self.at + answer[0] - self.first, self.at + answer[1] - self.first

    def cuts(self, answer: tuple[int, int]) -> bool:
        """Whether it holds a part of the answer, and not all."""
        before, after = answer[0] < self.first, answer[1] >= self.first + self.count
        return (before or after) and answer[1] >= self.first and answer[0] < self.first + self.count


@dataclass(frozen=True, slots=True)
class _Read:
    """A row as windows. spans int64 [N, 2]: where each token of the passage begins and ends, in characters, without the blanks
    around it. size: tokens of the whole row; lost: tokens of the question that were cut off."""

    windows: list[_Window]
    spans: np.ndarray
    context: str
    size: int
    lost: int


class QuestionAnswering(Task):
    """Answers taken from a passage."""

    objective: ClassVar[str] = "spans"
    gives: ClassVar[Gives] = "span"
    in_pieces: ClassVar[bool] = True
    learns: ClassVar[str] = "windows of passages"

    stride: int = Field(default=128, ge=0)
    """Tokens that two windows of a passage share, at most half of what fits."""
    max_answer_tokens: int = Field(default=30, ge=1)
    """The longest answer that is given, in tokens."""
    null_threshold: float | None = 0.0
    """No answer is given where its score is higher than the best answer's by more than this; none: always an answer (SQuAD 1.1)."""

    def open(self, folder: str | Path, *, labels: Sequence[str] = (), device: str = "auto", seed: int = 0) -> Model:
        from septet.nn.heads import open_with_head  # torch, 1.5 s

        return open_with_head(folder, "span", device=device, seed=seed)

    def encode(self, rows: Rows, model: Model, *, max_tokens: int, file: object = None) -> tuple[list[Any], Prepared]:
        """Return an `Encoded` for each window, its target the places of the answer's two ends.

        `cut` counts rows of several windows, `lost` the tokens of questions that are longer than half a window, and those of
        answers that no window holds whole (windows that hold a part are left out then). Errors: DataError with file and row.
        """
        samples: list[Encoded] = []
        longest = cut = lost = count = 0
        for number, row in rows:
            read = self._read(row, model, max_tokens, file=file, number=number)
            answer = _answer(row, read, file=file, number=number)
            windows = read.windows
            if answer is not None and all(w.target(answer) == (w.none, w.none) for w in windows):
                windows = [w for w in windows if not w.cuts(answer)]
                lost += answer[1] - answer[0] + 1
            samples += [Encoded(w.text.ids, w.target(answer), w.text.types) for w in windows]
            longest, lost = max(longest, read.size), lost + read.lost
            cut, count = cut + (len(read.windows) > 1 or read.lost > 0), count + 1
        return samples, Prepared(count, sum(map(len, samples)), len(samples), longest, cut, lost)

    def predict(
        self, model: Model, rows: Sequence[Row], *, max_tokens: int | None = None, tell: Tell = lambda done, total: None
    ) -> list[Predicted]:
        """Return {"text", "no_answer", "start"} for each row.

        text: characters of the passage from number `start` on, or "" (and start None) for no answer. no_answer: the score of
        no answer minus that of the best answer, in nats; higher says that there is none.
        """
        import torch

        most = min(max_tokens or model.context, model.context)
        reads = [self._read(row, model, most, file=None, number=number) for number, row in enumerate(rows, start=1)]
        todo = [(place, window) for place, read in enumerate(reads) for window in read.windows]
        best = [(-math.inf, 0, 0)] * len(rows)
        none = [math.inf] * len(rows)
        left, done = model.architecture == "permuted", 0
        model.module.eval()
        for chosen in by_length([len(window.text) for _, window in todo]):
            texts = [todo[place][1].text for place in chosen]
            inputs = {name: x.to(model.device) for name, x in collate(texts, model.tokenizer, left=left).items()}
            with torch.inference_mode(), model.autocast():
                found = model.module(**inputs)
            ends = torch.stack([found.start_logits, found.end_logits], dim=1).float().cpu().numpy()
            for place, ends_2T in zip(chosen, ends, strict=True):
                row, window = todo[place]
                ends_2T = ends_2T[:, place_of(window.text, ends_2T.shape[1], left)]
                none[row] = min(none[row], float(ends_2T[:, window.none].sum()))
                ends_2N = ends_2T[:, window.at : window.at + window.count]
                spans = reads[row].spans[window.first : window.first + window.count]
                # a token of blanks alone is neither the beginning of an answer nor its end
                ends_2N = np.where(spans[:, 0] < spans[:, 1], ends_2N, -np.inf)
                score, start, end = best_span(*ends_2N, longest=self.max_answer_tokens)
                best[row] = max(best[row], (score, window.first + start, window.first + end), key=lambda one: one[0])
            done += len(chosen)
            tell(done, len(todo))
        return [self._verdict(*one) for one in zip(reads, best, none, strict=True)]

    def row(self, text: str, *, pair: str | None = None, context: str | None = None) -> dict[str, Any]:
        """Return a question and the passage to look in. Raises ComponentError where there is no passage."""
        if context is None or pair is not None:
            raise ComponentError(
                "question-answering takes a question and the passage (context) to look in, and no more."
            )
        return {"question": text, "context": context}

    def expected(self, row: Row) -> list[str]:
        """Return the texts of the right answers; none where the passage has no answer."""
        return [answer["text"] for answer in row["answers"]]

    def _verdict(self, read: _Read, best: tuple[float, int, int], none: float) -> Predicted:
        score, first, last = best
        start, end = int(read.spans[first, 0]), int(read.spans[last, 1])
        if self.null_threshold is not None and none - score > self.null_threshold:
            return Predicted({"text": "", "no_answer": none - score, "start": None})
        return Predicted({"text": read.context[start:end], "no_answer": none - score, "start": start})

    def _read(self, row: Row, model: Model, most: int, *, file: object, number: int) -> _Read:
        """Return a row in windows of at most `most` tokens."""
        tokenizer, architecture = model.tokenizer, model.architecture
        question = encode_text(tokenizer, text_of(row, "question", file=file, number=number))
        context = text_of(row, "context", file=file, number=number)
        ids, spans = _tokens(tokenizer, context)
        if not (spans[:, 0] < spans[:, 1]).any():
            raise DataError("the tokenizer makes no token of the context.", file=file, row=number)
        before, between, after = frame(tokenizer, architecture, pair=True)
        around = len(before) + len(between) + len(after)
        room = most - around
        if room < 2:
            raise ComponentError(
                f"a window of {most} tokens, {around} of them special, has no room for a question and a passage. "
                "Raise max_tokens, or take a model with a longer context."
            )
        size, asked = around + len(question) + len(ids), len(question)
        question = question[: room // 2]
        room -= len(question)
        step = room - min(self.stride, room // 2)
        permuted = architecture == "permuted"
        windows = []
        for first in range(0, max(1, len(ids) - room + step), step):
            piece = ids[first : first + room]
            one, other = (piece, question) if permuted else (question, piece)
            text = dressed(one, tokenizer, architecture, most=most, other=other, segments=has_segments(model))
            at = len(before) + (0 if permuted else len(question) + len(between))
            none = 0 if architecture == "encoder" else len(text) - 1
            windows.append(_Window(text, at, first, len(piece), none))
        return _Read(windows, spans, context, size, asked - len(question))


def best_span(start_N: np.ndarray, end_N: np.ndarray, *, longest: int) -> tuple[float, int, int]:
    """Return the highest start[i] + end[j] with i <= j < i + longest, with i and j; of equal ones the first, then the shortest."""
    longest = min(longest, len(start_N))
    beyond = np.full(longest - 1, -np.inf, dtype=end_N.dtype)
    sums = start_N[:, None] + np.lib.stride_tricks.sliding_window_view(np.concatenate([end_N, beyond]), longest)
    i, more = divmod(int(sums.argmax()), longest)
    return float(sums[i, more]), i, i + more


def _tokens(tokenizer: Any, text: str) -> tuple[list[int], np.ndarray]:
    """Return a text's tokens, and where each begins and ends in it without the blanks around it, int64 [N, 2]."""
    if not getattr(tokenizer, "is_fast", False):
        raise ComponentError(
            f"the tokenizer {type(tokenizer).__name__} does not say which characters its tokens are of. "
            "Question answering needs a tokenizer with a tokenizer.json."
        )
    found = tokenizer(
        text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True, verbose=False
    )
    spans = np.zeros((len(found["input_ids"]), 2), dtype=np.int64)
    for place, (start, end) in enumerate(found["offset_mapping"]):
        part = text[start:end]
        spans[place] = start + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip())
    return found["input_ids"], spans


def _answer(row: Row, read: _Read, *, file: object, number: int) -> tuple[int, int] | None:
    """Return the first and the last token of a row's first answer; None where it has none. All answers are checked."""
    answers = row.get("answers")
    if not isinstance(answers, list):
        raise DataError(
            '\'answers\' must be a list of {"text", "start"}, empty where the context has no answer; '
            + (f"it is {type(answers).__name__}." if "answers" in row else "it is missing."),
            file=file,
            row=number,
        )
    found = [_place(answer, read, file=file, number=number) for answer in answers]
    return found[0] if found else None


def _place(answer: Any, read: _Read, *, file: object, number: int) -> tuple[int, int]:
    known = answer if isinstance(answer, dict) else {}
    text, start = known.get("text"), known.get("start")
    if not isinstance(text, str) or not text.strip() or not isinstance(start, int) or isinstance(start, bool):
        raise DataError(
            f'an answer is {{"text": text that is not empty, "start": number of its first character}}; got {str(answer)[:80]!r}.',
            file=file,
            row=number,
        )
    there = read.context[max(0, start) : max(0, start) + len(text)]
    if start < 0 or there != text:
        others = [place for place in range(len(read.context)) if read.context.startswith(text, place)]
        nearest = min(others, key=lambda place: abs(place - start), default=None)
        raise DataError(
            f"the answer {text!r} is not at character {start} of the context, where {there!r} stands. "
            + ("It is nowhere in the context." if nearest is None else f"It is at character {nearest}."),
            file=file,
            row=number,
        )
    end = start + len(text)
    own = np.flatnonzero((read.spans[:, 0] < end) & (read.spans[:, 1] > start) & (read.spans[:, 0] < read.spans[:, 1]))
    if not len(own):
        raise DataError(f"the tokenizer makes no token of the answer {text!r}.", file=file, row=number)
    return int(own[0]), int(own[-1])
