"""Vectors of texts, close together where the texts belong together: for search, grouping and comparison.

Rows: {"anchor", "positive"} and, where there is one, "negative": a text that seems to belong to the anchor and does not. The other
texts of a batch are negatives too, so a batch should be large. A text's vector is the mean (or the first or last) of its tokens'
hidden states, at unit length; tokens that the tokenizer itself puts around a text belong to it.

The model's folder is also one of sentence-transformers, and `SentenceTransformer(FOLDER)` makes the same vectors.

What it is not: a score of a pair that is read together (a cross-encoder); that is `classification` or `regression` with "pair".

    septet finetune --model base --data pairs --adapter full --batch-size 64
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from septet.core.artifact import write_json
from septet.core.errors import ComponentError
from septet.infer.inputs import Encoded, collate
from septet.infer.task import (
    Gives,
    Predicted,
    Prepared,
    Preparing,
    Row,
    Rows,
    Task,
    Tell,
    TooLong,
    by_length,
    text_of,
)

if TYPE_CHECKING:
    from septet.nn.model import Model

__all__ = ["Similarity"]

PARTS = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
"""The parts of a folder of sentence-transformers: place and class of each."""
MODES = {"mean": "mean_tokens", "first": "cls_token", "last": "lasttoken"}


class Similarity(Task):
    """Vectors of texts that belong together are close together."""

    objective: ClassVar[str] = "contrastive"
    gives: ClassVar[Gives] = "vector"
    learns: ClassVar[str] = "pairs of texts"
    fits: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "permuted")

    pooling: Literal["mean", "first", "last"] = "mean"
    """What a text's vector is made of: the mean of its tokens' hidden states, the first, or the last."""
    temperature: float = Field(default=0.05, gt=0)
    """What cosines are divided by in training; lower looks more at the likeliest wrong texts."""
    symmetric: bool = False
    """Learn to find the anchor for each positive as well."""
    too_long: TooLong = "refuse"
    """Training rows with a text that is longer than the model reads: refused, all named; cut at its end, and counted; or
    dropped, and counted. A text whose vector is asked for is cut."""

    def open(self, folder: str | Path, *, labels: Sequence[str] = (), device: str = "auto", seed: int = 0) -> Model:
        from septet.nn.heads import open_with_head  # torch, 1.5 s

        return open_with_head(folder, "none", device=device, seed=seed)

    def taught_by(self, model: Model) -> str | Mapping[str, Any]:
        return {
            "kind": self.objective,
            "pooling": self.pooling,
            "temperature": self.temperature,
            "symmetric": self.symmetric,
        }

    def encode(self, rows: Rows, model: Model, *, max_tokens: int, file: object = None) -> tuple[list[Any], Prepared]:
        """Return (anchor, positive, negative or None) for each row that is learned from."""
        samples: list[tuple[Encoded, Encoded, Encoded | None]] = []
        told = Preparing(self.kind, self.too_long, max_tokens, file)
        tokens = lost = 0
        for number, row in rows:
            texts = [text_of(row, name, file=file, number=number) for name in ("anchor", "positive")]
            if row.get("negative") is not None:
                texts.append(text_of(row, "negative", file=file, number=number))
            read = [_encoded(text, model, max_tokens) for text in texts]
            if not told.takes(number, max(size for _, size in read)):
                continue
            tokens += sum(len(text) for text, _ in read)
            lost += sum(max(0, size - max_tokens) for _, size in read)
            anchor, positive, *negative = (text for text, _ in read)
            samples.append((anchor, positive, negative[0] if negative else None))
        return samples, told.found(rows=len(samples), tokens=tokens, targets=len(samples), lost=lost)

    def predict(
        self, model: Model, rows: Sequence[Row], *, max_tokens: int | None = None, tell: Tell = lambda done, total: None
    ) -> list[Predicted]:
        """Return for each row the cosine of anchor and positive; where there is only an anchor, its vector, a list of D numbers."""
        names = [("anchor", "positive") if "positive" in row else ("anchor",) for row in rows]
        texts = [
            text_of(row, name, file=None, number=number)
            for number, (row, some) in enumerate(zip(rows, names, strict=True), start=1)
            for name in some
        ]
        most = min(max_tokens or model.context, model.context)
        read = [_encoded(text, model, most) for text in texts]
        vectors = iter(self._vectors(model, [text for text, _ in read], tell))
        gone = iter(max(0, size - most) for _, size in read)
        found = []
        for some in names:
            own, lost = [next(vectors) for _ in some], sum(next(gone) for _ in some)
            value = float(own[0] @ own[1]) if len(own) == 2 else own[0].tolist()
            found.append(Predicted(value, facts={"cut_tokens": lost} if lost else {}))
        return found

    def vectors(
        self,
        model: Model,
        texts: Sequence[str],
        *,
        max_tokens: int | None = None,
        tell: Tell = lambda done, total: None,
    ) -> np.ndarray:
        """Return a vector of unit length for each text, float32 [len(texts), D]; more than max_tokens are cut off."""
        most = min(max_tokens or model.context, model.context)
        return self._vectors(model, [_encoded(text, model, most)[0] for text in texts], tell)

    def _vectors(self, model: Model, read: Sequence[Encoded], tell: Tell) -> np.ndarray:
        import torch

        from septet.nn.pooling import unit_vectors

        vectors = np.zeros((len(read), int(model.config.hidden_size)), dtype=np.float32)
        done = 0
        model.module.eval()
        for places in by_length([len(text) for text in read]):
            some = [read[place] for place in places]
            inputs = collate(some, model.tokenizer, left=model.architecture == "permuted")
            inputs = {name: x.to(model.device) for name, x in inputs.items()}
            with torch.inference_mode(), model.autocast():
                hidden = model.module(**inputs).last_hidden_state
            vectors[places] = unit_vectors(hidden, inputs["attention_mask"], self.pooling).cpu().numpy()
            done += len(places)
            tell(done, len(read))
        return vectors

    def row(self, text: str, *, pair: str | None = None, context: str | None = None) -> dict[str, Any]:
        """Return one text, whose vector is wanted, or two to compare. Raises ComponentError for a passage."""
        if context is not None:
            raise ComponentError("similarity compares a text with its pair; leave the context out.")
        return {"anchor": text, **({} if pair is None else {"positive": pair})}

    def expected(self, row: Row) -> float:
        """Return 1, the cosine of two texts of one meaning; rows hold only such."""
        return 1.0

    def keep(self, folder: Path, labels: Sequence[str]) -> None:
        """Write also what sentence-transformers opens the folder with."""
        from septet.nn.load import open_config  # torch, and loaded already wherever a model was written

        super().keep(folder, labels)
        content = open_config(folder)
        width = next(content[name] for name in ("hidden_size", "n_embd", "d_model") if name in content)
        modules = []
        for number, (path, cls) in enumerate(PARTS):
            (folder / path).mkdir(exist_ok=True)
            kind = f"sentence_transformers.models.{cls}"  # the name that every version knows
            modules.append({"idx": number, "name": str(number), "path": path, "type": kind})
        write_json(folder / "modules.json", modules)
        modes = {f"pooling_mode_{name}": mode == self.pooling for mode, name in MODES.items()}
        write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": width, **modes})
        write_json(folder / "2_Normalize" / "config.json", {})


def _encoded(text: str, model: Model, most: int) -> tuple[Encoded, int]:
    """Return a text with the tokens that the tokenizer puts around it, at most `most`, and how many they were before.

    As everybody who opens the folder with its tokenizer gets it, types included; not as the tasks with a head dress a text.
    """
    plain = {"split_special_tokens": True, "verbose": False}
    found = model.tokenizer(text, **plain)
    size = len(found["input_ids"])
    if size > most:
        found = model.tokenizer(text, truncation=True, max_length=most, **plain)
    if not found["input_ids"]:
        raise ComponentError(f"the tokenizer makes no token of the text {text[:40]!r}.")
    types = None
    if "token_type_ids" in found and "token_type_ids" in inspect.signature(model.base.forward).parameters:
        types = np.array(found["token_type_ids"], dtype=np.int64)
    return Encoded(np.array(found["input_ids"], dtype=np.int64), types=types), size
