"""The command ``dashboard``: all experiments in a browser."""

from typing import Annotated

import typer

from assay.cli.places import storage_root


def dashboard(
    port: Annotated[int, typer.Option(min=1, max=65535, help="port on 127.0.0.1")] = 8501,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="open it in a browser")] = True,
) -> None:
    """Look at all experiments in a browser: filter, compare, see pictures, download."""
    from assay.dashboard.server import require_extra, require_port, serve  # Streamlit and Polars: only here

    require_extra()
    require_port(port)
    serve(storage_root(), port, browser)
