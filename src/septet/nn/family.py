"""A family: from one dial, depth, to a whole configuration.

`dial` derives the sizes and the training settings from depth and vocabulary; each can be overridden by name; `config` makes
the Hugging Face configuration. What was derived is printed and kept in the facts.

What it is not: a model zoo. The architectures are transformers'.

    python -c "from septet.nn.families.llama import Llama; print(Llama().dial(4, vocabulary=4096))"
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from septet.core import registry
from septet.core.component import Component
from septet.core.errors import ComponentError

if TYPE_CHECKING:
    from torch import nn

    from septet.nn.architecture import Architecture

__all__ = ["HEAD_DIM", "Dial", "Family", "family_of"]

HEAD_DIM = 64


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
    architecture: ClassVar[Architecture] = "decoder"
    """Who sees whom; it decides which objectives fit."""
    objective: ClassVar[str] = "causal-lm"
    """The kind of objective that it was made for."""
    tokens_like: ClassVar[str] = "none"
    """The family of special tokens that its tokenizer needs (the field `family` of the step `tokenizer`)."""
    judges_pairs: ClassVar[bool] = False
    """True where the model has token types for two segments and a head that judges them."""
    sees: ClassVar[str] = ""
    """What a position sees, in a few words."""
    made_for: ClassVar[str] = ""
    """What such models are used for, in a few words."""
    known: ClassVar[str] = ""
    """Known models of the family."""

    def dial(self, depth: int, *, vocabulary: int) -> Dial:
        """Width is 32 x depth; 1.5 training tokens for each parameter of the matrices; the rate falls with the depth.

        Thin, because runs here are short: at equal time on two cores, width 128 at depth 4 beat 192 and 256, which see less text.
        """
        width = 32 * depth
        sizes = self.sizes(depth, width)
        return Dial(
            depth=depth,
            vocabulary=vocabulary,
            width=width,
            **sizes,
            context=256,
            learning_rate=min(0.01, 0.04 / depth),
            batch_tokens=256 * max(4, 2 * depth),
            tokens=self.matrices(depth, width, sizes["feed_forward"]) * 3 // 2,
        )

    def sizes(self, depth: int, width: int) -> dict[str, int]:
        """Heads of 64 dimensions; the feed-forward part is four times as wide as the model."""
        return {"heads": max(1, width // HEAD_DIM), "feed_forward": 4 * width}

    def matrices(self, depth: int, width: int, feed_forward: int) -> int:
        """Return the number of parameters in the layers' matrices: four square ones for attention, and two."""
        return depth * (4 * width * width + 2 * width * feed_forward)

    def build(self, config: Any, *, pairs: bool = False) -> nn.Module:
        """Return a transformers model with weights drawn anew; pairs: with a head that judges two segments."""
        from septet.nn.architecture import from_config

        if pairs and not self.judges_pairs:
            raise ComponentError(f"the family '{self.kind}' has no head for pairs of sentences; 'bert' has one.")
        return from_config(config, self.architecture, pairs=pairs)

    @abstractmethod
    def config(self, dial: Dial, tokenizer: Any) -> Any:
        """Return the transformers configuration for a dial; special token ids come from the tokenizer."""


def family_of(model_type: str, architecture: str) -> Family:
    """Return the family of a transformers model type, or for one that has no file here the likeliest of its architecture."""
    known = registry.names(Family.drawer)
    like = {"decoder": "llama", "encoder": "roberta", "permuted": "xlnet", "encoder-decoder": "t5"}[architecture]
    return Family.parse(model_type if model_type in known else like)
