"""The command ``backfills``: how far they are, why experiments failed, cancelling, going on, trying again."""

from typing import TYPE_CHECKING, Annotated

import typer

from assay.cli.backfill import DEFAULT_URL, Url, announce, counted
from assay.errors import DataError
from assay.text_table import text_table

if TYPE_CHECKING:  # asking a server imports what no other command needs
    from assay.backfills.backfill import Backfill
    from assay.backfills.dagster_server import DagsterServer


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
