"""The program ``assay``: its commands, and known errors as one message and exit code 1.

Importing this module imports neither torch, Dagster, DuckDB nor Polars; commands import them when they are called.

Belongs here: the app. Does not belong here: what a command does.
"""

import sys

import typer

from assay.cli.backfills import backfill, backfills
from assay.cli.locations import copy, import_, list_locations
from assay.cli.results import compare, dashboard, export, path, show, sql
from assay.cli.run import demo, run
from assay.cli.specs import evaluate, new, schema, sweep, validate
from assay.cli.storage import gc, locks
from assay.errors import AssayError
from assay.utils.process import leave

app = typer.Typer(
    help="Machine-learning experiments as Dagster assets.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    new,
    validate,
    schema,
    sweep,
    run,
    demo,
    backfill,
    backfills,
    compare,
    dashboard,
    show,
    path,
    export,
    sql,
    locks,
    gc,
):
    app.command()(command)
app.command("copy")(copy)
app.command("eval")(evaluate)
app.command("import")(import_)
app.command("locations")(list_locations)


def script() -> None:
    """Run the command line as a program: like ``main``, but without the interpreter's shutdown."""
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    leave(code)


def main() -> None:
    """Run the command line."""
    try:
        app()
    except AssayError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        typer.echo(f"error: {error.strerror or error}: {error.filename}", err=True)
        sys.exit(1)
