"""The commands ``copy``, ``import`` and ``locations``: experiments at other locations."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from assay.errors import AssayError
from assay.experiments.workspace import locations, spec_files
from assay.storage.locations.config import DEFAULT_LOCATION
from assay.utils.concurrency import NO_VALUES

if TYPE_CHECKING:
    from assay.experiments.importing import Imported


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


def import_(
    experiment_id: Annotated[str, typer.Argument(help="ID of the experiment")],
    source: Annotated[str, typer.Option("--from", help="a location of locations.yaml, or a folder of experiments")],
) -> None:
    """Import an experiment of another storage into this one: folder, results, tables, spec."""
    from assay.experiments.importing import import_experiment  # Polars: only here

    imported = import_experiment(spec_files(), locations().open_any(source), experiment_id, _show)
    typer.echo(f"{imported.folder}: {imported.written.files} files, {', '.join(imported.results)}.")
    _enter(imported)


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
