"""From one subset to rows of ``analysis.parquet``.

Belongs here: each metric with interval and baseline. Does not belong here: arithmetic, reading predictions.
"""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from assay.analysis.base import Part
from assay.analysis_schema import ANALYSIS_SCHEMA
from assay.metrics.bootstrap import intervals
from assay.metrics.registry import Metric
from assay.metrics.samples import Floats
from assay.spec.analysis import ResultAnalyzer


def evaluate_part(
    part: Part, classes: tuple[str, ...], metrics: Mapping[str, Metric], analyzer: ResultAnalyzer, seed: int
) -> pl.DataFrame:
    """Return the metrics of one subset.

    Args:
        part: The subset.
        classes: Class names in the model's order.
        metrics: By name, in the order of the rows.
        analyzer: Intervals and unit.
        seed: Seed of the bootstrap; a subset's draws do not depend on which other subsets there are.
    """
    ends = intervals(
        {name: metric.compute for name, metric in metrics.items()},
        part.sample,
        part.groups,
        np.random.default_rng([seed, zlib.crc32(part.subset.encode())]),
        resamples=analyzer.bootstrap_samples,
        confidence=analyzer.confidence,
    )
    rows: list[dict[str, Any]] = []
    for name, metric in metrics.items():
        baseline = metric.compute(part.baselines[metric.baseline_name])[0]
        columns = [metric.compute(part.sample)[0], *ends[name], baseline]
        fixed = {"subset": part.subset, "metric": name, "baseline_name": metric.baseline_name}
        fixed["unit"] = metric.unit_for(analyzer.unit)
        rows += [{**fixed, **values} for values in _values(columns, metric, part, classes)]
    return pl.DataFrame(rows, schema=ANALYSIS_SCHEMA).with_columns(pl.selectors.float().fill_nan(None))


def _values(
    columns: list[Floats], metric: Metric, part: Part, classes: tuple[str, ...]
) -> list[dict[str, str | int | float]]:
    """Return class, count and numbers of each row of a metric: one, or one per class."""
    names = classes if metric.per_class else ("",)
    counts = part.sample.class_counts if metric.per_class else [part.item_count]
    spread = [np.broadcast_to(column, len(names)).tolist() for column in columns]
    keys = ("class", "count", "value", "ci_low", "ci_high", "baseline")
    return [dict(zip(keys, row, strict=True)) for row in zip(names, counts, *spread, strict=True)]
