"""From rows to the labels of each item, and from labels to classes.

Belongs here: reading label columns, refusing labels without a class. Does not belong here: which label belongs to which
class (``assay.spec.class_description``), targets.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import polars as pl

from assay.errors import DataError
from assay.natural import natural_key
from assay.spec.class_description import did_you_mean
from assay.training.data import require_columns

Labels = tuple[str, ...]
"""Labels of one item, each once."""


def labels_of_rows(rows: pl.DataFrame, column: str, separator: str | None = None) -> list[Labels | None]:
    """Return the labels of each row, None where they are not known.

    Args:
        rows: With the column.
        column: Holds labels.
        separator: Text between the labels of one item; None when each has exactly one.

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
        DataError: Some are not known; names the items.
    """
    without = [str(item) for item, each in zip(rows["item"], labels, strict=True) if each is None]
    if without:
        raise DataError(f"{len(without)} item(s) have no label in column {column!r}.", without)
    return [each for each in labels if each is not None]


def refuse_unknown(labels: Iterable[Labels | None], known: Collection[str], summary: str) -> None:
    """Refuse labels that belong to no class.

    Raises:
        DataError: Begins with the summary, then names each label, its number of items and the nearest known one.
    """
    counts = Counter(label for each in labels for label in each or () if label not in known)
    if counts:
        choices = sorted(known, key=natural_key)
        ordered = sorted(counts.items(), key=lambda entry: natural_key(entry[0]))
        lines = [f"{label}: {count} item(s){did_you_mean(label, choices)}" for label, count in ordered]
        raise DataError(summary, lines)


def places_of(labels: Labels, places: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Return the indices of the classes that any of an item's labels belongs to, ascending."""
    return tuple(sorted({place for label in labels for place in places[label]}))
