"""Artifacts as objects of Python: `septet.open("liked").generate("...")`.

What it is not: a second store; a handle only knows its artifact.

    python -c "import septet; print(septet.open('liked').generate('What does os.path.join do?'))"
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from septet.core.artifact import Artifact
from septet.core.recipe import Recipe
from septet.core.step import Runtime
from septet.core.store import Store
from septet.launch.local import Run, run_recipe
from septet.launch.mappers import mapper
from septet.launch.team import team
from septet.ops.sinks.plain import Plain

if TYPE_CHECKING:
    from septet.infer.engine import Engine

__all__ = ["Handle", "ModelHandle", "open_artifact", "run"]


def _store(home: str | Path | None) -> Store:
    return Store(home or os.environ.get("SEPTET_HOME") or ".septet")


def run(
    recipe: str | Path,
    *overrides: str,
    home: str | Path | None = None,
    device: str = "auto",
    processes: int | None = None,
    on: str | None = None,
    ranks: int = 1,
    restarts: int = 3,
    quiet: bool = False,
) -> dict[str, Handle]:
    """Run a recipe and return its artifacts by step. Overrides are texts such as "base.depth=2"."""
    loaded = Recipe.load(recipe, overrides=overrides)
    runtime = Runtime(device=device, mapper=mapper(on, processes), team=team(on, ranks, restarts=restarts))
    done: Run = run_recipe(loaded, _store(home), runtime=runtime, sinks=() if quiet else (Plain(),))
    return {name: _handle(artifact) for name, artifact in done.artifacts.items()}


def open_artifact(name: str, *, home: str | Path | None = None) -> Handle:
    """Return a handle on a named artifact; for a model, one that generates."""
    return _handle(_store(home).resolve(name))


def _handle(artifact: Artifact) -> Handle:
    return ModelHandle(artifact) if artifact.kind == "model" else Handle(artifact)


class Handle:
    """One artifact: `id`, `kind`, `path`, `facts`, `inputs`."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact

    @property
    def id(self) -> str:
        return self.artifact.id

    @property
    def kind(self) -> str:
        return self.artifact.kind

    @property
    def path(self) -> Path:
        return self.artifact.path

    @property
    def facts(self) -> dict:
        return self.artifact.facts

    @property
    def inputs(self) -> dict[str, str]:
        return self.artifact.inputs

    def __repr__(self) -> str:
        return f"<{self.kind} {self.artifact.short} in {self.path}>"


class ModelHandle(Handle):
    """A model that answers; it is loaded by its first use."""

    @cached_property
    def engine(self) -> Engine:
        from septet.infer.engine import open_engine  # torch: seconds, only for those who generate

        return open_engine(self.path)

    def generate(self, text: str, *, max_tokens: int = 128, temperature: float = 0.0, seed: int | None = None) -> str:
        """Return the model's answer to a question (models with a chat template), or its continuation of a text."""
        from septet.infer.engine import Request

        chats = (self.path / "chat_template.jinja").is_file()
        request = Request(
            messages=[{"role": "user", "content": text}] if chats else None,
            prompt=None if chats else text,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
        )
        return self.engine.submit(request).text()

    def close(self) -> None:
        """Free the model."""
        if "engine" in self.__dict__:
            self.engine.close()
            del self.engine
