"""The command ``backfill``: many experiments at once, run by the Dagster that ``make dev`` starts."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from assay.cli.places import spec_files, storage_root
from assay.errors import DataError
from assay.spec.experiment import ExperimentSpec

DEFAULT_URL = "http://127.0.0.1:3000"
SHOWN_IDS = 20

Url = Annotated[str, typer.Option(help="address of Dagster's web server")]


def backfill(
    where: Annotated[str, typer.Option(help="SQL condition over experiments, such as: task = 'regression'")] = "",
    ids: Annotated[list[str] | None, typer.Option("--id", help="this experiment; may be repeated")] = None,
    job: Annotated[str, typer.Option(help="job_experiment, job_data_generation or job_train")] = "job_experiment",
    url: Url = DEFAULT_URL,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only show which experiments and assets")] = False,
) -> None:
    """Materialize the experiments that a condition selects, as one backfill of a running Dagster."""
    if not where.strip() and not ids:
        raise DataError("Say which experiments: --where \"task = 'regression'\", --id ID, or all: --where true")
    from assay.backfills.selection import select_experiments  # DuckDB and Polars: only here

    selection = select_experiments(spec_files(), storage_root(), where.strip(), ids or ())
    if selection.left_out:
        typer.echo(f"Left out, not valid: {shortened(selection.left_out)}. See: assay validate", err=True)
    if dry_run:
        typer.echo(f"{counted(len(selection.specs))}: {', '.join(selection.specs)}")
        _show_selected(url, job, selection.specs)
    else:
        _start(url, job, selection.specs, where.strip())


def _show_selected(url: str, job: str, specs: Mapping[str, ExperimentSpec]) -> None:
    from assay.backfills.dagster_server import DagsterServer, load_workspace
    from assay.backfills.launch import needed_assets

    workspace = load_workspace(DagsterServer(url))
    assets = needed_assets(workspace.assets_of(job), specs.values())
    typer.echo(f"{len(assets)} assets each: {', '.join('/'.join(path) for path in assets)}")
    new = workspace.unknown_experiments(list(specs))
    typer.echo(f"{counted(len(new))} would become new partitions. Nothing was started.")


def _start(url: str, job: str, specs: Mapping[str, ExperimentSpec], where: str) -> None:
    from assay.backfills.dagster_server import DagsterServer, load_workspace
    from assay.backfills.launch import launch, needed_assets

    server = DagsterServer(url)
    workspace = load_workspace(server)
    assets = needed_assets(workspace.assets_of(job), specs.values())
    workspace.add_experiments(workspace.unknown_experiments(list(specs)))
    title = f"{job}: {where or shortened(list(specs))}"
    backfill_id = launch(server, assets, list(specs), title, as_typed(job, where, list(specs)))
    announce(url, backfill_id, len(specs))


def announce(url: str, backfill_id: str, experiments: int) -> None:
    """Print the ID of a backfill that was just started, alone on standard output, and what to do next."""
    from assay.backfills.dagster_server import DagsterServer
    from assay.backfills.launch import daemon_is_alive

    typer.echo(backfill_id)
    typer.echo(f"Started {counted(experiments)}. How far: assay backfills {backfill_id}", err=True)
    typer.echo(f"In the browser: {url}/runs/b/{backfill_id}", err=True)
    if not daemon_is_alive(DagsterServer(url)):
        typer.echo("Waiting, because no Dagster daemon is running: 'make dev' starts one.", err=True)


def as_typed(job: str, where: str, names: Sequence[str]) -> str:
    """Return a command line that means the same; it names the experiments unless a condition does."""
    chosen = ["--where", where] if where else [word for name in names for word in ("--id", name)]
    return shlex.join(["assay", "backfill", "--job", job, *chosen])


def shortened(names: Sequence[str]) -> str:
    """Return names for a message, the first of many."""
    more = f" and {len(names) - SHOWN_IDS} more" if len(names) > SHOWN_IDS else ""
    return f"{', '.join(names[:SHOWN_IDS])}{more}"


def counted(experiments: int) -> str:
    """Return a number of experiments in words."""
    return f"{experiments} experiment{'' if experiments == 1 else 's'}"
