"""The dashboard's server: Streamlit on the loopback interface, and a route for downloads.

Belongs here: options, ports, downloads. Does not belong here: what the pages show (``assay.dashboard.views``).
"""

import socket
import stat
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
from assay.storage.files import entries_below, is_leftover, require_inner_names
from assay.utils.same_origin import HOST, HOSTS, SameOriginMiddleware

PORTS_TRIED = 100

CHUNK_BYTES = 1 << 20

ZIP_ATTEMPTS = 5
"""How often a folder is packed again because a run wrote to it meanwhile."""

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
    # With thousands of experiments in memory it takes 0.3 s, during which even a finished page is not sent.
    "runner.postScriptGC": False,
    **{f"theme.{name}": value for name, value in THEME.items()},
}
"""Streamlit's options: no telemetry, no watched files, no tools for developers, and our theme."""


def require_extra() -> None:
    """Check that the packages of the dashboard are installed.

    Raises:
        AssayError: One is missing.
    """
    missing = [name for name in ("streamlit", "altair") if find_spec(name) is None]
    if missing:
        raise AssayError(f"The dashboard needs {' and '.join(missing)}. Install it: pip install 'assay[dashboard]'")


def require_port(port: int) -> None:
    """Check that a port is free.

    Raises:
        ServerError: It is taken; names a free one.
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
    """Serve the dashboard until the process is interrupted.

    Args:
        root: Storage root.
        port: Free port of the loopback interface.
        browser: Whether to open a browser.
    """
    from starlette.middleware import Middleware
    from starlette.routing import Route
    from streamlit.starlette import App

    warm_up(root)

    @asynccontextmanager
    async def announce(_: App) -> AsyncIterator[None]:
        print(f"Dashboard: http://{HOST}:{port}  (Ctrl+C ends it)", flush=True)
        if browser:
            webbrowser.open(f"http://{HOST}:{port}")
        yield

    app = App(
        Path(__file__).with_name("app.py"),
        lifespan=announce,
        routes=[Route("/download/{experiment_id}.zip", download_handler(root))],
        middleware=[Middleware(SameOriginMiddleware)],
    )
    with suppress(KeyboardInterrupt):
        app.run(config={**OPTIONS, "server.port": port})


def warm_up(root: Path) -> None:
    """Import what the pages need and read the experiments, so that the first page does not have to."""
    pages = ("charts", "details", "views.sidebar", "views.table")
    for name in ("pandas", *(f"assay.dashboard.{page}" for page in pages)):
        import_module(name)
    from assay.dashboard.data import load_experiments
    from assay.dashboard.filters import offered_keys

    print(f"Reading {root} …", flush=True)
    offered_keys(load_experiments(root))


def download_handler(root: Path) -> Any:
    """Return the handler of downloads, which packs an experiment's folder and streams it."""
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
        return StreamingResponse(_chunks(packed), media_type="application/zip", headers=headers)

    return download


def _chunks(packed: Any) -> Iterator[bytes]:
    with packed:
        while chunk := packed.read(CHUNK_BYTES):
            yield chunk


def zip_experiment(root: Path, experiment_id: str) -> BinaryIO:
    """Return an experiment's folder as a ZIP file: a temporary file at its beginning, deleted when it is closed.

    Nothing is compressed, because tables, weights and images already are.

    Raises:
        IdError: The ID is not valid.
        StorageError: The experiment has no folder, a run kept writing to it, or a file's name is no text.
    """
    folder = ExperimentFolders(root).require(experiment_id)
    for _ in range(ZIP_ATTEMPTS):
        packed = _pack(folder.path)
        if packed is not None:
            return packed
    raise StorageError(f"A run kept writing to experiment {experiment_id!r} while it was packed. Try again.")


def _pack(folder: Path) -> BinaryIO | None:
    """Return the packed folder; None if it changed meanwhile."""
    file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    with suppress(FileNotFoundError):
        files = _files(folder)
        require_inner_names([path.relative_to(folder).as_posix() for path in files], str(folder))
        with zipfile.ZipFile(file, "w", strict_timestamps=False) as archive:
            for path in files:
                archive.write(path, f"{folder.name}/{path.relative_to(folder).as_posix()}")
        if _files(folder) == files:
            file.seek(0)
            return file
    file.close()
    return None


def _files(folder: Path) -> dict[Path, tuple[int, int, int]]:
    """Return the regular files of a folder, with inode, size and modification time, which every write changes."""
    return {
        folder / name: (status.st_ino, status.st_size, status.st_mtime_ns)
        for name, status in sorted(entries_below(folder))
        if stat.S_ISREG(status.st_mode) and not is_leftover(name)
    }
