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


def summarize(row: Row, metric: Metric) -> str:
    """Return one sentence: metric, interval, subset, number of items, and the trivial baseline."""
    unit = f" {row['unit']}" if row["unit"] else ""
    of_class = f" of class {row['class']}" if row["class"] else ""
    between = "" if row["ci_low"] is None else f" [{readable_number(row['ci_low'])}, {readable_number(row['ci_high'])}]"
    measured = f"{metric.label}{of_class} {readable_number(row['value'])}{between}{unit}"
    items = f"{row['count']:,} item{'s' * (row['count'] != 1)}"
    return f"{measured} on {row['subset']}, {items}; {row['baseline_name']} {readable_number(row['baseline'])}."


def suggest_next(row: Row, metric: Metric, worst: pl.DataFrame, confusion: pl.DataFrame | None) -> str:
    """Return what to do next, by how the model compares with the baseline and where it fails.

    Args:
        row: The headline row.
        metric: Its metric.
        worst: Worst items of the headline subset.
        confusion: Confusion rows of the headline subset; None for regression.
    """
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
    if not len(worst):
        return f"There is no mistake on {row['subset']}: make sure that split_leakage passed, then try harder data."
    return _name_worst(worst.row(0, named=True)) if confusion is None else _name_confusion(confusion)


def _name_worst(row: Row) -> str:
    values = f"target {readable_number(row['target'])}, predicted {readable_number(row['prediction'])}"
    return f"Worst item: {row['item']}, {values}. Check its target, then compare another model (trained_model.model)."


def _name_confusion(confusion: pl.DataFrame) -> str:
    mistakes = confusion.filter(pl.col("target_class") != pl.col("predicted_class"))
    order = ["count", "target_class", "predicted_class"]
    pair = mistakes.sort(order, descending=[True, False, False]).row(0, named=True)
    total = confusion.filter(pl.col("target_class") == pair["target_class"])["count"].sum()
    return (
        f"Most frequent mistake: {pair['target_class']} taken for {pair['predicted_class']} "
        f"({pair['count']} of {total}). Look at these items in worst_items: wrong labels, or too few to learn from?"
    )


def readable_number(value: float | None) -> str:
    """Return a number with about four digits, or that it is not defined."""
    if value is None:
        return "not defined"
    return f"{value:.3f}" if 0.001 <= abs(value) < 10 or value == 0 else f"{value:.4g}"
