"""IA3: keys, values and the inside of feed-forward are scaled by learned vectors; nothing else learns.

k = l_k * (W_k x), v = l_v * (W_v x), and W_out (l_f * h) for the last map of a feed-forward block; all l are one at first, so that
the model is exactly its base (Liu et al. 2022, https://arxiv.org/abs/2205.05638, section 3.3). Done by peft. Where one map makes
queries too (GPT-2, Falcon, ModernBERT), they are scaled with keys and values.

What it is not: able to learn much; it has some thousand parameters, and wants a high learning rate.

    septet finetune --adapter ia3 ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from septet.train.adapter import PeftAdapter

if TYPE_CHECKING:
    from septet.nn.model import Model

__all__ = ["Ia3"]


class Ia3(PeftAdapter):
    """Learned scales of keys, values and the inside of feed-forward."""

    peak: ClassVar[float] = 3e-2

    targets: tuple[str, ...] = ()
    """Maps whose outputs are scaled, by ends of module names; none: those of keys and values."""
    feed_forward: tuple[str, ...] = ()
    """Maps whose inputs are scaled; none: the last of each feed-forward block."""

    def learning_rate(self, model: Model) -> float:
        """Return `peak`: a scale near one needs the same steps at any width."""
        return self.peak

    def configuration(self, model: Model, common: dict[str, Any]) -> Any:
        from septet.nn.quantised import peft
        from septet.train.targets import keys_and_values, linear_maps, targets_of

        own, inside = ([], []) if self.targets and self.feed_forward else keys_and_values(model)
        outputs = targets_of(model, self.targets or own) if self.targets or own else []
        inputs = targets_of(model, self.feed_forward or inside)
        # whole names: BERT's `output.dense` ends the names of two maps, and only one is of the feed-forward
        maps = [name for name in linear_maps(model) if not name.endswith("attention.output.dense")]
        ends = tuple(f".{end}" for end in inputs)
        inputs = [name for name in maps if f".{name}".endswith(ends)]
        return peft().IA3Config(**common, target_modules=[*outputs, *inputs], feedforward_modules=inputs)
