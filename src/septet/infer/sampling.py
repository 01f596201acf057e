"""From logits to a token, and from tokens to text that may be shown: greedy, temperature, top-k, top-p, penalties, stops.

V = vocabulary. The order of the filters is that of transformers' `generate`: repetition penalty, temperature, top-k, top-p.

What it is not: beam search.

    python -m pytest tests/infer/test_sampling.py
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from septet.infer.engine import Finish, Request

__all__ = ["Sampler", "StopText", "Utf8Text", "Writer", "filter_logits"]


def filter_logits(logits_V: Tensor, *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """Return float32 logits [V] divided by `temperature`, with -inf outside the top-k and the nucleus.

    The nucleus (Holtzman et al. 2020) is the smallest set of likeliest tokens whose probabilities sum to at least `top_p`; the
    likeliest token always stays.
    """
    logits_V = logits_V.float() / temperature
    if 0 < top_k < logits_V.numel():
        floor = logits_V.topk(top_k).values[-1]
        logits_V = logits_V.masked_fill(logits_V < floor, -torch.inf)
    if top_p < 1.0:
        ordered_V, order_V = logits_V.sort(descending=True)
        probs_V = ordered_V.softmax(-1)
        before_V = probs_V.cumsum(-1) - probs_V  # what the likelier tokens have already gathered
        drop_V = before_V >= top_p
        drop_V[0] = False
        logits_V = logits_V.masked_fill(torch.zeros_like(drop_V).scatter(0, order_V, drop_V), -torch.inf)
    return logits_V


class Sampler:
    """Picks the next token of one request, with its own random numbers, so that neighbours cannot change its words."""

    def __init__(self, request: Request, prompt: Sequence[int] = ()) -> None:
        self.request = request
        self.generator: torch.Generator | None = None
        if request.temperature > 0:
            seed = secrets.randbits(63) if request.seed is None else request.seed
            self.generator = torch.Generator().manual_seed(seed % 2**63)
        self._seen: set[int] | None = set(prompt) if request.repetition_penalty != 1.0 else None

    @property
    def plain(self) -> bool:
        """The likeliest token is taken as it is."""
        return self.generator is None and self._seen is None

    def __call__(self, logits_V: Tensor) -> int:
        """Return the next token's id for logits [V]; on a tie, the lowest id."""
        if self._seen:
            ids = torch.tensor(sorted(self._seen), device=logits_V.device)
            chosen = logits_V[ids]
            penalty = self.request.repetition_penalty
            logits_V = logits_V.scatter(0, ids, torch.where(chosen < 0, chosen * penalty, chosen / penalty))
        if self.generator is None:
            token = int(logits_V.argmax())
        else:
            request = self.request
            logits_V = filter_logits(
                logits_V.cpu(), temperature=request.temperature, top_k=request.top_k, top_p=request.top_p
            )
            token = int(torch.multinomial(logits_V.softmax(-1), 1, generator=self.generator))
        if self._seen is not None:
            self._seen.add(token)
        return token


class Utf8Text:
    """Turns tokens into text piece by piece without ever showing half a character.

    A token of a byte-level vocabulary may end inside a character; its bytes are held until the character is whole. Bytes that
    can never become a character are shown as U+FFFD, those still waiting at the end of the answer are dropped.
    """

    WINDOW = 32  # decoding only the latest tokens keeps the cost of a token constant

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._shown = 0

    def push(self, token: int) -> str:
        """Return the text that has become certain with this token."""
        self._ids.append(token)
        text = self._decode(self._ids)
        # a decoder marks an unfinished character at the end with exactly one U+FFFD
        certain = text[:-1] if text.endswith("\ufffd") else text
        fresh, self._shown = certain[self._shown :], max(self._shown, len(certain))
        if len(self._ids) >= self.WINDOW and certain is text:
            self._ids = self._ids[-4:]  # some decoders look at the token before (spaces between words)
            again = self._decode(self._ids)
            self._shown = len(again)
        return fresh


class StopText:
    """Passes text through until one of the stop strings appears, also where it is spread over several pieces."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False

    def push(self, text: str) -> str:
        """Return what may be shown: never a stop string, nor what could still become one."""
        if not self._stops or self.stopped:
            return "" if self.stopped else text
        self._held += text
        found = [place for place in (self._held.find(stop) for stop in self._stops) if place >= 0]
        if found:
            shown, self._held, self.stopped = self._held[: min(found)], "", True
            return shown
        keep = max(self._overlap(stop) for stop in self._stops)
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown

    def flush(self) -> str:
        """Return what was held back; the answer is over."""
        shown, self._held = self._held, ""
        return shown

    def _overlap(self, stop: str) -> int:
        # the longest end of the held text that is a beginning of the stop string
        for length in range(min(len(stop) - 1, len(self._held)), 0, -1):
            if self._held.endswith(stop[:length]):
                return length
        return 0


class Writer:
    """One answer in the making: takes tokens, shows text, and says when and why the answer is over."""

    def __init__(
        self,
        request: Request,
        *,
        decode: Callable[[list[int]], str],
        end_ids: frozenset[int],
        room: int,
        emit: Callable[[str], None],
    ) -> None:
        self.num_tokens = 0
        self._end_ids = end_ids
        self._room = min(request.max_tokens, room)
        self._emit = emit
        self._utf8 = Utf8Text(decode)
        self._stop = StopText(request.stop)

    def push(self, token: int) -> Finish | None:
        """Take the next token; return why the answer is over, or None while it goes on."""
        self.num_tokens += 1
        if token in self._end_ids:
            self.flush()
            return "stop"
        text = self._stop.push(self._utf8.push(token))
        if text:
            self._emit(text)
        if self._stop.stopped:
            return "stop"
        if self.num_tokens >= self._room:
            self.flush()
            return "length"
        return None

    def flush(self) -> None:
        """Show what was held back for a stop string that did not come."""
        text = self._stop.flush()
        if text:
            self._emit(text)
