"""Print the folder of an artifact, for other programs."""

from __future__ import annotations

import click

from septet.cli.main import Settings


@click.command("path")
@click.argument("name")
@click.pass_obj
def command(settings: Settings, name: str) -> None:
    """Print the folder of the artifact NAME; a model's folder opens with `AutoModelForCausalLM.from_pretrained`."""
    artifact = settings.store.resolve(name)
    settings.show({"id": artifact.id, "path": str(artifact.path)}, str(artifact.path))
