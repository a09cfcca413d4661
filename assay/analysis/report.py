"""What the stage reports: counts, metrics, and two sentences.

Belongs here: from tables to the report. Does not belong here: numbers that are not in the tables.
"""

from typing import Any

import polars as pl

from assay.analysis.base import Analysis, Kind
from assay.analysis.words import Row, counted, headline_row, summarize, warn
from assay.metrics.registry import Metric, get_metric


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
