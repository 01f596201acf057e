"""What asking a remote model costs, and how fast it may be asked: counted tokens, a budget, a pace.

The budget is reserved before a request is sent, at the most that it can cost, and settled at what the server reported. So it holds
under concurrency too: nobody checks first and spends later. What was sent and never answered (a time-out, a broken stream) may
have been billed; it is booked at its reservation and counted in `estimated`.

What it is not: an invoice. Prices are the user's; discounts for cached prompts are not known here.

    python -m pytest tests/infer/test_remote.py -k "budget or minute"
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field, replace

from septet.infer.engine import EngineError, Usage

__all__ = ["BudgetError", "Pace", "Purse", "Spent"]


class BudgetError(EngineError):
    """The next request could cost more than is left of the budget; it was not sent."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What an engine has used so far.

    requests: answered by the address. replayed: answered from the cache. retries: attempts beyond the first. prompt_tokens,
    completion_tokens: as the server counted them. cost: in the currency of the prices; None without prices. estimated: attempts
    whose tokens the server did not report; they are in the tokens and in the cost at the most they can have been.
    """

    requests: int = 0
    replayed: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    estimated: int = 0


@dataclass(slots=True)
class Purse:
    """Adds up tokens and money. Everything but reading `spent` happens in one event loop.

    prices: money for a million tokens read and written. budget: the most that may be spent.
    """

    prices: tuple[float, float] | None = None
    budget: float | None = None
    spent: Spent = field(init=False)
    _reserved: float = 0.0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def __post_init__(self) -> None:
        self.spent = Spent(cost=None if self.prices is None else 0.0)

    def cost(self, usage: Usage) -> float:
        if self.prices is None:
            return 0.0
        return (usage.prompt_tokens * self.prices[0] + usage.completion_tokens * self.prices[1]) / 1e6

    async def reserve(self, most: Usage) -> float:
        """Set aside what a request can cost at most, waiting for others to settle where that may make room.

        Errors: BudgetError where even then too little is left.
        """
        wanted = self.cost(most)
        if self.budget is None:
            return wanted
        async with self._changed:
            while (self.spent.cost or 0.0) + self._reserved + wanted > self.budget:
                if not self._reserved:
                    left = self.budget - (self.spent.cost or 0.0)
                    raise BudgetError(
                        f"The next request can cost up to {wanted:.6g}, and {left:.6g} is left of the "
                        f"budget of {self.budget:g}; it was not sent. Raise the budget, or lower max_tokens: it is reserved in "
                        "full. What was answered is kept where a cache folder is set."
                    )
                await self._changed.wait()
            self._reserved += wanted
        return wanted

    async def settle(self, reserved: float, used: Usage | None, *, estimated: bool = False) -> None:
        """Give a reservation back and book what was used; None books nothing."""
        if used is not None:
            now = self.spent
            self.spent = replace(
                now,
                prompt_tokens=now.prompt_tokens + used.prompt_tokens,
                completion_tokens=now.completion_tokens + used.completion_tokens,
                cost=None if now.cost is None else now.cost + self.cost(used),
                estimated=now.estimated + estimated,
            )
        if self.budget is not None:
            async with self._changed:
                self._reserved = max(0.0, self._reserved - reserved)
                self._changed.notify_all()

    def count(self, name: str) -> None:
        """Add one to `requests`, `replayed` or `retries`."""
        self.spent = replace(self.spent, **{name: getattr(self.spent, name) + 1})


@dataclass(slots=True)
class Pace:
    """Lets a request go when the last `window` seconds have room for it: so many requests, so many tokens.

    A request that alone is larger than the limit goes once nothing else stands in the window.
    """

    requests: int | None = None
    tokens: int | None = None
    window: float = 60.0
    _sent: deque[list[float]] = field(default_factory=deque)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def admit(self, tokens: int) -> list[float]:
        """Wait for room; return the entry, whose second place may be corrected to the tokens that were really used."""
        entry = [0.0, float(tokens)]
        if self.requests is None and self.tokens is None:
            return entry
        async with self._turn:  # first come, first served
            while (wait := self._wait(tokens)) > 0:
                await asyncio.sleep(wait)
            entry[0] = time.monotonic()
            self._sent.append(entry)
        return entry

    def _wait(self, tokens: int) -> float:
        now = time.monotonic()
        while self._sent and self._sent[0][0] + self.window <= now:
            self._sent.popleft()
        if not self._sent:
            return 0.0
        full = self.requests is not None and len(self._sent) >= self.requests
        if self.tokens is not None and sum(used for _, used in self._sent) + tokens > self.tokens:
            full = True
        return self._sent[0][0] + self.window - now if full else 0.0
