"""The report of an analysis, the plots that every task has, and the table of the tasks.

Belongs here: what follows from the tables alone. Does not belong here: numbers that are not in the tables.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from assay.analysis.base import (
    Analysis,
    AnalysisInputs,
    Row,
    TaskAnalysis,
    baseline_warning,
    headline_row,
    pluralize,
    summarize,
)
from assay.analysis.classification import CLASSIFICATION
from assay.analysis.detection import DETECTION
from assay.analysis.multi_label import MULTI_LABEL
from assay.analysis.regression import REGRESSION
from assay.analysis.segmentation import SEGMENTATION
from assay.metrics.registry import Metric, get_metric
from assay.plots.metrics import metric_bars
from assay.spec.analysis import ResultAnalyzer
from assay.storage.files import write_bytes


def report_of(analysis: Analysis, task: TaskAnalysis) -> dict[str, Any]:
    """Return rows per subset, metrics over all classes per subset, a summary sentence and what to do next."""
    table = analysis.tables["analysis"]
    row = headline_row(table, analysis.headline.subset)
    metric = get_metric(row["metric"])
    metrics: dict[str, dict[str, Any]] = {}
    for measured in table.filter(pl.col("class") == "").iter_rows(named=True):
        values = {name: measured[name] for name in ("value", "ci_low", "ci_high", "baseline", "baseline_name", "unit")}
        metrics.setdefault(measured["subset"], {})[measured["metric"]] = values
    return {
        "rows": {subset: data.item_count for subset, data in analysis.subsets.items()},
        "metrics": metrics,
        "summary": summarize(row, metric, pluralize(analysis.headline.item_count, task.noun)),
        "next": _next_step(analysis, task, row, metric),
    }


def _next_step(analysis: Analysis, task: TaskAnalysis, row: Row, metric: Metric) -> str:
    """Return what to do next: about the baseline where it is not beaten, else about where the model fails most."""
    warning = baseline_warning(row, metric)
    if warning:
        return warning
    if analysis.of_headline("worst_items").is_empty():
        return f"There is no mistake on {row['subset']}: make sure that split_leakage passed, then try harder data."
    return task.advise(analysis)


def draw_plots(analysis: Analysis, inputs: AnalysisInputs, analyzer: ResultAnalyzer, folder: Path) -> None:
    """Write all plots for which there is data.

    Args:
        analysis: All numbers.
        inputs: Classes, and the images that show the worst items.
        analyzer: Unit of a regression target, and how many items are shown.
        folder: Where the PNG files go.
    """
    _draw_metrics(analysis.tables["analysis"], folder)
    TASK_ANALYSES[inputs.task].draw(analysis, inputs, analyzer, folder)


def _draw_metrics(table: pl.DataFrame, folder: Path) -> None:
    """Draw every metric over all classes, per subset, beside its baseline."""
    rows = table.filter(pl.col("class") == "")
    if len(rows):
        labels = {name: get_metric(name).label for name in rows["metric"].unique()}
        write_bytes(folder / "metrics.png", metric_bars(rows, labels))


TASK_ANALYSES: Mapping[str, TaskAnalysis] = {
    "regression": REGRESSION,
    "classification": CLASSIFICATION,
    "segmentation": SEGMENTATION,
    "detection": DETECTION,
    "multi_label": MULTI_LABEL,
}
"""By task."""
