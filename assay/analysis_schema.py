"""The columns of the table ``analysis``, which the stage writes and comparisons read."""

import polars as pl

ANALYSIS_SCHEMA = {
    "subset": pl.String(),
    "metric": pl.String(),
    "class": pl.String(),
    "value": pl.Float64(),
    "ci_low": pl.Float64(),
    "ci_high": pl.Float64(),
    "baseline": pl.Float64(),
    "baseline_name": pl.String(),
    "unit": pl.String(),
    "count": pl.Int64(),
}
"""One row per subset and metric, and per class where the metric has one value for each; undefined values are null."""
