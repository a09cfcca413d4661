"""Dagster's web server, which obeys no page but its own; ``make dev`` starts it.

Dagster answers GraphQL by GET, as text or as a form, and doesn't look at who asks: any page in the user's browser could
start runs. Its commands have no option for that, hence this entrance with their own options::

    python -m resources.instance.web dev --port 3000          # like `dagster dev`: web server, daemon, code server
    python -m resources.instance.web webserver --port 3000    # like `dagster-webserver`

``dev`` is quiet: the terminal shows where the UI is and what goes wrong, everything else is in ``dev.log`` of the
Dagster home; with ``--verbose`` or ``--log-level``, the terminal shows all that Dagster says.

Belongs here: which requests Dagster's server answers, starting it, what of its output is shown. Does not belong here:
who may ask (``assay.utils.same_origin``).
"""

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import click
import dagster as dg
from dagster._cli import dev as dagster_dev
from dagster_shared.ipc import open_ipc_subprocess
from dagster_webserver import app as dagster_app
from dagster_webserver.cli import dagster_webserver
from dagster_webserver.webserver import DagsterWebserver
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from assay.backfills.dagster_server import claimed_address
from assay.errors import AssayError, FileError, ServerError
from assay.experiments.folders import REPORT_PAGE
from assay.experiments.last_run import failed_by_automation
from assay.experiments.profiles import require_services
from assay.experiments.workspace import dagster_home, folders, spec_files, storage_root
from assay.images.decoding import DECODE_ERRORS, decode
from assay.images.png import encode_png
from assay.images.resizing import at_most
from assay.pipeline import STAGES
from assay.storage.results import PICTURES, REPORTS, ResultStore
from assay.utils.html import STATIC_POLICY
from assay.utils.reading import read_bytes
from assay.utils.same_origin import (
    HOST,
    REFUSES,
    AsgiApp,
    Receive,
    SameOriginMiddleware,
    Scope,
    Send,
    header_values,
    refuse_request,
)
from resources.instance.home import EXAMPLE, local_instance, offer_example, prepare
from resources.progress import Pause

READ_METHODS = ("GET", "HEAD")

SMALL_PX = 560
"""Width and height of a picture beside others of an asset."""

MOST_PIXELS = 50_000_000
"""Larger pictures are not shown: no plot has as many."""

JSON = "application/json"
"""A page of another server can't send it without asking first, which is refused; it can send forms and plain text."""


class JsonOnlyMiddleware:
    """Refuses requests to change something that are not JSON, and GraphQL by anything but POST.

    Attributes:
        app: What answers the others.
        graphql: Path of GraphQL. Without a query in the address, Dagster shows its editor of queries there.
    """

    def __init__(self, app: AsgiApp, graphql: str) -> None:
        self.app = app
        self.graphql = graphql

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with 405 or 415."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["method"] not in READ_METHODS and not _is_json(scope):
            await refuse_request(f"{REFUSES}takes {JSON} only.", scope, receive, send, status=415)
        elif scope["method"] in READ_METHODS and scope["path"].strip() == self.graphql and scope["query_string"]:
            await refuse_request(f"{REFUSES}answers GraphQL by POST only.", scope, receive, send, status=405)
        else:
            await self.app(scope, receive, _in_no_frame(send))


def _is_json(scope: Scope) -> bool:
    return [value.partition(";")[0].strip().lower() for value in header_values(scope, "content-type")] == [JSON]


def _in_no_frame(send: Send) -> Send:
    """Return ``send`` with the header by which no other page shows the UI in a frame, where it could steer clicks."""

    async def sent(message: Any) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"x-frame-options", b"SAMEORIGIN")]
        await send(message)

    return sent


class GuardedWebserver(DagsterWebserver[Any, Any]):
    """Dagster's web server behind the checks."""

    def build_middleware(self) -> list[Middleware]:
        """Return Dagster's middleware, after ours."""
        json_only = Middleware(JsonOnlyMiddleware, graphql=f"{self._app_path_prefix}/graphql")
        return [Middleware(SameOriginMiddleware), json_only, *super().build_middleware()]

    def build_routes(self) -> list[BaseRoute]:
        """Return Dagster's routes after those of pictures and reports, to which metadata refer."""
        pictures = Route(f"{PICTURES}/{{stage}}/{{fingerprint}}/{{name:path}}", picture_of)
        reports = Route(f"{REPORTS}/{{experiment_id}}", report_page_of)
        return [pictures, reports, *super().build_routes()]  # type: ignore[no-untyped-call]


def picture_of(request: Request) -> Response:
    """Answer with a picture of a result in the storage, and of nothing else: 404 without one.

    With ``?small`` it fits into a column of Dagster's tables.
    """
    asked = request.path_params
    is_stage = asked["stage"] in STAGES
    result = ResultStore(storage_root()).find(asked["stage"], asked["fingerprint"]) if is_stage else None
    path = result.shown_pictures.get(asked["name"]) if result else None
    try:
        image = decode(read_bytes(path), MOST_PIXELS).convert("RGB") if path else None
    except (*DECODE_ERRORS, FileError):
        image = None
    if image is None:
        return Response("There is no such picture any more.", 404, media_type="text/plain")
    content = encode_png(at_most(image, SMALL_PX) if "small" in request.query_params else image)
    kept = {"Cache-Control": "private, max-age=86400", "X-Content-Type-Options": "nosniff"}
    return Response(content, media_type="image/png", headers=kept)


def report_page_of(request: Request) -> Response:
    """Answer with the report of an experiment as it was last written: 404 without one.

    The page is of another kind than Dagster's: should a text of a user become markup in it, nothing of it could run.
    """
    try:
        page = read_bytes(folders().require(request.path_params["experiment_id"]).path / REPORT_PAGE)
    except (AssayError, FileNotFoundError):
        return Response("There is no such report any more. Materialize 'report'.", 404, media_type="text/plain")
    headers = {
        "Content-Security-Policy": f"{STATIC_POLICY}; sandbox",
        "Cache-Control": "no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(page, media_type="text/html", headers=headers)


def main(arguments: Sequence[str]) -> None:
    """Run ``dev`` or ``webserver`` until it is interrupted; the other arguments are those of Dagster's command."""
    command, *options = arguments or ["--help"]
    if command == "webserver":
        try:
            require_services(dagster_home())
        except AssayError as error:
            sys.exit(f"error: {error}")
        dagster_app.DagsterWebserver = GuardedWebserver  # type: ignore[attr-defined]
        dagster_webserver.main(options, prog_name="webserver", auto_envvar_prefix="DAGSTER_WEBSERVER")
    elif command == "dev" and "--help" in options:
        dagster_dev.dev_command.main(options, prog_name="dev")
    elif command == "dev":
        sys.exit(dev(options))
    else:
        sys.exit("Usage: python -m resources.instance.web dev|webserver [OPTION]…")


FIRST_PORT = 3000

PORTS_TRIED = 100

LOG = "dev.log"
"""File in the Dagster home with everything that the processes of ``dev`` say; a new one for every start."""

SECONDS_BETWEEN_LOOKS = 0.3


def dev(options: Sequence[str]) -> int:
    """Run web server, daemon and code server until Ctrl-C; returns the exit code.

    Args:
        options: Those of ``dagster dev``.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--host", "-h", default=HOST)
    parser.add_argument("--port", "-p", type=int)
    parser.add_argument("--log-level")
    parser.add_argument("--verbose", "-v", action="store_true")
    chosen, others = parser.parse_known_args(options)
    interrupt = _Interrupt()
    try:
        with claimed_address(dagster_home()) as tell:
            port = chosen.port or free_port(chosen.host)
            if chosen.port and is_used(chosen.host, port):
                raise ServerError(f"Port {port} is used by another program. Choose another: make dev PORT={port + 1}")
            _prepare()
            passed = ["--host", chosen.host, "--port", str(port), "--log-level", chosen.log_level or "warning", *others]
            log = None if chosen.verbose or chosen.log_level else dagster_home() / LOG
            with _output_to(log) as output, _watch(f"http://{chosen.host}:{port}", tell, output, interrupt):
                problem = _serve(passed)
            problem = f"Dagster ended by itself. {problem} See {dagster_home() / LOG}"
    except KeyboardInterrupt:
        problem = ""
    except AssayError as error:
        problem = str(error)
    if interrupt.happened:
        print(f"Stopped. {_left()}".strip())
    else:
        print(f"error: {problem}", file=sys.stderr)
    return int(not interrupt.happened)


def is_used(host: str, port: int) -> bool:
    """Return whether another program listens at a port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def free_port(host: str, first: int = FIRST_PORT) -> int:
    """Return the first port from ``first`` on at which nobody listens, and say so if it is another one.

    Raises:
        ServerError: A hundred of them are used.
    """
    ports = range(first, first + PORTS_TRIED)
    port = next((port for port in ports if not is_used(host, port)), None)
    if port is None:
        raise ServerError(f"Ports {first} to {ports[-1]} are all used. Choose another: make dev PORT=8080")
    if port != first:
        print(f"Port {first} is used by another program, so it is {port} this time.")
    return port


def _prepare() -> None:
    print(f"Starting Dagster, which takes some seconds. Ctrl-C ends it; its log: {dagster_home() / LOG}", flush=True)
    with local_instance() as instance:
        prepare(instance)
        is_new = offer_example(instance, spec_files())
    if is_new:
        print(
            f"No experiments yet. In the UI, materialize the partition {EXAMPLE!r} that is there; or save a file, such "
            "as: cp experiments/examples/regression.yaml experiments/"
        )


def _serve(options: Sequence[str]) -> str:
    """Run Dagster's command until it ends; returns what it says when it can't."""
    dagster_dev.open_ipc_subprocess = _open_guarded  # type: ignore[attr-defined]
    try:
        dagster_dev.dev_command.main(options, standalone_mode=False, auto_envvar_prefix="DAGSTER_CLI_DEV")
    except click.ClickException as error:
        return error.format_message()
    except (click.Abort, dg.DagsterError, OSError) as error:
        return str(error)
    return ""


class _Interrupt:
    """The first Ctrl-C ends everything in order, and further ones don't disturb that."""

    def __init__(self) -> None:
        self.happened = False
        signal.signal(signal.SIGINT, self)
        signal.signal(signal.SIGTERM, self)

    def __call__(self, *_: Any) -> None:
        if not self.happened:
            self.happened = True
            raise KeyboardInterrupt


@contextmanager
def _output_to(log: Path | None) -> Iterator[tuple[IO[str], IO[str] | None]]:
    """Let this process and its children write to a file for the block; yields the terminal, and the file to read."""
    if log is None:
        yield sys.stdout, None
        return
    kept = [os.dup(1), os.dup(2)]
    with log.open("wb") as written, log.open(errors="replace") as read, os.fdopen(kept[0], "w", closefd=False) as shown:
        sys.stdout.flush()
        os.dup2(written.fileno(), 1)
        os.dup2(written.fileno(), 2)
        try:
            yield shown, read
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, former in enumerate(kept, start=1):
                os.dup2(former, number)
                os.close(former)


@contextmanager
def _watch(
    url: str, tell: Callable[[str], None], output: tuple[IO[str], IO[str] | None], interrupt: _Interrupt
) -> Iterator[None]:
    """During the block, say where the UI is once it answers, and show errors from the log as they come."""
    terminal, log = output
    errors, failures, is_over = Errors(), Failures(dagster_home()), threading.Event()

    def show_errors() -> None:
        for line in log.readlines() if log else ():
            for shown in errors.shown(line):
                print(shown, file=terminal, flush=True)
        for shown in failures.new():
            print(shown, file=terminal, flush=True)

    def look() -> None:
        is_told = False
        while not is_over.wait(SECONDS_BETWEEN_LOOKS) and not interrupt.happened:
            show_errors()
            if not is_told and _answers(url):
                is_told = True
                tell(url)
                print(f"Open {url}", file=terminal, flush=True)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        if not interrupt.happened:
            show_errors()


def _answers(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"{url}/server_info", timeout=5):  # noqa: S310 - our own server
        return True
    return False


_ANSI = re.compile(r"\x1b\[[\d;]*m")

_RECORD = re.compile(r"\d{4}-\d\d-\d\d (\d\d:\d\d:\d\d) [+-]\d{4} - \S+ - ([A-Z]+) - (?:__repository__ - \S+ - )?(.*)")
"""The first line of what Dagster logs: time, logger, level, and, from sensors, their name."""

_TRACE = re.compile(r"\s|Traceback |Stack Trace:|The above exception |During handling |$")
"""Lines of a trace that say nothing to who didn't write the code."""


class Errors:
    """Tells the errors in a log from everything else: their messages without the traces, and each once in a row."""

    def __init__(self) -> None:
        self._is_error = False
        self._is_trace = False
        self._last = ""

    def shown(self, line: str) -> Iterator[str]:
        """Yield what to show for the next line of the log: the line in short, or nothing."""
        text = _ANSI.sub("", line).rstrip()
        if record := _RECORD.fullmatch(text):
            time, level, text = record.groups()
            self._is_error, self._is_trace = level in ("ERROR", "CRITICAL"), False
            text = f"{time} {text}" if self._is_error else ""
        elif text.startswith("Traceback "):  # also of a thread, or a program, that logs nothing
            self._is_trace = True
        is_shown = (self._is_error or self._is_trace) and not _TRACE.match(text)
        if is_shown and text.partition(" ")[2] != self._last:
            self._last = text.partition(" ")[2]
            yield text
        self._is_trace = self._is_trace and not is_shown


class Failures:
    """Tells which runs of automation failed since it was made: one line for each, with the reason and the next step.

    Args:
        home: The Dagster home.
        pause_s: Time in seconds between two looks at its records.
    """

    def __init__(self, home: Path, pause_s: float = 3.0) -> None:
        self._home = home
        self._pause = Pause(pause_s)
        self._since = time.time()
        self._told: set[str] = set()

    def new(self) -> Iterator[str]:
        """Yield a line per run that failed and was not told yet; nothing between two looks."""
        if not self._pause.is_over():
            return
        for name, run in failed_by_automation(self._home, self._since):
            if run.run_id not in self._told:
                self._told.add(run.run_id)
                reason = run.failure or "its process ended without saying why"
                yield f"{run.at.astimezone():%H:%M:%S} {name} failed: {reason} Next: assay show {name}"


def _left() -> str:
    """Return which runs go on or wait, if there are any."""
    going = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
    runs = queued = 0
    with suppress(AssayError), local_instance() as instance:  # what goes on is not worth an error at the end
        runs = instance.get_runs_count(dg.RunsFilter(statuses=going))
        queued = instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED]))
    shown = {"going on": runs, "in the queue": queued}
    return "Runs: " + ", ".join(f"{count} {what}" for what, count in shown.items() if count) if runs or queued else ""


def _open_guarded(parts: Sequence[str], **options: Any) -> "subprocess.Popen[Any]":
    """Start a process of ``dagster dev``; the web server through this module."""
    python, *rest = parts
    if rest[:2] == ["-m", "dagster_webserver"]:
        rest[:2] = ["-m", "resources.instance.web", "webserver"]
    return open_ipc_subprocess([python, *rest], **options)


if __name__ == "__main__":
    main(sys.argv[1:])
