"""The analysis in two sentences: how good it is, and what to do next.

Belongs here: choosing and writing sentences. Does not belong here: numbers that are not in the tables.
"""

from collections.abc import Mapping
from typing import Any

import polars as pl

from assay.metrics.registry import Metric

Row = Mapping[str, Any]


def headline_row(analysis: pl.DataFrame, subset: str) -> Row:
    """Return the first metric of a subset that is about all classes, or else the first of all."""
    rows = analysis.filter(pl.col("subset") == subset)
    whole = rows.filter(pl.col("class") == "")
    return (whole if len(whole) else rows).row(0, named=True)


def summarize(row: Row, metric: Metric, items: str) -> str:
    """Return one sentence: metric, interval, subset, number of items, and the trivial baseline.

    Args:
        row: The headline row.
        metric: Its metric.
        items: How many of what it is about, such as ``48 items``.
    """
    unit = f" {row['unit']}" if row["unit"] else ""
    of_class = f" of class {row['class']}" if row["class"] else ""
    between = "" if row["ci_low"] is None else f" [{readable_number(row['ci_low'])}, {readable_number(row['ci_high'])}]"
    measured = f"{metric.label}{of_class} {readable_number(row['value'])}{between}{unit}"
    return f"{measured} on {row['subset']}, {items}; {row['baseline_name']} {readable_number(row['baseline'])}."


def counted(count: int, noun: str) -> str:
    """Return a number of things in words: ``1 item``, ``1,200 images``."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def warn(row: Row, metric: Metric) -> str:
    """Return what to do first where the model can't be said to be better than the baseline; empty where it can."""
    value, baseline = row["value"], row["baseline"]
    if value is None or baseline is None:
        return f"{metric.label} is not defined here: give subset {row['subset']} more, and more varied, items."
    if not metric.beats(value, baseline):
        return (
            f"The model is no better than the {row['baseline_name']}: look for wrong targets among the worst items, "
            "then train longer (trained_model.train_params.epochs)."
        )
    worse_end = row["ci_low"] if metric.higher_is_better else row["ci_high"]
    if worse_end is not None and not metric.beats(worse_end, baseline):
        return f"The interval reaches the {row['baseline_name']}: predict more items of subset {row['subset']}."
    return ""


def readable_number(value: float | None) -> str:
    """Return a number with about four digits, or that it is not defined."""
    if value is None:
        return "not defined"
    return f"{value:.3f}" if 0.001 <= abs(value) < 10 or value == 0 else f"{value:.4g}"
