"""Targets of items: numbers, and the fitting of any target to the training rows.

Belongs here: the target column, fitting, numbers as targets. Does not belong here: encoding classes
(``class_targets``), targets of whole images (``image_targets``), losses.
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
from assay.utils.text import natural_sort_key, pluralize


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

    def ground_truth(self, rows: pl.DataFrame) -> pl.Series:
        """Return the number of each row, null where it is unknown or not finite.

        Raises:
            DataError: The column is missing or not numeric.
        """
        return finite_numbers(rows, self.column).alias("target")

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return the network's outputs (n, 1) as float64; they are still standardized."""
        return outputs.double()

    def columns(self, predictions: Tensor, rows: pl.DataFrame) -> pl.DataFrame:
        """Return target and prediction of the n rows in the column's unit, from standardized predictions (n, 1)."""
        return pl.DataFrame([self.ground_truth(rows), *self.predicted_columns(predictions)])

    def predicted_columns(self, predictions: Tensor) -> list[pl.Series]:
        """Return the predictions in the column's unit, from standardized predictions (n, 1)."""
        return [pl.Series("prediction", self.decode(predictions[:, 0]).numpy())]


ItemTarget = ClassTarget | LabelsTarget | NumberTarget


def target_column(description: DataDescription, task: str, input_kind: str) -> str:
    """Return the target column; the default depends on the task and the inputs."""
    if description.target is not None:
        return description.target
    if task != "regression":
        return "label"
    return "number" if input_kind == "crops" else "target"


def fit_target(description: DataDescription, task: str, column: str, train: pl.DataFrame) -> ItemTarget:
    """Return the target, fitted on the training rows.

    Raises:
        DataError: The column is missing or unusable, a class has no training row, all rows have the same class, or
            classes differ only in upper and lower case.
    """
    require_columns(train, [column], "data_description.target")
    if task == "regression":
        values = torch.tensor(numbers(train, column), dtype=torch.float64)
        spread = values.std(correction=0).item()
        return NumberTarget(column=column, mean=values.mean().item(), std=spread or 1.0)
    target = (fit_labels if task == "multi_label" else fit_classes)(description, column, train)
    refuse_alike_classes(target.classes)
    return target


def refuse_alike_classes(classes: Sequence[str]) -> None:
    """Refuse classes whose columns of probabilities a database would take for one.

    Raises:
        DataError: Names them.
    """
    by_lower: dict[str, list[str]] = {}
    for name in classes:
        by_lower.setdefault(name.lower(), []).append(name)
    if alike := [", ".join(map(repr, names)) for names in by_lower.values() if len(names) > 1]:
        raise DataError(
            "Classes differ only in upper and lower case, so that tables of predictions can't have both. Correct the "
            "labels, or make one class of them: data_description.class_mapping, or subclasses in "
            "data_description.classes.",
            alike,
        )


def numbers(rows: pl.DataFrame, column: str) -> list[float]:
    """Return a column as finite numbers.

    Raises:
        DataError: The column is missing, not numeric, or has items without a finite number.
    """
    values = finite_numbers(rows, column)
    bad = rows["item"].filter(values.is_null()).cast(pl.String).to_list()
    if bad:
        raise DataError(f"{pluralize(len(bad), 'item has', 'items have')} no finite number in column {column!r}.", bad)
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
"""Decision threshold of every class, unless thresholds are tuned on the validation data."""


def fit_classes(description: DataDescription, column: str, train: pl.DataFrame) -> ClassTarget:
    """Return the target of items with exactly one class.

    Raises:
        DataError: A class has no training row, a subclass does not exist, or there are fewer than two classes.
    """
    labels = training_labels(train, column)
    described = description.classes or ()
    mapping = description.class_mapping
    if any(each.subclasses for each in described):
        refuse_unknown_subclasses(described, labels)
        mapping = {label: described[place].name for label, (place,) in classes_of_labels(described).items()}
    from_data = sorted({mapping.get(label, label) for label in labels}, key=natural_sort_key)
    target = ClassTarget(column=column, classes=description.class_names or tuple(from_data), mapping=mapping)
    if len(target.classes) < 2:
        raise DataError(f"Column {column!r} has only the class {from_data[0]!r} in the training data; two are needed.")
    encoded = target.encode(train)
    refuse_empty_classes(target.classes, encoded.bincount(minlength=len(target.classes)))
    return target


def fit_labels(description: DataDescription, column: str, train: pl.DataFrame) -> LabelsTarget:
    """Return the target of items with any number of classes.

    Raises:
        DataError: A class has no training row, a subclass does not exist, a label belongs to no class, or all training
            rows have the same classes.
    """
    labels = training_labels(train, column, description.label_separator)
    none = description.labels_of_no_class
    described = description.classes or tuple(ClassDescription(name=label) for label in labels if label not in none)
    refuse_unknown_subclasses(described, labels)
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


def training_labels(train: pl.DataFrame, column: str, separator: str | None = None) -> list[str]:
    """Return the labels that occur, in natural order ("9" before "10").

    Raises:
        DataError: There is no such column, or an item without a label.
    """
    rows = all_known(labels_of_rows(train, column, separator), train, column)
    return sorted({label for labels in rows for label in labels}, key=natural_sort_key)


def refuse_unknown_subclasses(described: Sequence[ClassDescription], labels: Sequence[str]) -> None:
    """Refuse subclasses that are neither classes nor labels of the training data.

    Raises:
        DataError: Names each, with the nearest existing name.
    """
    if wrong := unknown_subclasses(described, labels):
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
