"""Analysis of classification: confusion, calibration and confident mistakes."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl

from assay.analysis.base import Analysis, AnalysisInputs, SubsetData, TaskAnalysis, by_subset
from assay.analysis.items import (
    class_indices,
    confusion_rows,
    draw_worst_crops,
    equal_weights,
    groups_of,
    key_columns,
    name_confusion,
    read_items,
)
from assay.metrics.classification import calibration_table
from assay.metrics.registry import CERTAIN, FREQUENCIES
from assay.metrics.samples import ClassificationSample, predict_certainly, predict_majority
from assay.plots.classification import confusion_matrix, reliability
from assay.spec.analysis import ResultAnalyzer
from assay.storage.files import write_bytes
from assay.utils.text import pluralize, readable_number

CLASS_COLUMNS = ("target_class", "predicted_class")


def _read(inputs: AnalysisInputs, analyzer: ResultAnalyzer) -> list[SubsetData]:
    probabilities = [f"prob_{name}" for name in inputs.classes]
    frame = read_items(inputs, "target_class", ["predicted_class", "confidence", *probabilities], CLASS_COLUMNS)
    return [_subset_data(subset, rows, inputs, analyzer) for subset, rows in by_subset(frame).items()]


def _subset_data(subset: str, rows: pl.DataFrame, inputs: AnalysisInputs, analyzer: ResultAnalyzer) -> SubsetData:
    sample = _sample(rows, inputs.classes, analyzer.calibration_bins)
    train_target = inputs.train_target.drop_nulls().cast(pl.String)
    majority = predict_majority(sample, class_indices(train_target, inputs.classes))
    tables = {
        "worst_items": _confident_mistakes(rows, analyzer.worst_items),
        "confusion_matrix": confusion_rows(subset, sample.confusion[0], inputs.classes),
        "suspicious_labels": _suspicious_labels(rows, analyzer.worst_items),
        "calibration": calibration_table(sample).select(pl.lit(subset).alias("subset"), pl.all()),
    }
    baselines = {"majority class": majority, FREQUENCIES: majority, CERTAIN: predict_certainly(sample)}
    return SubsetData(subset, sample, baselines, groups_of(rows, analyzer), tables)


def _sample(rows: pl.DataFrame, classes: tuple[str, ...], calibration_bins: int) -> ClassificationSample:
    probabilities = rows.select(f"prob_{name}" for name in classes).to_numpy().astype(np.float64)
    # They are stored in single precision, so that their sums are off by 1e-7.
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    target, predicted = (class_indices(rows[name], classes) for name in CLASS_COLUMNS)
    return ClassificationSample(target, predicted, probabilities, equal_weights(rows), calibration_bins)


def _confident_mistakes(rows: pl.DataFrame, limit: int) -> pl.DataFrame:
    """Return the mistakes, the most confident first."""
    mistakes = rows.filter(pl.col("target_class") != pl.col("predicted_class"))
    columns = mistakes.select(*key_columns(rows), *CLASS_COLUMNS, "confidence")
    return columns.sort("confidence", "item", descending=[True, False]).head(limit)


DOUBTED = 0.2
"""Probability of its own label below which an item that is predicted as something else is suspicious."""


def _suspicious_labels(rows: pl.DataFrame, limit: int) -> pl.DataFrame:
    """Return the items whose label is more likely wrong than the prediction, the least probable label first.

    An item's self-confidence is the probability that the model gives its label (Northcutt, Jiang and Chuang,
    "Confident Learning", Journal of Artificial Intelligence Research 70, 2021). With 10% of the labels of handwritten
    digits wrong, 9 of 10 of them are found, and 9 of 10 found are wrong, also among the training items.
    """
    probabilities = [name for name in rows.columns if name.startswith("prob_")]
    own = pl.coalesce(
        pl.when(pl.col("target_class") == name.removeprefix("prob_")).then(pl.col(name)) for name in probabilities
    )
    doubted = rows.with_columns(own.alias("self_confidence")).filter(
        (pl.col("target_class") != pl.col("predicted_class"))
        & (pl.col("self_confidence") < DOUBTED)
        & (pl.col("confidence") >= 0.5)
    )
    columns = doubted.select(*key_columns(rows), *CLASS_COLUMNS, "confidence", "self_confidence")
    return columns.sort("self_confidence", "item").head(10 * limit)


def _draw(analysis: Analysis, inputs: AnalysisInputs, analyzer: ResultAnalyzer, folder: Path) -> None:
    data = analysis.headline
    sample = cast(ClassificationSample, data.sample)
    about = f"{data.subset}, {pluralize(data.item_count, 'item')}"
    counts = sample.confusion[0].astype(np.int64)
    write_bytes(
        folder / "confusion_matrix.png", confusion_matrix(counts, inputs.classes, f"Confusion matrix · {about}")
    )
    write_bytes(folder / "reliability.png", reliability(calibration_table(sample), f"Calibration · {about}"))
    draw_worst_crops(analysis, inputs, _caption, folder)
    draw_worst_crops(analysis, inputs, _caption, folder, "suspicious_labels")


def _caption(row: Mapping[str, Any]) -> str:
    return f"{row['target_class']} as {row['predicted_class']} {row['confidence']:.2f}"


def rare_class_advice(table: pl.DataFrame, subset: str) -> str:
    """Return what to do about a rare class that is never predicted; empty where there is none.

    Args:
        table: All metrics, columns of ``ANALYSIS_SCHEMA``.
        subset: The subset that the sentence is about.
    """
    recalls = table.filter((pl.col("subset") == subset) & (pl.col("metric") == "recall") & (pl.col("count") > 0))
    rare = pl.col("count") < recalls["count"].sum() / (3 * max(len(recalls), 1))
    missed = recalls.filter(rare & (pl.col("value") == 0)).sort("count", descending=True)
    if missed.is_empty():
        return ""
    row = missed.row(0, named=True)
    ranking = table.filter((pl.col("subset") == subset) & (pl.col("metric") == "roc_auc"))["value"].to_list()
    ranked = (
        f", although the ranking is good (ROC AUC {readable_number(ranking[0])})"
        if ranking and (ranking[0] or 0) > 0.8
        else ""
    )
    remedy = "train_params.decision: tuned" if len(recalls) == 2 else "learner.class_weights: balanced"
    return (
        f"Class {row['class']}, {pluralize(row['count'], 'item')} of {subset}, is never predicted{ranked}: it is rare. "
        f"Set trained_model.{remedy}, and look at balanced accuracy and recall, not at accuracy."
    )


MANY = 0.02
"""Share of suspicious labels from which they are spoken of before anything else."""


def _advise(analysis: Analysis) -> str:
    suspicious, data = analysis.of_headline("suspicious_labels"), analysis.headline
    sample = cast(ClassificationSample, data.sample)
    mistakes = int((sample.predicted != sample.target).sum())
    # A model that also makes many doubtful mistakes is only not good enough yet.
    are_labels = mistakes - len(suspicious) <= len(suspicious) / 10 and mistakes < 0.3 * data.item_count
    if not are_labels or len(suspicious) < max(MANY * data.item_count, 3):
        return name_confusion(analysis.of_headline("confusion_matrix"))
    first = suspicious.row(0, named=True)
    return (
        f"{pluralize(len(suspicious), 'label')} of {data.subset} may be wrong (suspicious_labels); the first: "
        f"{first['item']}, labelled {first['target_class']}, looks like {first['predicted_class']}. Where it counts, "
        f"how to mend it or leave it out: assay impact {shlex.quote(str(first.get('image') or first['item']))}"
    )


CLASSIFICATION = TaskAnalysis("item", _read, _draw, _advise)
