"""Commands on the storage: ``locks``, ``gc``."""

from typing import Annotated

import typer

from assay.cli.places import spec_files, storage_root
from assay.experiments.garbage import collect, find_garbage
from assay.locks import clear_dead, describe, holders


def locks(
    clear: Annotated[bool, typer.Option("--clear", help="forget holders whose process died")] = False,
) -> None:
    """List who holds which lock: process, machine, since when."""
    folder = storage_root() / "locks"
    if clear:
        for holder in clear_dead(folder):
            typer.echo(f"forgot {describe(holder)}")
    found = holders(folder)
    for holder in found:
        typer.echo(describe(holder))
    if not found:
        typer.echo("No locks are held.")


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
