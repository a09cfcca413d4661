"""What is learned, fitted on the training rows: classes, several at once, or a number.

Belongs here: choosing and fitting the target, numbers as targets. Does not belong here: classes (``class_targets``),
losses.
"""

from typing import Literal

import polars as pl
import torch
from torch import Tensor

from assay.errors import DataError
from assay.learning.class_fitting import fit_classes, fit_labels
from assay.spec.base import Section
from assay.spec.data_description import DataDescription
from assay.training.class_targets import ClassTarget, LabelsTarget
from assay.training.data import require_columns

__all__ = ["ClassTarget", "LabelsTarget", "NumberTarget", "Target", "fit_target", "numbers", "target_column"]


class NumberTarget(Section):
    """A number, standardized for the network by mean and standard deviation of the training rows."""

    kind: Literal["number"] = "number"
    """number."""
    column: str
    """Column of the numbers."""
    mean: float
    """Mean of the training targets, in the column's unit."""
    std: float
    """Standard deviation of the training targets, in the column's unit; 1 when they are all equal."""

    @property
    def output_count(self) -> int:
        """Outputs that the network needs."""
        return 1

    def encode(self, rows: pl.DataFrame) -> Tensor:
        """Return the standardized targets: float32 (n,).

        Raises:
            DataError: A target is missing or not finite.
        """
        return torch.tensor([(value - self.mean) / self.std for value in numbers(rows, self.column)])

    def decode(self, outputs: Tensor) -> Tensor:
        """Return the network's outputs in the column's unit: float64 (n,)."""
        return outputs.double() * self.std + self.mean

    def truth(self, rows: pl.DataFrame) -> pl.Series:
        """Return the number of each row, null where it is not known or not finite.

        Raises:
            DataError: The column is missing or not numeric.
        """
        return finite_numbers(rows, self.column).alias("target")

    def answers(self, outputs: Tensor) -> Tensor:
        """Return the network's outputs (n, 1) as they are, float64: still standardized."""
        return outputs.double()

    def columns(self, answers: Tensor, rows: pl.DataFrame) -> pl.DataFrame:
        """Return target and prediction of the n rows in the column's unit, from answers (n, 1)."""
        return pl.DataFrame([self.truth(rows), pl.Series("prediction", self.decode(answers[:, 0]).numpy())])


Target = ClassTarget | LabelsTarget | NumberTarget


def target_column(description: DataDescription, learning: str, input_kind: str) -> str:
    """Return the column that is learned."""
    if description.target is not None:
        return description.target
    if learning != "regression":
        return "label"
    return "number" if input_kind == "crops" else "target"


def fit_target(description: DataDescription, learning: str, column: str, train: pl.DataFrame) -> Target:
    """Return the description of the target, fitted on the training rows.

    Raises:
        DataError: The column is missing or unusable, a class has no training row, or there is nothing to tell apart.
    """
    require_columns(train, [column], "data_description.target")
    if learning == "regression":
        values = torch.tensor(numbers(train, column), dtype=torch.float64)
        spread = values.std(correction=0).item()
        return NumberTarget(column=column, mean=values.mean().item(), std=spread or 1.0)
    fit = fit_labels if learning == "multi_label" else fit_classes
    return fit(description, column, train)


def numbers(rows: pl.DataFrame, column: str) -> list[float]:
    """Return a column as finite numbers.

    Raises:
        DataError: The column is missing, not numeric, or has items without a finite number.
    """
    values = finite_numbers(rows, column)
    bad = rows["item"].filter(values.is_null()).cast(pl.String).to_list()
    if bad:
        raise DataError(f"{len(bad)} item(s) have no finite number in column {column!r}.", bad)
    return values.to_list()


def finite_numbers(rows: pl.DataFrame, column: str) -> pl.Series:
    """Return a column as Float64, null where it holds no finite number.

    Raises:
        DataError: The column is missing or not numeric.
    """
    require_columns(rows, [column], "data_description.target")
    if not rows[column].dtype.is_numeric():
        raise DataError(f"data_description.target: column {column!r} holds {rows[column].dtype}, not numbers.")
    values = pl.col(column).cast(pl.Float64)
    return rows.select(pl.when(values.is_finite()).then(values)).to_series()
