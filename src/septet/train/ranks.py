"""Ranks: the processes that train one model together, each with a shard of its weights and a share of every batch.

Row i of a batch belongs to rank i mod size, so the ranks together have the rows that one process would have. Each computes its part
of the loss, already divided by the weight of the whole batch, and gradients are summed: the step is that of one process, up to the
order of additions. Weights, gradients and optimizer states are split by FSDP2 (torch's `fully_shard`; Zhao et al. 2023,
https://arxiv.org/abs/2304.11277), each block by itself: a block is whole only while it computes.

One process is the case without any of it: `Alone`, and plain tensors.

What it is not: a launcher; `septet.launch` starts the processes. Nor tensor or pipeline parallelism.

    python -m pytest tests/train/test_ranks.py tests/invariant/test_ranks.py
"""

from __future__ import annotations

import json
import os
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.rendezvous import rendezvous
from torch.distributed.tensor import DTensor, distribute_tensor

from septet.core.errors import ComponentError
from septet.core.protocols import Ranks
from septet.nn.model import Model

__all__ = ["Alone", "Together", "blocks", "collect", "gather", "join", "shard", "split", "whole"]

TIMEOUT = timedelta(minutes=30)
"""How long a rank waits for another one that is alive; one that has died is noticed at once."""


@dataclass(frozen=True, slots=True)
class Alone:
    """One process: what is summed is what it has."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        return True

    def sum(self, values: Mapping[str, float]) -> dict[str, float]:
        return dict(values)

    def agree(self, value: Any) -> Any:
        return value

    def barrier(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Together:
    """One of several processes. Every method is called by all of them, in the same order. Nothing is pickled."""

    rank: int
    size: int

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that writes files and tells events."""
        return self.rank == 0

    def sum(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the sums over ranks by name, in one exchange of float64 numbers; all ranks have the same names."""
        names = sorted(values)
        # the names travel as a number: ranks that differ in them would add apples to pears and go on
        same = zlib.crc32(json.dumps(names).encode())
        numbers = torch.tensor([same, *(values[name] for name in names)], dtype=torch.float64)
        dist.all_reduce(numbers)
        found = numbers.tolist()
        assert found[0] == same * self.size, f"the ranks sum different figures; rank {self.rank} has {names}"
        sums = dict(zip(names, found[1:], strict=True))
        return {name: sums[name] for name in values}

    def agree(self, value: Any, *, group: dist.ProcessGroup | None = None) -> Any:
        """Return rank 0's JSON value on every rank. group: one with all of them, which may have a timeout of its own."""
        text = json.dumps(value).encode() if self.is_first else b""
        length = torch.tensor([len(text)])
        dist.broadcast(length, 0, group=group)
        if self.is_first:
            content = torch.frombuffer(bytearray(text), dtype=torch.uint8)
        else:
            content = torch.empty(int(length), dtype=torch.uint8)
        dist.broadcast(content, 0, group=group)
        return json.loads(content.numpy().tobytes())

    def barrier(self) -> None:
        """Wait until every rank is here."""
        self.sum({})


def join(device: str = "auto") -> Together:
    """Join the other processes, as the environment of torchrun says (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_*); once a process.

    A GPU speaks NCCL, a processor Gloo; what the ranks agree on goes through Gloo in either case. Raises ComponentError where a
    machine has fewer GPUs than ranks.
    """
    gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    local, here = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if gpu:
        if here > torch.cuda.device_count():
            raise ComponentError(
                f"{here} ranks were started on a machine with {torch.cuda.device_count()} GPUs; each rank needs one of its own. "
                "Start fewer (--ranks), or use --device cpu."
            )
        torch.cuda.set_device(local)
    if not dist.is_initialized():
        store, rank, size = next(rendezvous("env://", timeout=TIMEOUT))
        # torchrun keeps the store over a restart, and with it the addresses of processes that are dead
        store = PrefixStore(f"attempt-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
        backend = "cpu:gloo,cuda:nccl" if gpu else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    return Together(dist.get_rank(), dist.get_world_size())


# -- weights ------------------------------------------------------------------------------------------------------------


class _Whole(nn.Module):
    """A model with all that is computed of it, head and loss too: FSDP gathers and frees weights around a module's forward."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, compute: Callable[[], Any]) -> Any:
        return compute()


def blocks(module: nn.Module) -> list[nn.Module]:
    """Return the layers of a model, whatever they are called: the members of its outermost lists of modules.

    A layer that shares a parameter with something outside of it is left out; it stays with the rest of the model.
    """
    found: list[nn.Module] = []

    def visit(part: nn.Module) -> None:
        for child in part.children():
            if isinstance(part, nn.ModuleList) and not isinstance(child, nn.ModuleList):
                found.append(child)
            else:
                visit(child)

    visit(module)

    def uses(part: nn.Module) -> Counter[int]:
        modules = (inner for _, inner in part.named_modules(remove_duplicate=False))
        return Counter(id(parameter) for inner in modules for parameter in inner.parameters(recurse=False))

    everywhere = uses(module)

    def is_its_own(block: nn.Module) -> bool:
        inside = uses(block)
        return bool(inside) and all(count == everywhere[key] for key, count in inside.items())

    return [block for block in found if is_its_own(block)]


def shard(model: Model, ranks: Ranks) -> None:
    """Split a model's parameters over the ranks, in place; all ranks hold the same model before. Alone, nothing happens.

    Weights stay float32 and are gathered as such: autocast then rounds exactly what it rounds in one process. (FSDP's own
    MixedPrecisionPolicy would move half the bytes, and would round norms and biases too, which autocast keeps.)
    """
    if ranks.size == 1:
        return
    mesh = init_device_mesh(model.device.type, (ranks.size,))
    root = _Whole(model.module)
    for block in blocks(model.module):
        fully_shard(block, mesh=mesh)
    fully_shard(root, mesh=mesh, reshard_after_forward=False)
    for part in root.modules():
        if isinstance(part, FSDPModule):
            # a rank's loss is its part of the sum, not a mean of its own
            part.set_gradient_divide_factor(1.0)
            part.set_force_sum_reduction_for_comms(True)

    def within(compute: Callable[[], Any]) -> Any:
        found = root(compute)
        if not torch.is_grad_enabled():
            root.reshard()  # type: ignore[operator] -- after a training pass the backward does it
        return found

    model.within = within


def gather(model: Model, ranks: Ranks) -> None:
    """Give rank 0 the whole model again, as plain tensors in its main memory, to be saved; the others keep their shards."""
    if ranks.size == 1:
        return
    made: dict[int, nn.Parameter] = {}  # tied parameters stay tied
    for part in model.module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if id(parameter) not in made:
                full = whole(parameter.detach())
                made[id(parameter)] = nn.Parameter(full.cpu(), parameter.requires_grad) if ranks.is_first else parameter
            part._parameters[name] = made[id(parameter)]


def collect(tensor: Tensor, ranks: Ranks) -> list[Tensor]:
    """Return a tensor of each rank, in main memory and of one shape, on all of them."""
    if ranks.size == 1:
        return [tensor]
    found = [torch.empty_like(tensor) for _ in range(ranks.size)]
    dist.all_gather(found, tensor)
    return found


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor without its split; every rank must ask. A plain tensor is returned as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def split(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor split as another one of its shape is. Where that one is plain, so is the result."""
    if not isinstance(like, DTensor):
        return tensor
    # every rank has the whole tensor already, so nothing is sent
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
