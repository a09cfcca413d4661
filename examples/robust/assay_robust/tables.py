"""What works on tables and numbers: the choice of columns, the handler, the metric, the analysis, the test."""

from pathlib import Path

import numpy as np
import polars as pl

from assay.analysis.base import Analysis, AnalysisInputs
from assay.checks.result import ExperimentFiles, TestResult, not_materialized, verdict
from assay.metrics.registry import Metric
from assay.metrics.samples import Floats, RegressionSample
from assay.storage.parquet import write_parquet
from assay_robust.kinds import ErrorQuantiles, FewLargeErrors, Residuals, Varying


def varying_columns(section: Varying, rows: pl.DataFrame, target: str) -> list[str]:
    """Return the columns to scale.

    Args:
        section: Its keys in the spec.
        rows: Features and target of the rows that the scaling is fitted on; never of test data.
        target: Name of the target.
    """
    spread = rows.drop(target).select(pl.selectors.numeric().std())
    return [column.name for column in spread if column.item() is not None and column.item() > section.least]


def with_residuals(section: Residuals, predictions: pl.DataFrame, items: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Return the predictions of a subset with columns of one's own; those that are there stay as they are.

    Args:
        section: Its keys in the spec.
        predictions: What Assay stores.
        items: The predicted rows, with every column of the data, in the same order.
        folder: The result's folder, for further files.
    """
    return predictions.with_columns(residual=pl.col("prediction") - pl.col("target"))


def median_error(sample: RegressionSample) -> Floats:
    """Return the median absolute error under each of b weightings (b,): bootstrap samples are weightings of items."""
    errors = np.abs(sample.prediction - sample.target)
    order = np.argsort(errors, kind="stable")
    weights = sample.weights[:, order].cumsum(axis=1)  # (b, n)
    middle = (weights >= weights[:, -1:] / 2).argmax(axis=1)
    return errors[order][middle]


MEDIAN_ERROR = Metric("regression", median_error, "median error", higher_is_better=False, unit="{unit}")


def write_quantiles(
    section: ErrorQuantiles, analysis: Analysis, inputs: AnalysisInputs, folder: Path
) -> dict[str, float]:
    """Write error_quantiles.parquet, and return what the report and the UI show.

    Args:
        section: Its keys in the spec.
        analysis: Everything that Assay computed.
        inputs: The predictions, classes and images.
        folder: The result's folder; PNG files in its folder ``pictures`` are shown in the UI.
    """
    error = (pl.col("prediction") - pl.col("target")).abs()
    columns = [error.quantile(each).alias(f"q{each:g}") for each in section.quantiles]
    table = inputs.read_predictions().group_by("subset", maintain_order=True).agg(columns)
    write_parquet(table, folder / "error_quantiles.parquet")
    return table.filter(subset=analysis.headline.subset).drop("subset").row(0, named=True)


def check_few_large_errors(test: FewLargeErrors, files: ExperimentFiles) -> TestResult:
    """Read the stored predictions and return a verdict with its evidence."""
    expected = f"at most {test.share:.0%} of errors above {test.limit:g}"
    if "predictions" not in files.tables:
        return not_materialized(test, "predictions", expected)
    table = pl.read_parquet(files.tables["predictions"])
    share = table.select(((pl.col("prediction") - pl.col("target")).abs() > test.limit).mean()).item()
    found = f"{share:.0%} of {len(table)} errors are above {test.limit:g}"
    return verdict(test, share <= test.share, f"{found}; expected {expected}.", measured=found, expected=expected)
