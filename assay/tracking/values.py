"""Specs and tables in MLflow's words: names, texts and numbers that it accepts.

Belongs here: pure functions of plain values. Does not belong here: files, MLflow.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from assay.spec.dotted import flatten
from assay.storage.files import canonical_json

NO_PARAMETERS = ("name", "description", "tags")
"""Keys of a spec that may change while everything stays the same: they become tags."""

LONGEST_NAME, LONGEST_PARAMETER = 250, 6000
"""MLflow's limits, in characters."""

FORBIDDEN = re.compile(r"[^\w. :/-]")


@dataclass(frozen=True)
class Point:
    """A value of a metric; ``step`` is the epoch, 0 for what is measured once."""

    name: str
    value: float
    step: int = 0


def parameters_of(spec: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys of a spec by dotted names, as texts."""
    values = flatten({key: value for key, value in spec.items() if key not in NO_PARAMETERS})
    return {as_name(name): _shortened(_as_text(value)) for name, value in values.items()}


def tags_of(experiment_id: str, spec: Mapping[str, Any], run_id: str) -> dict[str, str]:
    """Return what people filter by, and what may change at any time."""
    own = {as_name(f"assay.tags.{key}"): _as_text(value) for key, value in (spec.get("tags") or {}).items()}
    return {
        "assay.experiment_id": experiment_id,
        "assay.run_id": run_id,
        "assay.task": _as_text(spec["task"]),
        "assay.name": _as_text(spec.get("name") or ""),
        "mlflow.note.content": _as_text(spec.get("description") or ""),
        **own,
    }


def points_of_training(history: pl.DataFrame) -> list[Point]:
    """Return metrics per epoch, such as ``epoch/validation/loss``."""
    rows = history.select("subset", "metric", "value", "epoch").iter_rows()
    return _finite((f"epoch/{subset}/{metric}", value, epoch) for subset, metric, value, epoch in rows)


def points_of_analysis(table: pl.DataFrame) -> list[Point]:
    """Return metrics about all classes together, such as ``test/accuracy``, with interval and baseline."""
    endings = {"value": "", "ci_low": "_ci_low", "ci_high": "_ci_high", "baseline": "_baseline"}
    return _finite(
        (f"{row['subset']}/{row['metric']}{ending}", row[column], 0)
        for row in table.filter(pl.col("class") == "").iter_rows(named=True)
        for column, ending in endings.items()
    )


def as_name(text: str) -> str:
    """Return a name that MLflow accepts: a path whose parts have letters, digits and few other characters."""
    parts = (part for part in FORBIDDEN.sub("_", text).split("/") if part not in ("", ".", ".."))
    return "/".join(parts)[:LONGEST_NAME].rstrip("/") or "_"


def _finite(rows: Iterable[tuple[str, float | None, int]]) -> list[Point]:
    return [
        Point(as_name(name), value, step) for name, value, step in rows if value is not None and math.isfinite(value)
    ]


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else canonical_json(value)


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_PARAMETER else f"{text[: LONGEST_PARAMETER - 1]}…"
