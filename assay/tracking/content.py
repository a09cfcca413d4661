"""What is tracked of an experiment: parameters, tags, metrics and files, as plain values.

The spec is read from the experiment's folder, from which secrets were removed.

Belongs here: from an experiment's folder and results to names, texts and numbers that MLflow accepts. Does not belong
here: MLflow (``runs``).
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
from assay.utils.text import canonical_json, code_block, escape_markdown

STAGES = ("trained_model", "analysis")
"""Stages after which there is something new to track, in pipeline order."""


@dataclass(frozen=True)
class MetricPoint:
    """A value of a metric; ``step`` is the epoch, or 0 for metrics that are computed once."""

    name: str
    value: float
    step: int = 0


def points_of_training(history: pl.DataFrame) -> list[MetricPoint]:
    """Return the metrics of every epoch, named like ``epoch/validation/loss``."""
    rows = history.select("subset", "metric", "value", "epoch").iter_rows()
    return _finite((f"epoch/{subset}/{metric}", value, epoch) for subset, metric, value, epoch in rows)


def points_of_analysis(table: pl.DataFrame) -> list[MetricPoint]:
    """Return the metrics over all classes, named like ``test/accuracy``, with their intervals and baselines."""
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
"""File with the metrics of each stage, and the function that turns them into points."""

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
"""Files in an experiment's folder that are tracked after each of these stages."""


@dataclass(frozen=True)
class StageContent:
    """What a stage adds to a tracked experiment.

    Attributes:
        stage: One of ``STAGES``.
        fingerprint: Fingerprint of its result.
        made_ms: Time at which the result was completed, in milliseconds since the epoch.
        points: Values of metrics.
        files: Files below the experiment's folder.
    """

    stage: str
    fingerprint: str
    made_ms: int
    points: list[MetricPoint]
    files: list[Path]


@dataclass(frozen=True)
class Content:
    """What is tracked of an experiment after a stage.

    Attributes:
        experiment_id: ID of the experiment.
        folder: The experiment's folder.
        parameters: Dotted keys of the spec and their values.
        tags: Texts that may change at any time, by name.
        stages: The stage, and those that its result was made from.
    """

    experiment_id: str
    folder: Path
    parameters: dict[str, str]
    tags: dict[str, str]
    stages: list[StageContent]


def content_after(root: Path, experiment_id: str, stage: str) -> Content:
    """Return what is tracked of an experiment after a stage.

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
        {"assay.storage": str(root.absolute()), **mlflow_tags(experiment_id, spec, folder.run_id)},
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
"""Keys of a spec that do not affect results and may change: they become tags instead of parameters."""

LONGEST_NAME, LONGEST_PARAMETER = 250, 6000
"""MLflow's limits, in characters."""

FORBIDDEN = re.compile(r"[^\w. :/-]")


def parameters_of(spec: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of a spec as texts, by dotted key."""
    values = flatten({key: value for key, value in spec.items() if key not in NO_PARAMETERS})
    return {as_name(name): _shortened(_as_text(value)) for name, value in values.items()}


def mlflow_tags(experiment_id: str, spec: Mapping[str, Any], run_id: str) -> dict[str, str]:
    """Return the tags of an experiment: what users filter by, and keys that may change at any time."""
    own = {as_name(f"assay.tags.{key}"): _as_text(value) for key, value in (spec.get("tags") or {}).items()}
    return {
        "assay.experiment_id": experiment_id,
        "assay.run_id": run_id,
        "assay.task": _as_text(spec["task"]),
        "assay.name": _as_text(spec.get("name") or ""),
        "mlflow.note.content": _as_note(_as_text(spec.get("description") or "")),
        **own,
    }


def as_name(text: str) -> str:
    """Return a name that MLflow accepts: a path whose parts consist of letters, digits and a few other characters."""
    parts = (part for part in FORBIDDEN.sub("_", text).split("/") if part not in ("", ".", ".."))
    return "/".join(parts)[:LONGEST_NAME].rstrip("/") or "_"


def _finite(rows: Iterable[tuple[str, float | None, int]]) -> list[MetricPoint]:
    return [
        MetricPoint(as_name(name), value, step)
        for name, value, step in rows
        if value is not None and math.isfinite(value)
    ]


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else canonical_json(value)


def _as_note(text: str) -> str:
    """Return text for MLflow's notes, which are Markdown, of a dialect with other escapes than most."""
    return text if escape_markdown(text) == text else code_block(text)


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_PARAMETER else f"{text[: LONGEST_PARAMETER - 1]}…"
