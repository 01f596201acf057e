"""Copy a model out of the store as a Hugging Face folder that other programs open."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from septet.cli.main import Settings


@click.command("export")
@click.argument("model")
@click.argument("folder", type=click.Path(path_type=Path))
@click.pass_obj
def command(settings: Settings, model: str, folder: Path) -> None:
    """Copy MODEL to FOLDER: config.json, model.safetensors, the tokenizer with its chat template, and the manifest."""
    from septet.core.errors import StoreError

    artifact = settings.store.resolve(model, kinds=("model",))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(f"{folder} exists and is not an empty folder; give a new one, so that nothing is overwritten.")
    temporary = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(artifact.path, temporary)
    if folder.exists():
        folder.rmdir()
    temporary.rename(folder)
    settings.show({"id": artifact.id, "folder": str(folder)}, f"{model} ({artifact.short}) is in {folder}")
