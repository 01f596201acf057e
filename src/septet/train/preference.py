"""Preference pairs as tensors: what every objective over pairs shares, whatever its loss.

A pair is a question with a preferred and another answer. The 2 P sequences of P pairs are packed into rows that do not see each
other, and the log-probability of each answer is the sum over its tokens and the token that ends it.

What it is not: a loss. Those are `septet.train.objectives` (dpo).

    python -m pytest tests/train/test_dpo.py
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from septet.core.errors import DataError
from septet.data.packing import IGNORE, Sample
from septet.infer.chat import Chat
from septet.nn.model import Model
from septet.train.objective import Batch, Objective
from septet.train.objectives.supervised import stack

__all__ = ["Compared", "Pair", "PairObjective", "PairReport", "logps", "prepare_pairs"]


@dataclass(frozen=True, slots=True)
class Pair:
    """One preference as tokens: question and preferred answer, question and other answer; labels on the answers alone.

    kind: the kind of pair, for reports. reference: log p_ref of (preferred, other), where it was computed beforehand.
    """

    chosen: Sample
    rejected: Sample
    kind: str = ""
    reference: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class PairReport:
    """What preparation found. tokens: of both sequences of every pair. cut: answers longer than the limit, cut at their end."""

    pairs: int
    tokens: int
    cut: int

    def facts(self) -> dict[str, int]:
        return asdict(self)


class Compared(NamedTuple):
    """log p(answer | question), float32 [P] each: of the model and of its reference, for the preferred and the other answer."""

    chosen: Tensor
    rejected: Tensor
    reference_chosen: Tensor
    reference_rejected: Tensor


def prepare_pairs(
    rows: Iterable[tuple[int, Mapping[str, Any]]], tokenizer: Any, *, max_tokens: int, file: object = None
) -> tuple[list[Pair], PairReport]:
    """Return a Pair for each (row number, {"prompt": [messages], "chosen": text, "rejected": text, "kind": text}).

    What is longer than `max_tokens` is cut at the answer's end. Raises DataError for a row that is no pair, whose answers are
    equal (also when only after the cut), or whose question leaves no room for an answer.
    """
    chat = Chat(tokenizer)
    pairs: list[Pair] = []
    cut = tokens = 0
    for number, row in rows:
        _check(row, file, number)
        prompt = chat.prompt(row["prompt"])
        if len(prompt) >= max_tokens:
            raise DataError(
                f"the question has {len(prompt)} tokens and leaves no room for an answer within max_tokens = {max_tokens}. "
                "Raise max_tokens (up to the model's context) or leave the row out.",
                file=file,
                row=number,
            )
        samples = []
        for answer in (row["chosen"], row["rejected"]):
            ids = np.asarray([*prompt, *chat.answer(answer)], dtype=np.int32)
            cut += len(ids) > max_tokens + 1
            ids = ids[: max_tokens + 1]
            labels = ids.copy()
            labels[: len(prompt)] = IGNORE
            samples.append(Sample(ids[:-1], labels[1:]))
            tokens += len(ids) - 1
        if np.array_equal(samples[0].labels, samples[1].labels):
            raise DataError(
                f"the two answers are the same within max_tokens = {max_tokens}, so there is no preference to learn. "
                "Leave the row out, or raise max_tokens if they differ later.",
                file=file,
                row=number,
            )
        pairs.append(Pair(samples[0], samples[1], str(row.get("kind", ""))))
    return pairs, PairReport(len(pairs), tokens, cut)


def _check(row: Mapping[str, Any], file: object, number: int) -> None:
    prompt = row.get("prompt")
    if not isinstance(prompt, list) or not prompt or not all(_is_message(message) for message in prompt):
        raise DataError('"prompt" must be a list of messages {"role", "content"}.', file=file, row=number)
    for name in ("chosen", "rejected"):
        if not isinstance(row.get(name), str):
            raise DataError(f'"{name}" must be a text, got {row.get(name)!r}.', file=file, row=number)


def _is_message(value: Any) -> bool:
    known = isinstance(value, dict) and value.get("role") in ("system", "user", "assistant")
    return known and isinstance(value.get("content"), str)


class PairObjective(Objective):
    """An objective over preference pairs; its rows are `Pair`s."""

    learns_from: ClassVar[Literal["text", "conversations", "pairs"]] = "pairs"
    ragged: ClassVar[bool] = True

    def prepare(self, rows: Sequence[Pair], tokenizer: Any, rngs: Sequence[Generator]) -> Batch:
        """Pack the 2 P sequences of P pairs into int64 rows [B, T].

        extra: owner int64 [B, T], the sequence (preferred 0..P-1, other P..2P-1) that each label belongs to, -1 for none;
        reference float32 [2 P], where the rows bring it. The weight of the one term is P.
        """
        sequences = [pair.chosen for pair in rows] + [pair.rejected for pair in rows]
        pad = 0 if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        inputs, labels, used = stack(sequences, pad=pad)
        # the owner travels through packing as a label would, so that it lands where the tokens land
        owners = [Sample(s.ids, np.full(len(s.ids), number, dtype=np.int32)) for number, s in enumerate(sequences)]
        extra = {"owner": torch.where(labels == IGNORE, -1, stack(owners, pad=pad)[1])}
        known = [pair.reference for pair in rows if pair.reference is not None]
        if known:
            assert len(known) == len(rows), "some rows bring reference log-probabilities and some do not"
            extra["reference"] = torch.tensor([r[0] for r in known] + [r[1] for r in known], dtype=torch.float32)
        return Batch(inputs=inputs, labels=labels, weights={self.kind: float(len(rows))}, tokens=used, extra=extra)

    @abstractmethod
    def rewards(self, compared: Compared) -> tuple[Tensor, Tensor]:
        """Return the implicit rewards [P] of the preferred and of the other answers."""

    def compare(self, batch: Batch, model: Model) -> Compared:
        """Run the model, and its reference beneath the adapter unless the batch brings the reference's figures."""
        # the reference comes first: leaving the adapter out also switches its gradients off and on again
        if "reference" in batch.extra:
            reference_S = batch.extra["reference"]
        else:
            with torch.no_grad(), model.without_adapter():
                # the same rows through the same kernels: before the first step the two differ in no bit
                reference_S = logps(batch, model)
        policy_S = logps(batch, model)
        pairs = _pairs(batch)
        return Compared(policy_S[:pairs], policy_S[pairs:], reference_S[:pairs], reference_S[pairs:])


def _pairs(batch: Batch) -> int:
    (weight,) = batch.weights.values()
    return int(weight)


def logps(batch: Batch, model: Model) -> Tensor:
    """Return log p(answer | question), float32 [2 P]: first the preferred answers, then the others."""
    assert batch.labels is not None
    pairs = _pairs(batch)
    owner_BT = batch.extra["owner"]
    taken_BT = owner_BT >= 0
    nll_N = model.nll(batch.inputs, batch.labels)[taken_BT]
    sums_S = torch.zeros(2 * pairs, dtype=torch.float32, device=nll_N.device)
    return sums_S.index_add(0, owner_BT[taken_BT], -nll_N)
