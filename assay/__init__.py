"""Assay's domain: specs, generator, stages, models, metrics. Plain Python; never imports Dagster.

``assay.load_model`` gives a trained model that predicts; torch is imported only then.
"""

import sys
from importlib import import_module
from typing import Any

__version__ = "0.1.0"


def require_platform(name: str, python: tuple[int, ...]) -> None:
    """Say at once where Assay does not run, before a module is missing somewhere.

    Args:
        name: As ``sys.platform``.
        python: As ``sys.version_info``.

    Raises:
        SystemExit: It is Windows, or a Python that is too old.
    """
    if name in ("win32", "cygwin"):
        raise SystemExit("Assay runs on Linux and macOS, not on Windows. Next: use it in WSL 2, which is a Linux.")
    if python < (3, 11):
        shown = ".".join(map(str, python[:2]))
        raise SystemExit(f"Assay needs Python 3.11 or later; this is {shown}. Next: python3.11 -m venv .venv")


require_platform(sys.platform, sys.version_info)

_AT_FIRST_USE = {"load_model": "open_model", "Model": "Model"}
"""What users import from here, with its name in ``assay.inference.model``."""


def __getattr__(name: str) -> Any:
    if name not in _AT_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("assay.inference.model"), _AT_FIRST_USE[name])


def __dir__() -> list[str]:
    return sorted([*globals(), *_AT_FIRST_USE])
