"""Time of the analysis: 10,000 predictions of 10 classes, every metric with 1,000 bootstrap resamples.

Medians of a few times each, in a process that has imported everything.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from assay.analysis.base import AnalysisInputs
from assay.analysis.build import TASK_ANALYSES, build_analysis, evaluate_subset
from assay.checks import ExperimentFiles, run_test
from assay.datasets.schema import ITEMS_FILE
from assay.images.near_duplicates import THUMBNAIL_PX
from assay.metrics.registry import get_metrics
from assay.spec.analysis import AnalysisSection
from assay.spec.exptests import SplitLeakageTest
from assay.storage.parquet import write_parquet
from benchmarks.rows import Row, at_most
from benchmarks.timing import seconds

REPEATS = 5
CLASSES = tuple(str(digit) for digit in range(10))


def make_predictions(count: int) -> pl.DataFrame:
    """Return predictions of one subset, right in 9 of 10 cases, four items per image."""
    rng = np.random.default_rng(0)
    target = rng.integers(0, 10, count)
    scores = rng.normal(size=(count, 10))
    scores[np.arange(count), target] += 3
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    predicted = probabilities.argmax(axis=1)
    columns: dict[str, Any] = {
        "item": [f"{index:06d}" for index in range(count)],
        "image": [f"{index // 4:06d}" for index in range(count)],
        "subset": ["test"] * count,
        "target_class": [CLASSES[index] for index in target],
        "predicted_class": [CLASSES[index] for index in predicted],
        "confidence": probabilities.max(axis=1),
    }
    return pl.DataFrame(columns | {f"prob_{name}": probabilities[:, int(name)].astype(np.float32) for name in CLASSES})


def run(quick: bool = False) -> list[Row]:
    """Measure; ``quick`` takes few predictions, to see that it runs."""
    count, resamples = (1_000, 100) if quick else (10_000, 1_000)
    spec = AnalysisSection.model_validate({"result_analyzer": {"bootstrap_samples": resamples}})
    with tempfile.TemporaryDirectory() as folder:
        predictions = Path(folder) / "predictions.parquet"
        write_parquet(make_predictions(count), predictions)
        inputs = AnalysisInputs(predictions, pl.DataFrame({"target": [*CLASSES] * 10}), "classification", CLASSES)
        bootstrap_s = seconds(lambda: _metrics(inputs, spec), REPEATS)
        build_s = seconds(lambda: _whole_stage(inputs, spec, Path(folder)), REPEATS)
    what = f"{count:,} predictions, 10 classes, {resamples:,} resamples"
    return [
        _row("analysis: all metrics with intervals", bootstrap_s, 0.35, what),
        _row("analysis: whole stage with tables and pictures", build_s, 1.1, what),
        _row("split_leakage: whole check", _time_of_leakage(count), 0.22, f"{count:,} images in three subsets"),
    ]


def _row(name: str, seconds: float, most: float, note: str) -> Row:
    return Row(name, seconds, target=at_most(most, of="machine"), note=note)


def _metrics(inputs: AnalysisInputs, spec: AnalysisSection) -> None:
    metrics = get_metrics(spec.result_analyzer.metrics_for("classification"), "classification", 10)
    (data,) = TASK_ANALYSES["classification"].read(inputs, spec.result_analyzer)
    evaluate_subset(data, CLASSES, metrics, spec.result_analyzer, 0)


def _whole_stage(inputs: AnalysisInputs, spec: AnalysisSection, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        build_analysis(inputs, spec, 0, Path(name))


def _time_of_leakage(count: int) -> float:
    """Return the time of the check that stands between ``splits`` and all that comes after it."""
    rng = np.random.default_rng(0)
    names = [f"{index:06d}" for index in range(count)]
    thumbnails = rng.integers(0, 256, (count, THUMBNAIL_PX**2), dtype=np.uint8)
    items = pl.DataFrame(dict.fromkeys(("item", "sha256", "pixels", "group"), names)).with_columns(
        thumbnail=pl.Series([thumbnail.tobytes() for thumbnail in thumbnails]),
        subset=pl.Series(rng.choice(["train", "validation", "test"], count, p=[0.7, 0.1, 0.2])),
    )
    with tempfile.TemporaryDirectory() as folder:
        write_parquet(items, Path(folder) / ITEMS_FILE)
        files = ExperimentFiles(splits_folder=Path(folder))
        result = run_test(SplitLeakageTest(), files)
        assert result.passed, result.description
        return seconds(lambda: run_test(SplitLeakageTest(), files), REPEATS)
