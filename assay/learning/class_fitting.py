"""Which classes there are, from the spec and the labels of the training rows.

Belongs here: fitting class targets, refusing classes that can't be learned. Does not belong here: applying them
(``class_targets``).
"""

from collections.abc import Sequence

import polars as pl
from torch import Tensor

from assay.errors import DataError
from assay.learning.class_labels import all_known, labels_of_rows
from assay.natural import natural_key
from assay.spec.class_description import ClassDescription, classes_of_labels, unknown_subclasses
from assay.spec.data_description import DataDescription
from assay.training.class_targets import ClassTarget, LabelsTarget

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
    from_data = sorted({mapping.get(label, label) for label in found}, key=natural_key)
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
    if both := sorted(set(none) & set(places), key=natural_key):
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
    return sorted({label for each in labels for label in each}, key=natural_key)


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
