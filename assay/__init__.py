"""Assay's domain: specs, generator, stages, models, metrics. Plain Python; never imports Dagster.

``assay.load_model`` gives a trained model that predicts; torch is imported only then.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_AT_FIRST_USE = {"load_model": "open_model", "Model": "Model"}
"""What users import from here, with its name in ``assay.inference.model``."""


def __getattr__(name: str) -> Any:
    if name not in _AT_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("assay.inference.model"), _AT_FIRST_USE[name])


def __dir__() -> list[str]:
    return sorted([*globals(), *_AT_FIRST_USE])
