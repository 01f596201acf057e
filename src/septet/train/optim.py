"""Optimizers that torch lacks, and the states of any as plain tensors for checkpoints.

Muon: Jordan 2024 (https://kellerjordan.github.io/posts/muon/), with the step's size matched to AdamW's (Liu et al. 2025,
https://arxiv.org/abs/2502.16982, section 2.2). Lion: Chen et al. 2023 (https://arxiv.org/abs/2302.06675). AdamW in 8 bits:
Dettmers et al. 2022 (https://arxiv.org/abs/2110.02861).

What it is not: the choice of one; that is a component in `septet.train.optimizers`.

    python -m pytest tests/train/test_optim.py
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from septet.nn.device import bfloat16_is_native
from septet.train.ranks import split, whole

__all__ = [
    "EightBitAdamW",
    "MuonStep",
    "Optimizers",
    "SignMomentum",
    "dynamic_code",
    "load_state",
    "orthogonal",
    "packed_8bit",
    "set_rate",
    "state_of",
    "unpacked_8bit",
]

Optimizers = list[torch.optim.Optimizer]
"""One or two torch optimizers over disjoint parameters."""

TOGETHER = 1 << 22
"""Values of matrices of one shape that Muon takes in one product: of small ones the calls cost more than the products."""

BLOCK, SMALL = 256, 4096
"""Values that share a scale in 8-bit states, and the size from which a tensor's states have 8 bits."""


def orthogonal(matrix: Tensor, *, steps: int = 5) -> Tensor:
    """Return a matrix [M, N] with the singular vectors of the given one and singular values near one (within 0.6 and 1.3).

    Newton-Schulz iteration with Jordan's quintic coefficients, in the matrix's own type. Of several matrices [K, M, N] each is
    taken by itself, in the same products.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[-2] > matrix.shape[-1]
    x = (matrix.mT if tall else matrix).reshape(-1, min(matrix.shape[-2:]), max(matrix.shape[-2:]))
    x = x / x.flatten(1).norm(dim=1).clamp(min=1e-7)[:, None, None]
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    x = x.view(*matrix.shape[:-2], *x.shape[1:])
    return x.mT if tall else x


class MuonStep(torch.optim.Optimizer):
    """Momentum, made orthogonal. Only for matrices [M, N] in float32; what has more dimensions is taken as [M, the rest].

    torch has a Muon too, which computes in bfloat16 everywhere; on a processor that emulates bfloat16 its step takes longer than
    the rest of the training. This one does so only where bfloat16 is native, and is otherwise the same (tested against it).
    """

    def __init__(
        self, matrices: Iterable[nn.Parameter], *, lr: float = 1.0, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step for every matrix that has a gradient."""
        assert closure is None, "the loop computes the gradient beforehand"
        for group in self.param_groups:
            rate, decay = group["lr"], group["weight_decay"]
            # XLNet keeps heads apart, [D, heads, head]: one map all the same
            alike: dict[tuple[int, ...], list[nn.Parameter]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    alike.setdefault((p.shape[0], p.numel() // p.shape[0]), []).append(p)
            for shape, matrices in alike.items():
                together = max(1, TOGETHER // math.prod(shape))
                for begin in range(0, len(matrices), together):
                    some = matrices[begin : begin + together]
                    found = orthogonal(torch.stack([self._looked_ahead(p, group["momentum"]) for p in some]))
                    for p, update in zip(some, found, strict=True):
                        p.mul_(1 - rate * decay)
                        # 0.2 is about the root mean square of AdamW's steps; an orthogonal [M, N] has 1 / sqrt(max(M, N))
                        p.add_(split(update.to(p.dtype).view(p.shape), p), alpha=-rate * 0.2 * max(shape) ** 0.5)

    def _looked_ahead(self, p: nn.Parameter, momentum: float) -> Tensor:
        """Nesterov's look ahead [M, N]; of a matrix that is split over ranks the whole, of which each rank keeps its part."""
        assert p.grad is not None, "only matrices with a gradient take a step"
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        state["momentum"].lerp_(p.grad, 1 - momentum)
        update = whole(p.grad.lerp(state["momentum"], momentum))
        return update.to(torch.bfloat16 if bfloat16_is_native(p.device) else torch.float32).flatten(1)


class SignMomentum(torch.optim.Optimizer):
    """Lion: theta -= rate * (sign(b1 m + (1 - b1) g) + decay * theta), then m = b2 m + (1 - b2) g."""

    def __init__(
        self, parameters: Any, *, lr: float = 1.0, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step for every parameter that has a gradient."""
        assert closure is None, "the loop computes the gradient beforehand"
        for group in self.param_groups:
            rate, (first, second) = group["lr"], group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                direction = state["momentum"].lerp(p.grad, 1 - first).sign_()
                p.mul_(1 - rate * group["weight_decay"]).add_(direction, alpha=-rate)
                state["momentum"].lerp_(p.grad, 1 - second)


@cache
def dynamic_code(signed: bool) -> Tensor:
    """Return the 256 numbers that 8 bits stand for, float32, ascending, within [-1, 1] or [0, 1]: dynamic tree quantisation.

    For each of seven powers of ten, from 1e-6 to 1, the stretch between a tenth of it and itself is cut into equal parts, twice as
    many for each power (Dettmers et al. 2022, section 1.3 and figure 2); their middles are the numbers, with zero and one.
    """
    values = [0.0, 1.0]
    for exponent in range(7):
        edges = torch.linspace(0.1, 1, 2 ** (exponent + (0 if signed else 1)) + 1, dtype=torch.float64)
        middles = ((edges[1:] + edges[:-1]) / 2 * 10.0 ** (exponent - 6)).tolist()
        values += middles + ([-value for value in middles] if signed else [])
    return torch.tensor(sorted(values), dtype=torch.float32)


def packed_8bit(values: Tensor, *, signed: bool) -> tuple[Tensor, Tensor]:
    """Return (codes uint8 [blocks, 256], scales float32 [blocks]): each block in units of its largest value."""
    code = dynamic_code(signed).to(values.device)
    blocks = nn.functional.pad(values.flatten(), (0, -values.numel() % BLOCK)).view(-1, BLOCK)
    scales = blocks.abs().amax(dim=1)
    shares = blocks / scales.clamp(min=torch.finfo(torch.float32).tiny)[:, None]
    return torch.bucketize(shares, (code[1:] + code[:-1]) / 2).to(torch.uint8), scales


def unpacked_8bit(codes: Tensor, scales: Tensor, shape: torch.Size, *, signed: bool) -> Tensor:
    """Return the float32 values of what `packed_8bit` made of a tensor of this shape."""
    values = dynamic_code(signed).to(codes.device)[codes.int()] * scales[:, None]
    return values.flatten()[: shape.numel()].view(shape)


class EightBitAdamW(torch.optim.Optimizer):
    """AdamW whose averages are kept in 8 bits, and made float32 for a step."""

    def __init__(
        self,
        parameters: Any,
        *,
        lr: float = 1.0,
        betas: tuple[float, float] = (0.9, 0.95),
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "epsilon": epsilon, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step for every parameter that has a gradient."""
        assert closure is None, "the loop computes the gradient beforehand"
        for group in self.param_groups:
            rate, (first, second) = group["lr"], group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                count = state["step"] = state.get("step", 0) + 1
                mean, square = (
                    self._read(state, name, p, signed) for name, signed in (("mean", True), ("square", False))
                )
                mean.lerp_(p.grad, 1 - first)
                square.mul_(second).addcmul_(p.grad, p.grad, value=1 - second)
                p.mul_(1 - rate * group["weight_decay"])
                root = square.div(1 - second**count).sqrt_().add_(group["epsilon"])
                p.addcdiv_(mean, root, value=-rate / (1 - first**count))
                self._write(state, "mean", mean, True)
                self._write(state, "square", square, False)

    @staticmethod
    def _read(state: dict[str, Any], name: str, p: Tensor, signed: bool) -> Tensor:
        if f"{name}_codes" in state:
            return unpacked_8bit(state[f"{name}_codes"], state[f"{name}_scales"], p.shape, signed=signed)
        return state[name] if name in state else torch.zeros_like(p, dtype=torch.float32)

    @staticmethod
    def _write(state: dict[str, Any], name: str, values: Tensor, signed: bool) -> None:
        if values.numel() < SMALL:
            state[name] = values
        else:
            state[f"{name}_codes"], state[f"{name}_scales"] = packed_8bit(values, signed=signed)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's, but codes stay codes: torch would make them floats like the parameter."""
        super().load_state_dict(state_dict)
        places = [p for group in self.param_groups for p in group["params"]]
        for index, slots in state_dict["state"].items():
            for name, value in slots.items():
                if name.endswith("_codes"):
                    self.state[places[index]][name] = value.to(places[index].device)


def set_rate(optimizer: Optimizers, rate: float) -> None:
    """Set the learning rate of every group."""
    for part in optimizer:
        for group in part.param_groups:
            group["lr"] = rate


def state_of(optimizer: Optimizers) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return (tensors, plain values) of the state, with flat names."""
    tensors, values = {}, {}
    for number, part in enumerate(optimizer):
        for index, slots in part.state_dict()["state"].items():
            for slot, value in slots.items():
                (tensors if isinstance(value, Tensor) else values)[f"{number}.{index}.{slot}"] = value
    return tensors, values


def load_state(optimizer: Optimizers, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Put back what `state_of` returned, whole, into fresh optimizers over the same parameters, split or not."""
    for number, part in enumerate(optimizer):
        fresh = part.state_dict()
        places = [p for group in part.param_groups for p in group["params"]]
        slots: dict[int, dict[str, Any]] = {}
        for name, value in {**tensors, **values}.items():
            which, index, slot = name.split(".", 2)
            if int(which) == number:
                like = places[int(index)]
                slots.setdefault(int(index), {})[slot] = (
                    split(value, like) if isinstance(value, Tensor) and value.shape == like.shape else value
                )
        part.load_state_dict({**fresh, "state": slots})
