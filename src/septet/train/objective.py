"""What we minimise, and nothing else: rows to a batch, a batch to terms.

Each term is a sum with a weight that was known before the forward pass, so the loop can divide once by the weight of the whole
window (all micro-batches of an optimizer step): accumulating 8x1 equals 1x8, however ragged the masks are.

What it is not: a trainer. The loop is `septet.train.loop.fit`, for every objective.

    python -m pytest tests/train tests/invariant/test_accumulation.py
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from septet.core.component import Component

if TYPE_CHECKING:  # torch takes 1.5 s to import, and a recipe with an objective in it is parsed without
    import torch
    from numpy.random import Generator
    from torch import Tensor

    from septet.nn.model import Model
    from septet.train.runtime import Settled

__all__ = ["Batch", "Figure", "Objective", "State", "Term", "generators"]

State = dict[str, Any]
"""What an objective learns on the way (an adaptive coefficient, an average): tensors and JSON values, kept in checkpoints."""


@dataclass(frozen=True, slots=True)
class Term:
    """A part of the loss: `sum / weight` is its mean. `minimised` False makes it a figure to watch, without gradient."""

    sum: Tensor
    weight: float
    minimised: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The tensors of one forward pass.

    inputs: what the model's trunk takes (input_ids int64 [B, T], position_ids, ...). weights: term -> weight, known beforehand.
    counts: False where it is computed only because other ranks compute too; it then adds nothing.
    tokens: the number of positions that hold text. labels: int64 [B, T], -100 for none. extra: what else the loss needs.
    """

    inputs: dict[str, Tensor]
    weights: dict[str, float]
    tokens: int
    labels: Tensor | None = None
    counts: bool = True
    extra: dict[str, Tensor] = field(default_factory=dict)

    def to(self, device: torch.device) -> Batch:
        def move(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}

        labels = None if self.labels is None else self.labels.to(device, non_blocking=True)
        return replace(self, inputs=move(self.inputs), labels=labels, extra=move(self.extra))


@dataclass(frozen=True, slots=True)
class Figure:
    """A named figure: the nats that a model spends on `tokens` tokens of text. The step turns it into bits per byte of that text.

    bits_per_byte: the text's own likelihood, each token given those before it in some order. pseudo_bits_per_byte: each token
    given all others. Other names end in _bits_per_byte and say what is given.
    """

    name: str
    nats: float
    tokens: int


def generators(count: int, *seed: int, first: int = 0) -> list[Generator]:
    """Return the generators of `count` rows, the first of them number `first`: the same whoever prepares a row."""
    import numpy as np

    return [np.random.default_rng([*seed, first + number]) for number in range(count)]


class Objective(Component):
    """A loss over batches. Its terms are added with weight one each, after division by their own weights."""

    drawer: ClassVar[str] = "septet.train.objectives"
    fits: ClassVar[frozenset[str]] = frozenset({"decoder"})
    """The architectures that can learn it: decoder, encoder, permuted, encoder-decoder."""
    learns_from: ClassVar[Literal["text", "conversations", "pairs", "labels"]] = "text"
    """What its rows are: packed rows of text, conversations, preference pairs, or texts with labels."""
    pairs: ClassVar[bool] = False
    """True where the model needs BERT's head that judges two segments."""
    partners: ClassVar[bool] = False
    """True where each row comes with a second one, drawn at random: a pair (row, other row)."""
    around: ClassVar[int] = 0
    """How many tokens it puts around a piece of text, at most; rows are packed shorter by so many."""
    couples: ClassVar[bool] = False
    """True where examples of a batch see each other (InfoNCE): such a batch is never split."""
    ragged: ClassVar[bool] = False
    """True where the shapes of its batches differ from step to step."""
    compiles: ClassVar[bool] = True
    """False where its loss is over a head of its own, which `Model.compile` leaves as it is."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """Names of the frozen models that `loss` takes: reference, reward, teacher."""

    @abstractmethod
    def prepare(self, rows: Sequence[Any], tokenizer: Any, rngs: Sequence[Generator]) -> Batch:
        """Make tensors of rows. What is drawn for a row comes from its own generator in `rngs`: however a batch is split, over
        micro-batches or over processes, each row becomes the same."""

    @abstractmethod
    def loss(self, batch: Batch, model: Model, state: State, **frozen: Model) -> dict[str, Term]:
        """Return the terms by name; each weight equals `batch.weights[name]` (figures not minimised may have their own)."""

    def measure(
        self, model: Model, rows: Sequence[Any], last: Mapping[str, float], *, settled: Settled
    ) -> Figure | None:
        """Return a figure over held-out rows that does not depend on the tokenizer, or None where the objective defines none.

        last: what `evaluate` found over the same rows. Called without gradient, in evaluation mode.
        """
        return None

    def suited(self, architecture: str) -> Self:
        """Return the objective for an architecture that it fits; most are the same for all of theirs."""
        return self

    def apart(self) -> Self:
        """Return the objective with a row for each example, for adapters that do not work where a row holds several."""
        return self

    def start(self, model: Model) -> State:
        """Return the state before the first step; empty for most."""
        return {}
