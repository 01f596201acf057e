"""Checkpoints: everything a run needs to go on as if nothing had happened, in one safetensors file each.

The tensors are weights, optimizer states, the objective's state and torch's random generator; the rest (step, batch cursor, curve,
generators of numpy and Python, what the run is) is JSON in the file's header, with a SHA-256 of all of it. A file is written under
another name, flushed, and renamed, so a kill at any moment leaves the files before it whole; a damaged one is known by its hash,
and the one before it is taken. Nothing is pickled.

What it is not: a model to share; that is `Model.save`.

    python -m pytest tests/train/test_checkpoint.py tests/invariant/test_resume.py
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from septet.train.ranks import whole

__all__ = ["Checkpoint", "Keeper"]

_HEADER, _HASH = "septet", "sha256"
_DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


@dataclass(slots=True)
class Checkpoint:
    """Tensors by flat name, and JSON values.

    Tensors that are split over ranks are put in whole, so a checkpoint is the same for any number of them. All ranks must put;
    `holds` is False on those that only give their part. copies: False where nothing changes until it is written.
    """

    holds: bool = True
    copies: bool = True
    tensors: dict[str, Tensor] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)

    def put(self, prefix: str, tensors: dict[str, Tensor], values: dict[str, Any] | None = None) -> None:
        """Add a group under a prefix: copies, so that training may go on while they are written, unless it does not."""
        for name, tensor in tensors.items():
            found = whole(tensor.detach())
            if self.holds:
                # one tensor at a time leaves the device
                kept = found.cpu().contiguous()
                moved = kept.data_ptr() != found.data_ptr()
                self.tensors[f"{prefix}/{name}"] = kept if moved or not self.copies else kept.clone()
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
        text = json.dumps(self.values, allow_nan=True)
        try:
            with temporary.open("wb") as file:
                self._write_safetensors(file, {_HEADER: text, _HASH: _digest(self.tensors, text)})
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _write_safetensors(self, file: BinaryIO, metadata: dict[str, str]) -> None:
        """Write the format of safetensors from where the tensors lie; its own `save` holds all of them a second time."""
        # larger elements first, as safetensors itself does, so that every tensor begins at a multiple of its elements' size
        names = sorted(self.tensors, key=lambda name: (-self.tensors[name].element_size(), name))
        header: dict[str, Any] = {"__metadata__": metadata}
        end = 0
        for name in names:
            tensor, start = self.tensors[name], end
            end += tensor.numel() * tensor.element_size()
            header[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
        content = json.dumps(header).encode()
        content += b" " * (-len(content) % 8)
        file.write(len(content).to_bytes(8, "little") + content)
        for name in names:
            if self.tensors[name].numel():
                file.write(_bytes(self.tensors[name]))

    @classmethod
    def read(cls, path: Path) -> Checkpoint | None:
        """Return the checkpoint of a path, or None where there is none, or what lies there is not what was written."""
        if not path.is_file():
            return None
        try:
            with safe_open(str(path), framework="pt") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- not a mapping
            if header[_HASH] != _digest(tensors, header[_HEADER]):
                return None
            return cls(tensors=tensors, values=json.loads(header[_HEADER]))
        except (SafetensorError, KeyError, json.JSONDecodeError):
            return None


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    found = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        if tensor.numel():
            found.update(_bytes(tensor))
    return found.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.contiguous().flatten().view(torch.uint8).numpy().data


class Keeper:
    """The checkpoints of one run in a folder: written in the background, the newest few kept, the newest whole one read.

    Files are numbered in the order of writing. A write that fails is told, and the files before it stay.
    """

    def __init__(self, folder: Path, *, keep: int = 2, tell: Callable[[str], None] = lambda text: None) -> None:
        self.folder, self.keep, self.tell = folder, max(1, keep), tell
        self.anchor = folder / "anchor.safetensors"
        self._writing: threading.Thread | None = None
        self._failed: Exception | None = None

    def paths(self) -> list[Path]:
        """The checkpoints that are there, oldest first."""
        return sorted(self.folder.glob("fit-*.safetensors"))

    def write(self, checkpoint: Checkpoint, *, anchor: bool = False, now: bool = False) -> None:
        """Write a checkpoint after the one that is being written. anchor: also keep it as the one to go back to. now: wait for it.

        With `now` an error is raised (OSError: the disk is full, ...); without, it is told, and the run goes on.
        """
        self.wait()
        there = self.paths()
        number = int(there[-1].stem.split("-")[1]) + 1 if there else 1
        path = self.folder / f"fit-{number:06d}.safetensors"

        def work() -> None:
            try:
                checkpoint.write(path)
                if anchor:
                    self._link(path)
                for old in self.paths()[: -self.keep]:
                    old.unlink(missing_ok=True)
            except Exception as error:  # told by who waits: a thread has nobody to raise to
                self._failed = error

        if now:
            work()
            if self._failed is not None:
                failed, self._failed = self._failed, None
                raise failed
            return
        # no daemon: an interpreter that ends waits for the file
        self._writing = threading.Thread(target=work, name="checkpoint")
        self._writing.start()

    def wait(self) -> bool:
        """Wait until nothing is being written; tell what went wrong, and return whether the last one was written."""
        if self._writing is not None:
            self._writing.join()
            self._writing = None
        if self._failed is not None:
            last = self.paths()[-1].name if self.paths() else "none"
            self.tell(
                f"A checkpoint could not be written: {self._failed}. The training goes on; the last good one is {last}."
            )
            self._failed = None
            return False
        return True

    def read(self) -> Checkpoint | None:
        """Return the newest whole checkpoint; damaged newer ones are told and removed."""
        for path in reversed(self.paths()):
            found = Checkpoint.read(path)
            if found is not None:
                return found
            self.tell(
                f"The checkpoint {path.name} is damaged (its content is not what was written); taking the one before it."
            )
            path.unlink()
        return None

    def clear(self) -> None:
        """Remove every checkpoint: they are another run's."""
        for path in [*self.paths(), self.anchor]:
            path.unlink(missing_ok=True)

    def _link(self, path: Path) -> None:
        beside = self.anchor.with_name(".anchor.tmp")
        beside.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            os.link(path, beside)
        if not beside.exists():  # a file system without links
            beside.write_bytes(path.read_bytes())
        os.replace(beside, self.anchor)
