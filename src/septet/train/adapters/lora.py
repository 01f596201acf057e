"""LoRA: a low-rank matrix beside each chosen weight learns, the weight itself does not; also rsLoRA and DoRA.

y = W x + s B A x, with A [rank, in] random and B [out, rank] zero at first, so that at the start the model is exactly its base.
Done by peft; the adapter's files are peft's, and `PeftModel.from_pretrained` opens them.

- plain: s = alpha / rank (Hu et al. 2021, https://arxiv.org/abs/2106.09685, section 4.1);
- rslora: s = alpha / sqrt(rank), which keeps the size of the update at high ranks (Kalajdzievski 2023,
  https://arxiv.org/abs/2312.03732, theorem 3.2);
- dora: the rows of W + s B A are brought to learned lengths m, which begin as those of W (Liu et al. 2024,
  https://arxiv.org/abs/2402.09353, equation 5).

What it is not: quantised; that is `qlora`.

    septet finetune --adapter '{kind: lora, rank: 64, variant: rslora}' ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from septet.train.adapter import PeftAdapter

if TYPE_CHECKING:
    from septet.nn.model import Model

__all__ = ["Lora"]


class Lora(PeftAdapter):
    """Low-rank matrices beside the weights of attention and feed-forward."""

    # at the default scale of 2 the packaged encoder (width 384) ends at chance with 3e-3 and learns with 1e-3. Published: 4e-4 to
    # 5e-4 at width 768 with half that scale (Hu et al. 2021, appendix D), and 2e-4 for 7 to 13 B with an eighth of it (Dettmers et
    # al. 2023, appendix B); 2e-4 at a scale of 1 to 2 is what trainers suggest today
    peak: ClassVar[float] = 5e-3
    falls: ClassVar[int] = 4
    least: ClassVar[float] = 2e-4
    version: ClassVar[int] = 2

    rank: int = Field(default=16, ge=1)
    """Rank of the update; its parameters are rank x (in + out) for each weight."""
    alpha: float | None = Field(default=None, gt=0)
    """The update is scaled by alpha / rank (rslora: by alpha / sqrt(rank)); none: so that the scale is 2."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the adapter's inputs that are dropped while training."""
    targets: Literal["all", "attention"] | tuple[str, ...] = "all"
    """Which weights: of attention and feed-forward, of attention alone, or ends of module names."""
    variant: Literal["plain", "rslora", "dora"] = "plain"
    """LoRA itself, with a scale for high ranks, or with learned lengths of the rows."""

    @property
    def scale_numerator(self) -> float:
        """alpha, or what gives the scale 2."""
        if self.alpha is not None:
            return self.alpha
        return 2.0 * (self.rank**0.5 if self.variant == "rslora" else self.rank)

    def configuration(self, model: Model, common: dict[str, Any]) -> Any:
        from septet.nn.quantised import peft
        from septet.train.targets import targets_of

        return peft().LoraConfig(
            **common,
            r=self.rank,
            lora_alpha=self.scale_numerator,
            lora_dropout=self.dropout,
            target_modules=targets_of(model, self.targets),
            use_rslora=self.variant == "rslora",
            use_dora=self.variant == "dora",
            bias="none",
        )
