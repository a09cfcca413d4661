"""The commands ``gc`` and ``locks``: maintenance of the storage."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from assay.errors import DataError, StorageError, unknown
from assay.experiments.locks import lock_folders
from assay.experiments.workspace import locations, spec_files, storage_root
from assay.spec.ids import is_id
from assay.storage.locks.holders import Holder, age_of, holders, state_of
from assay.storage.locks.maintenance import clear, clearable, share, unshare
from assay.utils.text import text_table


def gc(
    yes: Annotated[bool, typer.Option("--yes", help="delete without asking")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only show what would be deleted")] = False,
) -> None:
    """Delete results that no experiment refers to, after showing them; skips what somebody is using."""
    from assay.experiments.garbage import collect_garbage, survey  # Polars: only here

    garbage, problems = survey(storage_root(), spec_files())
    for problem in problems:
        typer.echo(f"In doubt: {problem}.", err=True)
    if not garbage:
        typer.echo("Nothing to delete: every result belongs to an experiment.")
        return
    for item in garbage:
        typer.echo(f"{item.size_bytes / 1e6:10.1f} MB  {item.path}  {item.reason}")
    total = sum(item.size_bytes for item in garbage) / 1e6
    if dry_run:
        typer.echo(f"{len(garbage)} folders, {total:.1f} MB, would be deleted.")
        return
    if not yes:
        typer.confirm(f"Delete {len(garbage)} folders, {total:.1f} MB?", abort=True)
    kept = collect_garbage(storage_root(), spec_files(), garbage)
    typer.echo(f"Deleted {len(garbage) - len(kept)} folders.")
    for each in kept:
        typer.echo(f"{'Failed' if each.failed else 'Skipped'}: {each.path}: {each.reason}", err=each.failed)
    if any(each.failed for each in kept):
        raise typer.Exit(1)


def forget(
    experiment_id: Annotated[str, typer.Argument(help="ID of the experiment, or a name that can be none")],
    yes: Annotated[bool, typer.Option("--yes", help="delete without asking")] = False,
) -> None:
    """Delete everything of one experiment: spec file, folder, tables and partition; its ID may be used again."""
    from assay.experiments.garbage import forget_experiment  # Polars: only here
    from assets.maintenance import forget_here  # Dagster

    if not yes:
        typer.confirm(f"Delete the spec file, folder and tables of {experiment_id!r}?", abort=True)

    def delete() -> bool:
        return is_id(experiment_id) and forget_experiment(storage_root(), spec_files(), experiment_id)

    if not forget_here(experiment_id, delete):
        raise StorageError(unknown("Experiment", experiment_id, spec_files().ids()))
    typer.echo(f"Forgot {experiment_id}. Results that no other experiment uses are deleted by: assay gc")


HEADER = ("lock", "mode", "process", "host", "since (UTC)", "age", "state", "purpose")
"""Columns of the table that ``locks`` prints."""


def locks(
    names: Annotated[list[str] | None, typer.Argument(help="locks to clear: names, or patterns in quotes")] = None,
    clear_them: Annotated[bool, typer.Option("--clear", help="forget holders that died; make NAMES free")] = False,
    force: Annotated[bool, typer.Option("--force", help="clear NAMES even while somebody is at work")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="clear without asking")] = False,
    location: Annotated[
        str, typer.Option(help="clear locks at this location, which several machines share; else the storage's")
    ] = "",
    shared: Annotated[
        bool | None, typer.Option("--shared/--local", help="storage on a file system of several machines, or of one")
    ] = None,
) -> None:
    """List who holds which lock: process, machine, since when; clear what is left over."""
    folders = lock_folders(locations())
    if location not in folders:
        raise StorageError(unknown("Shared location", location, [name for name in folders if name]))
    folder = folders[location]
    if not clear_them and (names or force or yes):
        raise DataError("NAMES, --force and --yes are for clearing: assay locks --clear NAMES.")
    if (clear_them or location) and shared is not None:
        raise DataError("Choose one of --clear and --shared or --local; the latter are of the storage.")
    if shared is not None:
        _change(folder, shared)
    elif clear_them:
        _clear(folder, names or [], force, yes)
    else:
        _print([each for place in folders.values() for each in holders(place)], "No locks are held.")


def _print(found: Sequence[Holder], nothing: str) -> None:
    rows = [
        [each.lock, each.mode, str(each.pid), each.host, each.since[:19], age_of(each), state_of(each), each.purpose]
        for each in found
    ]
    for line in text_table(HEADER, rows, right=frozenset({"process", "age"})) if rows else [nothing]:
        typer.echo(line)


def _clear(folder: Path, names: Sequence[str], force: bool, yes: bool) -> None:
    found = clearable(folder, names, force)
    _print(found, "Nothing to clear.")
    if not found:
        return
    if any(each.alive is not False for each in found):
        typer.echo("Who is at work goes on working: whoever takes such a lock next works at the same time.")
    if not yes:
        typer.confirm("Clear this?", abort=True)
    typer.echo(f"Cleared {len(clear(folder, names, force))}.")


def _change(folder: Path, shared: bool) -> None:
    if not shared:
        unshare(folder)
        typer.echo("Locks are kept by the operating system: for storage that one machine uses.")
        return
    heartbeat = share(folder)
    typer.echo(
        f"Locks are kept by heartbeats, every {heartbeat.heartbeat_s:g} s: for storage that several machines use."
    )
    typer.echo(f"The lock of a machine that died is taken over by who waits for it for {heartbeat.stale_after_s:g} s.")
