"""A training's history as tables: one for people and spreadsheets, one for queries across experiments."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from assay.learning.state import EpochValues
from assay.storage.files import write_text

SCHEMA = pl.Schema({"epoch": pl.Int32(), "subset": pl.String(), "metric": pl.String(), "value": pl.Float64()})


def history_table(history: Sequence[EpochValues], train: str, validation: str) -> pl.DataFrame:
    """Return one row per epoch, subset and metric.

    Args:
        history: What was measured.
        train: Name of the training subset.
        validation: Name of the validation subset.
    """
    rows = [
        (values.epoch, subset, metric, value)
        for values in history
        for subset, measured in ((train, values.train), (validation, values.validation))
        for metric, value in measured.items()
        if metric != "learning_rate"
    ]
    return pl.DataFrame(rows, SCHEMA, orient="row")


def write_train_logs(history: Sequence[EpochValues], path: Path) -> None:
    """Write one line per epoch: training values, then validation values with the prefix ``val_``."""
    rows = [
        {"epoch": values.epoch, **values.train, **{f"val_{name}": value for name, value in values.validation.items()}}
        for values in history
    ]
    write_text(path, pl.DataFrame(rows).write_csv())
