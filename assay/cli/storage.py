"""The command ``gc``."""

from typing import Annotated

import typer

from assay.cli.places import spec_files, storage_root
from assay.experiments.garbage import collect, find_garbage


def gc(
    yes: Annotated[bool, typer.Option("--yes", help="delete without asking")] = False,
) -> None:
    """Delete results that no experiment refers to, after showing them; skips what somebody is using."""
    garbage = find_garbage(storage_root(), spec_files())
    if not garbage:
        typer.echo("Nothing to delete: every result belongs to an experiment.")
        return
    for item in garbage:
        typer.echo(f"{item.size_bytes / 1e6:10.1f} MB  {item.path}  {item.reason}")
    total = sum(item.size_bytes for item in garbage) / 1e6
    if not yes:
        typer.confirm(f"Delete {len(garbage)} folders, {total:.1f} MB?", abort=True)
    skipped = collect(storage_root(), spec_files(), garbage)
    typer.echo(f"Deleted {len(garbage) - len(skipped)} folders.")
    for item in skipped:
        typer.echo(f"Skipped {item.path}: in use.")
