"""Statistics of each subset for the stages' reports: items, classes or numbers, sizes of images.

Belongs here: numbers about tables, as plain values. Does not belong here: reading the ground truth (the tasks).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from assay.training.annotations import Annotations
from assay.training.model_card import AnyTarget
from assay.training.tasks.base import task_of

Statistics = dict[str, Any]

SIZES = ("width_px", "height_px")


def data_statistics(
    task: str, annotations: Annotations, target: AnyTarget, subsets: Mapping[str, pl.DataFrame]
) -> dict[str, Statistics]:
    """Return the statistics of each subset, counted in the very rows that are used.

    Args:
        task: Such as ``regression``.
        annotations: Boxes and masks of whole images; not read for other tasks.
        target: What the model predicts.
        subsets: Rows of each subset.

    Raises:
        DataError: The ground truth can't be read.
    """
    module = task_of(task)
    return {
        name: {
            "items": len(rows),
            **module.ground_truth_statistics(annotations, target, rows),
            **size_statistics(rows),
        }
        for name, rows in subsets.items()
    }


def class_statistics(known: int, labels: Iterable[str], classes: Sequence[str], counted: str) -> Statistics:
    """Return how often each class occurs, including classes that do not occur.

    Args:
        known: Number of items with a known ground truth.
        labels: A class each.
        classes: All classes in their order.
        counted: Description of what is counted.
    """
    counts = Counter(labels)
    return {"labelled": known, "classes": {name: counts[name] for name in classes}, "counted": counted}


def number_statistics(numbers: pl.Series) -> Statistics:
    """Return range, mean and standard deviation (ddof 0) of numbers; nulls are unknown."""
    known = numbers.drop_nulls()
    spread = {"min": known.min(), "mean": known.mean(), "max": known.max(), "std": known.std(ddof=0)}
    return {"labelled": len(known), **({"target": spread} if len(known) else {})}


def size_statistics(rows: pl.DataFrame) -> Statistics:
    """Return smallest, median and largest width and height in pixels; nothing where rows are no images."""
    present = [rows[name] for name in SIZES if name in rows.columns and len(rows)]
    return {each.name: {"min": each.min(), "median": each.median(), "max": each.max()} for each in present}
