"""The dashboard's server: Streamlit on loopback, and a download beside it.

Belongs here: options, ports, what is served. Does not belong here: what the pages show (``app``, ``views``).
"""

import socket
import tempfile
import webbrowser
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

from assay.errors import AssayError, ServerError, StorageError
from assay.experiments.folders import ExperimentFolders
from assay.spec.ids import validate_id
from assay.storage.files import TEMPORARY_PREFIX

HOST = "127.0.0.1"

HOSTS = (HOST, "localhost")
"""Names under which a browser may ask: a page of somebody else that makes its name point to us gets nothing."""

PORTS_TRIED = 100

CHUNK_BYTES = 1 << 20

THEME = {
    "base": "light",
    "primaryColor": "#0072B2",
    "textColor": "#1F2933",
    "linkColor": "#0072B2",
    "backgroundColor": "#FFFFFF",
    "secondaryBackgroundColor": "#F5F7FA",
    "borderColor": "#E4E7EB",
    "dataframeBorderColor": "#E4E7EB",
    "dataframeHeaderBackgroundColor": "#F5F7FA",
    "showWidgetBorder": True,
    "baseRadius": "0.5rem",
    "metricValueFontSize": "1.75rem",
    "headingFontSizes": ["2rem", "1.5rem", "1.25rem", "1.1rem"],
    "paddingTop": "1.5rem",
    "paddingBottom": "3rem",
}

OPTIONS: dict[str, Any] = {
    "server.address": HOST,
    "server.headless": True,
    "server.fileWatcherType": "none",
    "server.allowedHosts": list(HOSTS),
    "browser.gatherUsageStats": False,
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "type",
    "client.showErrorLinks": False,
    "logger.hideWelcomeMessage": True,
    "runner.magicEnabled": False,
    # With thousands of experiments in memory it takes 0.3 s, for which even a finished page would not be sent.
    "runner.postScriptGC": False,
    **{f"theme.{name}": value for name, value in THEME.items()},
}
"""No telemetry, no watched files, nothing for developers, one look."""


def require_extra() -> None:
    """Raise unless the packages of the dashboard are installed.

    Raises:
        AssayError: One is missing.
    """
    missing = [name for name in ("streamlit", "altair") if find_spec(name) is None]
    if missing:
        raise AssayError(f"The dashboard needs {' and '.join(missing)}. Install it: pip install 'assay[dashboard]'")


def require_port(port: int) -> None:
    """Raise if a port is taken.

    Raises:
        ServerError: It is; names a free one.
    """
    if _is_free(port):
        return
    free = next((other for other in range(port + 1, min(port + PORTS_TRIED, 1 << 16)) if _is_free(other)), None)
    hint = f" Free: assay dashboard --port {free}" if free else ""
    raise ServerError(f"{HOST}:{port} is taken, perhaps by another dashboard.{hint}")


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def serve(root: Path, port: int, browser: bool) -> None:
    """Serve the dashboard until the process is asked to end.

    Args:
        root: Storage root.
        port: Free port on loopback.
        browser: Whether to open it.
    """
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.routing import Route
    from streamlit.starlette import App

    warm(root)

    @asynccontextmanager
    async def announced(_: App) -> AsyncIterator[None]:
        print(f"Dashboard: http://{HOST}:{port}  (Ctrl+C ends it)", flush=True)
        if browser:
            webbrowser.open(f"http://{HOST}:{port}")
        yield

    app = App(
        Path(__file__).with_name("app.py"),
        lifespan=announced,
        routes=[Route("/download/{experiment_id}.zip", download_of(root))],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)],
    )
    with suppress(KeyboardInterrupt):
        app.run(config={**OPTIONS, "server.port": port})


def warm(root: Path) -> None:
    """Import what the pages need and read the experiments, so that the first page need not wait for it."""
    pages = ("charts", "details", "views.sidebar", "views.table")
    for name in ("pandas", *(f"assay.dashboard.{page}" for page in pages)):
        import_module(name)
    from assay.dashboard.data import load_catalogue
    from assay.dashboard.filters import offered_keys

    print(f"Reading {root} …", flush=True)
    offered_keys(load_catalogue(root))


def download_of(root: Path) -> Any:
    """Return the handler of downloads: it packs a folder when asked to, and sends it piece by piece."""
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, Response, StreamingResponse

    async def download(request: Request) -> Response:
        experiment_id = request.path_params["experiment_id"]
        try:
            packed = await run_in_threadpool(zip_experiment, root, experiment_id)
        except AssayError as error:
            return PlainTextResponse(str(error), status_code=404)
        headers = {"Content-Disposition": f'attachment; filename="{experiment_id}.zip"'}
        return StreamingResponse(_pieces(packed), media_type="application/zip", headers=headers)

    return download


def _pieces(packed: Any) -> Iterator[bytes]:
    with packed:
        while piece := packed.read(CHUNK_BYTES):
            yield piece


ATTEMPTS = 5
"""How often it is packed again because a run wrote to it meanwhile."""


def zip_experiment(root: Path, experiment_id: str) -> BinaryIO:
    """Return a temporary file, at its beginning, that holds an experiment's folder and vanishes when closed.

    Tables, weights and pictures are compressed already, so that files are stored as they are.

    Raises:
        IdError: The ID is not valid.
        StorageError: It has no folder, or a run kept writing to it.
    """
    folder = ExperimentFolders(root).find(validate_id(experiment_id))
    if folder is None:
        raise StorageError(f"Experiment {experiment_id!r} has no folder. Next: assay run {experiment_id}")
    for _ in range(ATTEMPTS):
        packed = _pack(folder.path)
        if packed is not None:
            return packed
    raise StorageError(f"A run kept writing to experiment {experiment_id!r} while it was packed. Try again.")


def _pack(folder: Path) -> BinaryIO | None:
    """Return the packed folder; None when it changed meanwhile."""
    file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    with suppress(FileNotFoundError):
        files = _files(folder)
        with zipfile.ZipFile(file, "w", strict_timestamps=False) as archive:
            for path in files:
                archive.write(path, f"{folder.name}/{path.relative_to(folder).as_posix()}")
        if _files(folder) == files:
            file.seek(0)
            return file
    file.close()
    return None


def _files(folder: Path) -> dict[Path, tuple[int, int, int]]:
    """Return the files of a folder, and of each what changes when somebody writes it."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and not path.name.startswith(TEMPORARY_PREFIX):
            status = path.stat()
            found[path] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found
