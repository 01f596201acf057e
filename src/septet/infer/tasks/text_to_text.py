"""Text to text: a translation, a summary, or any other text that is written for one that is read.

Rows: {"source", "target"} and, where several answers are right, "references". An encoder-decoder reads the source and writes the
target. A decoder learns the two as a conversation, the source said by the user and the target by the assistant: a base model gets
the same few tokens as for chat, a chat model reads what it already knows how to answer, and the result can be talked to. Loss on
the target and the token that ends it.

What it is not: a chooser of languages; models that mark them with tokens (mBART, NLLB, M2M) are read as they are set up.

    septet finetune --model base --data translations --task '{kind: text-to-text, beams: 4}'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from septet.core.errors import ComponentError, DataError
from septet.data.packing import IGNORE, Sample
from septet.infer.chat import Chat, encode_text, prepare_for_chat
from septet.infer.inputs import Pair
from septet.infer.long_text import fold
from septet.infer.task import Gives, Predicted, Prepared, Preparing, Row, Rows, Task, Tell, text_of, too_long
from septet.infer.writing import around, begins_with, prepare_to_write, written

if TYPE_CHECKING:
    from septet.infer.writing import Written
    from septet.nn.model import Model

__all__ = ["TextToText"]

ROW = 256
"""Tokens in a row of packed pairs; attention costs the square of it."""
PACKED = ("bart", "t5")
"""Model types in which several pairs in a row are kept apart exactly (tested); others get a row for each pair."""


class TextToText(Task):
    """A text that is written for one that is read."""

    gives: ClassVar[Gives] = "text"
    learns: ClassVar[str] = "tokens of targets"
    fits: ClassVar[tuple[str, ...]] = ("decoder", "encoder-decoder")

    prefix: str = ""
    """Put before each source, as T5 does: "translate English to German: "."""
    max_new_tokens: int = Field(default=128, ge=1)
    """The longest text that is written, in tokens, with those that begin and end it."""
    beams: int = Field(default=1, ge=1)
    """How many texts are followed at once; 1 takes the likeliest token each time."""
    length_penalty: float = 1.0
    """With beams: a text's score is its log-probability / length ^ this; above 0 favours longer ones."""
    too_long: Literal["refuse", "cut", "drop", "map-reduce"] = "refuse"
    """What is longer than the model reads: refused with its row; cut at its end, and counted; dropped from training, and
    counted (a source to write for is cut then); or, for summaries, read in windows whose summaries are summarised (in training
    the beginning is learned from, and the cut counted)."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Of the objective, for encoder-decoders: the share of the probability that is spread over the vocabulary."""

    def open(self, folder: str | Path, *, labels: Sequence[str] = (), device: str = "auto", seed: int = 0) -> Model:
        from septet.nn.load import open_model  # torch, 1.5 s

        model = open_model(folder, device=device, architectures=("decoder", "encoder-decoder"))
        if model.architecture == "decoder":
            prepare_for_chat(model.module, model.tokenizer)
        self._prepare(model)
        return model

    def taught_by(self, model: Model) -> str | Mapping[str, Any]:
        if model.architecture == "encoder-decoder":
            return {
                "kind": "sequence-to-sequence",
                "label_smoothing": self.label_smoothing,
                "packed": model.config.model_type in PACKED,
                "row": min(ROW, model.context),
                "decoder_start": begins_with(model.base),
            }
        if self.label_smoothing:
            raise ComponentError("label_smoothing: a decoder learns without; leave it out, or take an encoder-decoder.")
        return "supervised"

    def encode(self, rows: Rows, model: Model, *, max_tokens: int, file: object = None) -> tuple[list[Any], Prepared]:
        samples: list[Any] = []
        told = Preparing(self.kind, self.too_long, max_tokens, file)
        targets = tokens = lost = 0
        sides = _Sides(model, self.prefix)
        for number, row in rows:
            source = text_of(row, "source", file=file, number=number)
            read = sides.read(source)
            write = sides.write(text_of(row, "target", file=file, number=number))
            size, room, most = self._rooms(len(read), len(write), model, max_tokens)
            over = len(read) > room or len(write) > most
            if not told.takes(number, size, over=over):
                continue
            if over:
                lost += max(0, len(write) - most)
                if len(read) > room:
                    read, gone = _shortened(source, sides, room)
                    lost += gone
                write = write[:most]
            targets, tokens = targets + len(write), tokens + len(read) + len(write)
            samples.append(_sample(read, write, model))
        return samples, told.found(rows=len(samples), tokens=tokens, targets=targets, lost=lost)

    def predict(
        self, model: Model, rows: Sequence[Row], *, max_tokens: int | None = None, tell: Tell = lambda done, total: None
    ) -> list[Predicted]:
        context, sides = min(max_tokens or model.context, model.context), _Sides(model, self.prefix)
        sources = [text_of(row, "source", file=None, number=number) for number, row in enumerate(rows, start=1)]
        if self.too_long == "map-reduce":
            return self._summaries(model, sources, sides, context, tell)
        prompts: list[list[int]] = []
        gone: list[int] = []
        for number, source in enumerate(sources, start=1):
            read, lost = sides.read(source), 0
            if self.too_long == "refuse" and len(read) > self._most(model, context, room=1):
                raise too_long(self.kind, context, [(number, len(read))], file=None)
            if self.too_long in ("cut", "drop") and len(read) > (most := self._most(model, context)):
                read, lost = _shortened(source, sides, most)
            prompts.append(read)
            gone.append(lost)
        found = self._written(model, prompts, tell)
        return [Predicted(one.text.strip(), facts=one.facts(lost)) for one, lost in zip(found, gone, strict=True)]

    def row(self, text: str, *, pair: str | None = None, context: str | None = None) -> dict[str, Any]:
        """Return a row to predict, of what a person typed."""
        if pair is not None or context is not None:
            raise ComponentError(f"the task '{self.kind}' reads one text; leave the other out.")
        return {"source": text}

    def expected(self, row: Row) -> str | list[str]:
        """Return the target, or where there are several right answers all of them, the target first."""
        references = row.get("references") or []
        if not isinstance(references, list) or not all(isinstance(text, str) for text in references):
            raise DataError(f"'references' must be a list of texts; it is {str(references)[:80]!r}.")
        first = [text_of(row, "target", file=None, number=0)] if "target" in row or not references else []
        found: list[str] = list(dict.fromkeys([*first, *references]))
        return found if len(found) > 1 else found[0]

    # -- how much is read -------------------------------------------------------------------------------------------

    def _rooms(self, read: int, write: int, model: Model, max_tokens: int) -> tuple[int, int, int]:
        """Return the size of a row, and the most tokens of what is read and of what is written.

        A decoder has both in one text, whose last token is only predicted; of what is too long the source is cut first, down to
        half of the room.
        """
        if model.architecture == "encoder-decoder":
            return max(read, write), max_tokens, max_tokens
        room = max_tokens + 1
        most = write if read + write <= room else min(write, room - min(read, room // 2))
        return read + write - 1, room - most, most

    def _most(self, model: Model, context: int, *, room: int | None = None) -> int:
        """Return the most tokens that are read for a source, with room for an answer: half of a decoder's context is enough."""
        if model.architecture == "encoder-decoder":
            return context
        return context - (min(self.max_new_tokens, context // 2) if room is None else room)

    # -- writing -----------------------------------------------------------------------------------------------------

    def _prepare(self, model: Model) -> None:
        prepare_to_write(
            model, max_new_tokens=self.max_new_tokens, beams=self.beams, length_penalty=self.length_penalty
        )

    def _written(self, model: Model, prompts: Sequence[Sequence[int]], tell: Tell) -> list[Written]:
        return written(
            model,
            prompts,
            max_new_tokens=self.max_new_tokens,
            beams=self.beams,
            length_penalty=self.length_penalty,
            tell=tell,
        )

    def _summaries(
        self, model: Model, sources: Sequence[str], sides: _Sides, context: int, tell: Tell
    ) -> list[Predicted]:
        def summarise(texts: Sequence[str]) -> list[str]:
            found = self._written(model, [sides.read(text) for text in texts], tell)
            return [one.text for one in found]

        folded = fold(
            sources,
            size=lambda text: len(sides.read(text)),
            limit=self._most(model, context),
            summarise=summarise,
        )
        return [Predicted(one.text, facts={"windows": one.windows, "windows_read": one.read}) for one in folded]


class _Sides:
    """The tokens of both sides of a row, for one model."""

    def __init__(self, model: Model, prefix: str) -> None:
        self.tokenizer, self.prefix = model.tokenizer, prefix
        self.chat = Chat(model.tokenizer) if model.architecture == "decoder" else None
        self.before, self.after = ([], []) if self.chat else around(model.tokenizer)

    def read(self, source: str) -> list[int]:
        """Return what is read for a source: by the encoder, or by a decoder up to where its answer begins."""
        if self.chat:
            return self.chat.prompt([{"role": "user", "content": self.prefix + source}])
        return self._dressed(self.prefix + source)

    def write(self, target: str) -> list[int]:
        return self.chat.answer(target) if self.chat else self._dressed(target)

    def _dressed(self, text: str) -> list[int]:
        return [*self.before, *encode_text(self.tokenizer, text), *self.after]


def _shortened(source: str, sides: _Sides, most: int) -> tuple[list[int], int]:
    """Return what is read of a source cut to fit, and the number of tokens cut off. Raises ComponentError: nothing fits."""
    whole = sides.read(source)
    low, high = 0, len(source)  # so many characters fit, and so many do not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if len(sides.read(source[:middle])) <= most else (low, middle)
    if low == 0:
        raise ComponentError(
            f"nothing of a source fits into {most} tokens beside the prefix and the tokens around it. Raise max_tokens, or "
            "take a shorter prefix."
        )
    read = sides.read(source[:low])
    return read, len(whole) - len(read)


def _sample(read: Sequence[int], write: Sequence[int], model: Model) -> Pair | Sample:
    if model.architecture == "encoder-decoder":
        return Pair(np.array(read, dtype=np.int64), np.array(write, dtype=np.int64))
    ids = np.array([*read, *write], dtype=np.int32)
    labels = ids.copy()
    labels[: len(read)] = IGNORE
    return Sample(ids[:-1], labels[1:])
