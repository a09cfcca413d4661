"""From predictions of one subset to rows of ``analysis.parquet``.

Belongs here: samples from frames, and each metric with interval and baseline. Does not belong here: arithmetic.
"""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from assay.analysis.inputs import AnalysisInputs
from assay.analysis_schema import ANALYSIS_SCHEMA
from assay.metrics.baselines import predict_majority, predict_mean
from assay.metrics.bootstrap import intervals
from assay.metrics.registry import Metric
from assay.metrics.samples import ClassificationSample, Floats, Integers, RegressionSample, Sample
from assay.spec.analysis import ResultAnalyzer


def make_sample(frame: pl.DataFrame, inputs: AnalysisInputs, analyzer: ResultAnalyzer) -> Sample:
    """Return the items of one subset, each with weight 1."""
    weights = np.ones((1, len(frame)))
    if inputs.task == "regression":
        return RegressionSample(_floats(frame["target"]), _floats(frame["prediction"]), weights)
    probabilities = frame.select(f"prob_{name}" for name in inputs.classes).to_numpy().astype(np.float64)
    # Stored in single precision, their sums are off by 1e-7.
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    target, predicted = (_indices(frame[name], inputs.classes) for name in ("target_class", "predicted_class"))
    return ClassificationSample(target, predicted, probabilities, weights, analyzer.calibration_bins)


def make_baseline(sample: Sample, inputs: AnalysisInputs) -> Sample:
    """Return the same items as the trivial prediction sees them."""
    train_target = inputs.train_target.drop_nulls()
    if isinstance(sample, RegressionSample):
        return predict_mean(sample, _floats(train_target))
    return predict_majority(sample, _indices(train_target.cast(pl.String), inputs.classes))


def evaluate_subset(
    frame: pl.DataFrame, inputs: AnalysisInputs, metrics: Mapping[str, Metric], analyzer: ResultAnalyzer, seed: int
) -> pl.DataFrame:
    """Return the metrics of one subset.

    Args:
        frame: Predictions of one subset.
        inputs: Task, classes and training targets.
        metrics: By name, in the order of the rows.
        analyzer: Intervals and unit.
        seed: Seed of the bootstrap; a subset's draws do not depend on which other subsets there are.
    """
    (subset,) = frame["subset"].unique()
    sample = make_sample(frame, inputs, analyzer)
    baseline = make_baseline(sample, inputs)
    ends = intervals(
        {name: metric.compute for name, metric in metrics.items()},
        sample,
        _groups(frame, analyzer),
        np.random.default_rng([seed, zlib.crc32(subset.encode())]),
        resamples=analyzer.bootstrap_samples,
        confidence=analyzer.confidence,
    )
    rows: list[dict[str, Any]] = []
    for name, metric in metrics.items():
        columns = [metric.compute(sample)[0], *ends[name], metric.compute(baseline)[0]]
        fixed = {"subset": subset, "metric": name, "baseline_name": metric.baseline_name}
        fixed["unit"] = metric.unit_for(analyzer.unit)
        rows += [{**fixed, **values} for values in _values(columns, metric, sample, inputs.classes)]
    return pl.DataFrame(rows, schema=ANALYSIS_SCHEMA).with_columns(pl.selectors.float().fill_nan(None))


def _values(
    columns: list[Floats], metric: Metric, sample: Sample, classes: tuple[str, ...]
) -> list[dict[str, str | int | float]]:
    """Return class, count and numbers of each row of a metric: one, or one per class."""
    names = classes if metric.per_class else ("",)
    counts = [len(sample.target)]
    if metric.per_class:
        counts = np.bincount(sample.target.astype(np.int64), minlength=len(classes)).tolist()
    spread = [np.broadcast_to(column, len(names)).tolist() for column in columns]
    keys = ("class", "count", "value", "ci_low", "ci_high", "baseline")
    return [dict(zip(keys, row, strict=True)) for row in zip(names, counts, *spread, strict=True)]


def _groups(frame: pl.DataFrame, analyzer: ResultAnalyzer) -> Integers:
    """Return the index of what each item is drawn with: its image, or itself."""
    if analyzer.bootstrap_unit == "item" or "image" not in frame.columns:
        return np.arange(len(frame))
    image = frame.select(pl.coalesce(pl.col("image").cast(pl.String), "item")).to_series()
    groups: Integers = np.unique(image.to_numpy(), return_inverse=True)[1].astype(np.int64)
    return groups


def _floats(values: pl.Series) -> Floats:
    return values.cast(pl.Float64).to_numpy()


def _indices(values: pl.Series, classes: tuple[str, ...]) -> Integers:
    return values.replace_strict(list(classes), list(range(len(classes))), return_dtype=pl.Int64).to_numpy()
