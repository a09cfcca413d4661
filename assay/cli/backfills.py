"""The command ``backfills``: how far they are, why experiments failed, cancelling, going on, trying again."""

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from assay.errors import DataError
from assay.experiments.workspace import spec_files, storage_root
from assay.spec.experiment import ExperimentSpec
from assay.utils.text import text_table

if TYPE_CHECKING:  # asking a server imports what no other command needs
    from assay.backfills.backfill import Backfill
    from assay.backfills.dagster_server import DagsterServer


DEFAULT_URL = "http://127.0.0.1:3000"

Url = Annotated[str, typer.Option(help="address of Dagster's web server")]


def backfills(
    backfill_id: Annotated[str, typer.Argument(help="one of them in detail; all when left out")] = "",
    cancel: Annotated[bool, typer.Option("--cancel", help="stop what runs, forget what waits")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="go on with everything that is not done")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="run the failed ones again, alone")] = False,
    limit: Annotated[int, typer.Option(min=1, help="how many to list, newest first")] = 10,
    url: Url = DEFAULT_URL,
) -> None:
    """List backfills, or show, cancel, resume or retry one of them."""
    wanted = [name for name, on in {"cancel": cancel, "resume": resume, "retry": retry_failed}.items() if on]
    if len(wanted) > 1:
        raise DataError("Choose one of --cancel, --resume and --retry-failed.")
    if wanted and not backfill_id:
        raise DataError("Say which backfill; 'assay backfills' lists them.")
    from assay.backfills.dagster_server import DagsterServer

    server = DagsterServer(url)
    if not backfill_id:
        _list(server, limit)
    elif wanted:
        _act(server, backfill_id, wanted[0])
    else:
        _show(server, backfill_id)


def _list(server: "DagsterServer", limit: int) -> None:
    from assay.backfills.backfill import STATES, list_backfills

    found = list_backfills(server, limit)
    if not found:
        typer.echo("There are no backfills. Start one: assay backfill --where \"task = 'regression'\"")
        return
    rows = [
        [each.id, each.word, when(each), *(str(count) for count in each.counts.values()), each.title] for each in found
    ]
    header = ["id", "status", "started (UTC)", *STATES, "what"]
    for line in text_table(header, rows, right=frozenset(STATES)):
        typer.echo(line)


def _act(server: "DagsterServer", backfill_id: str, action: str) -> None:
    from assay.backfills import launch as actions
    from assay.backfills.backfill import load_backfill

    backfill = load_backfill(server, backfill_id)
    if action == "cancel":
        actions.cancel(server, backfill)
        typer.echo(f"Cancelling {backfill.id}. Later go on with: assay backfills {backfill.id} --resume")
        return
    start = actions.resume if action == "resume" else actions.retry_failed
    started = start(server, backfill)
    announce(server.url, started.id, len(started.experiment_ids))


def _show(server: "DagsterServer", backfill_id: str) -> None:
    from assay.backfills.backfill import load_backfill, reason_of

    backfill = load_backfill(server, backfill_id)
    typer.echo(f"{backfill.id}: {backfill.word}, started {when(backfill)} UTC, {counted(len(backfill.experiments))}")
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
    """Print the command that makes sense next, if there is one."""
    if backfill.ids("failed"):
        typer.echo(f"\nNext, the failed ones alone: assay backfills {backfill.id} --retry-failed")
    if backfill.is_finished and backfill.ids("cancelled"):
        typer.echo(f"\nNext, everything that is not done: assay backfills {backfill.id} --resume")


def when(backfill: "Backfill") -> str:
    """Return when a backfill was started, UTC, to the second."""
    return backfill.started.strftime("%Y-%m-%d %H:%M:%S")


SHOWN_IDS = 20


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
