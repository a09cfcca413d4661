"""What is in each subset that was learned or predicted: items, classes or numbers, sizes of images.

Belongs here: numbers about tables, as plain values for the stages' reports. Does not belong here: finding the truth of
a kind of learning (its family).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from assay.training.data import DataSource
from assay.training.model_card import AnyTarget
from assay.training.tasks.base import task_of

Statistics = dict[str, Any]

SIZES = ("width_px", "height_px")


def data_statistics(
    learning: str, source: DataSource, target: AnyTarget, subsets: Mapping[str, pl.DataFrame]
) -> dict[str, Statistics]:
    """Return what is in each subset, counted in the very rows that are used.

    Raises:
        DataError: The truth can't be read.
    """
    family = task_of(learning)
    return {
        name: {"items": len(rows), **family.truth_statistics(source, target, rows), **size_statistics(rows)}
        for name, rows in subsets.items()
    }


def class_statistics(known: int, labels: Iterable[str], classes: Sequence[str], counted: str) -> Statistics:
    """Return how often each class occurs, those that don't included.

    Args:
        known: Items whose truth is known.
        labels: A class each.
        classes: All classes in their order.
        counted: What is counted, in words.
    """
    counts = Counter(labels)
    return {"labelled": known, "classes": {name: counts[name] for name in classes}, "counted": counted}


def number_statistics(numbers: pl.Series) -> Statistics:
    """Return range, mean and standard deviation (ddof 0) of numbers; null: not known."""
    known = numbers.drop_nulls()
    spread = {"min": known.min(), "mean": known.mean(), "max": known.max(), "std": known.std(ddof=0)}
    return {"labelled": len(known), **({"target": spread} if len(known) else {})}


def size_statistics(rows: pl.DataFrame) -> Statistics:
    """Return smallest, median and largest width and height in pixels; nothing where rows are no images."""
    present = [rows[name] for name in SIZES if name in rows.columns and len(rows)]
    return {each.name: {"min": each.min(), "median": each.median(), "max": each.max()} for each in present}
