"""A model as objectives and adapters see it: one face for a Hugging Face module, whichever family.

Shapes: B rows, T positions in a row, N positions taken, D width, V vocabulary.

`outputs` gives hidden states with lazy logits, `nll` and `nll_sum` the negative log-likelihood of labels without ever holding
all logits, `without_adapter` the model beneath its adapter. Inputs are a mapping: `input_ids` [B, T], and optionally
`position_ids` [B, T], which restart at 0 where a packed document begins, and `attention_mask` [B, T]. Labels are aligned with
the positions that predict them: `labels[b, t]` is the token that follows `input_ids[b, t]`, or -100 for none.

What it is not: an architecture. Those are transformers'; what they compute is unchanged.

    python -m pytest tests/nn/test_model.py
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from septet.nn.cross_entropy import nll_each, nll_sum

__all__ = ["IGNORE", "Model", "Outputs", "quiet_bars"]

IGNORE = -100
"""The label of a position that predicts nothing."""

ISOLATING = frozenset({"llama", "qwen2", "qwen3", "mistral", "gpt2"})
"""Model types where restarting `position_ids` alone keeps packed documents apart (tested); others get an explicit mask."""


def quiet_bars() -> None:
    """Silence transformers' own progress bars; progress is told through events."""
    from transformers.utils import logging  # already imported wherever there is a model

    logging.disable_progress_bar()


@dataclass(frozen=True)
class Outputs:
    """Hidden states [B, T, D], or [N, D] where positions were chosen; `logits` is made when asked for."""

    hidden: Tensor
    head: nn.Module

    @property
    def logits(self) -> Tensor:
        """Logits [..., V] of every position in `hidden`, float32."""
        return self.head(self.hidden).float()


class Model:
    """A causal language model with its tokenizer, on a device.

    module: a transformers model, or a peft model around one. tokenizer: a transformers tokenizer.
    """

    def __init__(self, module: nn.Module, tokenizer: Any, *, device: torch.device | str | None = None) -> None:
        self.module = module if device is None else module.to(device)
        self.tokenizer = tokenizer
        self._plain_head: bool | None = None
        self._compiled: nn.Module | None = None

    # -- what it is -------------------------------------------------------------------------------------------------

    @property
    def base(self) -> Any:
        """The transformers module itself, beneath any peft wrapper."""
        return self.module.get_base_model() if hasattr(self.module, "get_base_model") else self.module  # type: ignore[operator]

    @property
    def config(self) -> Any:
        return self.base.config

    @property
    def device(self) -> torch.device:
        return next(self.module.parameters()).device

    @property
    def context(self) -> int:
        """The longest sequence, in tokens, that the configuration allows."""
        return int(getattr(self.config, "max_position_embeddings", 0) or getattr(self.config, "n_positions", 0) or 1024)

    def trainable(self) -> dict[str, nn.Parameter]:
        """Return the parameters that learn, by name, each once (tied ones too)."""
        return {name: p for name, p in self.module.named_parameters() if p.requires_grad}

    def num_parameters(self) -> int:
        return sum(p.numel() for p in self.module.parameters())

    def head(self, name: str = "lm") -> nn.Module:
        """Return a head by name; "lm" is the vocabulary head, a linear map [D] -> [V]."""
        assert name == "lm", f"a causal language model has the head 'lm', not '{name}'"
        return self.base.get_output_embeddings()

    # -- what it computes -------------------------------------------------------------------------------------------

    def outputs(self, inputs: Mapping[str, Tensor], at: Tensor | None = None) -> Outputs:
        """Run the trunk; `at`, a bool mask [B, T], keeps only those positions ([N, D])."""
        trunk = self._compiled if self._compiled is not None else self.base.base_model
        hidden = trunk(**self._isolated(inputs), use_cache=False).last_hidden_state
        return Outputs(hidden if at is None else hidden[at], self.head())

    def nll(self, inputs: Mapping[str, Tensor], labels: Tensor) -> Tensor:
        """Return -log p(label) at every position, float32 [B, T]; 0 where the label is -100."""
        taken = labels != IGNORE
        if self._head_is_plain():
            values = nll_each(self.outputs(inputs, at=taken).hidden, self._head_weight(), labels[taken])
        else:
            values = nn.functional.cross_entropy(self._logits(inputs)[taken], labels[taken], reduction="none")
        return torch.zeros(labels.shape, dtype=torch.float32, device=values.device).masked_scatter(taken, values)

    def nll_sum(self, inputs: Mapping[str, Tensor], labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the sum over positions of weight * -log p(label), a float32 scalar; cheaper than summing `nll`.

        labels int64 [B, T] with -100 for none; weights float32 [B, T], one by default, without gradient.
        """
        taken = labels != IGNORE
        chosen = None if weights is None else weights[taken]
        if self._head_is_plain():
            return nll_sum(self.outputs(inputs, at=taken).hidden, self._head_weight(), labels[taken], chosen)
        values = nn.functional.cross_entropy(self._logits(inputs)[taken], labels[taken], reduction="none")
        return (values if chosen is None else values * chosen).sum()

    @contextlib.contextmanager
    def without_adapter(self) -> Iterator[None]:
        """Within, the model computes as if its adapter were not there: the reference of an alignment."""
        assert hasattr(self.module, "disable_adapter"), "this model has no adapter to leave out"
        with self.module.disable_adapter():  # type: ignore[operator]
            yield

    def compile(self) -> None:
        """Compile the trunk with torch.compile (needs a C++ compiler on a processor); parameters stay the same objects."""
        self._compiled = torch.compile(self.base.base_model)  # type: ignore[assignment]

    def _logits(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return self.base(**self._isolated(inputs), use_cache=False).logits.float()

    def _head_weight(self) -> Tensor:
        return self.head().weight  # type: ignore[return-value]

    def _head_is_plain(self) -> bool:
        # some architectures scale or cap their logits (Gemma 2, Cohere, Granite), some heads have a bias or an adapter; rather
        # than know them all, the short way is compared once with the model's own logits
        if self._plain_head is None:
            head = self.head()
            self._plain_head = type(head) is nn.Linear and head.bias is None and self._short_way_agrees(head)
        return self._plain_head

    @torch.no_grad()
    def _short_way_agrees(self, head: nn.Linear) -> bool:
        was_training = self.module.training
        self.module.eval()
        try:
            ids = torch.arange(8, device=self.device)[None] % self.config.vocab_size
            with torch.autocast(self.device.type, enabled=False):
                hidden = self.base.base_model(input_ids=ids, use_cache=False).last_hidden_state
                theirs = self.base(input_ids=ids, use_cache=False).logits.float()
                ours = nn.functional.linear(hidden, head.weight).float()
            return bool(torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3))
        finally:
            self.module.train(was_training)

    def _isolated(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Add an explicit mask where restarting positions would not keep packed documents apart."""
        found = dict(inputs)
        positions = found.get("position_ids")
        if positions is None or "attention_mask" in found or self.config.model_type in ISOLATING:
            return found
        starts = positions == 0
        if bool((starts.sum(dim=1) <= 1).all()):
            return found
        document = starts.cumsum(dim=1)
        size = positions.shape[1]
        causal = torch.ones(size, size, dtype=torch.bool, device=positions.device).tril()
        allowed = (document[:, :, None] == document[:, None, :]) & causal
        dtype = next(self.module.parameters()).dtype
        mask = torch.zeros(allowed.shape, dtype=dtype, device=positions.device)
        found["attention_mask"] = mask.masked_fill_(~allowed, torch.finfo(dtype).min)[:, None]
        return found

    # -- keeping ----------------------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> None:
        """Write a Hugging Face folder: config.json, model.safetensors, generation_config.json, the tokenizer's files.

        A peft model must be merged first (`merge_and_unload`); its adapter is saved by who attached it.
        """
        assert self.base is self.module, "merge the adapter before saving the model"
        quiet_bars()
        self.module.save_pretrained(str(folder))  # type: ignore[operator]
        self.tokenizer.save_pretrained(str(folder))
