"""Remove artifacts; one that others were made from stays, unless forced."""

from __future__ import annotations

import click

from septet.cli.main import Settings


@click.command("rm")
@click.argument("names", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Also when other artifacts were made from it.")
@click.pass_obj
def command(settings: Settings, names: tuple[str, ...], force: bool) -> None:
    """Remove the artifacts NAMES and the names that point to them."""
    store = settings.store
    removed = []
    for artifact in [store.resolve(name) for name in names]:  # all must exist before the first one goes
        store.remove(artifact, force=force)
        removed.append({"id": artifact.id, "kind": artifact.kind})
    settings.show(removed, "\n".join(f"removed {item['kind']} {item['id'][:12]}" for item in removed))
