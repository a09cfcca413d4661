"""Classes as targets: one per item, or several at once. The only code that turns rows into classes and back.

Belongs here: encoding, decoding, and the columns of predictions. Does not belong here: fitting to the training rows
(``targets``), losses.
"""

from collections.abc import Sequence
from typing import Literal

import polars as pl
import torch
from torch import Tensor

from assay.learning.class_labels import Labels, all_known, labels_of_rows, places_of, refuse_unknown
from assay.spec.base import Section

ADVICE = "Add them to data_description.class_mapping, or to the subclasses of a class."


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
            DataError: A label is missing, or of no class that the model knows.
        """
        index = {name: place for place, name in enumerate(self.classes)}
        labels = all_known(labels_of_rows(rows, self.column), rows, self.column)
        self._refuse_unknown(labels)
        return torch.tensor([index[self._class_of(each)] for each in labels], dtype=torch.int64)

    def decode(self, indices: Tensor) -> list[str]:
        """Return the class of each index."""
        return [self.classes[index] for index in indices.tolist()]

    def truth(self, rows: pl.DataFrame) -> pl.Series:
        """Return the class of each row, null where it is not known.

        Raises:
            DataError: A label is of no class that the model knows.
        """
        labels = labels_of_rows(rows, self.column)
        self._refuse_unknown(labels)
        return pl.Series("target_class", [None if each is None else self._class_of(each) for each in labels], pl.String)

    def answers(self, outputs: Tensor) -> Tensor:
        """Return probabilities (n, k) from the network's outputs (n, k)."""
        return outputs.double().softmax(1)

    def columns(self, answers: Tensor, rows: pl.DataFrame) -> pl.DataFrame:
        """Return target, prediction, confidence and probabilities of the n rows, from answers (n, k)."""
        confidence, best = answers.max(1)
        predicted = pl.Series("predicted_class", self.decode(best), pl.String)
        sure = pl.Series("confidence", confidence.float().numpy())
        return pl.DataFrame([self.truth(rows), predicted, sure, *probability_columns(self.classes, answers)])

    def _class_of(self, labels: Labels) -> str:
        return self.mapping.get(labels[0], labels[0])

    def _refuse_unknown(self, labels: Sequence[Labels | None]) -> None:
        summary = f"Labels that belong to no class. {ADVICE}"
        if not self.mapping:
            summary = f"Classes that are not among the training data. The model knows {', '.join(self.classes)}."
        refuse_unknown(labels, self.mapping or self.classes, summary)


class LabelsTarget(Section):
    """Any number of classes at once; one output each, each for itself."""

    kind: Literal["labels"] = "labels"
    """labels."""
    column: str
    """Column of the labels."""
    classes: tuple[str, ...]
    """Classes in the order of the outputs."""
    places: dict[str, tuple[int, ...]]
    """Indices of the classes that each label belongs to."""
    separator: str | None = None
    """Text between the labels of one item; null: each has exactly one."""
    thresholds: tuple[float, ...]
    """Probability of each class from which on an item is said to have it."""

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

    def decide(self, answers: Tensor) -> Tensor:
        """Return which classes the rows are said to have, from probabilities (n, k): bool (n, k)."""
        return answers >= answers.new_tensor(self.thresholds)

    def truth(self, rows: pl.DataFrame) -> pl.Series:
        """Return the classes of each row as lists, null where they are not known.

        Raises:
            DataError: A label belongs to no class.
        """
        names = [
            None if each is None else [self.classes[place] for place in places_of(each, self.places)]
            for each in self._labels(rows)
        ]
        return pl.Series("target_labels", names, pl.List(pl.String))

    def answers(self, outputs: Tensor) -> Tensor:
        """Return probabilities (n, k) from the network's outputs (n, k)."""
        return outputs.double().sigmoid()

    def columns(self, answers: Tensor, rows: pl.DataFrame) -> pl.DataFrame:
        """Return true and predicted classes and all probabilities of the n rows, from answers (n, k)."""
        predicted = pl.Series("predicted_labels", self.decode(self.decide(answers)), pl.List(pl.String))
        return pl.DataFrame([self.truth(rows), predicted, *probability_columns(self.classes, answers)])

    def _labels(self, rows: pl.DataFrame) -> list[Labels | None]:
        labels = labels_of_rows(rows, self.column, self.separator)
        summary = "Labels that belong to no class. Add them to data_description: as classes, to the subclasses of one, "
        refuse_unknown(labels, self.places, f"{summary}or to labels_of_no_class.")
        return labels


def probability_columns(classes: tuple[str, ...], answers: Tensor) -> list[pl.Series]:
    """Return one column per class, Float32, from probabilities (n, k)."""
    table = answers.float().numpy()
    return [pl.Series(f"prob_{name}", table[:, place]) for place, name in enumerate(classes)]
