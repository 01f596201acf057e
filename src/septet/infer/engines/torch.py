"""Runs a Hugging Face model that writes in this process, on a CPU or a GPU, one worker thread for all requests.

Requests that run at the same time take turns, one token each, so a short answer does not wait for a long one and nobody's words
depend on the neighbours: the same request gives the same tokens alone and in company. `generate_batch` is for work without a
reader (pairs, evaluation): it computes many answers at once, in batches that depend on the order of the requests alone.

A decoder goes on from the prompt; an encoder-decoder reads it, and writes another text (it takes no conversations, and its batches
are computed one by one: `septet.infer.writing` writes many at once).

What it is not: a scheduler for heavy traffic; answers in company are not computed together.

    python -m pytest tests/infer/test_torch_engine.py
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache

from septet.core.errors import SeptetError
from septet.infer.cache import make_cache
from septet.infer.chat import Chat, encode_text, prepare_for_chat
from septet.infer.engine import (
    Answer,
    Backend,
    ContextError,
    Engine,
    EngineBusy,
    EngineError,
    Message,
    Request,
    Scored,
    Stream,
)
from septet.infer.sampling import Sampler, Writer
from septet.infer.writing import around, begins_with
from septet.nn.adapted import Adapters, open_adapters
from septet.nn.model import longest

__all__ = ["Torch", "TorchEngine"]

PREFILL = 512
"""Prompt tokens read in one go; a long prompt lets others have their turn in between."""
SMALL = 32_000_000
"""Parameters up to which one thread makes a token as fast as several: products of one row are too short to share, and on a busy
machine threads wait for each other (4 M parameters on two busy cores: 18 tokens a second with two threads, 180 with one)."""
ROOM = 64
"""Tokens of cache reserved beyond the prompt at first; it doubles when needed."""


@dataclass(slots=True, eq=False)
class _Job:
    request: Request
    stream: Stream
    prompt: list[int]
    sampler: Sampler
    writer: Writer
    cache: Any = None
    num_read: int = 0
    token: int = -1
    memory: Any = None
    """What an encoder made of the prompt."""


class TorchEngine(Engine):
    """A loaded decoder or encoder-decoder with its tokenizer. See `Torch` for opening one from a folder.

    module: a transformers `PreTrainedModel` with a language-modelling head; tokenizer: its fast tokenizer. adapters: on the module,
    of which each request may choose one; scores are the model's own.
    """

    can = frozenset({"generate", "score"})

    def __init__(
        self,
        module: Any,
        tokenizer: Any,
        *,
        name: str = "model",
        max_active: int = 8,
        max_waiting: int = 64,
        adapters: Adapters | None = None,
    ) -> None:
        self.module = module.eval()
        self.tokenizer = tokenizer
        self.name = name
        self.chat = Chat(tokenizer)
        config = module.config.get_text_config(decoder=True)
        self.context = int(
            getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", 0) or 2048
        ) - int(getattr(module, "virtual_tokens", 0))
        self._config = module.config
        self._device = next(module.parameters()).device
        self._accepts = frozenset(inspect.signature(module.forward).parameters)
        self._end_ids = self.chat.end_ids | _ids(getattr(module.generation_config, "eos_token_id", None))
        small = sum(parameter.numel() for parameter in module.parameters()) <= SMALL
        self._one_thread = small and self._device.type == "cpu"
        self.reads_apart = bool(getattr(module.config, "is_encoder_decoder", False))
        if self.reads_apart:
            self.can = frozenset({"generate"})
            self.context = longest(module.config, tokenizer)
            self._around, self._start = around(tokenizer), begins_with(module)
        self.adapters = self._adapters = adapters
        self._max_active = max_active
        self._queue: queue.Queue[_Job | None] = queue.Queue(maxsize=max_waiting)
        self._model_lock = threading.Lock()
        self._submit_lock = threading.Lock()
        self._closed = False
        self._worker = threading.Thread(target=self._work, name=f"septet-engine-{name}", daemon=True)
        self._worker.start()

    # -- generation -------------------------------------------------------------------------------------------------

    def submit(self, request: Request) -> Stream:
        prompt, dropped = self._prompt(request)
        stream = Stream(prompt_tokens=len(prompt), timeout=request.timeout)
        stream.truncated = dropped
        job = _Job(request, stream, prompt, Sampler(request, prompt), self._writer(request, prompt, stream.put))
        with self._submit_lock:
            if self._closed:
                raise EngineError("The engine is closed.")
            try:
                self._queue.put_nowait(job)
            except queue.Full:
                raise EngineBusy(
                    f"{self._queue.maxsize} requests are waiting already. Try again in a moment."
                ) from None
        return stream

    def generate_batch(self, requests: Sequence[Request], *, batch_size: int = 32) -> list[Answer]:
        """Return the answers to all requests, in order. Batches are consecutive requests, so the same list of requests gives the
        same answers, on one machine with the same threads and versions."""
        if self.reads_apart:
            return super().generate_batch(requests)
        answers: list[Answer] = []
        for start in range(0, len(requests), batch_size):
            for adapter, some in itertools.groupby(requests[start : start + batch_size], lambda one: one.adapter):
                answers += self._generate_together(list(some), adapter)
        return answers

    def length(self, prompt: str | Sequence[Message]) -> int:
        return len(self._text(prompt) if isinstance(prompt, str) else self.chat.prompt(prompt))

    def _worn(self, adapter: str | None) -> contextlib.AbstractContextManager[None]:
        """Within, and with the model's lock held, the module computes with this adapter."""
        return contextlib.nullcontext() if self._adapters is None else self._adapters.worn(adapter)

    def _prompt(self, request: Request) -> tuple[list[int], int]:
        self._check_adapter(request)
        if request.messages is not None and self.reads_apart:
            raise EngineError("This model reads a text and writes another; it holds no conversation. Send a prompt.")
        if request.messages is not None:
            ids = self.chat.prompt(request.messages)
        elif request.prompt is not None:
            ids = self._text(request.prompt)
        else:
            ids = [int(token) for token in request.tokens or ()]
            size = self.module.get_input_embeddings().weight.shape[0]
            if any(not 0 <= token < size for token in ids):
                raise EngineError(f"A token id lies outside the vocabulary of {size} tokens.")
        if not ids:
            raise EngineError("The prompt is empty, and this model has no token that begins a text.")
        if len(ids) < self.context + self.reads_apart:  # its answer has a context of its own
            return ids, 0
        if not request.truncate:
            room = "" if self.reads_apart else " and leaves no room for an answer"
            raise ContextError(
                f"The prompt has {len(ids)} tokens{room}: this model's context is {self.context}. "
                "Shorten it, or ask with truncate=True to drop its oldest tokens."
            )
        keep = self.context - (0 if self.reads_apart else min(request.max_tokens, max(1, self.context // 2)))
        return ids[-keep:], len(ids) - keep

    def _text(self, text: str) -> list[int]:
        """Return the ids of a text from its beginning: models learn texts that start with their first token."""
        if self.reads_apart:
            before, after = self._around
            return [*before, *encode_text(self.tokenizer, text), *after]
        ids = list(self.tokenizer.encode(text))
        start = self.tokenizer.bos_token_id
        return ids if start is None or ids[:1] == [start] else [start, *ids]

    def _writer(self, request: Request, prompt: list[int], emit: Any) -> Writer:
        room = self.context - (1 if self.reads_apart else len(prompt))
        return Writer(request, decode=self._decode, end_ids=self._end_ids, room=room, emit=emit)

    def _decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _forward(self, ids_BT: Tensor, *, cache: Any = None, last: bool = True, **inputs: Tensor) -> Tensor:
        """Return logits [B, V] of the last position, or [B, T, V] of all."""
        if last and "logits_to_keep" in self._accepts:
            inputs["logits_to_keep"] = 1  # type: ignore[assignment]
        if "position_ids" not in self._accepts:
            inputs.pop("position_ids", None)
        output = self.module(input_ids=ids_BT, past_key_values=cache, use_cache=cache is not None, **inputs)
        return output.logits[:, -1] if last else output.logits

    # -- the worker -------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def _work(self) -> None:
        active: list[_Job] = []
        threads = 0  # what to give back when there is nothing to do: the setting reaches beyond this thread
        try:
            while not self._closed:
                if threads and not active and self._queue.empty():
                    torch.set_num_threads(threads)
                    threads = 0
                while len(active) < self._max_active:
                    try:
                        job = self._queue.get(block=not active)
                    except queue.Empty:
                        break
                    if job is None:
                        return
                    active.append(job)
                if self._one_thread and not threads:
                    threads = torch.get_num_threads()
                    torch.set_num_threads(1)
                active = [job for job in active if self._turn(job)]
        finally:
            if threads:
                torch.set_num_threads(threads)
            with self._submit_lock:
                self._closed = True
            while True:  # whoever still waits must hear of it
                try:
                    job = self._queue.get_nowait()
                except queue.Empty:
                    break
                if job is not None:
                    active.append(job)
            for job in active:
                job.stream.fail(EngineError("The engine was closed before the answer was complete."))

    def _turn(self, job: _Job) -> bool:
        """Do one piece of work for one request; return whether it goes on. An error ends this request alone."""
        try:
            reason = job.stream.interrupted()
            if reason is None:
                reason = self._advance(job)
            if reason is None:
                return True
            job.stream.finish(reason)
        except SeptetError as error:
            job.stream.fail(error)
        except Exception as error:  # the edge of the worker: the reader of this stream gets it, the others go on
            failure = EngineError(f"The model failed on this request: {type(error).__name__}: {error}")
            failure.__cause__ = error
            job.stream.fail(failure)
        return False

    def _advance(self, job: _Job) -> Any:
        if self.reads_apart:
            return self._write_on(job)
        if job.cache is None:
            job.cache = make_cache(self._config, min(self.context, len(job.prompt) + ROOM))
        if job.num_read < len(job.prompt):
            piece = job.prompt[job.num_read : job.num_read + PREFILL]
            job.num_read += len(piece)
        else:
            piece = [job.token]
        with self._model_lock, self._worn(job.request.adapter):
            logits_BV = self._forward(torch.tensor([piece], device=self._device), cache=job.cache)
        if job.num_read < len(job.prompt):
            return None
        job.token = job.sampler(logits_BV[0])
        reason = job.writer.push(job.token)
        job.stream.completion_tokens = job.writer.num_tokens
        return reason

    def _write_on(self, job: _Job) -> Any:
        """Write the next token of an encoder-decoder; before the first, read the whole prompt."""
        begin = None
        with self._model_lock, self._worn(job.request.adapter):
            if job.memory is None:
                ids_BT = torch.tensor([job.prompt], device=self._device)
                job.memory = self.module.get_encoder()(input_ids=ids_BT, attention_mask=torch.ones_like(ids_BT))
                job.cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
                job.token = self._start
                begin = self._around[0][0] if self._around[0] else None
            logits_BV = self.module(
                encoder_outputs=job.memory,
                decoder_input_ids=torch.tensor([[job.token]], device=self._device),
                past_key_values=job.cache,
                use_cache=True,
            ).logits[:, -1]
        job.token = job.sampler(logits_BV[0]) if begin is None else begin
        reason = job.writer.push(job.token)
        job.stream.completion_tokens = job.writer.num_tokens
        return reason

    # -- batches ----------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def _generate_together(self, requests: Sequence[Request], adapter: str | None) -> list[Answer]:
        # rows are padded on the left, so that every row's next token stands in the last column
        prompts, dropped = zip(*(self._prompt(request) for request in requests), strict=True)
        texts: list[list[str]] = [[] for _ in requests]
        samplers = [Sampler(request, prompt) for request, prompt in zip(requests, prompts, strict=True)]
        writers = [
            self._writer(request, prompt, text.append)
            for request, prompt, text in zip(requests, prompts, texts, strict=True)
        ]
        reasons: list[Any] = [None] * len(requests)
        width = max(map(len, prompts))
        ids_BT = torch.zeros(len(prompts), width, dtype=torch.long)
        mask_BT = torch.zeros(len(prompts), width, dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids_BT[row, width - len(prompt) :] = torch.tensor(prompt)
            mask_BT[row, width - len(prompt) :] = 1
        ids_BT, mask_BT = ids_BT.to(self._device), mask_BT.to(self._device)
        position_BT = (mask_BT.cumsum(-1) - 1).clamp(min=0)
        cache = make_cache(self._config, width + ROOM)
        rows = list(range(len(requests)))
        while True:
            with self._model_lock, self._worn(adapter):
                logits_BV = self._forward(ids_BT, cache=cache, attention_mask=mask_BT, position_ids=position_BT)
            likeliest = logits_BV.argmax(-1).tolist()
            tokens = [
                likeliest[place] if samplers[row].plain else samplers[row](logits_BV[place])
                for place, row in enumerate(rows)
            ]
            for token, row in zip(tokens, rows, strict=True):
                if reasons[row] is None:
                    reasons[row] = writers[row].push(token)
            going = [place for place, row in enumerate(rows) if reasons[row] is None]
            if not going:
                break
            if len(going) < len(rows):
                keep = torch.tensor(going, device=self._device)
                cache.batch_select_indices(keep)
                mask_BT, position_BT = mask_BT[keep], position_BT[keep]
                rows, tokens = [rows[place] for place in going], [tokens[place] for place in going]
            ids_BT = torch.tensor(tokens, device=self._device)[:, None]
            mask_BT = torch.cat([mask_BT, mask_BT.new_ones(len(rows), 1)], dim=-1)
            position_BT = position_BT[:, -1:] + 1
        return [
            Answer("".join(text), len(prompt), writer.num_tokens, reason, gone)
            for text, prompt, writer, reason, gone in zip(texts, prompts, writers, reasons, dropped, strict=True)
        ]

    # -- scores -----------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def score(
        self,
        pairs: Sequence[tuple[str | Sequence[int] | Sequence[Message], str]],
        *,
        kind: str = "causal",
        end: bool = False,
        truncate: bool = False,
    ) -> list[Scored]:
        if self.reads_apart:
            raise self._cannot("score")
        if kind != "causal":
            raise EngineError(f"This model is causal: it cannot give '{kind}' scores. Known: causal.")
        rows = [self._pair(context, continuation, end, truncate) for context, continuation in pairs]
        found: list[Scored | None] = [None] * len(rows)
        order = sorted(range(len(rows)), key=lambda place: (len(rows[place][0]), place))
        # logits of 2^25 numbers are 128 MiB
        budget = max(256, 2**25 // self.module.get_input_embeddings().weight.shape[0])
        for places in _by_budget(order, [len(ids) for ids, _ in rows], tokens=budget):
            width = max(len(rows[place][0]) for place in places)
            ids_BT = torch.zeros(len(places), width, dtype=torch.long)
            for row, place in enumerate(places):
                ids_BT[row, : len(rows[place][0])] = torch.tensor(rows[place][0])
            ids_BT = ids_BT.to(self._device)
            with self._model_lock, self._worn(None):  # padding stands on the right, where causal attention never looks
                logits_BTV = self._forward(ids_BT, last=False)
            for row, place in enumerate(places):
                ids, count = rows[place]
                if count == 0:
                    found[place] = Scored(0.0, 0, True)
                    continue
                at = slice(len(ids) - count - 1, len(ids) - 1)
                logits_CV, target_C = logits_BTV[row, at].float(), ids_BT[row, len(ids) - count : len(ids)]
                logps_C = logits_CV.log_softmax(-1).gather(-1, target_C[:, None])[:, 0]
                greedy = bool((logits_CV.argmax(-1) == target_C).all())
                found[place] = Scored(float(logps_C.double().sum()), count, greedy)
        return [scored for scored in found if scored is not None]

    def _pair(self, context: Any, continuation: str, end: bool, truncate: bool) -> tuple[list[int], int]:
        """Return the ids of context and continuation, and how many of them the continuation has."""
        if isinstance(context, str):
            before = self._text(context)
        elif context and isinstance(context[0], int):
            before = list(context)
        else:
            before = self.chat.prompt(context) if context else []
        said = self.chat.answer(continuation) if end else encode_text(self.tokenizer, continuation)
        if not before:
            raise EngineError("The context is empty, and this model has no token that begins a text.")
        if len(before) + len(said) > self.context:
            if not truncate or len(said) >= self.context:
                raise ContextError(
                    f"Context and continuation have {len(before)} + {len(said)} tokens; this model reads at most {self.context}. "
                    "Shorten them, or score with truncate=True to drop the context's oldest tokens."
                )
            before = before[-(self.context - len(said)) :]
        return before + said, len(said)

    def close(self) -> None:
        with self._submit_lock:
            already, self._closed = self._closed, True
        if not already:
            self._stop_worker()

    def _stop_worker(self) -> None:
        # the queue may be full of requests; make room for the word that ends the worker, telling whoever loses the place
        while True:
            try:
                self._queue.put_nowait(None)
                break
            except queue.Full:
                try:
                    job = self._queue.get_nowait()
                except queue.Empty:
                    continue
                if job is not None:
                    job.stream.fail(EngineError("The engine was closed before the answer was complete."))
        self._worker.join()


def _ids(value: Any) -> frozenset[int]:
    if value is None:
        return frozenset()
    return frozenset(value) if isinstance(value, list | tuple) else frozenset({int(value)})


def _by_budget(order: list[int], lengths: list[int], *, tokens: int) -> list[list[int]]:
    """Cut `order` (by rising length) into batches of at most `tokens` padded tokens."""
    batches: list[list[int]] = []
    for place in order:
        if batches and (len(batches[-1]) + 1) * lengths[place] <= tokens:
            batches[-1].append(place)
        else:
            batches.append([place])
    return batches


class Torch(Backend):
    """Run the model in this process with PyTorch."""

    max_active: int = Field(default=8, ge=1)
    """Requests that take turns; more wait."""
    max_waiting: int = Field(default=64, ge=1)
    """Requests that may wait; more are refused (EngineBusy)."""
    dtype: Literal["float32", "bfloat16", "auto"] = "float32"
    """The precision of the weights while running; auto takes the file's."""

    def open(
        self,
        folder: str | Path | None = None,
        *,
        device: str = "auto",
        adapters: Mapping[str, str | Path] | None = None,
    ) -> TorchEngine:
        """Open a model. adapters: folders of adapters in peft's layout that were trained from it, by the name in requests."""
        if folder is None:
            raise EngineError("The torch backend runs a model from its folder; name the folder.")
        from septet.nn.load import open_model  # the model's machinery is only needed where a model is loaded

        model = open_model(folder, device=device, architectures=("decoder", "encoder-decoder"))
        if self.dtype != "auto":
            model.module.to(getattr(torch, self.dtype))
        if adapters and model.architecture == "decoder":
            prepare_for_chat(model.module, model.tokenizer)  # as it was when the adapters were trained
        opened = open_adapters(model, adapters) if adapters else None
        return TorchEngine(
            model.base,
            model.tokenizer,
            name=Path(folder).name,
            max_active=self.max_active,
            max_waiting=self.max_waiting,
            adapters=opened,
        )
