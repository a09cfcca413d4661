"""What is learned, fitted on the training rows: classes, several at once, or a number.

Belongs here: choosing and fitting the target, numbers as targets. Does not belong here: classes (``class_targets``),
losses.
"""

from collections.abc import Sequence
from typing import Literal

import polars as pl
import torch
from torch import Tensor

from assay.errors import DataError
from assay.spec.base import Section
from assay.spec.classes import ClassDescription, DataDescription, classes_of_labels, unknown_subclasses
from assay.training.class_targets import ClassTarget, LabelsTarget, all_known, labels_of_rows
from assay.training.data import require_columns
from assay.utils.text import natural_sort_key


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


FIXED_THRESHOLD = 0.5
"""Probability from which on an item is said to have a class, unless the validation data choose."""


def fit_classes(description: DataDescription, column: str, train: pl.DataFrame) -> ClassTarget:
    """Return the classes of items that have one each.

    Raises:
        DataError: A class has no training row, a subclass does not exist, or there are fewer than two classes.
    """
    found = found_labels(train, column)
    described = description.classes or ()
    mapping = description.class_mapping
    if any(each.subclasses for each in described):
        refuse_unknown_subclasses(described, found)
        mapping = {label: described[place].name for label, (place,) in classes_of_labels(described).items()}
    from_data = sorted({mapping.get(label, label) for label in found}, key=natural_sort_key)
    target = ClassTarget(column=column, classes=description.class_names or tuple(from_data), mapping=mapping)
    if len(target.classes) < 2:
        raise DataError(f"Column {column!r} has only the class {from_data[0]!r} in the training data; two are needed.")
    encoded = target.encode(train)
    refuse_empty_classes(target.classes, encoded.bincount(minlength=len(target.classes)))
    return target


def fit_labels(description: DataDescription, column: str, train: pl.DataFrame) -> LabelsTarget:
    """Return the classes of items that may have several.

    Raises:
        DataError: A class has no training row, a subclass does not exist, a label belongs to no class, or all training
            rows have the same classes.
    """
    found = found_labels(train, column, description.label_separator)
    none = description.labels_of_no_class
    described = description.classes or tuple(ClassDescription(name=label) for label in found if label not in none)
    refuse_unknown_subclasses(described, found)
    places = classes_of_labels(described)
    if both := sorted(set(none) & set(places), key=natural_sort_key):
        raise DataError("data_description.labels_of_no_class: these labels belong to a class.", both)
    target = LabelsTarget(
        column=column,
        classes=tuple(each.name for each in described),
        places=places | {label: () for label in none},
        separator=description.label_separator,
        thresholds=(FIXED_THRESHOLD,) * len(described),
    )
    encoded = target.encode(train)
    refuse_empty_classes(target.classes, encoded.sum(0))
    if bool((encoded == encoded[0]).all()):
        raise DataError(f"Column {column!r} gives all training items the same classes; there is nothing to tell apart.")
    return target


def found_labels(train: pl.DataFrame, column: str, separator: str | None = None) -> list[str]:
    """Return the labels that occur, "9" before "10".

    Raises:
        DataError: There is no such column, or an item without a label.
    """
    labels = all_known(labels_of_rows(train, column, separator), train, column)
    return sorted({label for each in labels for label in each}, key=natural_sort_key)


def refuse_unknown_subclasses(described: Sequence[ClassDescription], found: Sequence[str]) -> None:
    """Refuse subclasses that are neither classes nor labels of the training data.

    Raises:
        DataError: Names each with the nearest that is.
    """
    if wrong := unknown_subclasses(described, found):
        raise DataError("data_description.classes: these subclasses are neither classes nor training labels.", wrong)


def refuse_empty_classes(classes: Sequence[str], counts: Tensor) -> None:
    """Refuse classes that no training item has.

    Args:
        classes: Names.
        counts: (k,) number of training items.

    Raises:
        DataError: Names them.
    """
    empty = [name for name, count in zip(classes, counts.tolist(), strict=True) if not count]
    if empty:
        raise DataError("data_description.classes: no training item of these classes; leave them out.", empty)
