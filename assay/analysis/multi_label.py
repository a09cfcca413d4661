"""Analysis of several labels per item: threshold curves, and the items with the most confident mistakes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl

from assay.analysis.base import Analysis, AnalysisInputs, SubsetData, TaskAnalysis, by_subset
from assay.analysis.items import draw_class_scores, draw_worst_crops, equal_weights, groups_of, key_columns, read_items
from assay.metrics.multi_label import threshold_curves
from assay.metrics.registry import EVERY_CLASS, FREQUENCIES
from assay.metrics.samples import Booleans, MultiLabelSample, predict_every_class, predict_frequencies
from assay.plots.classification import draw_threshold_curves
from assay.spec.analysis import ResultAnalyzer
from assay.storage.files import write_bytes
from assay.utils.text import pluralize, readable_number

LABEL_COLUMNS = ("target_labels", "predicted_labels")


def _read(inputs: AnalysisInputs, analyzer: ResultAnalyzer) -> list[SubsetData]:
    probabilities = [f"prob_{name}" for name in inputs.classes]
    frame = read_items(inputs, "target_labels", ["predicted_labels", *probabilities], LABEL_COLUMNS)
    return [_subset_data(subset, rows, inputs, analyzer) for subset, rows in by_subset(frame).items()]


def _subset_data(subset: str, rows: pl.DataFrame, inputs: AnalysisInputs, analyzer: ResultAnalyzer) -> SubsetData:
    sample = _sample(rows, inputs.classes)
    train_target = has_classes(inputs.train_target.drop_nulls(), inputs.classes)
    tables = {
        "worst_items": _worst(rows, sample, inputs.classes, analyzer.worst_items),
        "curves": threshold_curves(sample, inputs.classes).select(pl.lit(subset).alias("subset"), pl.all()),
    }
    baselines = {FREQUENCIES: predict_frequencies(sample, train_target), EVERY_CLASS: predict_every_class(sample)}
    return SubsetData(subset, sample, baselines, groups_of(rows, analyzer), tables)


def _sample(rows: pl.DataFrame, classes: tuple[str, ...]) -> MultiLabelSample:
    target, predicted = (has_classes(rows[name], classes) for name in LABEL_COLUMNS)
    probabilities = rows.select(f"prob_{name}" for name in classes).to_numpy().astype(np.float64)
    return MultiLabelSample(target, predicted, probabilities, equal_weights(rows))


def has_classes(names: pl.Series, classes: Sequence[str]) -> Booleans:
    """Return whether each of n lists of class names contains each of the k classes: (n, k)."""
    lists = pl.DataFrame({"names": names})
    marked: Booleans = lists.select(pl.col("names").list.contains(name).alias(name) for name in classes).to_numpy()
    return marked


def _worst(rows: pl.DataFrame, sample: MultiLabelSample, classes: tuple[str, ...], limit: int) -> pl.DataFrame:
    """Return the items with a wrong label, ordered by how confident their worst mistake is."""
    wrong = sample.target != sample.predicted
    error = (np.abs(sample.probabilities - sample.target) * wrong).max(axis=1)
    columns = {
        "missed": _names(wrong & sample.target, classes),
        "added": _names(wrong & sample.predicted, classes),
        "error": error,
    }
    lists = {"missed": pl.List(pl.String), "added": pl.List(pl.String)}
    items = rows.select(*key_columns(rows), *LABEL_COLUMNS).hstack(pl.DataFrame(columns, schema_overrides=lists))
    mistakes = items.filter(pl.Series(wrong.any(axis=1)))
    return mistakes.sort("error", "item", descending=[True, False]).head(limit)


def _names(marked: Booleans, classes: tuple[str, ...]) -> list[list[str]]:
    return [[name for name, is_marked in zip(classes, row, strict=True) if is_marked] for row in marked.tolist()]


def _draw(analysis: Analysis, inputs: AnalysisInputs, analyzer: ResultAnalyzer, folder: Path) -> None:
    about = f"{analysis.headline.subset}, {pluralize(analysis.headline.item_count, 'item')}"
    draw_class_scores(analysis, about, folder)
    curves = draw_threshold_curves(analysis.of_headline("curves"), f"Thresholds · {about}")
    write_bytes(folder / "curves.png", curves)
    draw_worst_crops(analysis, inputs, _caption, folder)


def _caption(row: Mapping[str, Any]) -> str:
    changes = [f"-{name}" for name in row["missed"]] + [f"+{name}" for name in row["added"]]
    return " ".join(changes)


def _advise(analysis: Analysis) -> str:
    """Return which class has the lowest F1, and how often it is missed or wrongly predicted."""
    sample = cast(MultiLabelSample, analysis.headline.sample)
    hits = (sample.target & sample.predicted).sum(axis=0)
    occurring, predicted = sample.target.sum(axis=0), sample.predicted.sum(axis=0)
    f1 = np.where(occurring + predicted > 0, 2 * hits / np.maximum(occurring + predicted, 1), np.inf)
    worst = int(f1.argmin())
    name = analysis.of_headline("curves")["class"].unique(maintain_order=True)[worst]
    missed, added = int(occurring[worst] - hits[worst]), int(predicted[worst] - hits[worst])
    measured = f"Worst class: {name}, F1 {readable_number(float(f1[worst]))}"
    return (
        f"{measured}: {pluralize(missed, 'item')} of {occurring[worst]} missed, {added} wrongly given. "
        "Look at worst_items: wrong labels, too few to learn from, or is another threshold better "
        "(trained_model.train_params.decision: tuned)?"
    )


MULTI_LABEL = TaskAnalysis("item", _read, _draw, _advise)
