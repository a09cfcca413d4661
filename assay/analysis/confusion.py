"""Which classes are taken for which: as a table, and in words.

Belongs here: rows and the sentence about them. Does not belong here: the picture.
"""

from collections.abc import Sequence

import polars as pl

from assay.metrics.samples import Floats


def confusion_rows(subset: str, counts: Floats, classes: Sequence[str]) -> pl.DataFrame:
    """Return one row per pair of true and predicted class, those that never occur included.

    Args:
        subset: Name of the subset.
        counts: (k, k) whole numbers; rows are true classes.
        classes: The k names.
    """
    size = len(classes)
    return pl.DataFrame(
        {
            "subset": [subset] * size**2,
            "target_class": [name for name in classes for _ in classes],
            "predicted_class": list(classes) * size,
            "count": counts.astype(int).ravel(),
        },
        schema_overrides={"count": pl.Int64},
    )


def name_confusion(confusion: pl.DataFrame) -> str:
    """Return the most frequent mistake as a sentence with what to do next."""
    mistakes = confusion.filter(pl.col("target_class") != pl.col("predicted_class"))
    order = ["count", "target_class", "predicted_class"]
    pair = mistakes.sort(order, descending=[True, False, False]).row(0, named=True)
    total = confusion.filter(pl.col("target_class") == pair["target_class"])["count"].sum()
    return (
        f"Most frequent mistake: {pair['target_class']} taken for {pair['predicted_class']} "
        f"({pair['count']} of {total}). Look at these items in worst_items: wrong labels, or too few to learn from?"
    )
