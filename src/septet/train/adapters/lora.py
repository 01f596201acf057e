"""LoRA: a low-rank matrix beside each chosen weight learns, the weight itself does not (Hu et al. 2021, arXiv:2106.09685).

y = W x + (alpha / rank) B A x, with A [rank, in] random and B [out, rank] zero at first, so that at the start the model is exactly
its base (section 4.1). Done by peft; the adapter's files are peft's, and `PeftModel.from_pretrained` opens them.

What it is not: quantised (QLoRA) or weight-decomposed (DoRA).

    septet finetune --adapter '{kind: lora, rank: 16}' ...
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from septet.core.artifact import write_json
from septet.core.errors import ComponentError
from septet.train.adapter import Adapter

if TYPE_CHECKING:
    from septet.nn.model import Model

__all__ = ["Lora"]

TARGETS: dict[str, dict[str, tuple[str, ...]]] = {
    "llama": {
        "attention": ("q_proj", "k_proj", "v_proj", "o_proj"),
        "feed-forward": ("gate_proj", "up_proj", "down_proj"),
    },
    "gpt2": {"attention": ("attn.c_attn", "attn.c_proj"), "feed-forward": ("mlp.c_fc", "mlp.c_proj")},
    "falcon": {"attention": ("query_key_value", "dense"), "feed-forward": ("dense_h_to_4h", "dense_4h_to_h")},
    "opt": {"attention": ("q_proj", "k_proj", "v_proj", "out_proj"), "feed-forward": ("fc1", "fc2")},
    "gpt_neox": {
        "attention": ("query_key_value", "attention.dense"),
        "feed-forward": ("dense_h_to_4h", "dense_4h_to_h"),
    },
    "phi": {"attention": ("q_proj", "k_proj", "v_proj", "dense"), "feed-forward": ("fc1", "fc2")},
}
"""The linear maps of an attention block and of a feed-forward block, by model type."""
for _same in ("mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "smollm3", "olmo", "olmo2", "granite"):
    TARGETS[_same] = TARGETS["llama"]


class Lora(Adapter):
    """Low-rank matrices beside the weights of attention and feed-forward."""

    peak: ClassVar[float] = 5e-3

    rank: int = Field(default=16, ge=1)
    """Rank of the update; its parameters are rank x (in + out) for each weight."""
    alpha: float | None = Field(default=None, gt=0)
    """The update is scaled by alpha / rank; none: alpha is twice the rank."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the adapter's inputs that are dropped while training."""
    targets: Literal["all", "attention"] | tuple[str, ...] = "all"
    """Which weights: of attention and feed-forward, of attention alone, or ends of module names."""

    def attach(self, model: Model, *, seed: int) -> Model:
        import torch  # a step that names an adapter in its fields stays light
        from peft import LoraConfig, get_peft_model  # 2 s to import

        from septet.nn.model import Model

        config = LoraConfig(
            task_type="CAUSAL_LM",
            r=self.rank,
            lora_alpha=self.scale_numerator,  # type: ignore[arg-type] -- peft divides, a float serves
            lora_dropout=self.dropout,
            target_modules=self._targets(model),
            bias="none",
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = get_peft_model(model.base, config)
        return Model(module, model.tokenizer)

    @property
    def scale_numerator(self) -> float:
        return 2.0 * self.rank if self.alpha is None else self.alpha

    def merge(self, model: Model) -> Model:
        """Add (alpha / rank) B A to each weight, in the weights' own type (float32 here)."""
        from septet.nn.model import Model

        assert hasattr(model.module, "merge_and_unload"), "this model has no LoRA to merge"
        module = model.module.merge_and_unload()  # type: ignore[operator]
        module.requires_grad_(True)
        return Model(module, model.tokenizer)

    def save(self, model: Model, folder: Path) -> bool:
        module: Any = model.module
        module.save_pretrained(str(folder), safe_serialization=True)
        (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card
        path = folder / "adapter_config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        # the base is named by the artifact's manifest; a path of the machine that trained it would be of no use elsewhere, and
        # would make equal adapters differ. The targets are a set in peft, whose order changes from process to process.
        config |= {"base_model_name_or_path": None, "target_modules": sorted(config["target_modules"])}
        write_json(path, config)
        return True

    def _targets(self, model: Model) -> list[str]:
        """Return ends of module names, each of which the model has."""
        linear = [
            name
            for name, module in model.base.named_modules()
            if type(module).__name__ in ("Linear", "Conv1D") and module is not model.base.get_output_embeddings()
        ]
        if isinstance(self.targets, tuple):
            ends = self.targets
        else:
            known = TARGETS.get(model.config.model_type)
            if known is None and self.targets == "attention":
                raise ComponentError(
                    f"Which weights of a '{model.config.model_type}' model belong to attention is not known here. "
                    f"Name them: targets: [...]. Its linear maps end in: {', '.join(_ends(linear))}."
                )
            ends = tuple(_ends(linear)) if known is None else known["attention"]
            if known is not None and self.targets == "all":
                ends += known["feed-forward"]
        missing = [end for end in ends if not any(name == end or name.endswith(f".{end}") for name in linear)]
        if missing or not ends:
            raise ComponentError(
                f"This '{model.config.model_type}' model has no weights named {', '.join(missing) or 'at all'}. "
                f"Its linear maps end in: {', '.join(_ends(linear))}."
            )
        return list(ends)


def _ends(names: list[str]) -> list[str]:
    return sorted({name.rsplit(".", 1)[-1] for name in names})
