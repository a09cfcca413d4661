"""The commands ``backfill`` and ``backfills``: many experiments at once, run by a Dagster such as ``make dev``."""

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from assay.errors import DataError
from assay.experiments.workspace import dagster_home, spec_files, storage_root
from assay.spec.experiment import ExperimentSpec
from assay.utils.text import pluralize, text_table

if TYPE_CHECKING:  # imported by these commands only, when they are called
    from assay.backfills.backfill import Backfill
    from assay.backfills.dagster_server import DagsterServer


Url = Annotated[str, typer.Option(help="address of Dagster's web server; by default that of the running `make dev`")]


def connected(url: str) -> "DagsterServer":
    """Return the server of a URL; of an empty one that which runs in this Dagster home, or else at the usual port."""
    from assay.backfills.dagster_server import DEFAULT_URL, DagsterServer, running_url

    return DagsterServer(url or running_url(dagster_home()) or DEFAULT_URL)


def backfills(
    backfill_id: Annotated[str, typer.Argument(help="one of them in detail; all when left out")] = "",
    cancel: Annotated[bool, typer.Option("--cancel", help="stop what runs, forget what waits")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="go on with everything that is not done")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="run the failed ones again, alone")] = False,
    limit: Annotated[int, typer.Option(min=1, help="how many to list, newest first")] = 10,
    url: Url = "",
) -> None:
    """List backfills, or show, cancel, resume or retry one of them."""
    actions = [name for name, on in {"cancel": cancel, "resume": resume, "retry": retry_failed}.items() if on]
    if len(actions) > 1:
        raise DataError("Choose one of --cancel, --resume and --retry-failed.")
    if actions and not backfill_id:
        raise DataError("Say which backfill; 'assay backfills' lists them.")
    server = connected(url)
    if not backfill_id:
        _list(server, limit)
    elif actions:
        _act(server, backfill_id, actions[0])
    else:
        _show(server, backfill_id)


def _list(server: "DagsterServer", limit: int) -> None:
    from assay.backfills.backfill import STATES, list_backfills

    found = list_backfills(server, limit)
    if not found:
        typer.echo("There are no backfills. Start one: assay backfill --where \"task = 'regression'\"")
        return
    rows = [
        [each.id, each.status_name, start_time(each), *(str(count) for count in each.counts.values()), each.title]
        for each in found
    ]
    header = ["id", "status", "started (UTC)", *STATES, "what"]
    for line in text_table(header, rows, right=frozenset(STATES)):
        typer.echo(line)


def _act(server: "DagsterServer", backfill_id: str, action: str) -> None:
    from assay.backfills.backfill import load_backfill
    from assay.backfills.launch import cancel, resume, retry_failed

    backfill = load_backfill(server, backfill_id)
    if action == "cancel":
        cancel(server, backfill)
        typer.echo(f"Cancelling {backfill.id}. Later go on with: assay backfills {backfill.id} --resume")
        return
    started = resume(server, backfill) if action == "resume" else retry_failed(server, backfill)
    announce(server, started.id, len(started.experiment_ids))


def _show(server: "DagsterServer", backfill_id: str) -> None:
    from assay.backfills.backfill import load_backfill, reason_of

    backfill = load_backfill(server, backfill_id)
    count = counted(len(backfill.experiments))
    typer.echo(f"{backfill.id}: {backfill.status_name}, started {start_time(backfill)} UTC, {count}")
    typer.echo(backfill.title)
    typer.echo(", ".join(f"{count} {state}" for state, count in backfill.counts.items()))
    if backfill.problem:
        typer.echo(f"problem: {backfill.problem}")
    for each in backfill.experiments:
        if each.state == "failed" and each.run_id:
            typer.echo(f"\n{each.experiment_id} failed: {reason_of(server, each.run_id)}")
            typer.echo(f"  alone, here: assay run {each.experiment_id}    in the UI: {server.url}/runs/{each.run_id}")
    _show_next(backfill)


def _show_next(backfill: "Backfill") -> None:
    """Print the commands that continue a backfill, if there are any."""
    if backfill.ids("failed"):
        typer.echo(f"\nNext, the failed ones alone: assay backfills {backfill.id} --retry-failed")
    if backfill.is_finished and backfill.ids("cancelled"):
        typer.echo(f"\nNext, everything that is not done: assay backfills {backfill.id} --resume")


def start_time(backfill: "Backfill") -> str:
    """Return the time at which a backfill was started, UTC, to the second."""
    return backfill.started.strftime("%Y-%m-%d %H:%M:%S")


SHOWN_IDS = 20
"""Number of experiment IDs that a message shows."""


def backfill(
    where: Annotated[str, typer.Option(help="SQL condition over experiments, such as: task = 'regression'")] = "",
    ids: Annotated[list[str] | None, typer.Option("--id", help="this experiment; may be repeated")] = None,
    job: Annotated[str, typer.Option(help="job_experiment, job_data_generation or job_train")] = "job_experiment",
    url: Url = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only show which experiments and assets")] = False,
) -> None:
    """Materialize the experiments that a condition selects, as one backfill of a running Dagster."""
    if not where.strip() and not ids:
        raise DataError("Say which experiments: --where \"task = 'regression'\", --id ID, or all: --where true")
    from assay.backfills.selection import select_experiments  # DuckDB and Polars: only here

    selection = select_experiments(spec_files(), storage_root(), where.strip(), ids or ())
    if selection.left_out:
        typer.echo(f"Left out, not valid: {name_list(selection.left_out)}. See: assay validate", err=True)
    if dry_run:
        typer.echo(f"{counted(len(selection.specs))}: {', '.join(selection.specs)}")
        _show_selected(connected(url), job, selection.specs)
    else:
        _start(connected(url), job, selection.specs, where.strip())


def _show_selected(server: "DagsterServer", job: str, specs: Mapping[str, ExperimentSpec]) -> None:
    from assay.backfills.dagster_server import load_workspace
    from assay.backfills.launch import needed_assets

    workspace = load_workspace(server)
    assets = needed_assets(workspace.assets_of(job), specs.values())
    typer.echo(f"{pluralize(len(assets), 'asset')} each: {', '.join('/'.join(path) for path in assets)}")
    new = workspace.unknown_experiments(list(specs))
    typer.echo(f"{pluralize(len(new), 'new partition')} would be added. Nothing was started.")


def _start(server: "DagsterServer", job: str, specs: Mapping[str, ExperimentSpec], where: str) -> None:
    from assay.backfills.dagster_server import load_workspace
    from assay.backfills.launch import launch, needed_assets

    workspace = load_workspace(server)
    assets = needed_assets(workspace.assets_of(job), specs.values())
    workspace.add_experiments(workspace.unknown_experiments(list(specs)))
    title = f"{job}: {where or name_list(list(specs))}"
    backfill_id = launch(server, assets, list(specs), title, command_line(job, where, list(specs)))
    announce(server, backfill_id, len(specs))


def announce(server: "DagsterServer", backfill_id: str, experiments: int) -> None:
    """Print the ID of a started backfill to standard output, and what to do next to standard error."""
    from assay.backfills.launch import daemon_is_alive

    typer.echo(backfill_id)
    typer.echo(f"Started {counted(experiments)}. How far: assay backfills {backfill_id}", err=True)
    typer.echo(f"In the browser: {server.url}/runs/b/{backfill_id}", err=True)
    if not daemon_is_alive(server):
        typer.echo("Waiting, because no Dagster daemon is running: 'make dev' starts one.", err=True)


def command_line(job: str, where: str, names: Sequence[str]) -> str:
    """Return the command line that starts this backfill; it lists the experiments unless there is a condition."""
    chosen = ["--where", where] if where else [word for name in names for word in ("--id", name)]
    return shlex.join(["assay", "backfill", "--job", job, *chosen])


def name_list(names: Sequence[str]) -> str:
    """Return names as a list for a message, shortened if there are many."""
    more = f" and {len(names) - SHOWN_IDS} more" if len(names) > SHOWN_IDS else ""
    return f"{', '.join(names[:SHOWN_IDS])}{more}"


def counted(experiments: int) -> str:
    """Return ``1 experiment`` or ``n experiments``."""
    return f"{experiments} experiment{'' if experiments == 1 else 's'}"
