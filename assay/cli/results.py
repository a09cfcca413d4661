"""Commands that look at results: ``show``, ``path``, ``sql``."""

from typing import Annotated

import typer

from assay.cli.places import folders, spec_files, storage_root
from assay.errors import StorageError, unknown
from assay.ids import validate_id
from assay.pipeline import STAGES


def show(experiment_id: Annotated[str, typer.Argument(help="ID of the experiment")]) -> None:
    """Show what an experiment is, which results it has, and its metrics."""
    spec = spec_files().load(experiment_id)
    folder = folders().find(experiment_id)
    typer.echo(f"{experiment_id}: {spec.task}, {spec.name or 'no name'}, seed {spec.seed}")
    if spec.found is not None:
        typer.echo(f"evaluates the model of {spec.found.experiment_id} ({spec.found.folder})")
    if spec.tags:
        typer.echo(f"tags: {', '.join(f'{name} {value}' for name, value in spec.tags.items())}")
    if folder is None:
        typer.echo(f"No results yet. Next: assay run {experiment_id}")
        return
    from assay.experiments.contents import stage_results  # Polars: only here

    typer.echo(f"folder: {folder.path}")
    found = stage_results(storage_root(), experiment_id)
    for stage in STAGES:
        typer.echo(f"  {stage:17}{found[stage].fingerprint if stage in found else '-'}")
    if "analysis" in found:
        typer.echo(found["analysis"].report["summary"])
        typer.echo(found["analysis"].report["next"])


def path(
    experiment_id: Annotated[str, typer.Argument(help="ID of the experiment")],
    stage: Annotated[
        str | None, typer.Argument(help="a stage such as crops; the experiment's folder if left out")
    ] = None,
) -> None:
    """Print the folder of an experiment, or of one of its stages' results."""
    folder = folders().find(validate_id(experiment_id))
    if folder is None:
        known = spec_files().ids()
        hint = (
            f"Next: assay run {experiment_id}"
            if experiment_id in known
            else unknown("Experiment", experiment_id, known)
        )
        raise StorageError(f"Experiment {experiment_id!r} has no folder. {hint}")
    if stage is None:
        typer.echo(folder.path)
        return
    from assay.experiments.contents import stage_results  # Polars: only here

    found = stage_results(storage_root(), experiment_id)
    if stage not in found:
        raise StorageError(f"Experiment {experiment_id!r}: {unknown('Result', stage, found)}")
    typer.echo(found[stage].folder)


def sql(
    query: Annotated[str, typer.Argument(help="such as: select experiment_id, metric, value from analysis")] = "",
    rebuild: Annotated[bool, typer.Option("--rebuild", help="make warehouse.duckdb anew from the files first")] = False,
) -> None:
    """Query the tables of all experiments; without a query, list the tables."""
    from assay import warehouse  # DuckDB and Polars: only here

    if rebuild:
        warehouse.rebuild_warehouse(storage_root())
    tables = "select table_schema, table_name from information_schema.tables where table_schema <> 'assay-index'"
    statement = query or f"{tables} order by all"
    typer.echo(warehouse.query(storage_root(), statement))
