"""Tables beside the metrics: where the predictions fail.

Belongs here: confusion, calibration and worst items as frames. Does not belong here: pictures.
"""

import polars as pl

from assay.analysis.inputs import AnalysisInputs
from assay.metrics.calibration import calibration_table
from assay.metrics.samples import ClassificationSample


def confusion_rows(subset: str, sample: ClassificationSample, classes: tuple[str, ...]) -> pl.DataFrame:
    """Return one row per pair of true and predicted class, those that never occur included."""
    count = len(classes)
    return pl.DataFrame(
        {
            "subset": [subset] * count**2,
            "target_class": [name for name in classes for _ in classes],
            "predicted_class": list(classes) * count,
            "count": sample.confusion[0].astype(int).ravel(),
        },
        schema_overrides={"count": pl.Int64},
    )


def calibration_rows(subset: str, sample: ClassificationSample) -> pl.DataFrame:
    """Return one row per bin of confidence that holds items."""
    return calibration_table(sample).select(pl.lit(subset).alias("subset"), pl.all())


def worst_rows(frame: pl.DataFrame, inputs: AnalysisInputs, limit: int) -> pl.DataFrame:
    """Return the most confident mistakes, or the largest residuals, of each subset; the worst first.

    Args:
        frame: Predictions of one subset or more.
        inputs: The task.
        limit: Rows per subset.
    """
    place = [name for name in ("subset", "item", "image") if name in frame.columns]
    if inputs.task == "regression":
        residual = (pl.col("prediction") - pl.col("target")).alias("residual")
        rows = frame.select(*place, "target", "prediction", residual)
        badness = pl.col("residual").abs()
    else:
        rows = frame.filter(pl.col("target_class") != pl.col("predicted_class"))
        rows = rows.select(*place, "target_class", "predicted_class", "confidence")
        badness = pl.col("confidence")
    worst_first = rows.sort(pl.col("subset"), badness, pl.col("item"), descending=[False, True, False])
    return worst_first.group_by("subset", maintain_order=True).head(limit).select(rows.columns)
