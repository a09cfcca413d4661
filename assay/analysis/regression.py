"""Analysis of regression: predictions against targets, and the largest residuals."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import polars as pl

from assay.analysis.base import Analysis, AnalysisInputs, SubsetData, TaskAnalysis, by_subset
from assay.analysis.items import as_floats, draw_worst_crops, equal_weights, groups_of, key_columns, read_items
from assay.metrics.samples import RegressionSample, predict_mean
from assay.plots.metrics import predicted_vs_target, residuals
from assay.spec.analysis import ResultAnalyzer
from assay.storage.files import write_bytes
from assay.utils.text import pluralize, readable_number


def _read(inputs: AnalysisInputs, analyzer: ResultAnalyzer) -> list[SubsetData]:
    frame = read_items(inputs, "target", ["prediction"])
    return [_subset_data(subset, rows, inputs, analyzer) for subset, rows in by_subset(frame).items()]


def _subset_data(subset: str, rows: pl.DataFrame, inputs: AnalysisInputs, analyzer: ResultAnalyzer) -> SubsetData:
    sample = RegressionSample(as_floats(rows["target"]), as_floats(rows["prediction"]), equal_weights(rows))
    baselines = {"train mean": predict_mean(sample, as_floats(inputs.train_target.drop_nulls()))}
    worst = _largest_residuals(rows, analyzer.worst_items)
    return SubsetData(subset, sample, baselines, groups_of(rows, analyzer), {"worst_items": worst})


def _largest_residuals(rows: pl.DataFrame, limit: int) -> pl.DataFrame:
    """Return the rows with the largest absolute residuals, the worst first."""
    residual = (pl.col("prediction") - pl.col("target")).alias("residual")
    columns = rows.select(*key_columns(rows), "target", "prediction", residual)
    return columns.sort(pl.col("residual").abs(), pl.col("item"), descending=[True, False]).head(limit)


def _draw(analysis: Analysis, inputs: AnalysisInputs, analyzer: ResultAnalyzer, folder: Path) -> None:
    data = analysis.headline
    sample = cast(RegressionSample, data.sample)
    about = f"{data.subset}, {pluralize(data.item_count, 'item')}"
    points = sample.target, sample.prediction, analyzer.unit
    write_bytes(folder / "predicted_vs_target.png", predicted_vs_target(*points, f"Predictions · {about}"))
    write_bytes(folder / "residuals.png", residuals(*points, f"Residuals · {about}"))
    draw_worst_crops(analysis, inputs, _caption, folder)


def _caption(row: Mapping[str, Any]) -> str:
    return f"{row['target']:g} as {row['prediction']:.3g}"


def _advise(analysis: Analysis) -> str:
    row = analysis.of_headline("worst_items").row(0, named=True)
    values = f"target {readable_number(row['target'])}, predicted {readable_number(row['prediction'])}"
    return f"Worst item: {row['item']}, {values}. Check its target, then compare another model (trained_model.model)."


REGRESSION = TaskAnalysis("item", _read, _draw, _advise)
