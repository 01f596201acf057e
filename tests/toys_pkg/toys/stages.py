"""Stages that are easy to check: what a worker returns, what it raises, how it dies."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from septet.core.errors import DataError


def square(settings: dict[str, Any], shard: dict[str, Any]) -> dict[str, Any]:
    if shard.get("noisy"):
        print("a library that prints")
    return {"value": shard["n"] ** settings["power"], "process": os.getpid()}


def fail(settings: dict[str, Any], shard: dict[str, Any]) -> dict[str, Any]:
    if shard["n"] == settings["at"]:
        if settings["how"] == "data":
            raise DataError("the row is bad", file="x.jsonl", row=3)
        if settings["how"] == "system":
            raise OSError(28, "No space left on device")
        if settings["how"] == "dies":
            os._exit(9)
        raise AssertionError("our own mistake")
    Path(settings["folder"], str(shard["n"])).touch()
    return {"n": shard["n"]}
