"""Models that are on this machine already: folders in transformers' layout, in a hub's cache or anywhere, told without opening
them.

Sizes are read from the headers of the safetensors, architecture and context from `config.json`. A folder without safetensors, or
without a configuration, is no model here.

What it is not: a downloader, or a check that a model opens.

    python -c "from septet.nn.on_disk import in_cache; print(in_cache())"
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Found", "in_cache", "look"]

MOST_HEADER = 100_000_000
"""Bytes of a safetensors header, as the format allows; a larger one is no safetensors file."""


@dataclass(frozen=True, slots=True)
class Found:
    """A model's folder. name: of the hub where the folder is in its cache. parameters: of the file, tied ones once."""

    folder: Path
    config: Mapping[str, Any]
    parameters: int
    name: str = ""


def look(folder: Path, name: str = "") -> Found | None:
    """Return what a folder holds, or None where that is no model that could be opened."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        files = sorted(folder.glob("*.safetensors"))
        if not isinstance(config, dict) or "model_type" not in config or not files:
            return None
        return Found(folder, config, sum(_parameters(file) for file in files), name)
    except (OSError, ValueError, TypeError):
        return None


def _parameters(file: Path) -> int:
    """Count the numbers in a safetensors file from its header: 8 bytes of length, then JSON of name -> shape."""
    with file.open("rb") as opened:
        size = int.from_bytes(opened.read(8), "little")
        if size > MOST_HEADER:
            raise ValueError("no safetensors header")
        header = json.loads(opened.read(size))
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")


def in_cache(cache: Path | None = None) -> list[Found]:
    """Return the models in the hub's cache, the newest snapshot of each; nothing is fetched."""
    from huggingface_hub.constants import (
        HF_HUB_CACHE,
    )  # where its library keeps them: HF_HUB_CACHE, or hub below HF_HOME

    found = []
    for place in sorted((cache or Path(HF_HUB_CACHE)).glob("models--*")):
        snapshots = sorted((place / "snapshots").glob("*"), key=lambda path: path.stat().st_mtime, reverse=True)
        name = place.name.removeprefix("models--").replace("--", "/")
        made = next((one for snapshot in snapshots if (one := look(snapshot, name)) is not None), None)
        if made is not None:
            found.append(made)
    return found
