"""A storage with thousands of experiments of three tasks, as runs leave it, but without images, weights and fsyncs.

Belongs here: making it. Does not belong here: measuring.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from assay.analysis.base import ANALYSIS_SCHEMA
from assay.pipeline import needed_stages
from assay.spec.analysis import TASK_METRICS
from assay.spec.experiment import ExperimentSpec
from assay.spec.ids import new_run_id
from assay.spec.loading import merged, spec_from
from assay.storage.files import MANIFEST
from assay.storage.partitions import CURRENT
from assay.training.trained_model import SCHEMA as HISTORY_SCHEMA
from assay.utils.text import canonical_json

TASKS = ("classification", "regression", "detection")
OWN = ("trained_model", "predictions", "analysis")
"""Stages whose results each experiment has for itself; those before are shared by all of a task."""

EPOCHS = 25
SUBSETS = ("validation", "test")
START = datetime(2026, 1, 1, tzinfo=UTC)


def make_experiments(root: Path, numbers: range) -> None:
    """Add experiments to a storage; their learning rates, seeds, tags and metrics differ."""
    bases = {task: spec_from({"task": task}, task) for task in TASKS}
    for number in numbers:
        task = TASKS[number % len(TASKS)]
        _add(root, number, bases[task], np.random.default_rng(number))


def experiment_id(number: int) -> str:
    """Return the ID of an experiment."""
    return f"lr-grid-{number:05d}"


def _add(root: Path, number: int, base: ExperimentSpec, rng: np.random.Generator) -> None:
    name, spec = experiment_id(number), _varied(base, number)
    run_id = new_run_id(START + timedelta(hours=number), f"{number:012x}")
    folder = f"experiments/{name}"
    _write(root / "experiments_index" / f"{name}.json", {"run_id": run_id, "folder": folder})
    _write(root / folder / MANIFEST, {"results": _add_results(root, number, base, spec), "files": {}})
    row = {"task": base.task, "name": spec["name"], "run_id": run_id, "spec": canonical_json(spec)}
    _put(root, "experiments", name, pl.DataFrame([row]))
    _put(root, "analysis", name, _analysis(base.task, rng))
    _put(root, "training_history", name, _history(rng))


def _varied(base: ExperimentSpec, number: int) -> dict[str, Any]:
    trained = {"learner": {"learning_rate": 10 ** (-4 + number % 20 / 10)}, "seed": number % 7}
    changes = {"name": f"sweep of {base.task}", "trained_model": trained, "tags": {"sweep": f"grid-{number % 12}"}}
    return merged(base.as_dict(), changes)


def _add_results(root: Path, number: int, base: ExperimentSpec, spec: Mapping[str, Any]) -> dict[str, str]:
    """Write the manifest of every result and return the fingerprints."""
    prints: dict[str, str] = {}
    for stage in needed_stages(base):
        prints[stage] = f"{number:024x}" if stage in OWN else f"{TASKS.index(base.task):024x}"
        content = {"section": spec[stage], "task": base.task, "ancestors": dict(prints)}
        path = root / "data" / stage / prints[stage] / MANIFEST
        if not path.exists():
            _write(path, content)
    return prints


def _analysis(task: str, rng: np.random.Generator) -> pl.DataFrame:
    values = rng.random((len(SUBSETS), len(TASK_METRICS[task])))
    rows = [
        (subset, metric, "", value, value * 0.95, min(1.0, value * 1.05), 0.1, "majority class", "", 400)
        for subset, of_subset in zip(SUBSETS, values.tolist(), strict=True)
        for metric, value in zip(TASK_METRICS[task], of_subset, strict=True)
    ]
    return pl.DataFrame(rows, ANALYSIS_SCHEMA, orient="row")


def _history(rng: np.random.Generator) -> pl.DataFrame:
    falling = np.exp(-np.arange(EPOCHS) / 6) + rng.normal(0, 0.02, EPOCHS)
    rows = [
        (epoch, subset, "loss", value)
        for epoch, value in enumerate(falling.tolist(), start=1)
        for subset in ("train", "validation")
    ]
    return pl.DataFrame(rows, HISTORY_SCHEMA, orient="row")


def _put(root: Path, table: str, name: str, frame: pl.DataFrame) -> None:
    """Write a partition in the layout of ``assay.storage.partitions``."""
    folder = root / "tables" / "main" / table / f"experiment_id={name}"
    version = folder / "version-000000000001"
    version.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(version / "content.parquet")
    (folder / CURRENT).symlink_to(version.name)


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
