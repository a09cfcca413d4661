"""The program ``assay``: its commands, and known errors as one message and exit code 1.

Importing this module imports neither torch, Dagster, DuckDB nor Polars; commands import them when they are called.

Belongs here: the app. Does not belong here: what a command does.
"""

import sys
import tempfile
import traceback
from collections.abc import Callable

import typer

from assay.cli.backfills import backfill, backfills
from assay.cli.models import predict, promote
from assay.cli.results import compare, dashboard, diff, export, impact, path, report_experiment, show, sql
from assay.cli.run import demo, run, verify_experiment
from assay.cli.specs import evaluate, list_plugins, new, schema, sweep, validate
from assay.cli.storage import copy, doctor, forget, gc, import_, init, list_locations, locks, pack
from assay.cli.tune import tune
from assay.errors import AssayError, printable
from assay.experiments.workspace import in_bucket, storage_root
from assay.spec.secrets import hide
from assay.utils.concurrency import leave

app = typer.Typer(
    help="Machine-learning experiments as Dagster assets.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
WITHOUT_OTHERS = frozenset(
    {
        "init",
        "doctor",
        "schema",
        "plugins",
        "locations",
        "locks",
        "gc",
        "forget",
        "run",
        "demo",
        "backfills",
    }
)
"""Commands that need nothing of other machines at their start; a run brings what its experiment needs."""


@app.callback()
def prepare(context: typer.Context) -> None:
    """Machine-learning experiments as Dagster assets."""
    if in_bucket() and context.invoked_subcommand not in WITHOUT_OTHERS:
        from assay.experiments.sharing import refresh  # Polars: only here

        refresh(storage_root())


for command in (
    init,
    doctor,
    new,
    validate,
    schema,
    sweep,
    tune,
    run,
    demo,
    backfill,
    backfills,
    compare,
    diff,
    impact,
    predict,
    promote,
    dashboard,
    show,
    path,
    export,
    sql,
    locks,
    gc,
    forget,
    pack,
):
    app.command()(command)
app.command("copy")(copy)
app.command("eval")(evaluate)
app.command("import")(import_)
app.command("locations")(list_locations)
app.command("verify")(verify_experiment)
app.command("plugins")(list_plugins)
app.command("report")(report_experiment)


INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 and the number of the signal."""


def script() -> None:
    """Run the command line as a program: like ``main``, but without the interpreter's shutdown."""
    run_program(app)


def run_program(program: Callable[[], object]) -> None:
    """Run a program and end the process; whatever goes wrong is told as by ``main``."""
    try:
        main(program)
        code = 0
    except KeyboardInterrupt:
        code = INTERRUPTED
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    leave(code)


def main(program: Callable[[], object] = app) -> None:
    """Run the command line; whatever goes wrong is one message on standard error, and exit code 1; 130 after Ctrl-C."""
    try:
        program()
    except Exception as error:
        typer.echo(f"error: {printable(explained(error))}", err=True)
        sys.exit(1)


def explained(error: Exception) -> str:
    """Return what a user is told about an error; the trace of one that is not the user's is kept in a file."""
    if isinstance(error, AssayError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.strerror or error}" + (f": {error.filename}" if error.filename is not None else "")
    return f"unexpected {type(error).__name__}: {_first_line(error)} {_kept_trace(error)}"


def _first_line(error: Exception) -> str:
    line = str(error).strip().partition("\n")[0][:300]
    return hide(line if line.endswith(".") else f"{line}.")


def _kept_trace(error: Exception) -> str:
    """Write the trace into a file of the temporary folder and return a sentence that says where."""
    trace = hide("".join(traceback.format_exception(error)))
    try:
        with tempfile.NamedTemporaryFile("w", prefix="assay-error-", suffix=".txt", delete=False) as file:
            file.write(printable(trace))
    except OSError:
        return f"The trace can't be written either: {trace[-500:]}"
    return f"This is a defect of Assay, or of an installed package; please report it with {file.name}, the full trace."
