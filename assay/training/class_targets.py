"""Classes as targets of items: exactly one per item, or any number.

Belongs here: from rows to encoded classes, from outputs to the columns of predictions. Does not belong here: fitting to
the training rows (``targets``), losses.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

import polars as pl
import torch
from pydantic import Field
from torch import Tensor

from assay.errors import DataError
from assay.spec.base import Section
from assay.spec.classes import did_you_mean
from assay.training.data import require_columns
from assay.utils.text import natural_sort_key, pluralize

ADVICE = "Add them to data_description.class_mapping, or to the subclasses of a class."

Labels = tuple[str, ...]
"""Labels of one item, each once."""


class ClassTarget(Section):
    """One class per item; one output per class, with a softmax over all."""

    kind: Literal["classes"] = "classes"
    """classes."""
    column: str
    """Column of the labels."""
    classes: tuple[str, ...]
    """Classes in the order of the outputs."""
    mapping: dict[str, str] = {}
    """Class of each label; empty: every label is its own class."""
    rarer: str | None = Field(default=None, exclude_if=lambda name: name is None)
    """Of two classes, the one that is predicted from a probability of ``threshold``; null: the likelier class is."""
    threshold: float = Field(default=0.5, ge=0, le=1, exclude_if=lambda value: value == 0.5)
    """Decision threshold of ``rarer``."""
    temperature: float = Field(default=1.0, gt=0, exclude_if=lambda value: value == 1.0)
    """The network's outputs are divided by it."""

    @property
    def output_count(self) -> int:
        """Outputs that the network needs."""
        return len(self.classes)

    def encode(self, rows: pl.DataFrame) -> Tensor:
        """Return the index of each row's class: int64 (n,).

        Raises:
            DataError: A label is missing, or belongs to none of the model's classes.
        """
        index = {name: place for place, name in enumerate(self.classes)}
        labels = all_known(labels_of_rows(rows, self.column), rows, self.column)
        self._refuse_unknown(labels)
        return torch.tensor([index[self._class_of(each)] for each in labels], dtype=torch.int64)

    def decode(self, indices: Tensor) -> list[str]:
        """Return the class of each index."""
        return [self.classes[index] for index in indices.tolist()]

    def ground_truth(self, rows: pl.DataFrame) -> pl.Series:
        """Return the class of each row, null where it is unknown.

        Raises:
            DataError: A label belongs to none of the model's classes.
        """
        labels = labels_of_rows(rows, self.column)
        self._refuse_unknown(labels)
        return pl.Series("target_class", [None if each is None else self._class_of(each) for each in labels], pl.String)

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return probabilities (n, k) from the network's outputs (n, k)."""
        return (outputs.double() / self.temperature).softmax(1)

    def decide(self, probabilities: Tensor) -> Tensor:
        """Return the index of the predicted class of each of n items, from probabilities (n, k): int64 (n,)."""
        if self.rarer is None:
            return probabilities.max(1).indices
        place = self.classes.index(self.rarer)
        return torch.where(probabilities[:, place] >= self.threshold, place, 1 - place)

    def columns(self, probabilities: Tensor, rows: pl.DataFrame) -> pl.DataFrame:
        """Return target, prediction, confidence and probabilities of the n rows, from probabilities (n, k)."""
        return pl.DataFrame([self.ground_truth(rows), *self.predicted_columns(probabilities)])

    def predicted_columns(self, probabilities: Tensor) -> list[pl.Series]:
        """Return prediction, its probability and all probabilities of n items, from probabilities (n, k)."""
        chosen = self.decide(probabilities)
        confidence = probabilities.gather(1, chosen[:, None])[:, 0]
        predicted = pl.Series("predicted_class", self.decode(chosen), pl.String)
        columns = [predicted, pl.Series("confidence", confidence.float().numpy())]
        return [*columns, *probability_columns(self.classes, probabilities)]

    def _class_of(self, labels: Labels) -> str:
        return self.mapping.get(labels[0], labels[0])

    def _refuse_unknown(self, labels: Sequence[Labels | None]) -> None:
        summary = f"Labels that belong to no class. {ADVICE}"
        if not self.mapping:
            summary = f"Classes that are not among the training data. The model knows {', '.join(self.classes)}."
        refuse_unknown(labels, self.mapping or self.classes, summary)


class LabelsTarget(Section):
    """Any number of classes per item; one output each, with a sigmoid."""

    kind: Literal["labels"] = "labels"
    """labels."""
    column: str
    """Column of the labels."""
    classes: tuple[str, ...]
    """Classes in the order of the outputs."""
    places: dict[str, tuple[int, ...]]
    """Indices of the classes that each label belongs to."""
    separator: str | None = None
    """Separator between the labels of one item; null: each item has exactly one label."""
    thresholds: tuple[float, ...]
    """Decision threshold of each class: the least probability at which it is predicted."""
    temperature: float = Field(default=1.0, gt=0, exclude_if=lambda value: value == 1.0)
    """The network's outputs are divided by it."""

    @property
    def output_count(self) -> int:
        """Outputs that the network needs."""
        return len(self.classes)

    def encode(self, rows: pl.DataFrame) -> Tensor:
        """Return which classes each row has: float32 (n, k) of 0 and 1.

        Raises:
            DataError: A row's labels are missing, or one belongs to no class.
        """
        labels = all_known(self._labels(rows), rows, self.column)
        encoded = torch.zeros(len(labels), len(self.classes))
        for row, each in enumerate(labels):
            encoded[row, list(places_of(each, self.places))] = 1
        return encoded

    def decode(self, marked: Tensor) -> list[list[str]]:
        """Return the classes of each row of a table (n, k) of 0 and 1."""
        pairs = (zip(self.classes, row, strict=True) for row in marked.tolist())
        return [[name for name, has in pair if has] for pair in pairs]

    def decide(self, probabilities: Tensor) -> Tensor:
        """Return which classes are predicted, from probabilities (n, k): bool (n, k)."""
        return probabilities >= probabilities.new_tensor(self.thresholds)

    def ground_truth(self, rows: pl.DataFrame) -> pl.Series:
        """Return the classes of each row as lists, null where they are unknown.

        Raises:
            DataError: A label belongs to no class.
        """
        names = [
            None if each is None else [self.classes[place] for place in places_of(each, self.places)]
            for each in self._labels(rows)
        ]
        return pl.Series("target_labels", names, pl.List(pl.String))

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return probabilities (n, k) from the network's outputs (n, k)."""
        return (outputs.double() / self.temperature).sigmoid()

    def columns(self, probabilities: Tensor, rows: pl.DataFrame) -> pl.DataFrame:
        """Return true and predicted classes and all probabilities of the n rows, from probabilities (n, k)."""
        return pl.DataFrame([self.ground_truth(rows), *self.predicted_columns(probabilities)])

    def predicted_columns(self, probabilities: Tensor) -> list[pl.Series]:
        """Return predicted classes and all probabilities of n items, from probabilities (n, k)."""
        predicted = pl.Series("predicted_labels", self.decode(self.decide(probabilities)), pl.List(pl.String))
        return [predicted, *probability_columns(self.classes, probabilities)]

    def _labels(self, rows: pl.DataFrame) -> list[Labels | None]:
        labels = labels_of_rows(rows, self.column, self.separator)
        summary = "Labels that belong to no class. Add them to data_description: as classes, to the subclasses of one, "
        refuse_unknown(labels, self.places, f"{summary}or to labels_of_no_class.")
        return labels


def probability_columns(classes: tuple[str, ...], probabilities: Tensor) -> list[pl.Series]:
    """Return one column per class, Float32, from probabilities (n, k)."""
    table = probabilities.float().numpy()
    return [pl.Series(f"prob_{name}", table[:, place]) for place, name in enumerate(classes)]


def labels_of_rows(rows: pl.DataFrame, column: str, separator: str | None = None) -> list[Labels | None]:
    """Return the labels of each row, None where they are unknown.

    Args:
        rows: Table with the column.
        column: Column of the labels.
        separator: Separator between the labels of one item; None when each has exactly one.

    Raises:
        DataError: There is no such column.
    """
    require_columns(rows, [column], "data_description.target")
    texts = rows[column].cast(pl.String).to_list()
    return [None if text is None else split_labels(text, separator) for text in texts]


def split_labels(text: str, separator: str | None) -> Labels:
    """Return the labels in a text: without spaces around them, empty ones and repetitions."""
    if separator is None:
        return (text,)
    parts = [part.strip() for part in text.split(separator)]
    return tuple(dict.fromkeys(part for part in parts if part))


def all_known(labels: Sequence[Labels | None], rows: pl.DataFrame, column: str) -> list[Labels]:
    """Return the labels of all rows.

    Raises:
        DataError: Labels of some items are unknown; names the items.
    """
    without = [str(item) for item, each in zip(rows["item"], labels, strict=True) if each is None]
    if without:
        raise DataError(f"{pluralize(len(without), 'item has', 'items have')} no label in column {column!r}.", without)
    return [each for each in labels if each is not None]


def refuse_unknown(labels: Iterable[Labels | None], known: Collection[str], summary: str) -> None:
    """Refuse labels that belong to no class.

    Raises:
        DataError: Begins with the summary, then names each label, its number of items and the nearest known one.
    """
    counts = Counter(label for each in labels for label in each or () if label not in known)
    if counts:
        choices = sorted(known, key=natural_sort_key)
        ordered = sorted(counts.items(), key=lambda entry: natural_sort_key(entry[0]))
        lines = [f"{label}: {pluralize(count, 'item')}{did_you_mean(label, choices)}" for label, count in ordered]
        raise DataError(summary, lines)


def places_of(labels: Labels, places: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Return the indices of the classes that any of an item's labels belongs to, ascending."""
    return tuple(sorted({place for label in labels for place in places[label]}))
