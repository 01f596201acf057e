"""Free space: remove artifacts that no name reaches any more."""

from __future__ import annotations

import click

from septet.cli.main import Settings


@click.command("gc")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--work", is_flag=True, help="Also the unfinished work of interrupted runs, checkpoints included.")
@click.pass_obj
def command(settings: Settings, dry_run: bool, work: bool) -> None:
    """Remove what no name reaches through lineage."""
    removed = settings.store.collect(dry_run=dry_run, work=work)
    total = sum(size for _, size in removed)
    verb = "would remove" if dry_run else "removed"
    lines = [f"{verb} {what}  {size / 1e6:.1f} MB" for what, size in removed] + [f"{verb} {total / 1e6:.1f} MB in all"]
    settings.show([{"what": what, "bytes": size} for what, size in removed], "\n".join(lines))
