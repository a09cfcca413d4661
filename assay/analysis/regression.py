"""Analysis of predicted numbers.

Belongs here: from predictions to samples, the largest residuals, the pictures. Does not belong here: metrics, charts.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import polars as pl

from assay.analysis.base import Analysis, AnalysisInputs, Kind, Part, by_subset, readable_number
from assay.analysis.items import as_floats, draw_worst_crops, equal_weights, groups_of, place_columns, read_items
from assay.metrics.baselines import predict_mean
from assay.metrics.samples import RegressionSample
from assay.plots.regression import predicted_vs_target, residuals
from assay.spec.analysis import ResultAnalyzer
from assay.storage.files import write_bytes


def _parts(inputs: AnalysisInputs, analyzer: ResultAnalyzer) -> list[Part]:
    frame = read_items(inputs, "target", ["prediction"])
    return [_part(subset, rows, inputs, analyzer) for subset, rows in by_subset(frame).items()]


def _part(subset: str, rows: pl.DataFrame, inputs: AnalysisInputs, analyzer: ResultAnalyzer) -> Part:
    sample = RegressionSample(as_floats(rows["target"]), as_floats(rows["prediction"]), equal_weights(rows))
    baselines = {"train mean": predict_mean(sample, as_floats(inputs.train_target.drop_nulls()))}
    worst = _largest_residuals(rows, analyzer.worst_items)
    return Part(subset, sample, baselines, groups_of(rows, analyzer), {"worst_items": worst})


def _largest_residuals(rows: pl.DataFrame, limit: int) -> pl.DataFrame:
    """Return the rows whose prediction is furthest from the target, the worst first."""
    residual = (pl.col("prediction") - pl.col("target")).alias("residual")
    found = rows.select(*place_columns(rows), "target", "prediction", residual)
    return found.sort(pl.col("residual").abs(), pl.col("item"), descending=[True, False]).head(limit)


def _draw(analysis: Analysis, inputs: AnalysisInputs, analyzer: ResultAnalyzer, folder: Path) -> None:
    part = analysis.parts[analysis.headline]
    sample = cast(RegressionSample, part.sample)
    about = f"{part.subset}, {part.item_count:,} items"
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


REGRESSION = Kind("item", _parts, _draw, _advise)
