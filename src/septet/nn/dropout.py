"""Dropout on a processor without torch's generator, which draws one number after the other on one core.

Where there is a C compiler, what drops out is a function of the seed and the place, on all cores and several times as fast. Only
the seed, one number, comes from torch's generator, so `torch.manual_seed` and a generator's state rule as before. Elsewhere, and in
a compiled model, it is torch's own.

What it is not: the same draws as torch's with the same seed.

    python -m pytest tests/nn/test_dropout.py
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from septet.nn.kernels import dropout as compiled

__all__ = ["Dropout", "dropout", "quicken"]


@torch.library.custom_op("septet::dropout", mutates_args=())
def _dropout(x: Tensor, p: float, seed: Tensor) -> Tensor:
    return compiled.dropped(x, p, int(seed))


@_dropout.register_fake
def _(x: Tensor, p: float, seed: Tensor) -> Tensor:
    return x.new_empty(x.shape)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, ctx.p, seed = inputs
    ctx.save_for_backward(seed)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return _dropout(grad, ctx.p, ctx.saved_tensors[0]), None, None


_dropout.register_autograd(_gradients, setup_context=_setup)


def dropout(x: Tensor, p: float) -> Tensor:
    """Return x with each number 0 with probability p, 0 < p < 1, and divided by 1 - p otherwise (Srivastava et al. 2014)."""
    if torch.compiler.is_compiling() or not compiled.available(x):
        return nn.functional.dropout(x, p, training=True)
    return _dropout(x, p, torch.randint(2**62, ()))


class Dropout(nn.Dropout):
    """torch's module with the function above; its state and its repr are those of the one it takes the place of."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or not 0 < self.p < 1:
            return super().forward(input)
        return dropout(input, self.p)


def quicken(module: nn.Module) -> None:
    """Make every dropout within a module this one, in place."""
    for part in module.modules():
        if type(part) is nn.Dropout:
            part.__class__ = Dropout
