"""Writes many texts at once, greedily or with beams: what the tasks share that give text, for decoders and encoder-decoders.

The work is done by transformers' own `generate`, with the key-value cache and, in an encoder-decoder, the encoder's states computed
once a source. What decides the words (the tokens that begin and end a text, beams, the longest text) is written into the model's
generation settings, so plain transformers writes the same from the saved folder.

What it is not: an engine; `septet.infer.engines` streams, samples and serves, and writes with decoders only.

    python -m pytest tests/infer/test_writing.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from septet.core.errors import DataError
from septet.infer.task import by_length

if TYPE_CHECKING:
    from septet.nn.model import Model

__all__ = ["Written", "around", "begins_with", "prepare_to_write", "written"]

TOKENS_IN_A_BATCH = 8192
"""Prompts and what is written, over all beams."""


@dataclass(frozen=True, slots=True)
class Written:
    """A text that a model wrote, its tokens with the one that ended it, and whether it was ended so and not by the limit."""

    text: str
    num_tokens: int
    finished: bool

    def facts(self, cut_tokens: int = 0) -> dict[str, int]:
        """Return what a reader must know of it: tokens that were cut off what was read, and that the limit ended it."""
        return {**({"cut_tokens": cut_tokens} if cut_tokens else {}), **({} if self.finished else {"unfinished": 1})}


def around(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Return the tokens that an encoder-decoder has before and after a text, on both sides.

    They are what the tokenizer itself puts there (T5: the end; BART: a beginning and the end). For one that puts nothing: the token
    that begins a text, where it has one, and the one that ends it. Raises DataError where no token ends a text.
    """
    if tokenizer.eos_token_id is None:
        raise DataError("the tokenizer has no token that ends a text (eos), so no answer could ever end.")
    found = tokenizer("a", return_special_tokens_mask=True)
    ids, added = list(found["input_ids"]), list(found["special_tokens_mask"])
    if any(added) and not all(added):
        text = [place for place, special in enumerate(added) if not special]
        return ids[: text[0]], ids[text[-1] + 1 :]
    bos = tokenizer.bos_token_id
    return [] if bos is None else [int(bos)], [int(tokenizer.eos_token_id)]


def begins_with(module: Any) -> int:
    """Return the token that the decoder of an encoder-decoder reads first: the one that its configuration names."""
    for config in (module.config, module.generation_config):
        found = getattr(config, "decoder_start_token_id", None)
        if found is not None:
            return int(found)
    raise DataError(
        "its configuration does not name the token with which the decoder begins (decoder_start_token_id); add it to config.json."
    )


def prepare_to_write(model: Model, *, max_new_tokens: int, beams: int, length_penalty: float) -> None:
    """Set the model's generation settings, in place. What else the folder had there (sampling, a least length) is dropped."""
    from transformers import GenerationConfig  # 2 s to import, and imported already wherever there is a model

    tokenizer, before = model.tokenizer, model.base.generation_config
    settings: dict[str, Any] = {"bos_token_id": tokenizer.bos_token_id}
    if model.architecture == "encoder-decoder":
        begin, end = around(tokenizer)
        settings |= {"eos_token_id": int(tokenizer.eos_token_id), "decoder_start_token_id": begins_with(model.base)}
        settings |= {"forced_bos_token_id": begin[0]} if begin else {}
        settings["pad_token_id"] = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end[0]
    else:
        ends = before.eos_token_id if before.eos_token_id is not None else tokenizer.eos_token_id
        if ends is None:
            raise DataError("the tokenizer has no token that ends a text (eos), so no answer could ever end.")
        first = ends[0] if isinstance(ends, list) else ends
        known = (tokenizer.pad_token_id, before.pad_token_id, first)
        settings |= {"eos_token_id": ends, "pad_token_id": next(id for id in known if id is not None)}
    # transformers finds fault with a penalty beside a single beam
    search = {"num_beams": beams, "length_penalty": length_penalty} if beams > 1 else {}
    model.base.generation_config = GenerationConfig(**settings, **search, max_new_tokens=max_new_tokens)


def written(
    model: Model,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    beams: int = 1,
    length_penalty: float = 1.0,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> list[Written]:
    """Return what the model writes for each prompt: token ids that the encoder reads, or that a decoder goes on from.

    beams: 1 takes the likeliest token at each place; above it, the text with the best sum of log p / length^length_penalty among
    those that so many beams find. max_new_tokens: less where the model's context ends before.
    """
    import torch

    prepare_to_write(model, max_new_tokens=max_new_tokens, beams=beams, length_penalty=length_penalty)
    writes_on = model.architecture != "encoder-decoder"
    # prompts with equal room for an answer are written together: a batch ends at one length
    groups: dict[int, list[int]] = {}
    for place, prompt in enumerate(prompts):
        room = model.context - (len(prompt) if writes_on else 1)
        assert room >= 1, f"a prompt of {len(prompt)} tokens leaves no room in a context of {model.context}"
        groups.setdefault(min(max_new_tokens, room), []).append(place)
    found: dict[int, Written] = {}
    model.module.eval()
    for room, places in groups.items():
        most = max(1, (TOKENS_IN_A_BATCH if model.device.type == "cpu" else 8 * TOKENS_IN_A_BATCH) // beams)
        for some in by_length([len(prompts[place]) + room for place in places], most=most):
            chosen = [places[number] for number in some]
            with torch.inference_mode():
                lines = _together(model, [prompts[place] for place in chosen], room, left=writes_on)
            found |= dict(zip(chosen, (_of(model, line) for line in lines), strict=True))
            tell(len(found), len(prompts))
    return [found[place] for place in range(len(prompts))]


def _together(model: Model, prompts: Sequence[Sequence[int]], room: int, *, left: bool) -> list[list[int]]:
    """Return the new tokens of each prompt, with padding after their end."""
    import torch

    width = max(map(len, prompts))
    ids_BT = torch.full((len(prompts), width), int(model.base.generation_config.pad_token_id))
    mask_BT = torch.zeros(len(prompts), width, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        at = slice(width - len(prompt), width) if left else slice(0, len(prompt))
        ids_BT[row, at], mask_BT[row, at] = torch.tensor(list(prompt)), 1
    lines_BT = model.module.generate(  # type: ignore[operator] -- transformers', or peft's around it
        input_ids=ids_BT.to(model.device), attention_mask=mask_BT.to(model.device), max_new_tokens=room
    )
    return lines_BT[:, width if left else 1 :].tolist()


def _of(model: Model, line: list[int]) -> Written:
    ends = model.base.generation_config.eos_token_id
    ends = set(ends) if isinstance(ends, list) else {ends}
    place = next((place for place, token in enumerate(line) if token in ends), None)
    text = line if place is None else line[:place]
    said = model.tokenizer.decode(text, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return Written(said, len(text) + (place is not None), place is not None)
