"""What it takes to fine-tune a model with each adapter: parameters that learn, memory, arithmetic; from sizes alone.

The model is made without weights (on the device "meta"), the adapter is put on it, and what a forward pass keeps is asked of
the two (`counts.saved_bytes`), so that frozen weights keep what they keep; LoRA's matrices are counted beside it. Arithmetic is
`counts.flops`: of the six operations for each weight and position, two are the forward pass, two the gradient of what came in,
two the weight's own gradient; what does not learn does without the last two, and layers below the first that learns do without
four.

Weights are float32, 4 bytes each, as `finetune` opens them. Those of `qlora`'s quantised maps are 4 bits with a scale of 8 bits for
64, which has one of 32 bits for 256 (Dettmers et al. 2023, arXiv:2305.14314, section 3: 0.127 bits a weight); the model is opened
whole before it is quantised, so the peak is the larger of the two.

What it is not: a measurement, or a check of what is learned.

    python -m pytest tests/train/test_adapting.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch

from septet.core.errors import ComponentError
from septet.nn.architecture import Architecture, from_config
from septet.nn.cross_entropy import CHUNK
from septet.nn.model import Model
from septet.train.adapter import Adapter
from septet.train.estimate import standin
from septet.train.estimate.counts import Counts, count, flops, saved_bytes
from septet.train.estimate.forecast import LIBRARIES
from septet.train.estimate.memory import Need, head_bytes
from septet.train.objective import Batch
from septet.train.objectives.supervised import ROW
from septet.train.targets import linear_maps, targets_of

__all__ = ["KINDS", "Cost", "Load", "costs_of", "skeleton"]

KINDS = ("full", "last-layers", "lora", "qlora", "ia3", "prompt", "p-tuning", "prefix")
NF4 = (4 + 8 / 64 + 32 / (64 * 256)) / 8
"""Bytes of a weight in four bits, with its share of the scales."""
LIKE = {"longformer": "roberta", "led": "bart"}
"""Families whose attention is counted as another's of the same sizes, which sees everything: an upper bound."""
_POSITIONS = {"roberta": "max_position_embeddings", "bart": "max_encoder_position_embeddings"}
OF_LIKE = {
    "roberta": ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    "bart": ("vocab_size", "d_model", "encoder_layers", "decoder_layers", "encoder_attention_heads", "encoder_ffn_dim",
             "decoder_attention_heads", "decoder_ffn_dim"),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The rows of a training. batch: rows of one step. packed: rows of tokens that those come to where several share one.

    read, written: tokens of the longest row. total_read, total_written: positions of one pass over all rows, padding included.
    writes: whether the vocabulary's head is learned with.
    """

    batch: int
    packed: int
    rows: int
    read: int
    written: int
    total_read: int
    total_written: int
    writes: bool

    @classmethod
    def of(
        cls,
        read: Sequence[int],
        written: Sequence[int],
        *,
        rows: int,
        batch: int,
        room: int | None,
        packs: bool = False,
    ) -> Load:
        """Count what batches of rows in their order come to; `rows` that are more count in proportion.

        room: tokens of a row at most. read and written: as `septet.data.profile.Profile` has them. packs: whether rows share a
        row of tokens (`septet.train.objectives.supervised`); else each is padded to the longest of its batch.
        """
        most = room or 10**9
        shown = [min(size, most) for size in read]
        said = [min(size, most) for size in written]

        def positions(sizes: Sequence[int]) -> int:
            parts = [sizes[start : start + batch] for start in range(0, len(sizes), batch)]
            counted = sum(sizes) if packs else sum(max(part) * len(part) for part in parts)
            return round(counted * rows / max(1, len(sizes)))

        together = batch = min(batch, rows)
        longest = max(shown, default=1), max(said, default=0)
        if packs:
            whole = [a + b for a, b in zip(shown, said or [0] * len(shown), strict=True)]
            fullest = max(sum(whole[start : start + batch]) for start in range(0, len(whole), batch))
            together = max(1, -(-fullest // max(sum(longest), ROW)))
        return cls(
            batch=batch,
            packed=together,
            rows=rows,
            read=longest[0],
            written=longest[1],
            total_read=positions(shown),
            total_written=positions(said) if said else 0,
            writes=bool(said),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What an adapter takes. learns: parameters. opening: bytes while the model is opened. flops: of one pass over the rows.

    places: positions of the context that virtual tokens take. why_not: where the model has no place for it; the rest is then 0.
    """

    adapter: str
    learns: int = 0
    need: Need | None = None
    opening: float = 0.0
    flops: float = 0.0
    places: int = 0
    why_not: str = ""

    @property
    def peak(self) -> float:
        """Bytes at most."""
        return 0.0 if self.need is None else max(self.need.peak, self.opening)

    def fits(self, room: float | None) -> bool:
        return self.need is not None and (room is None or self.peak <= room)

    def at(self, rows: int) -> Cost:
        """Return the cost with so many rows of a step, still in one pass."""
        if self.need is None or rows == self.need.rows:
            return self
        return replace(self, need=replace(self.need.with_rows(rows), together=False))

    def batch_that_fits(self, room: float) -> int:
        """Return the most rows of a step with which it fits, 0 where not even one does."""
        if self.need is None or self.opening > room:
            return 0
        return next((rows for rows in range(self.need.rows, 0, -1) if self.at(rows).peak <= room), 0)


def skeleton(shape: Mapping[str, Any], architecture: Architecture) -> Model:
    """Return a model without weights. shape: model_type and sizes, or the content of a config.json."""
    from transformers import AutoConfig  # 2 s to import

    sizes = {name: value for name, value in shape.items() if name not in ("model_type", "transformers_version")}
    config = AutoConfig.for_model(shape["model_type"], **sizes)
    with torch.device("meta"):
        module = from_config(config, architecture)
    # a tokenizer of the right special tokens is all that virtual tokens ask for
    return Model(module, standin.tokenizer(6000, "none"), device=torch.device("meta"))


def costs_of(
    shape: Mapping[str, Any], architecture: Architecture, load: Load, kinds: Sequence[str] = KINDS
) -> dict[str, Cost]:
    """Return what each adapter takes with a model of this shape, by kind."""
    if shape["model_type"] in LIKE:
        like = LIKE[shape["model_type"]]
        kept = {name: shape[name] for name in OF_LIKE[like] if name in shape}
        shape = {"model_type": like, **kept, "max_position_embeddings": shape.get(_POSITIONS[like], 4098)}
    base = skeleton(shape, architecture)
    counts = count(base.module, architecture)
    whole = _kept(base, load)
    found: dict[str, Cost] = {}
    for kind in kinds:
        adapter: Any = Adapter.parse(kind)
        try:
            if kind in ("lora", "qlora"):
                # as many as peft makes; what is kept is taken as where all weights learn
                learns, quantised, activations = *_matrices(base, adapter), whole
                if kind == "lora":
                    quantised = 0
                beside = learns
            elif kind == "full":
                learns, quantised, activations, beside = counts.parameters, 0, whole, 0
            else:
                model = adapter.attach(skeleton(shape, architecture), seed=0)
                learns = sum(p.numel() for p in model.trainable().values())
                quantised, activations = 0, _kept(model, load)
                beside = 0 if kind == "last-layers" else learns
        except (ComponentError, RuntimeError) as error:
            reason = (
                str(error)
                if isinstance(error, ComponentError)
                else f"of a '{shape['model_type']}' this cannot be counted without weights."
            )
            found[kind] = Cost(adapter=kind, why_not=reason)
            continue
        found[kind] = Cost(
            adapter=kind,
            learns=learns,
            need=_need(base.config, load, counts, learns, beside, quantised, activations, packs=adapter.packs),
            opening=LIBRARIES + 4.0 * counts.parameters if kind == "qlora" else 0.0,
            flops=_pass(base.config, architecture, load, counts, kind, adapter),
            places=adapter.places,
        )
    return found


def _matrices(model: Model, adapter: Any) -> tuple[int, int]:
    """Return the parameters of LoRA's matrices, rank x (in + out) for each map, and the weights that QLoRA puts into four bits."""
    ends = tuple(f".{end}" for end in targets_of(model, adapter.targets))
    stay = set(getattr(model.base, "_keep_in_fp32_modules", None) or ())
    learns = quantised = 0
    for name in linear_maps(model):
        weight = cast(Any, model.base.get_submodule(name)).weight
        if f".{name}".endswith(ends):
            learns += adapter.rank * sum(weight.shape)
        if not stay & set(name.split(".")):
            quantised += weight.numel()
    return learns, quantised


def _need(
    config: Any,
    load: Load,
    counts: Counts,
    learns: int,
    beside: int,
    quantised: int,
    activations: float,
    *,
    packs: bool,
) -> Need:
    """Return the memory. beside: parameters that stand beside the model's own. activations: of one row of tokens."""
    states = 8.0 * learns  # AdamW's two averages
    together = load.packed if packs else load.batch
    labels = together * load.written if load.writes else 0
    return Need(
        weights=4.0 * (counts.parameters - quantised + beside) + NF4 * quantised,
        gradients=4.0 * learns,
        states=states,
        activations=together * activations,
        head=head_bytes(labels, int(config.vocab_size), int(config.hidden_size), CHUNK) if labels else 0.0,
        rows=load.batch,
        context=load.read + load.written,
        depth=int(config.num_hidden_layers),
        width=int(config.hidden_size),
        fixed=LIBRARIES,
        copies=2.0 * (4.0 * learns + states),
        together=False,
    )


def _inputs(model: Model, read: int, written: int) -> list[dict[str, torch.Tensor]]:
    """Return the inputs of one row on the device meta, in the forms in which families take a mask; the first that works counts."""

    def ids(length: int) -> torch.Tensor:
        return torch.zeros(1, max(1, length), dtype=torch.int64, device="meta")

    if model.architecture == "encoder-decoder":
        return [{"input_ids": ids(read), "decoder_input_ids": ids(written or 1)}]
    length = max(1, read + (written if model.architecture == "decoder" else 0))
    if getattr(model.config, "max_position_embeddings", 0) > 0:  # virtual tokens leave less
        length = min(length, model.context)
    # what is in a mask cannot be looked at without values; one of every pair of positions is not looked at
    pairs = torch.zeros(1, 1, length, length, device="meta")
    plain = torch.ones(1, length, dtype=torch.int64, device="meta")
    return [
        {"input_ids": ids(length), "attention_mask": pairs},
        {"input_ids": ids(length), "attention_mask": plain},
        {"input_ids": ids(length)},
    ]


def _kept(model: Model, load: Load) -> float:
    """Return the bytes that a forward pass over the longest row keeps for the backward pass."""
    model.module.train()
    failed: Exception | None = None
    for inputs in _inputs(model, load.read, load.written):
        try:
            return float(saved_bytes(model, inputs))
        except (RuntimeError, IndexError, ValueError) as error:
            failed = error
    raise ComponentError(f"what a '{model.config.model_type}' keeps cannot be counted without weights: {failed}")


def _pass(config: Any, architecture: Architecture, load: Load, counts: Counts, kind: str, adapter: Any) -> float:
    """Return the operations of one pass over the rows."""
    read, written = max(1, load.total_read // load.rows), load.total_written // load.rows
    virtual = adapter.places
    if architecture == "encoder-decoder":
        inputs = {
            "input_ids": torch.zeros(1, read, device="meta"),
            "decoder_input_ids": torch.zeros(1, max(1, written), device="meta"),
        }
    else:
        inputs = {
            "input_ids": torch.zeros(1, read + virtual + (written if architecture == "decoder" else 0), device="meta")
        }
    labels = torch.full((1, max(1, written)), 0 if load.writes else -100)
    batch = Batch(inputs=inputs, weights={}, tokens=0, labels=labels)
    # XLNet with a task's head runs one stream only, as an encoder does
    seen: Architecture = "encoder" if architecture == "permuted" else architecture
    attention = flops(replace(counts, matrices=0, head=0, encoder=0, relative=0), config, batch, seen)
    products = flops(counts, config, batch, seen) - attention
    if kind == "last-layers":
        share = min(1.0, adapter.layers / int(config.num_hidden_layers))
        each = 1 / 3 + 2 / 3 * share
        return load.rows * (products + attention) * each
    return load.rows * (products * (1.0 if kind == "full" else 2 / 3) + attention)
