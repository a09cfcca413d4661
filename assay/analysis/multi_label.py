"""Analysis of several labels at once.

Belongs here: from predictions to samples, threshold curves, the worst items, the pictures. Does not belong here:
metrics, charts.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl

from assay.analysis.base import Analysis, AnalysisInputs, Kind, Part, by_subset, counted, readable_number
from assay.analysis.items import draw_worst_crops, equal_weights, groups_of, place_columns, read_items
from assay.metrics.baselines import predict_every_class, predict_frequencies
from assay.metrics.multi_label import threshold_curves
from assay.metrics.registry import EVERY_CLASS, FREQUENCIES
from assay.metrics.samples import Booleans, MultiLabelSample
from assay.plots.classification import class_scores, draw_threshold_curves
from assay.spec.analysis import ResultAnalyzer
from assay.storage.files import write_bytes

NAMED = ("target_labels", "predicted_labels")


def _parts(inputs: AnalysisInputs, analyzer: ResultAnalyzer) -> list[Part]:
    probabilities = [f"prob_{name}" for name in inputs.classes]
    frame = read_items(inputs, "target_labels", ["predicted_labels", *probabilities], NAMED)
    return [_part(subset, rows, inputs, analyzer) for subset, rows in by_subset(frame).items()]


def _part(subset: str, rows: pl.DataFrame, inputs: AnalysisInputs, analyzer: ResultAnalyzer) -> Part:
    sample = _sample(rows, inputs.classes)
    train_target = has_classes(inputs.train_target.drop_nulls(), inputs.classes)
    tables = {
        "worst_items": _worst(rows, sample, inputs.classes, analyzer.worst_items),
        "curves": threshold_curves(sample, inputs.classes).select(pl.lit(subset).alias("subset"), pl.all()),
    }
    baselines = {FREQUENCIES: predict_frequencies(sample, train_target), EVERY_CLASS: predict_every_class(sample)}
    return Part(subset, sample, baselines, groups_of(rows, analyzer), tables)


def _sample(rows: pl.DataFrame, classes: tuple[str, ...]) -> MultiLabelSample:
    target, predicted = (has_classes(rows[name], classes) for name in NAMED)
    probabilities = rows.select(f"prob_{name}" for name in classes).to_numpy().astype(np.float64)
    return MultiLabelSample(target, predicted, probabilities, equal_weights(rows))


def has_classes(names: pl.Series, classes: Sequence[str]) -> Booleans:
    """Return which classes (n, k) are in each of n lists of their names."""
    lists = pl.DataFrame({"names": names})
    marked: Booleans = lists.select(pl.col("names").list.contains(name).alias(name) for name in classes).to_numpy()
    return marked


def _worst(rows: pl.DataFrame, sample: MultiLabelSample, classes: tuple[str, ...], limit: int) -> pl.DataFrame:
    """Return the items with a wrong class, that whose worst mistake is the most confident first."""
    wrong = sample.target != sample.predicted
    error = (np.abs(sample.probabilities - sample.target) * wrong).max(axis=1)
    columns = {
        "missed": _names(wrong & sample.target, classes),
        "added": _names(wrong & sample.predicted, classes),
        "error": error,
    }
    lists = {"missed": pl.List(pl.String), "added": pl.List(pl.String)}
    found = rows.select(*place_columns(rows), *NAMED).hstack(pl.DataFrame(columns, schema_overrides=lists))
    mistaken = found.filter(pl.Series(wrong.any(axis=1)))
    return mistaken.sort("error", "item", descending=[True, False]).head(limit)


def _names(marked: Booleans, classes: tuple[str, ...]) -> list[list[str]]:
    return [[name for name, is_marked in zip(classes, row, strict=True) if is_marked] for row in marked.tolist()]


def _draw(analysis: Analysis, inputs: AnalysisInputs, analyzer: ResultAnalyzer, folder: Path) -> None:
    part = analysis.parts[analysis.headline]
    about = f"{part.subset}, {part.item_count:,} items"
    per_class = analysis.of_headline("analysis").filter(pl.col("class") != "")
    if len(per_class):
        write_bytes(folder / "classes.png", class_scores(per_class, f"Classes · {about}"))
    curves = draw_threshold_curves(analysis.of_headline("curves"), f"Thresholds · {about}")
    write_bytes(folder / "curves.png", curves)
    draw_worst_crops(analysis, inputs, _caption, folder)


def _caption(row: Mapping[str, Any]) -> str:
    changes = [f"-{name}" for name in row["missed"]] + [f"+{name}" for name in row["added"]]
    return " ".join(changes)


def _advise(analysis: Analysis) -> str:
    """Return which class has the lowest F1, and whether it is missed or wrongly given."""
    part = analysis.parts[analysis.headline]
    sample = cast(MultiLabelSample, part.sample)
    hits = (sample.target & sample.predicted).sum(axis=0)
    wanted, given = sample.target.sum(axis=0), sample.predicted.sum(axis=0)
    f1 = np.where(wanted + given > 0, 2 * hits / np.maximum(wanted + given, 1), np.inf)
    place = int(f1.argmin())
    name = analysis.of_headline("curves")["class"].unique(maintain_order=True)[place]
    missed, added = int(wanted[place] - hits[place]), int(given[place] - hits[place])
    return (
        f"Worst class: {name}, F1 {readable_number(float(f1[place]))}: {counted(missed, 'item')} of {wanted[place]} "
        f"missed, {added} wrongly given. Look at worst_items: wrong labels, too few to learn from, or is another "
        "threshold better (trained_model.train_params.decision: tuned)?"
    )


MULTI_LABEL = Kind("item", _parts, _draw, _advise)
