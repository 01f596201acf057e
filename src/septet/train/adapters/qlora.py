"""QLoRA: LoRA beside weights that are kept in four bits (NF4), so that a larger model fits into memory.

Dettmers et al. 2023, https://arxiv.org/abs/2305.14314: the trunk's linear maps are quantised and do not learn; the low-rank
matrices beside them are float32 (`septet.nn.quantised` does the former, peft the latter). What is quantised computes a little
different, and the matrices learn beside that; so merging has two answers, and `drift` tells how far each is from the trained model:

- original: into the weights as they were before, which is better where the four bits only saved memory;
- dequantised: into the weights that the trained model computed with, which is what was learned, exactly up to rounding.

What it is not: faster. On a processor the four-bit weights are dequantised for every product. The model is opened as it is and then
quantised, and the weights as they were wait in a temporary file, for merging.

    septet finetune --adapter '{kind: qlora, rank: 16}' ...
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from septet.train.adapter import PeftAdapter
from septet.train.adapters.lora import Lora

if TYPE_CHECKING:
    from torch import Tensor

    from septet.nn.model import Model

__all__ = ["Qlora"]

WAYS = ("original", "dequantised")


class Qlora(PeftAdapter):
    """Low-rank matrices beside four-bit weights of attention and feed-forward."""

    peak: ClassVar[float] = Lora.peak
    falls: ClassVar[int] = Lora.falls
    least: ClassVar[float] = Lora.least
    version: ClassVar[int] = 2

    rank: int = Field(default=16, ge=1)
    """Rank of the update."""
    alpha: float | None = Field(default=None, gt=0)
    """The update is scaled by alpha / rank; none: alpha is twice the rank."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the adapter's inputs that are dropped while training."""
    targets: Literal["all", "attention"] | tuple[str, ...] = "all"
    """Which weights get matrices: of attention and feed-forward, of attention alone, or ends of module names. All are quantised."""
    double: bool = True
    """Whether the scales of the blocks are quantised too: 0.37 bits a weight less."""
    compute: Literal["auto", "float32", "bfloat16"] = "auto"
    """The type of the products with four-bit weights; auto: bfloat16 where the device has it."""
    merge_into: Literal["original", "dequantised"] = "original"
    """Which weights the result is merged into: as they were, or as they were computed with."""

    def prepare(self, model: Model) -> None:
        """Quantise the linear maps of the trunk."""
        import torch

        from septet.nn.device import bfloat16_is_native
        from septet.nn.quantised import quantise
        from septet.train.targets import linear_maps, targets_of

        targets_of(model, self.targets)  # what is wrong with them is said before anything is changed
        half = self.compute == "bfloat16" or (self.compute == "auto" and bfloat16_is_native(model.device))
        # T5 looks at the type of `wo` and would compute in it; transformers says which maps must stay as they are
        stay = set(getattr(model.base, "_keep_in_fp32_modules", None) or ())
        quantise(
            model.base,
            [name for name in linear_maps(model) if not stay & set(name.split("."))],
            compute_dtype=torch.bfloat16 if half else torch.float32,
            double=self.double,
        )

    def configuration(self, model: Model, common: dict[str, Any]) -> Any:
        from septet.nn.quantised import peft
        from septet.train.targets import targets_of

        return peft().LoraConfig(
            **common,
            r=self.rank,
            lora_alpha=2.0 * self.rank if self.alpha is None else self.alpha,
            lora_dropout=self.dropout,
            target_modules=targets_of(model, self.targets),
            bias="none",
        )

    def merge(self, model: Model) -> Model:
        """Return a float32 model; `merge_into` says which weights the matrices are added to."""
        return self.merged(model, self.merge_into)

    def merged(self, model: Model, into: str) -> Model:
        """Return a new float32 model, merged one way of `WAYS`; the given one stays as it is."""
        from septet.nn.model import Model
        from septet.nn.quantised import merged

        return Model(merged(model.module, original=into == "original"), model.tokenizer, device=model.device)

    def drift(self, model: Model, inputs: Mapping[str, Tensor]) -> dict[str, float]:
        import torch

        from septet.nn.heads import first_logits

        def logits(of: Model) -> Tensor:
            with torch.inference_mode():
                return first_logits(of.module.eval()(**inputs))

        trained = logits(model)
        return {into: float((logits(self.merged(model, into)) - trained).abs().max()) for into in WAYS}
