"""Checkpoints: everything a run needs to go on as if nothing had happened, in one safetensors file.

The tensors are weights, optimizer states, the objective's state and torch's random generator; the rest (step, batch cursor,
curve, generators of numpy and Python, what the run is) is JSON in the file's header. It is written beside the old one, flushed,
and renamed over it, so a kill at any moment leaves a whole checkpoint. Nothing is pickled.

What it is not: a model to share; that is `Model.save`.

    python -m pytest tests/train/test_checkpoint.py tests/invariant/test_resume.py
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

__all__ = ["Checkpoint"]

_HEADER = "septet"


@dataclass(slots=True)
class Checkpoint:
    """Tensors by flat name, and JSON values."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)

    def put(self, prefix: str, tensors: dict[str, Tensor], values: dict[str, Any] | None = None) -> None:
        """Add a group under a prefix."""
        for name, tensor in tensors.items():
            # contiguous copies are made only where needed; scalars of optimizers are tensors too
            self.tensors[f"{prefix}/{name}"] = tensor.detach().cpu().contiguous()
        self.values[prefix] = values or {}

    def take(self, prefix: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the group of a prefix."""
        start = f"{prefix}/"
        found = {name[len(start) :]: t for name, t in self.tensors.items() if name.startswith(start)}
        return found, self.values.get(prefix, {})

    def write(self, path: Path) -> None:
        """Write atomically: a temporary file in the same folder, fsync, rename, fsync of the folder."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        content = save(self.tensors, metadata={_HEADER: json.dumps(self.values, allow_nan=True)})
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @classmethod
    def read(cls, path: Path) -> Checkpoint | None:
        """Return the checkpoint of a path, or None where there is none, or what lies there is not a whole one."""
        if not path.is_file():
            return None
        try:
            with safe_open(str(path), framework="pt") as file:
                values = json.loads((file.metadata() or {})[_HEADER])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- not a mapping
        except (SafetensorError, KeyError, json.JSONDecodeError):
            return None
        return cls(tensors, values)
