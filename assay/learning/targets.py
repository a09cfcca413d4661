"""What is learned: classes or a number, turned into tensors and back. The only place that decodes classes.

Belongs here: fitting the description of the target on the training rows, applying it. Does not belong here: losses.
"""

import re
from collections import Counter
from typing import Literal

import polars as pl
import torch
from torch import Tensor

from assay.errors import DataError
from assay.learning.source import require_columns
from assay.spec.base import Section
from assay.spec.training import DataDescription


class ClassTarget(Section):
    """Classes; one output each, softmax over them."""

    kind: Literal["classes"] = "classes"
    """classes."""
    column: str
    """Column of the labels."""
    classes: tuple[str, ...]
    """Classes in the order of the outputs."""
    mapping: dict[str, str] = {}
    """Class of each label; empty: every label is its own class."""

    @property
    def output_count(self) -> int:
        """Outputs that the network needs."""
        return len(self.classes)

    def encode(self, rows: pl.DataFrame) -> Tensor:
        """Return the index of each row's class: int64 (n,).

        Raises:
            DataError: A label is missing, not mapped, or of a class that training did not have.
        """
        index = {name: place for place, name in enumerate(self.classes)}
        names = class_names(rows, self.column, self.mapping)
        unseen = Counter(name for name in names if name not in index)
        if unseen:
            known = f"The model knows {', '.join(self.classes)}."
            problems = [f"{name}: {count} item(s)" for name, count in sorted(unseen.items())]
            raise DataError(f"Classes that are not among the training data. {known}", problems)
        return torch.tensor([index[name] for name in names], dtype=torch.int64)

    def decode(self, indices: Tensor) -> list[str]:
        """Return the class of each index."""
        return [self.classes[index] for index in indices.tolist()]


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


Target = ClassTarget | NumberTarget


def target_column(description: DataDescription, task: str, input_kind: str) -> str:
    """Return the column that is learned."""
    if description.target is not None:
        return description.target
    if task == "classification":
        return "label"
    return "number" if input_kind == "crops" else "target"


def fit_target(description: DataDescription, task: str, column: str, train: pl.DataFrame) -> Target:
    """Return the description of the target, fitted on the training rows.

    Raises:
        DataError: The column is missing or unusable, there are fewer than two classes, or a class has no training row.
    """
    require_columns(train, [column], "data_description.target")
    if task == "regression":
        values = torch.tensor(numbers(train, column), dtype=torch.float64)
        spread = values.std(correction=0).item()
        return NumberTarget(column=column, mean=values.mean().item(), std=spread or 1.0)
    found = sorted(set(class_names(train, column, description.class_mapping)), key=_natural)
    classes = description.class_names or tuple(found)
    missing = [name for name in classes if name not in found]
    if missing:
        raise DataError("data_description.classes: no training item of these classes; leave them out.", missing)
    if len(classes) < 2:
        raise DataError(f"Column {column!r} has only the class {classes[0]!r} in the training data; two are needed.")
    return ClassTarget(column=column, classes=classes, mapping=description.class_mapping)


def class_names(rows: pl.DataFrame, column: str, mapping: dict[str, str]) -> list[str]:
    """Return the class of each row.

    Raises:
        DataError: A label is missing, or the mapping does not name it.
    """
    require_columns(rows, [column], "data_description.target")
    labels = rows[column].cast(pl.String).to_list()
    without = [str(item) for item, label in zip(rows["item"], labels, strict=True) if label is None]
    if without:
        raise DataError(f"{len(without)} item(s) have no label in column {column!r}.", without)
    if not mapping:
        return labels
    unmapped = sorted(set(labels) - set(mapping), key=_natural)
    if unmapped:
        raise DataError("data_description.class_mapping does not name these labels.", unmapped)
    return [mapping[label] for label in labels]


def numbers(rows: pl.DataFrame, column: str) -> list[float]:
    """Return a column as finite numbers.

    Raises:
        DataError: The column is missing, not numeric, or has items without a finite number.
    """
    require_columns(rows, [column], "data_description.target")
    if not rows[column].dtype.is_numeric():
        raise DataError(f"data_description.target: column {column!r} holds {rows[column].dtype}, not numbers.")
    values = rows[column].cast(pl.Float64)
    bad = rows["item"].filter(~values.is_finite().fill_null(False)).cast(pl.String).to_list()
    if bad:
        raise DataError(f"{len(bad)} item(s) have no finite number in column {column!r}.", bad)
    return values.to_list()


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Sort "10" after "9", and numbers before words."""
    parts = [part for part in re.split(r"(\d+)", name) if part]
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]
