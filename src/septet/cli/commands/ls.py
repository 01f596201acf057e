"""List what is in the store, or the kinds of a drawer."""

from __future__ import annotations

import time

import click

from septet.cli.main import Settings


@click.command("ls")
@click.option("--all", "everything", is_flag=True, help="Also artifacts that no name points to.")
@click.option("--kinds", metavar="DRAWER", help="List the kinds of a drawer instead, for example septet.data.sources.")
@click.pass_obj
def command(settings: Settings, everything: bool, kinds: str | None) -> None:
    """List the named artifacts, the newest first."""
    if kinds:
        return _kinds(settings, kinds)
    store, rows = settings.store, []
    for name in store.names():
        artifact = store.get(name.id)
        rows.append({
            "name": name.name,
            "kind": artifact.kind if artifact else "(removed)",
            "id": name.id,
            "at": name.at,
            "seconds": artifact.facts.get("seconds") if artifact else None,
        })  # fmt: skip
    named = {row["id"] for row in rows}
    for artifact in store if everything else ():
        if artifact.id not in named:
            seconds = artifact.facts.get("seconds")
            rows.append({"name": "", "kind": artifact.kind, "id": artifact.id, "at": None, "seconds": seconds})
    if not rows and not settings.json:
        click.echo(f"Nothing is in {store.home} yet. Begin with `septet quickstart`, or `septet run RECIPE`.")
        return
    width = max([24, *(len(row["name"]) for row in rows)])
    lines = [f"{'name':{width}} {'kind':10} {'id':14} {'made':>10}  when"]
    for row in rows:
        took = "" if row["seconds"] is None else f"{row['seconds']:.1f} s"
        when = "" if row["at"] is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(row["at"]))
        lines.append(f"{row['name']:{width}} {row['kind']:10} {row['id'][:12]:14} {took:>10}  {when}")
    settings.show(rows, "\n".join(lines))


def _kinds(settings: Settings, drawer: str) -> None:
    from septet.core import registry
    from septet.core.errors import ComponentError

    drawer = drawer if drawer.startswith("septet.") else f"septet.{drawer}"
    found = {name: registry.summary(drawer, name) for name in registry.names(drawer)}
    if not found:
        raise ComponentError(
            f"There is no drawer {drawer}. Drawers are packages such as septet.data.sources or septet.steps."
        )
    width = max(map(len, found))
    settings.show(found, "\n".join(f"{name:{width}}  {text}" for name, text in found.items()))
