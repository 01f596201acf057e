"""How far a model reaches: the loss of the same tokens, given more and more of what is around them.

Shapes: W windows, one token to predict in each, T tokens in a window, C counts of tokens seen.

In every window one token is asked for, first with few neighbours, then with twice as many, up to the window. A decoder is given the
tokens before it; an encoder the tokens on both sides, with the token itself hidden; XLNet both sides too; an encoder-decoder reads
both sides with a sentinel or a mask in the middle, and writes. What falls from one count to the next is what the model gets from
that distance; where it no longer falls, more context is wasted on this model.

The loss by plain position in a document mixes this with how the tokens themselves differ (documents begin alike); it is told
beside, for decoders.

What it is not: an evaluation of what a model knows. Compare it with itself.

    septet reach base text
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from septet.core.errors import DataError
from septet.nn.model import IGNORE, Model

__all__ = ["Count", "Reach", "reach", "windows_of"]


@dataclass(frozen=True, slots=True)
class Count:
    """What the model does with `seen` tokens around the one to predict.

    bits: mean -log2 p, with half the width of its 95 % interval. gain: bits saved since the count before, on the same tokens.
    """

    seen: int
    bits: float
    bits_half: float
    gain: float | None
    gain_half: float | None


@dataclass(frozen=True, slots=True)
class Reach:
    """counts: few neighbours to many. positions: (first, last, mean bits) by position in a document, for decoders."""

    architecture: str
    windows: int
    counts: list[Count]
    positions: list[tuple[int, int, float]]

    @property
    def farthest(self) -> int | None:
        """The largest count at which what was added still helped: the interval of its gain excludes 0. None where none did."""
        helped = [
            c.seen for c in self.counts if c.gain is not None and c.gain_half is not None and c.gain > c.gain_half
        ]
        return max(helped, default=None)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "farthest": self.farthest}


def windows_of(texts: Sequence[Sequence[int]], length: int, count: int, *, seed: int = 0) -> np.ndarray:
    """Return up to `count` windows int64 [W, T] of `length` tokens, each within one text, drawn without overlap.

    Raises DataError where no text is as long.
    """
    starts = [(text, start) for text, ids in enumerate(texts) for start in range(0, len(ids) - length + 1, length)]
    if not starts:
        longest = max((len(ids) for ids in texts), default=0)
        raise DataError(
            f"No text has {length} tokens (the longest has {longest}); give longer texts, or a smaller --most than {length}."
        )
    chosen = np.random.default_rng(seed).permutation(len(starts))[:count]
    return np.array([texts[starts[i][0]][starts[i][1] : starts[i][1] + length] for i in sorted(chosen)], np.int64)


@torch.no_grad()
def reach(model: Model, texts: Sequence[Sequence[int]], *, most: int, windows: int = 512, seed: int = 0) -> Reach:
    """Return how the loss falls with what a model sees, up to `most` tokens; texts: lists of ids without special tokens.

    Raises DataError where no text is long enough, or the model cannot be given so much.
    """
    room = model.context - (4 if model.architecture != "decoder" else 1)
    if most > room:
        raise DataError(f"--most {most}: this model reads {room} tokens around the one to predict.")
    taken = windows_of(texts, most + 1, windows, seed=seed)
    model.module.eval()
    seen = sorted({*(2**power for power in range(1, most.bit_length()) if 2**power < most), most})
    nll_CW = np.array([_asked(model, taken, count) for count in seen]) / math.log(2)
    counts = [_count(seen[place], nll_CW[place], nll_CW[place - 1] if place else None) for place in range(len(seen))]
    positions = _by_position(model, texts, most, windows) if model.architecture == "decoder" else []
    return Reach(model.architecture, len(taken), counts, positions)


def _count(seen: int, bits_W: np.ndarray, before_W: np.ndarray | None) -> Count:
    def half(values: np.ndarray) -> float:
        return 1.96 * float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.inf

    if before_W is None:
        return Count(seen, float(bits_W.mean()), half(bits_W), None, None)
    saved = before_W - bits_W
    return Count(seen, float(bits_W.mean()), half(bits_W), float(saved.mean()), half(saved))


def _asked(model: Model, windows_WT: np.ndarray, seen: int) -> np.ndarray:
    """Return -ln p [W] of one token in each window, given `seen` tokens around it."""
    found = []
    size = max(1, 8192 // (seen + 4))
    for start in range(0, len(windows_WT), size):
        inputs, labels = _question(model, windows_WT[start : start + size], seen)
        inputs = {name: value.to(model.device) for name, value in inputs.items()}
        found.append(model.nll(inputs, labels.to(model.device)).sum(dim=1).cpu().numpy())
    return np.concatenate(found)


def _question(model: Model, windows: np.ndarray, seen: int) -> tuple[dict[str, Tensor], Tensor]:
    """Return the inputs, and labels with one token a row."""
    count, tokenizer = len(windows), model.tokenizer
    if model.architecture == "decoder":
        # the last token of the window is asked for
        ids = torch.from_numpy(windows[:, -1 - seen : -1])
        labels = torch.full_like(ids, IGNORE)
        labels[:, -1] = torch.from_numpy(windows[:, -1])
        return {"input_ids": ids}, labels
    middle = (windows.shape[1] - 1) // 2
    left = seen // 2
    before, asked, after = (
        windows[:, middle - left : middle],
        windows[:, middle : middle + 1],
        windows[:, middle + 1 : middle + 1 + seen - left],
    )

    def column(role: str) -> np.ndarray:
        id = getattr(tokenizer, f"{role}_token_id")
        return np.full((count, 0 if id is None else 1), 0 if id is None else id, np.int64)

    def rows(*parts: np.ndarray) -> Tensor:
        return torch.from_numpy(np.concatenate(parts, axis=1).astype(np.int64))

    if model.architecture == "encoder":
        ids = rows(column("cls"), before, column("mask"), after, column("sep"))
        labels = torch.full_like(ids, IGNORE)
        labels[:, column("cls").shape[1] + left] = torch.from_numpy(asked[:, 0])
        return {"input_ids": ids}, labels
    if model.architecture == "permuted":
        ids = rows(before, asked, after, column("sep"), column("cls"))
        hidden = torch.zeros(count, ids.shape[1], ids.shape[1])
        hidden[:, :, left] = 1.0
        target = torch.zeros(count, 1, ids.shape[1])
        target[:, 0, left] = 1.0
        return {"input_ids": ids, "perm_mask": hidden, "target_mapping": target}, rows(asked)
    start = np.full((count, 1), int(model.config.decoder_start_token_id), np.int64)
    sentinel = tokenizer.get_vocab().get("<extra_id_0>")
    if sentinel is not None:  # T5: it writes the sentinel, then what stood there
        place = np.full((count, 1), sentinel, np.int64)
        ids, read = rows(before, place, after, column("eos")), rows(start, place)
    else:  # BART: it writes the whole text, up to the token that is asked for
        ids = rows(column("bos"), before, column("mask"), after, column("eos"))
        read = rows(start, column("bos"), before)
    labels = torch.full_like(read, IGNORE)
    labels[:, -1] = torch.from_numpy(asked[:, 0])
    return {"input_ids": ids, "decoder_input_ids": read}, labels


def _by_position(model: Model, texts: Sequence[Sequence[int]], most: int, rows: int) -> list[tuple[int, int, float]]:
    """Return (first, last, mean bits) of documents' tokens by position, 1 the first, in ranges that double."""
    begin = model.tokenizer.bos_token_id if model.tokenizer.bos_token_id is not None else model.tokenizer.eos_token_id
    length = most + 1
    chosen = [ids[: length - 1] for ids in texts if len(ids) >= length - 1][:rows]
    if begin is None or not chosen:
        return []
    whole = torch.tensor([[begin, *ids] for ids in chosen])
    sums = np.zeros(length - 1)
    size = max(1, 8192 // length)
    for start in range(0, len(whole), size):
        part = whole[start : start + size].to(model.device)
        sums += model.nll({"input_ids": part[:, :-1]}, part[:, 1:]).sum(dim=0).double().cpu().numpy()
    bits = sums / len(whole) / math.log(2)
    edges = [0, *(2**power for power in range(length.bit_length()) if 2**power < len(bits)), len(bits)]
    return [(low + 1, high, float(bits[low:high].mean())) for low, high in pairwise(edges) if high > low]
