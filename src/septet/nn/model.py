"""A model as objectives and adapters see it: one face for a Hugging Face module, whichever family.

Shapes: B rows, T positions in a row, N positions taken, D width, V vocabulary.

`outputs` gives hidden states with lazy logits, `nll` and `nll_sum` the negative log-likelihood of labels without ever holding
all logits, `without_adapter` the model beneath its adapter. Inputs are a mapping:

- `input_ids` [B, T]; `position_ids` [B, T], which restart at 0 where a packed document begins;
- `documents` [B, T]: the number of the document at each position, 0 for padding; positions of different documents do not see
  each other. Where it is missing, a decoder takes the restarts of its positions for it;
- `token_type_ids` [B, T]: 0 for a first segment, 1 for a second (encoders); `prefix` bool [B, T]: what all may see (decoders);
- `decoder_input_ids`, `decoder_documents`, `decoder_position_ids` [B, T']: the decoder's side of an encoder-decoder;
- `perm_mask` [B, T, T], `target_mapping` [B, P, T]: XLNet's order of factorisation and the P positions to predict.

Labels are aligned with the positions that predict them, -100 for none: for a decoder `labels[b, t]` is the token that follows
`input_ids[b, t]`, for an encoder the token that stood at the masked position, for XLNet there is one for each target.

What it is not: an architecture. Those are transformers'; what they compute is unchanged.

    python -m pytest tests/nn/test_model.py
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from septet.core.errors import ComponentError
from septet.nn.architecture import Architecture, architecture_of, block_mask
from septet.nn.cross_entropy import nll_each, nll_sum
from septet.nn.device import bfloat16_is_native
from septet.nn.dropout import quicken
from septet.nn.packed_attention import takes_documents

__all__ = ["IGNORE", "Model", "Outputs", "VocabularyHead", "longest", "quiet_bars"]

IGNORE = -100
"""The label of a position that predicts nothing."""

ISOLATING = frozenset({"llama", "qwen2", "qwen3", "mistral", "gpt2"})
"""Decoders where restarting `position_ids` alone keeps packed documents apart (tested); others get an explicit mask."""

OFFSET_POSITIONS = frozenset({"roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "roberta-prelayernorm"})
"""Encoders whose positions are counted from the padding token's id plus one."""


def quiet_bars() -> None:
    """Silence transformers' own progress bars and its table of heads that were drawn anew; progress is told through events."""
    from transformers.utils import logging as theirs  # already imported wherever there is a model

    theirs.disable_progress_bar()
    for name in ("modeling_utils", "distributed.tensor_parallel"):
        logging.getLogger(f"transformers.{name}").setLevel(logging.ERROR)


def longest(config: Any, tokenizer: Any) -> int:
    """Return the longest sequence, in tokens, that a configuration allows; with relative positions what the tokenizer says."""
    found = int(getattr(config, "max_position_embeddings", 0) or getattr(config, "n_positions", 0) or 0)
    if config.model_type in OFFSET_POSITIONS:
        found -= int(config.pad_token_id) + 1
    told = int(getattr(tokenizer, "model_max_length", 0) or 0)
    return found if found > 0 else told if 0 < told < 10**9 else 1024


@dataclass(frozen=True)
class Outputs:
    """Hidden states [B, T, D], or [N, D] where positions were chosen; `logits` is made when asked for."""

    hidden: Tensor
    head: Callable[[Tensor], Tensor]

    @property
    def logits(self) -> Tensor:
        """Logits [..., V] of every position in `hidden`, float32."""
        return self.head(self.hidden).float()


@dataclass(frozen=True)
class VocabularyHead:
    """How hidden states become logits: a small network or scale first, then a linear map [D] -> [V] with or without a bias."""

    before: Callable[[Tensor], Tensor]
    weight: Tensor
    bias: Tensor | None

    def __call__(self, hidden: Tensor) -> Tensor:
        return nn.functional.linear(self.before(hidden), self.weight, self.bias)


class Model:
    """A language model with its tokenizer, on a device.

    module: a transformers model, or a peft model around one. tokenizer: a transformers tokenizer.
    """

    def __init__(self, module: nn.Module, tokenizer: Any, *, device: torch.device | str | None = None) -> None:
        self.module = module if device is None else module.to(device)
        quicken(module)
        self.tokenizer = tokenizer
        self.architecture: Architecture = architecture_of(self.config)
        self.within: Callable[[Callable[[], Any]], Any] = lambda compute: compute()
        """Runs what computes with the weights; where they are split over processes, they are whole within."""
        self.drawn: frozenset[str] = frozenset()
        """The names of the parameters that no file gave: a head for another task than the folder's."""
        self._plain_head: bool | None = None
        self._compiled: dict[str, Any] = {}

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
        """The longest sequence, in tokens."""
        return longest(self.config, self.tokenizer) - int(getattr(self.base, "virtual_tokens", 0))

    @property
    def labels(self) -> list[str]:
        """The labels of a head for classes, by number."""
        known = self.config.id2label
        return [known[number] for number in range(len(known))]

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context for reading: products in bfloat16 where the device has them."""
        if not bfloat16_is_native(self.device):
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def trainable(self) -> dict[str, nn.Parameter]:
        """Return the parameters that learn, by name, each once (tied ones too)."""
        return {name: p for name, p in self.module.named_parameters() if p.requires_grad}

    def num_parameters(self) -> int:
        return sum(p.numel() for p in self.module.parameters())

    def head(self, name: str = "lm") -> nn.Module:
        """Return a head by name; "lm" is the vocabulary head, a linear map [D] -> [V]."""
        assert name == "lm", f"a language model has the head 'lm', not '{name}'"
        return self.base.get_output_embeddings()

    @property
    def head_bias(self) -> Tensor | None:
        """The bias [V] of the vocabulary's head, where it has one."""
        return getattr(self.head(), "bias", None)

    def expect(self, counts_V: Tensor) -> bool:
        """Begin from how often each token comes: the bias of the vocabulary head becomes log((count + 1) / (all + V)).

        Without it the first hundreds of steps teach just that, through all weights; word vectors then share one large direction
        (Meister et al. 2023, https://arxiv.org/abs/2212.09686). Returns False where the head has no bias to set.
        """
        bias_V = self.head_bias
        if bias_V is None:
            return False
        counts_V = torch.nn.functional.pad(counts_V.double(), (0, len(bias_V) - len(counts_V))) + 1
        with torch.no_grad():
            bias_V.copy_((counts_V / counts_V.sum()).log())
        return True

    # -- what it computes -------------------------------------------------------------------------------------------

    def outputs(self, inputs: Mapping[str, Tensor], at: Tensor | None = None) -> Outputs:
        """Run the trunk; `at`, a bool mask [B, T], keeps only those positions ([N, D]).

        The hidden states are those of the labels: the decoder's for an encoder-decoder, the targets' [B, P, D] for XLNet.
        """
        hidden = self._trunk(inputs)
        return Outputs(hidden if at is None else hidden[at], self._vocabulary())

    def nll(self, inputs: Mapping[str, Tensor], labels: Tensor) -> Tensor:
        """Return -log p(label) at every position, float32 [B, T]; 0 where the label is -100."""
        taken = labels != IGNORE
        if self._head_is_plain():
            head, hidden = self._vocabulary(), self._trunk(inputs)[taken]
            values = nll_each(head.before(hidden), head.weight, labels[taken], head.bias)
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
            return self.nll_of(self._trunk(inputs)[taken], labels[taken], chosen)
        values = nn.functional.cross_entropy(self._logits(inputs)[taken], labels[taken], reduction="none")
        return (values if chosen is None else values * chosen).sum()

    def nll_of(self, hidden_ND: Tensor, labels_N: Tensor, weights_N: Tensor | None = None) -> Tensor:
        """Return the sum of weight * -log p(label) for hidden states that were taken already, a float32 scalar."""
        head = self._vocabulary()
        if self._head_is_plain():
            return nll_sum(head.before(hidden_ND), head.weight, labels_N, weights_N, head.bias)
        values = nn.functional.cross_entropy(head(hidden_ND).float(), labels_N, reduction="none")
        return (values if weights_N is None else values * weights_N).sum()

    def pair_logits(self, hidden_ND: Tensor) -> Tensor:
        """Return the logits [N, 2] of BERT's judgement of two segments, from the hidden states [N, D] of their [CLS] tokens."""
        base = self.base
        assert hasattr(getattr(base, "cls", None), "seq_relationship"), "this model has no head for pairs"
        pooler = base.base_model.pooler
        return base.cls.seq_relationship(pooler.activation(pooler.dense(hidden_ND))).float()

    @contextlib.contextmanager
    def without_adapter(self) -> Iterator[None]:
        """Within, the model computes as if its adapter were not there: the reference of an alignment."""
        assert hasattr(self.module, "disable_adapter"), "this model has no adapter to leave out"
        with self.module.disable_adapter():  # type: ignore[operator]
            yield

    def compile(self, *, ragged: bool = False) -> None:
        """Compile the trunk with torch.compile (needs a C++ compiler on a processor); parameters stay the same objects.

        ragged: once for batches of all shapes, where they differ; otherwise for the first one's, and again where another comes.
        """
        dynamic = True if ragged else None
        self._compiled = {name: torch.compile(part, dynamic=dynamic) for name, part in self._parts().items()}

    def uncompile(self) -> None:
        """Go back to the trunk as it is."""
        self._compiled = {}

    def recompute(self) -> None:
        """Forget the activations within each layer, and make them again in the backward pass: less memory, a third more time.

        Raises ComponentError for an architecture that transformers cannot do it for.
        """
        if not getattr(self.base, "supports_gradient_checkpointing", False):
            raise ComponentError(
                f"recompute: a model of the type '{self.config.model_type}' cannot do without its activations; leave it out."
            )
        self.base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})

    def _parts(self) -> dict[str, Any]:
        """The modules of the trunk, by name: "trunk", or "encoder" and "decoder"."""
        base = self.base
        if self.architecture == "encoder-decoder":
            return {"encoder": base.get_encoder(), "decoder": base.get_decoder()}
        return {"trunk": base.base_model}

    def _trunk(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the hidden states before the vocabulary head."""
        if self.architecture == "encoder-decoder":
            return self._encode_and_decode(inputs)
        trunk = self._part("trunk")
        if self.architecture == "permuted":
            return trunk(**inputs, use_mems=False).last_hidden_state
        keep_nothing = {"use_cache": False} if self.architecture == "decoder" else {}
        return trunk(**self._isolated(inputs), **keep_nothing).last_hidden_state

    def _encode_and_decode(self, inputs: Mapping[str, Tensor]) -> Tensor:
        ids, decoder_ids = inputs["input_ids"], inputs["decoder_input_ids"]
        documents = inputs.get("documents", torch.ones_like(ids))
        decoder_documents = inputs.get("decoder_documents", torch.ones_like(decoder_ids))
        dtype = next(self.module.parameters()).dtype
        seen = self._part("encoder")(
            **self._placed("encoder", ids, inputs.get("position_ids")),
            attention_mask=block_mask(documents, documents, dtype=dtype),
        ).last_hidden_state
        return self._part("decoder")(
            **self._placed("decoder", decoder_ids, inputs.get("decoder_position_ids")),
            attention_mask=block_mask(decoder_documents, decoder_documents, causal=True, dtype=dtype),
            encoder_hidden_states=seen,
            encoder_attention_mask=block_mask(decoder_documents, documents, dtype=dtype),
            use_cache=False,
        ).last_hidden_state

    def _placed(self, name: str, ids: Tensor, positions: Tensor | None) -> dict[str, Tensor]:
        """Return what gives the encoder or the decoder its tokens at their positions."""
        stack = self._parts()[name]
        if positions is None or not hasattr(stack, "embed_positions"):
            return {"input_ids": ids}  # T5's positions are relative
        # BART's stacks number the positions of a row themselves; what they will add is taken off, and the right ones are added
        table = stack.embed_positions
        offset = int(getattr(table, "offset", 0)) + int(getattr(table, "septet_shift", 0))
        row = torch.arange(ids.shape[1], device=ids.device)
        moved = nn.functional.embedding(positions + offset, table.weight) - table.weight[row + offset]
        return {"inputs_embeds": stack.embed_tokens(ids) + moved}

    def _part(self, name: str) -> Any:
        return (self._compiled or self._parts())[name]

    def _logits(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The model's own logits, of whatever it makes of its hidden states."""
        if self.architecture != "decoder":
            return self._vocabulary()(self._trunk(inputs)).float()
        return self.base(**self._isolated(inputs), use_cache=False).logits.float()

    def _vocabulary(self) -> VocabularyHead:
        base, linear = self.base, self.base.get_output_embeddings()
        before, bias = (lambda hidden: hidden), getattr(linear, "bias", None)
        if hasattr(base, "cls") and hasattr(base.cls, "predictions"):  # BERT
            before = base.cls.predictions.transform
        elif hasattr(base, "lm_head") and hasattr(base.lm_head, "layer_norm"):  # RoBERTa
            small = base.lm_head

            def before(hidden: Tensor) -> Tensor:
                return small.layer_norm(nn.functional.gelu(small.dense(hidden)))

        elif getattr(self.config, "scale_decoder_outputs", False):  # T5
            scale = self.config.d_model**-0.5

            def before(hidden: Tensor) -> Tensor:
                return hidden * scale

        elif hasattr(base, "final_logits_bias"):  # BART
            bias = base.final_logits_bias[0]
        return VocabularyHead(before, linear.weight, bias)

    def _head_is_plain(self) -> bool:
        # some architectures scale or cap their logits (Gemma 2, Cohere, Granite), some heads have an adapter; rather than know
        # them all, the short way is compared once with the model's own logits
        if self._plain_head is None:
            self._plain_head = type(self.head()) is nn.Linear and self._short_way_agrees()
        return self._plain_head

    @torch.no_grad()
    def _short_way_agrees(self) -> bool:
        was_training = self.module.training
        self.module.eval()
        try:
            ids = torch.arange(8, device=self.device)[None] % self.config.vocab_size
            inputs = {"input_ids": ids}
            if self.architecture == "encoder-decoder":
                inputs["decoder_input_ids"] = ids
            with torch.autocast(self.device.type, enabled=False):
                found = self.base(**inputs)
                theirs = getattr(found, "prediction_logits", None)
                theirs = (found.logits if theirs is None else theirs).float()
                ours = self._vocabulary()(self._trunk(inputs)).float()
            return bool(torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3))
        finally:
            self.module.train(was_training)

    def _isolated(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Add an explicit mask where restarting positions would not keep packed documents apart."""
        found = dict(inputs)
        documents, prefix = found.pop("documents", None), found.pop("prefix", None)
        positions = found.get("position_ids")
        if positions is not None and self.config.model_type in OFFSET_POSITIONS:
            found["position_ids"] = positions + int(self.config.pad_token_id) + 1
        if "attention_mask" in found or (documents is None and positions is None and prefix is None):
            return found
        if documents is None:
            documents = torch.ones_like(found["input_ids"]) if positions is None else (positions == 0).cumsum(dim=1)
        causal = self.architecture == "decoder"
        restarts = positions is not None and self.config.model_type in ISOLATING
        if prefix is None and documents.device.type == "cpu" and takes_documents(self.config):
            found["attention_mask"] = documents[:, None, None, :]
        elif not causal or prefix is not None or not (restarts or _one_each(documents)):
            dtype = next(self.module.parameters()).dtype
            found["attention_mask"] = block_mask(documents, documents, causal=causal, prefix=prefix, dtype=dtype)
        return found

    # -- keeping ----------------------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> None:
        """Write a Hugging Face folder: config.json, model.safetensors, generation_config.json, the tokenizer's files.

        A peft model must be merged first (`merge_and_unload`); its adapter is saved by who attached it.
        """
        assert self.base is self.module, "merge the adapter before saving the model, or take it off"
        quiet_bars()
        self.module.save_pretrained(str(folder))  # type: ignore[operator]
        self.tokenizer.save_pretrained(str(folder))


def _one_each(documents: Tensor) -> bool:
    """Whether no row holds two documents; the last one may be followed by padding, which a decoder does not look at."""
    return bool((documents <= 1).all())
