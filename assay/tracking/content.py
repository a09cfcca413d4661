"""What of an experiment is tracked once a stage is done.

Belongs here: from an experiment's folder and results to plain values. Does not belong here: MLflow (``runs``), what it
calls things (``values``). The spec is read as the experiment's folder has it, from which secrets were removed.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from assay.errors import StorageError
from assay.experiments.contents import recorded_spec, stage_results
from assay.experiments.folders import ExperimentFolders
from assay.spec.yaml_text import flatten
from assay.storage.files import MANIFEST
from assay.storage.parquet import read_parquet
from assay.storage.results import Result
from assay.utils.text import canonical_json

STAGES = ("trained_model", "analysis")
"""Stages after which there is something new to track, in their order."""


@dataclass(frozen=True)
class Point:
    """A value of a metric; ``step`` is the epoch, 0 for what is measured once."""

    name: str
    value: float
    step: int = 0


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


TABLES = {
    "trained_model": ("training_history.parquet", points_of_training),
    "analysis": ("analysis.parquet", points_of_analysis),
}
"""Where the metrics of a stage are, and what makes points of them."""

FILES: dict[str, tuple[str, ...]] = {
    "trained_model": (
        "git_versions.yaml",
        "configs/**/*.yaml",
        "train_logs.csv",
        "models/model.safetensors",
        "pictures/*.png",
        "net_data/*",
    ),
    "analysis": ("analysis/analysis.parquet", "analysis/pictures/*.png"),
}
"""Files of an experiment's folder that are tracked after each of these stages."""


@dataclass(frozen=True)
class StageContent:
    """What a stage adds.

    Attributes:
        stage: One of ``STAGES``.
        fingerprint: Of its result.
        made_ms: When the result was complete, in milliseconds since 1970.
        points: Metrics.
        files: Below the experiment's folder.
    """

    stage: str
    fingerprint: str
    made_ms: int
    points: list[Point]
    files: list[Path]


@dataclass(frozen=True)
class Content:
    """What is tracked of an experiment after a stage.

    Attributes:
        experiment_id: Whose it is.
        folder: The experiment's folder.
        parameters: Keys of the spec and their values.
        tags: What may change at any time.
        stages: The stage, and those that its result was made from.
    """

    experiment_id: str
    folder: Path
    parameters: dict[str, str]
    tags: dict[str, str]
    stages: list[StageContent]


def content_after(root: Path, experiment_id: str, stage: str) -> Content:
    """Return what is tracked of an experiment once a stage is done.

    Raises:
        StorageError: The experiment has no folder, or no result of this stage.
    """
    folder, spec = ExperimentFolders(root).find(experiment_id), recorded_spec(root, experiment_id)
    results = stage_results(root, experiment_id)
    if folder is None or spec is None or stage not in results:
        raise StorageError(f"Experiment {experiment_id!r} has no {stage} to track.")
    made_from = {**results[stage].manifest["ancestors"], stage: results[stage].fingerprint}
    known = [results[name] for name in STAGES if name in results and results[name].fingerprint == made_from.get(name)]
    return Content(
        experiment_id,
        folder.path,
        parameters_of(spec),
        {"assay.storage": str(root.absolute()), **tags_of(experiment_id, spec, folder.run_id)},
        [_stage_content(result, folder.path) for result in known],
    )


def _stage_content(result: Result, folder: Path) -> StageContent:
    table, points_of = TABLES[result.stage]
    return StageContent(
        result.stage,
        result.fingerprint,
        round((result.folder / MANIFEST).stat().st_mtime * 1000),
        points_of(read_parquet(result.folder / table)),
        [path for pattern in FILES[result.stage] for path in sorted(folder.glob(pattern)) if path.is_file()],
    )


NO_PARAMETERS = ("name", "description", "tags")
"""Keys of a spec that may change while everything stays the same: they become tags."""

LONGEST_NAME, LONGEST_PARAMETER = 250, 6000
"""MLflow's limits, in characters."""

FORBIDDEN = re.compile(r"[^\w. :/-]")


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
