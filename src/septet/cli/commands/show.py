"""Show one artifact: what it is, what it was made from and what was measured."""

from __future__ import annotations

import json

import click

from septet.cli.main import Settings


@click.command("show")
@click.argument("name")
@click.pass_obj
def command(settings: Settings, name: str) -> None:
    """Show the artifact NAME (`recipe/step`, a step's name, or an id)."""
    artifact = settings.store.resolve(name)
    facts = {key: value for key, value in artifact.facts.items() if key not in ("digest", "versions")}
    lines = [f"{artifact.kind} {artifact.id}", f"  {artifact.path}", "inputs"]
    lines += [f"  {role:14} {id[:12]}" for role, id in artifact.inputs.items()] or ["  none"]
    lines += ["step", *(f"  {key:14} {_short(value)}" for key, value in artifact.step.items())]
    lines += ["facts", *(f"  {key:24} {_short(value)}" for key, value in facts.items())]
    lines += ["files", *(f"  {file}" for file in artifact.facts.get("digest", {}))]
    settings.show(artifact.manifest(), "\n".join(lines))


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 160 else f"{text[:157]}..."
