"""Virtual tokens: learned vectors that a model reads before the real tokens, or that each layer's attention sees (a prefix).

Shapes: B rows, T positions, P virtual tokens, D width of the embeddings, H heads of keys and values, W width of a head.

- A prompt (Lester et al. 2021, https://arxiv.org/abs/2104.08691, section 2) is P vectors [P, D] before the embedded text. The
  states at their places are cut off again, so what comes out has the positions of what went in; only an encoder that judges a whole
  text keeps them, since its judgement is read at the first place (as in peft).
- A prefix (Li and Liang 2021, https://arxiv.org/abs/2101.00190, section 4) is P keys and P values for each layer, before those of
  the text; every position sees them, whatever document it belongs to. They are not rotated, and the text's own positions begin at
  P, both as in peft.

Both are hooks and an attention beside the base's own modules, so that heads, packed rows and recomputed activations (which drop a
cache, and with it a prefix that is kept in one, as peft does) work as they do without.

What it is not: how they are learned or kept; see `train/adapters` and `septet.nn.adapted`.

    python -m pytest tests/train/test_adapters_soft.py
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from septet.core.errors import ComponentError
from septet.nn.architecture import architecture_of
from septet.nn.kernels.attention import where
from septet.nn.model import OFFSET_POSITIONS
from septet.nn.packed_attention import DOCUMENTED, by_documents, looks_back, packed_attention, scaling_of

__all__ = ["PREFIXED", "Encoded", "Places", "Prefix", "Prompt", "Site", "Soft", "Vectors", "places_of"]

PREFIXED = "septet_prefixed"
"""The name of the attention that sees a prefix, among transformers' implementations."""


class Vectors(nn.Module):
    """The learned vectors [P, K]. Sub-classes may make them of others by a network."""

    def __init__(self, first: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(first.detach().clone().float())

    def forward(self) -> Tensor:
        return self.weight


class Encoded(Vectors):
    """Vectors that a network makes of learned ones: v + f(v), where f is zero at first.

    network: "mlp" (two hidden layers of `width`) or "lstm" (two layers, both ways, then a hidden layer), as Liu et al. 2021,
    https://arxiv.org/abs/2103.10385, section 3.2, has it. There it is f(v) alone, which forgets what the vectors began as.
    """

    def __init__(self, first: Tensor, *, network: str, width: int) -> None:
        super().__init__(first)
        size = first.shape[1]
        self.network, self.width = network, width
        if network == "lstm":
            self.recurrent = nn.LSTM(size, width, num_layers=2, bidirectional=True, batch_first=True)
            self.layers = nn.Sequential(nn.Linear(2 * width, 2 * width), nn.ReLU(), nn.Linear(2 * width, size))
        else:
            hidden = (nn.Linear(size, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
            self.layers = nn.Sequential(*hidden, nn.Linear(width, size))
        last = self.layers[-1]
        nn.init.zeros_(last.weight)  # type: ignore[arg-type]
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def forward(self) -> Tensor:
        read = self.recurrent(self.weight[None])[0][0] if self.network == "lstm" else self.weight
        return self.weight + self.layers(read)


class Soft(nn.Module):
    """A transformers model with virtual tokens; `base_model` is the model, `vectors` what learns. See `Prompt` and `Prefix`."""

    def __init__(self, base: Any, vectors: nn.Module, tokens: int) -> None:
        super().__init__()
        self.base_model, self.vectors, self.tokens = base, vectors, tokens
        base.virtual_tokens = tokens  # for whoever counts the places that are left in the context
        self.shown = True
        self._hooks: list[Any] = []

    @property
    def config(self) -> Any:
        return self.base_model.config

    def get_base_model(self) -> Any:
        return self.base_model

    @contextlib.contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """Within, the model computes as if it had no virtual tokens."""
        before, self.shown = self.shown, False
        try:
            yield
        finally:
            self.shown = before

    def forward(self, *args: Any, **inputs: Any) -> Any:
        return self.base_model(*args, **inputs)

    def generate(self, *args: Any, **inputs: Any) -> Any:
        return self.base_model.generate(*args, **inputs)

    def detach(self) -> Any:
        """Take everything off the base again, and return it."""
        for hook in self._hooks:
            hook.remove()
        del self.base_model.virtual_tokens
        return self.base_model


# -- prompts -------------------------------------------------------------------------------------------------------------


class Prompt(Soft):
    """A model that reads P learned vectors [P, D] before its text; an encoder-decoder's encoder does."""

    def __init__(self, base: Any, vectors: nn.Module, tokens: int) -> None:
        super().__init__(base, vectors, tokens)
        architecture = architecture_of(base.config)
        self._causal = architecture == "decoder"
        self._kept = architecture == "encoder-decoder" or (
            architecture == "encoder" and type(base).__name__.endswith("ForSequenceClassification")
        )
        self._added = False
        reads = base.get_encoder() if architecture == "encoder-decoder" else base.base_model
        # before what takes the padding off (septet.nn.unpadded)
        self._hooks.append(reads.register_forward_pre_hook(self._before, with_kwargs=True, prepend=True))
        self._hooks.append(reads.register_forward_hook(self._after))
        if architecture == "encoder-decoder":
            decoder = base.get_decoder()
            self._hooks.append(decoder.register_forward_pre_hook(self._before_decoder, with_kwargs=True))

    def _before(self, module: Any, args: tuple[Any, ...], given: dict[str, Any]) -> Any:
        inputs = _named(module, args, given)
        self._added = False
        if not self.shown:
            return (), inputs
        past = _past(inputs)
        positions, mask = inputs.get("position_ids"), inputs.get("attention_mask")
        if past:  # the vectors are in the cache already
            if positions is not None:
                inputs["position_ids"] = positions + self.tokens
            inputs["attention_mask"] = _wider(mask, self.tokens)
            return (), inputs
        if positions is not None and bool((positions[:, 1:] < positions[:, :-1]).any()):
            raise ComponentError(
                "The rows hold several texts each, and a prompt stands before one. Give each text a row of its own, or use prefix."
            )
        text = inputs.get("inputs_embeds")
        if text is None:
            text = module.get_input_embeddings()(inputs["input_ids"])
        count, width = text.shape[0], self.tokens
        vectors = self.vectors().to(text.dtype).expand(count, -1, -1)
        inputs |= {"input_ids": None, "inputs_embeds": torch.cat([vectors, text], dim=1)}
        inputs["attention_mask"] = _around(mask, width, causal=self._causal)
        if positions is not None:
            own = positions[:, :1] + torch.arange(width, device=positions.device)
            inputs["position_ids"] = torch.cat([own, positions + width], dim=1)
        if inputs.get("token_type_ids") is not None:
            inputs["token_type_ids"] = nn.functional.pad(inputs["token_type_ids"], (width, 0))
        if inputs.get("perm_mask") is not None:  # XLNet: 1 hides; the vectors see each other alone
            hides = nn.functional.pad(inputs["perm_mask"], (width, 0, width, 0))
            hides[:, :width, width:] = 1
            inputs["perm_mask"] = hides
        if inputs.get("target_mapping") is not None:
            inputs["target_mapping"] = nn.functional.pad(inputs["target_mapping"], (width, 0))
        self._added = not self._kept and inputs.get("target_mapping") is None
        return (), inputs

    def _after(self, module: Any, args: tuple[Any, ...], output: Any) -> Any:
        if self._added:
            output.last_hidden_state = output.last_hidden_state[:, self.tokens :]
        return output

    def _before_decoder(self, module: Any, args: tuple[Any, ...], given: dict[str, Any]) -> Any:
        inputs = _named(module, args, given)
        if self.shown:
            inputs["encoder_attention_mask"] = _wider(inputs.get("encoder_attention_mask"), self.tokens)
        return (), inputs


def _named(module: Any, args: tuple[Any, ...], given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by name."""
    names = list(inspect.signature(module.forward).parameters)
    return {**dict(zip(names, args, strict=False)), **given}


def _past(inputs: dict[str, Any]) -> int:
    """Return how many positions a cache holds."""
    cache = inputs.get("past_key_values")
    if cache is None:
        cache = inputs.get("cache")  # its name since transformers 5.24
    return 0 if cache is None else int(cache.get_seq_length())


def _wider(mask: Tensor | None, width: int) -> Tensor | None:
    """Let every query see `width` keys more, put before the others.

    mask: [B, T] of ones; [B, 1, 1, T] of documents' numbers (the new keys belong to the first); [B, 1, T', T], boolean or added.
    """
    if mask is None:
        return None
    if mask.ndim == 2:
        return nn.functional.pad(mask, (width, 0), value=1)
    if mask.dtype == torch.int64:
        return torch.cat([mask[..., :1].expand(*mask.shape[:-1], width), mask], dim=-1)
    return nn.functional.pad(mask, (width, 0), value=True if mask.dtype == torch.bool else 0.0)


def _around(mask: Tensor | None, width: int, *, causal: bool) -> Tensor | None:
    """Add `width` positions before the others to a mask, which every query sees.

    In a mask [B, 1, T, T] they are queries too: where causal they see those before them, otherwise what the first query sees.
    """
    wide = _wider(mask, width)
    if wide is None or wide.ndim == 2 or wide.dtype == torch.int64:
        return wide
    added = wide[:, :, :1].expand(-1, -1, width, -1)
    if causal:
        shown, hidden = (True, False) if wide.dtype == torch.bool else (0.0, torch.finfo(wide.dtype).min)
        before = torch.ones(width, wide.shape[-1], dtype=torch.bool, device=wide.device).tril()
        added = torch.full_like(added, hidden).masked_fill(before, shown)
    return torch.cat([added, wide], dim=2)


# -- prefixes ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Site:
    """A self-attention that can see a prefix, and the keys and values [H, T, W] that it made of a text."""

    module: nn.Module
    keys: Tensor
    values: Tensor


_HEARD: list[list[tuple[nn.Module, Tensor, Tensor, Tensor]]] = []
"""Where attentions tell what they compute, while `sites` listens."""


def sites(base: Any, ids: Tensor, *, stack: str = "decoder") -> list[Site]:
    """Return the self-attentions of a model in the order of its layers, with what they make of a text.

    ids: int64 [T]. stack: "decoder" or "encoder", for an encoder-decoder. The model's attention sees prefixes from then on. Raises
    ComponentError for a model whose attention does not go through transformers' interface, or whose layers are one and the same.
    """
    for module in base.modules():
        if hasattr(module, "config"):
            module.config._attn_implementation = PREFIXED
    name, inputs = base.config.model_type, {"input_ids": ids[None]}
    chosen: set[nn.Module] | None = None
    if architecture_of(base.config) == "encoder-decoder":
        # one token more for the encoder, so that attention across has fewer queries than keys and is known by it
        inputs = {"input_ids": torch.cat([ids, ids[:1]])[None], "decoder_input_ids": ids[None]}
        chosen = set((base.get_encoder() if stack == "encoder" else base.get_decoder()).modules())
    was_training = base.training
    _HEARD.append([])
    try:
        with torch.no_grad():
            base.eval().base_model(**inputs)
    finally:
        heard = _HEARD.pop()
        base.train(was_training)
    found = [
        Site(module, keys[0, :, : len(ids)], values[0, :, : len(ids)])
        for module, queries, keys, values in heard
        if queries.shape[2] == keys.shape[2] and (chosen is None or module in chosen)
    ]
    if not found:
        raise ComponentError(
            f"A '{name}' model computes its attention by itself, so no prefix can be put before it. Use prompt, lora or ia3."
        )
    if len({id(site.module) for site in found}) < len(found):
        raise ComponentError(
            f"The layers of a '{name}' model share their weights, and a prefix is one for each. Use prompt or lora."
        )
    if len({site.keys.shape for site in found}) > 1:
        raise ComponentError(
            f"The layers of this '{name}' model have keys of different sizes. Use prompt, lora or ia3."
        )
    return found


@dataclass(frozen=True, slots=True)
class Places:
    """Where the prefixes of a model are: its sites, of which the first `decoder` are the decoder's where there are two stacks.

    most: the layers of the longer stack, 0 where there is one stack.
    """

    sites: tuple[Site, ...]
    decoder: int = 0
    most: int = 0

    def laid_out(self, vectors: Tensor) -> Tensor:
        """Return the vectors [P, sites * K] as peft's file has them.

        peft repeats the layers' pairs of an encoder-decoder once and takes every second one for the decoder's layers, so of its
        2 * most pairs the even ones are the decoder's; the encoder's, which peft does not know, are the odd ones, zero where there
        are none.
        """
        if not self.most:
            return vectors
        pairs = vectors.view(len(vectors), len(self.sites), -1)
        found = vectors.new_zeros(len(vectors), 2 * self.most, pairs.shape[-1])
        found[:, 0 : 2 * self.decoder : 2] = pairs[:, : self.decoder]
        found[:, 1 : 2 * (len(self.sites) - self.decoder) : 2] = pairs[:, self.decoder :]
        return found.flatten(1)

    def taken_back(self, laid_out: Tensor) -> Tensor:
        """Return what `laid_out` was made of."""
        if not self.most:
            return laid_out
        pairs = laid_out.view(len(laid_out), 2 * self.most, -1)
        own, others = pairs[:, 0 : 2 * self.decoder : 2], pairs[:, 1 : 2 * (len(self.sites) - self.decoder) : 2]
        return torch.cat([own, others], dim=1).flatten(1)


def places_of(base: Any, ids: Tensor, *, both: bool = False) -> Places:
    """Return where prefixes go: every layer, or of an encoder-decoder the decoder's or both stacks'. ids: int64 [T], as `sites`."""
    own = sites(base, ids)
    if architecture_of(base.config) != "encoder-decoder":
        return Places(tuple(own))
    others = sites(base, ids, stack="encoder")
    if both and own[0].keys.shape != others[0].keys.shape:
        raise ComponentError(
            "The keys of encoder and decoder differ in size, so no prefix fits both. Leave `encoder` out."
        )
    return Places(tuple(own + others if both else own), len(own), max(len(own), len(others)))


class Prefix(Soft):
    """A model whose self-attentions see P learned keys and values. vectors: [P, sites * 2 * H * W], keys before values."""

    def __init__(self, base: Any, vectors: nn.Module, tokens: int, places: Places) -> None:
        super().__init__(base, vectors, tokens)
        self.places, found = places, places.sites
        self.heads, _, self.width = found[0].keys.shape
        self.layers = len(found)
        bias = next((site.module for site in found if getattr(site.module, "has_relative_attention_bias", False)), None)
        for number, site in enumerate(found):
            # kept as plain attributes: a module here would become part of the base
            object.__setattr__(site.module, "septet_prefix", functools.partial(self._of, number))
            object.__setattr__(site.module, "septet_bias", bias)
        self._found = [site.module for site in found]
        self._table: Any = None
        if architecture_of(base.config) != "encoder-decoder":
            self._hooks.append(base.base_model.register_forward_pre_hook(self._shift, with_kwargs=True))
            return
        self._table = getattr(base.get_decoder(), "embed_positions", None)
        if self._table is not None:  # BART's decoder numbers its positions itself; `Model` looks at the mark
            self._table.septet_shift = tokens
            self._hooks.append(self._table.register_forward_pre_hook(self._shift_table, with_kwargs=True))

    def _of(self, layer: int) -> tuple[Tensor, Tensor] | None:
        """Return the keys and values [H, P, W] of a layer; None while the prefix is not shown."""
        if not self.shown:
            return None
        pairs = self.vectors().view(self.tokens, self.layers, 2, self.heads, self.width)[:, layer]
        keys, values = pairs.permute(1, 2, 0, 3)
        return keys, values

    def _shift(self, module: Any, args: tuple[Any, ...], given: dict[str, Any]) -> Any:
        inputs = _named(module, args, given)
        if self.shown and "position_ids" in inspect.signature(module.forward).parameters:
            if inputs.get("position_ids") is None:
                text = inputs["input_ids"] if inputs.get("input_ids") is not None else inputs["inputs_embeds"]
                config = self.config
                first = int(config.pad_token_id) + 1 if config.model_type in OFFSET_POSITIONS else 0
                places = torch.arange(text.shape[1], device=text.device) + first + _past(inputs)
                inputs["position_ids"] = places[None].expand(text.shape[0], -1)
            inputs["position_ids"] = inputs["position_ids"] + self.tokens
        return (), inputs

    def _shift_table(self, module: Any, args: tuple[Any, ...], given: dict[str, Any]) -> Any:
        inputs = _named(module, args, given)
        if self.shown:
            inputs["position_ids"] = inputs["position_ids"] + self.tokens
        return (), inputs

    @contextlib.contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """Within, the model computes as if it had no prefix."""
        with super().disable_adapter():
            self._mark()
            try:
                yield
            finally:
                self.shown = True
                self._mark()

    def _mark(self) -> None:
        if self._table is not None:
            self._table.septet_shift = self.tokens if self.shown else 0

    def detach(self) -> Any:
        for module in self._found:
            del module.septet_prefix, module.septet_bias
        if self._table is not None:
            del self._table.septet_shift
        return super().detach()


def _each_with_prefix(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    prefix: tuple[Tensor, Tensor],
    documents: Tensor,
    *,
    causal: bool,
    scale: float,
    dropout: float,
) -> Tensor:
    """Return attention [B, T, Hq, W] within documents [B, T], each with the prefix [H, P, W] before its own keys and values.

    The prefix's places are put before each document as if they were of it; what their queries find is thrown away.
    """
    count, width = documents.numel(), prefix[0].shape[1]
    rows, places, sizes = where(documents).T
    firsts = torch.from_numpy(rows * documents.shape[1] + places)
    longer = torch.from_numpy(sizes) + width
    numbers = torch.arange(len(firsts)).repeat_interleave(longer)
    within = torch.arange(len(numbers)) - (longer.cumsum(0) - longer)[numbers]
    tokens = firsts[numbers] + within - width
    own = within >= width
    sources = torch.where(own, tokens, count + within)  # the prefix stands behind all B * T places
    back = torch.full((count,), len(numbers)).index_copy(0, tokens[own], own.nonzero()[:, 0])

    def spread(x: Tensor, more: Tensor) -> Tensor:
        """[B, H, T, W] and [H, P, W] -> [1, H, M, W]"""
        flat = torch.cat([x.transpose(1, 2).flatten(0, 1), more.to(x.dtype).transpose(0, 1)])
        return flat.index_select(0, sources).transpose(0, 1)[None]

    key, value = spread(key, prefix[0]), spread(value, prefix[1])
    query = spread(query, query.new_zeros(query.shape[1], width, query.shape[3]))
    found = packed_attention(query, key, value, numbers[None] + 1, causal=causal, scale=scale, dropout=dropout)[0]
    found = torch.cat([found, found.new_zeros(1, *found.shape[1:])]).index_select(0, back)
    return found.view(*documents.shape, *found.shape[1:])


def _prefixed(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    position_bias: Tensor | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """The attention as transformers calls it, q [B, Hq, T', W], k and v [B, H, T, W], with the module's prefix before k and v."""
    if _HEARD:
        _HEARD[-1].append((module, query, key, value))
    find: Callable[[], tuple[Tensor, Tensor] | None] = getattr(module, "septet_prefix", lambda: None)
    prefix = find()
    if attention_mask is not None and attention_mask.dtype == torch.int64:
        if prefix is None:
            return by_documents(module, query, key, value, attention_mask, dropout, scaling, is_causal)
        settings = {"causal": looks_back(module, is_causal), "scale": scaling_of(query, scaling), "dropout": dropout}
        return _each_with_prefix(query, key, value, prefix, attention_mask[:, 0, 0], **settings), None
    if prefix is not None:
        width, rows = prefix[0].shape[1], key.shape[0]
        asked, known = query.shape[2], key.shape[2]
        if attention_mask is None and looks_back(module, is_causal) and asked > 1:
            attention_mask = torch.ones(asked, known, dtype=torch.bool, device=key.device).tril(known - asked)[
                None, None
            ]
        attention_mask = _wider(attention_mask, width)
        if position_bias is not None:
            # T5: the distance to a prefix is what it would be if its tokens stood before the text
            whole = module.septet_bias.compute_bias(
                asked, width + known, device=key.device, past_seen_tokens=width + known - asked
            )
            position_bias = torch.cat([whole[..., :width].to(position_bias.dtype), position_bias], dim=-1)
        key, value = (
            torch.cat([own.to(x.dtype).expand(rows, -1, -1, -1), x], dim=2)
            for own, x in zip(prefix, (key, value), strict=True)
        )
        is_causal = False
    return sdpa_attention_forward(
        module,
        query,
        key,
        value,
        attention_mask,
        dropout,
        scaling=scaling,
        is_causal=is_causal,
        position_bias=position_bias,
        **others,
    )


AttentionInterface.register(PREFIXED, _prefixed)
AttentionMaskInterface.register(PREFIXED, sdpa_mask)
DOCUMENTED[PREFIXED] = PREFIXED
