"""A family: from one dial, depth, to a whole configuration.

`dial` derives the sizes and the training settings from depth and vocabulary; each can be overridden by name; `config` makes
the Hugging Face configuration. What was derived is printed and kept in the facts.

What it is not: a model zoo. The architectures are transformers'.

    python -c "from septet.nn.families.llama import Llama; print(Llama().dial(4, vocabulary=4096))"
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from septet.core.component import Component
from septet.core.errors import ComponentError

__all__ = ["Dial", "Family"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial:
    """What depth derives. Sizes are in units of the model; lengths in tokens.

    width: D. heads: attention heads. feed_forward: inner width of the feed-forward part. context: the longest sequence.
    learning_rate: the peak. batch_tokens: tokens of one optimizer step. tokens: tokens of the whole training.
    """

    depth: int
    vocabulary: int
    width: int
    heads: int
    feed_forward: int
    context: int
    learning_rate: float
    batch_tokens: int
    tokens: int

    def with_(self, **changes: Any) -> Dial:
        """Return the dial with the given fields in place of the derived ones; None leaves a field as it is."""
        dial = replace(self, **{name: value for name, value in changes.items() if value is not None})
        if dial.width % dial.heads or (dial.width // dial.heads) % 2:
            raise ComponentError(
                f"width {dial.width} and {dial.heads} heads do not fit: a head needs an even whole number of dimensions. "
                f"Try {max(1, dial.width // 64)} heads."
            )
        return dial

    def facts(self) -> dict[str, Any]:
        return asdict(self)


class Family(Component):
    """An architecture that a depth dial can size."""

    drawer: ClassVar[str] = "septet.nn.families"

    @abstractmethod
    def dial(self, depth: int, *, vocabulary: int) -> Dial:
        """Derive sizes and training settings from depth and the vocabulary's size."""

    @abstractmethod
    def sizes(self, depth: int, width: int) -> dict[str, int]:
        """Return the fields of the dial that follow from a width."""

    @abstractmethod
    def config(self, dial: Dial, tokenizer: Any) -> Any:
        """Return the transformers configuration for a dial; special token ids come from the tokenizer."""
