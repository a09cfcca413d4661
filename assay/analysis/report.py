"""What the stage reports: counts, metrics, and two sentences.

Belongs here: from tables to the report. Does not belong here: numbers that are not in the tables.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from assay.analysis.base import Analysis, AnalysisInputs, Kind, Row, counted, headline_row, summarize, warn
from assay.analysis.classification import CLASSIFICATION
from assay.analysis.detection import DETECTION
from assay.analysis.multi_label import MULTI_LABEL
from assay.analysis.regression import REGRESSION
from assay.analysis.segmentation import SEGMENTATION
from assay.metrics.registry import Metric, get_metric
from assay.plots.metrics import metric_bars
from assay.spec.analysis import ResultAnalyzer
from assay.storage.files import write_bytes


def report_of(analysis: Analysis, kind: Kind) -> dict[str, Any]:
    """Return rows per subset, metrics about all classes per subset, a summary sentence and what to do next."""
    table = analysis.tables["analysis"]
    row = headline_row(table, analysis.headline)
    metric = get_metric(row["metric"])
    metrics: dict[str, dict[str, Any]] = {}
    for whole in table.filter(pl.col("class") == "").iter_rows(named=True):
        values = {name: whole[name] for name in ("value", "ci_low", "ci_high", "baseline", "baseline_name", "unit")}
        metrics.setdefault(whole["subset"], {})[whole["metric"]] = values
    return {
        "rows": {subset: part.item_count for subset, part in analysis.parts.items()},
        "metrics": metrics,
        "summary": summarize(row, metric, counted(analysis.parts[analysis.headline].item_count, kind.noun)),
        "next": _next_step(analysis, kind, row, metric),
    }


def _next_step(analysis: Analysis, kind: Kind, row: Row, metric: Metric) -> str:
    """Return what to do next, by how the model compares with the baseline and where it fails."""
    warning = warn(row, metric)
    if warning:
        return warning
    if analysis.of_headline("worst_items").is_empty():
        return f"There is no mistake on {row['subset']}: make sure that split_leakage passed, then try harder data."
    return kind.advise(analysis)


def draw_pictures(analysis: Analysis, inputs: AnalysisInputs, analyzer: ResultAnalyzer, folder: Path) -> None:
    """Write every picture that there is something to show for.

    Args:
        analysis: All numbers.
        inputs: Classes, and the images that show the worst items.
        analyzer: The unit of a regression target, how much is shown.
        folder: Where the PNG files go.
    """
    _draw_metrics(analysis.tables["analysis"], folder)
    KINDS[inputs.task].draw(analysis, inputs, analyzer, folder)


def _draw_metrics(table: pl.DataFrame, folder: Path) -> None:
    """Draw every metric about all classes, per subset, beside its baseline."""
    rows = table.filter(pl.col("class") == "")
    if len(rows):
        labels = {name: get_metric(name).label for name in rows["metric"].unique()}
        write_bytes(folder / "metrics.png", metric_bars(rows, labels))


KINDS: Mapping[str, Kind] = {
    "regression": REGRESSION,
    "classification": CLASSIFICATION,
    "segmentation": SEGMENTATION,
    "detection": DETECTION,
    "multi_label": MULTI_LABEL,
}
"""By the name of the kind of learning."""
