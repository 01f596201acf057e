"""The models that could be taken for a task: those of the store, the packaged encoder, the hub's cache, and the catalogue.

What it is not: a choice; that is `septet.ops.advice`. Nothing is opened and nothing is fetched.

    python -m pytest tests/ops/test_candidates.py
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from septet.core.artifact import Artifact
from septet.core.store import Store
from septet.infer.task import FILE, Task
from septet.nn.architecture import architecture_of
from septet.nn.catalogue import Known, catalogue
from septet.nn.on_disk import Found, in_cache, look
from septet.ops.advice import Candidate, Where
from septet.retrieval.encoders.minilm import installed_version

__all__ = ["candidates"]

SMALL = 5_000_000
"""Parameters below which a model that was pre-trained here is called a small one."""


def candidates(store: Store, *, cache: Path | None = None) -> list[Candidate]:
    """Return every model that is here, and those of the catalogue. cache: the hub's, in place of this machine's."""
    found = [*_of_store(store)]
    taken = {one.name for one in found}
    for one in in_cache(cache):
        known = catalogue().named(one.name)
        found.append(
            _of_folder(one, "cache", one.name, known, take=f"septet checkpoint --folder {one.folder} --name base")
        )
        taken.add(one.name)
    for known in catalogue().models:
        if known.packaged is not None and installed_version() is not None:
            found.append(_of_known(known, "package", f"septet checkpoint --packaged {known.packaged} --name base"))
        elif known.name not in taken:
            found.append(_of_known(known, "catalogue", f"septet checkpoint --hub {known.name} --name base"))
    return found


def _of_store(store: Store) -> list[Candidate]:
    named: dict[str, str] = {}
    for pointer in store.names():  # the newest first; the older names of an artifact are the same model
        named.setdefault(pointer.id, pointer.name)
    found = []
    for artifact in store:
        if artifact.kind != "model" or artifact.id not in named:
            continue
        looked = look(artifact.path)
        if looked is not None:
            known = _known(artifact)
            one = _of_folder(looked, "store", named[artifact.id], known)
            found.append(replace(one, note=_history(artifact, looked)))
    return found


def _known(artifact: Artifact) -> Known | None:
    """Return the published model that a checkpoint of the store is a copy of."""
    hub = artifact.facts.get("hub")
    if isinstance(hub, str):
        return catalogue().named(hub)
    if artifact.facts.get("packaged"):
        return next((one for one in catalogue().models if one.packaged == artifact.step.get("packaged")), None)
    return None


def _history(artifact: Artifact, found: Found) -> str:
    """Say what a model of the store has learned, in a few words."""
    kind = artifact.step.get("kind")
    if (found.folder / FILE).is_file():
        return f"already taught {Task.of_folder(found.folder)[0].kind}"
    if kind == "pretrain":
        return "pre-trained here" + (", and small: a published one knows more" if found.parameters < SMALL else "")
    return {"checkpoint": "", "resize": ""}.get(str(kind), f"made by {kind}")


def _of_folder(found: Found, where: Where, name: str, known: Known | None, *, take: str = "") -> Candidate:
    config: Mapping[str, Any] = found.config
    context = next(
        (
            config[key]
            for key in ("max_position_embeddings", "n_positions", "max_encoder_position_embeddings")
            if config.get(key)
        ),
        None,
    )
    base = _of_known(known, where, take) if known is not None else None
    own = {
        "name": name,
        "where": where,
        "architecture": architecture_of(config),
        "parameters": found.parameters,
        "shape": config,
        "take": take,
    }
    if base is not None:
        return replace(base, **own)
    return Candidate(**own, context=context if isinstance(context, int) and context > 0 else None)


def _of_known(known: Known, where: Where, take: str) -> Candidate:
    return Candidate(**{field.name: getattr(known, field.name) for field in fields(Known)}, where=where, take=take)
