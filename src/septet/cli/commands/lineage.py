"""Show what an artifact was made from, back to the raw text, or what was made from it."""

from __future__ import annotations

import click

from septet.cli.main import Settings
from septet.core.artifact import Artifact
from septet.core.store import Store


@click.command("lineage")
@click.argument("name")
@click.option("--down", is_flag=True, help="What was made from it, instead of what it was made from.")
@click.pass_obj
def command(settings: Settings, name: str, down: bool) -> None:
    """Show the lineage of the artifact NAME."""
    store = settings.store
    artifact = store.resolve(name)
    called: dict[str, str] = {}
    for pointer in store.names():
        called.setdefault(pointer.id, pointer.name)
    found: list[dict[str, str]] = []
    lines: list[str] = []
    _walk(store, artifact, "", 0, down=down, called=called, found=found, lines=lines)
    settings.show(found, "\n".join(lines))


def _walk(
    store: Store,
    artifact: Artifact,
    role: str,
    depth: int,
    *,
    down: bool,
    called: dict[str, str],
    found: list,
    lines: list[str],
) -> None:
    again = any(item["id"] == artifact.id for item in found)
    name = called.get(artifact.id, "")
    lines.append(
        f"{'  ' * depth}{role + ': ' if role else ''}{artifact.kind} {artifact.short} {name}{' (above)' if again else ''}".rstrip()
    )
    if again:
        return
    found.append({"id": artifact.id, "kind": artifact.kind, "name": name, "role": role})
    if down:
        following = [
            (r, user) for user in store.users(artifact.id) for r, id in user.inputs.items() if id == artifact.id
        ]
    else:
        following = [(r, made) for r, id in artifact.inputs.items() if (made := store.get(id)) is not None]
    for next_role, other in following:
        _walk(store, other, next_role, depth + 1, down=down, called=called, found=found, lines=lines)
