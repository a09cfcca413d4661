"""Commands for where things are: ``init`` and ``doctor``; the storage's ``gc``, ``forget`` and ``locks``; and others.

The others are ``copy``, ``import`` and ``locations``.
"""

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from assay.cli.results import ExperimentName, existing_folder, named_experiment
from assay.errors import AssayError
from assay.experiments.workspace import locations, spec_files
from assay.storage.locations.config import DEFAULT_LOCATION
from assay.utils.concurrency import NO_VALUES

if TYPE_CHECKING:
    from assay.experiments.health import Finding
    from assay.experiments.importing import Imported
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from assay.errors import DataError, StorageError, one_line, unknown
from assay.experiments.locks import lock_folders
from assay.experiments.profiles import DATABASE_VARIABLE, PROFILES, RAY_VARIABLE, SCHEME, write_profile
from assay.experiments.workspace import dagster_home, in_bucket, storage_root, storage_url
from assay.spec.ids import is_id
from assay.storage.locks.holders import Holder, age_of, holders, state_of
from assay.storage.locks.maintenance import clear, clearable, share, unshare
from assay.utils.reading import user_path
from assay.utils.text import pluralize, text_table


def init(
    profile: Annotated[str, typer.Option(help="; ".join(f"{name}: {use}" for name, use in PROFILES.items()))] = "local",
    replace: Annotated[
        bool, typer.Option("--replace", help="write it in place of other settings, which are kept beside")
    ] = False,
) -> None:
    """Write the settings of this project's Dagster home, a file with comments, from one of the profiles."""
    path, former = write_profile(dagster_home(), profile, replace)
    if former is not None:
        typer.echo(f"The former settings are kept: {former}")
    typer.echo(f"{path} has the settings of the profile {profile} ({PROFILES[profile]}).")
    if profile == "local":
        typer.echo("Next: assay doctor")
        return
    typer.echo("Next, in every terminal and service (docs/deployment.md):")
    typer.echo(f"  export {DATABASE_VARIABLE}={SCHEME}USER:PASSWORD@HOST:5432/DATABASE")
    for line in NEXT_OF_PROFILE.get(profile, ()):
        typer.echo(f"  {line}")
    typer.echo("  assay locks --shared    # once, if several machines use the same storage")
    typer.echo("  assay doctor")


NEXT_OF_PROFILE = {
    "ray": (f"export {RAY_VARIABLE}=http://HOST:8265",),
    "kubernetes": ("export ASSAY_IMAGE=REGISTRY/assay:TAG    # in the cluster: see deploy/kubernetes/",),
}
"""What else must be set for a profile."""


def doctor(
    deep: Annotated[bool, typer.Option("--deep", help="read every byte of every result")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="a list of objects: area, level, text")] = False,
) -> None:
    """Check storage, disk, home, database, cluster and packages; changes nothing, fails where there is a problem."""
    found: list[Finding] = []
    for each in _examined(deep):
        found.append(each)
        if not as_json:  # as it is found: a deep look takes its time
            typer.echo(f"{each.level:8} {each.area:12} {one_line(each.text)}")
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], indent=2))
    problems = sum(each.level == "problem" for each in found)
    if not as_json:
        typer.echo(f"{problems} problem{'s' * (problems != 1)}." if problems else "No problems.")
    if problems:
        raise typer.Exit(1)


def _examined(deep: bool) -> "Iterator[Finding]":
    from assay.experiments import deployment, health  # Polars and DuckDB: only here

    home = dagster_home()
    yield from health.found_by("packages", deployment.check_packages)
    yield from health.found_by("home", lambda: deployment.check_home(home))
    if in_bucket():
        yield from health.found_by("bucket", lambda: deployment.check_bucket(storage_url()))
    try:
        root = storage_root()
    except AssayError as error:
        if not in_bucket():  # there it was told already
            yield health.Finding("storage", "problem", str(error))
        yield from health.found_by("disk", lambda: health.check_disk(home))
        return
    yield from health.found_by("engine", lambda: deployment.check_engine(home, root))
    for folder in (root, home):
        yield from health.found_by("disk", partial(health.check_disk, folder))
    yield from health.found_by("file system", lambda: health.check_file_system(root))
    yield from health.found_by("storage", lambda: health.check_storage(root, spec_files(), deep))


def gc(
    yes: Annotated[bool, typer.Option("--yes", help="delete without asking")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only show what would be deleted")] = False,
) -> None:
    """Delete results that no experiment refers to, after showing them; skips what somebody is using.

    Of a storage in a bucket: what this machine's cache has of images, crops and splits, which comes back when needed.
    """
    from assay.experiments.garbage import collect_garbage, survey  # Polars: only here

    garbage, problems = survey(storage_root(), spec_files())
    for problem in problems:
        typer.echo(f"In doubt: {problem}.", err=True)
    if not garbage:
        nothing = (
            "the cache has nothing that only costs space" if in_bucket() else "every result belongs to an experiment"
        )
        typer.echo(f"Nothing to delete: {nothing}.")
        return
    for item in garbage:
        typer.echo(f"{item.size_bytes / 1e6:10.1f} MB  {item.path}  {item.reason}")
    total = sum(item.size_bytes for item in garbage) / 1e6
    if dry_run:
        typer.echo(f"{pluralize(len(garbage), 'folder')}, {total:.1f} MB, would be deleted.")
        return
    if not yes:
        typer.confirm(f"Delete {pluralize(len(garbage), 'folder')}, {total:.1f} MB?", abort=True)
    kept = collect_garbage(storage_root(), spec_files(), garbage)
    typer.echo(f"Deleted {pluralize(len(garbage) - len(kept), 'folder')}.")
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

    if not yes and experiment_id in spec_files().ids():
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


def copy(
    experiment_id: Annotated[str, typer.Argument(help="ID of the experiment")],
    to: Annotated[str, typer.Option("--to", help="name of a location in locations.yaml")],
    source: Annotated[str, typer.Option("--from", help="name of the location that has it")] = DEFAULT_LOCATION,
    delete_source: Annotated[
        bool, typer.Option("--delete-source", help="delete it there when every file was read back")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="delete without asking")] = False,
) -> None:
    """Copy an experiment's folder to another location; one that was cut off goes on where it was."""
    from assay.experiments.copying import CopyRequest, copy_experiment  # Polars: only here

    if delete_source and not yes:
        typer.confirm(f"Delete experiment {experiment_id} at {source} after the copy was verified?", abort=True)
    request = CopyRequest(experiment_id, source, to, delete_source)
    report = copy_experiment(spec_files(), locations(), request, _show)
    typer.echo(report.sentence)
    if report.imported is not None:
        _enter(report.imported)


def pack(
    experiment_id: ExperimentName,
    out: Annotated[Path | None, typer.Option("--out", help="the file; ID.zip in this folder when left out")] = None,
) -> None:
    """Write an experiment as one file, which `assay import FILE` takes on another machine.

    The same experiment gives the same bytes. Images are not part of it; generated ones are made again when needed.
    """
    experiment_id = named_experiment(experiment_id)
    existing_folder(experiment_id)
    from assay.experiments.copying import pack_experiment  # Polars: only here

    file = out or Path(f"{experiment_id}.zip")
    packed = pack_experiment(spec_files(), experiment_id, file)
    size = f"{pluralize(packed.files, 'file')}, {packed.size_bytes / 1e6:.1f} MB"
    typer.echo(f"{file}: {size}. Elsewhere: assay import {file.name}")


def import_(
    what: Annotated[str, typer.Argument(help="a file of `assay pack`; with --from, the ID of an experiment")],
    source: Annotated[
        str | None, typer.Option("--from", help="a location of locations.yaml, or a folder of experiments")
    ] = None,
) -> None:
    """Import an experiment of another storage into this one: folder, results, tables, spec."""
    if source is None:
        _require_file(what)
    elif not is_id(what) and Path(what).is_file():
        raise DataError(f"{what} is a file, which --from does not go with. Next: assay import {what}")
    from assay.experiments.importing import import_experiment, import_pack  # Polars: only here

    if source is None:
        imported = import_pack(spec_files(), user_path(what), _show)
    else:
        imported = import_experiment(spec_files(), locations().open_any(source), what, _show)
    typer.echo(f"{imported.folder}: {pluralize(imported.written.files, 'file')}, {', '.join(imported.results)}.")
    _enter(imported)


def _require_file(what: str) -> None:
    """Refuse what is no file, with the call that was most likely meant."""
    path = user_path(what)
    if path.is_dir():
        raise DataError(f"{what} is a folder. Next, with an ID of an experiment in it: assay import ID --from {what}")
    if not path.exists() and is_id(what):
        known = ", ".join(locations().names())
        raise DataError(
            f"There is no file {what!r}. To import an experiment of this ID, say where it is: assay import {what} "
            f"--from LOCATION. Locations: {known}; or a folder of experiments."
        )
    if not path.exists():
        near = unknown("File", what, [each.name for each in path.parent.glob("*.zip")])
        raise DataError(f"{near} A pack is written by: assay pack ID")


def list_locations() -> None:
    """List the locations with address and number of experiments, or the reason why one can't be reached."""
    from assay.experiments.catalog import experiments_at

    known, unreachable = locations(), False
    for name in known.names():
        try:
            found = known.open(name)
            finished = sum(each.finished for each in experiments_at(found))
        except AssayError as error:
            unreachable = True
            typer.echo(f"{name:20}  {error}")
        else:
            typer.echo(f"{name:20}  {finished:6} experiments  {found.tree.shown}")
    if unreachable:
        raise typer.Exit(1)


def _show(done: int, total: int, note: str = "", values: Mapping[str, float] = NO_VALUES) -> None:
    """Show the progress on one line that is overwritten, but only on a terminal."""
    if sys.stderr.isatty():
        typer.echo(f"\r{done}/{total} {note} ", nl=done == total, err=True)


def _enter(imported: "Imported") -> None:
    """Register the experiment with Dagster and print what to do next."""
    from assets.maintenance import enter_here

    typer.echo(enter_here(imported))
