"""In which images, and between which classes, boxes go wrong.

Belongs here: tables from findings, and the sentence about them. Does not belong here: matching, pictures.
"""

import numpy as np
import polars as pl

from assay.analysis.confusion import confusion_rows
from assay.analysis.detection_findings import CONFUSED, FALSE, FOUND, MISSED
from assay.class_maps import BACKGROUND

SCENE_SCHEMA = pl.Schema(
    {
        "subset": pl.String(),
        "item": pl.String(),
        "f1": pl.Float64(),
        "found": pl.Int64(),
        "missed": pl.Int64(),
        "confused": pl.Int64(),
        "false": pl.Int64(),
        "reason": pl.String(),
    }
)


ADVICE = (
    "Most are missed: add training images that show it, or read larger ones (data_description.image_size).",
    "Most are confused: compare the two classes in worst_items.png, then add examples of both.",
    "Most mistakes are boxes without an object: look for objects without labels in worst_items.png.",
)
"""What to do where most mistakes are objects that are missed, objects of another class, boxes without an object."""


def scene_rows(findings: pl.DataFrame) -> pl.DataFrame:
    """Return one row per image of a subset with any object or box, the worst first: lowest F1, then most mistakes."""
    match = pl.col("match")
    counts = findings.group_by("subset", "item").agg(
        found=(match == FOUND).sum(),
        missed=(match == MISSED).sum(),
        confused=(match == CONFUSED).sum(),
        false=match.is_in(FALSE).sum(),
        missed_classes=pl.col("target_class").filter(match == MISSED).sort().str.join(", "),
        confused_classes=(pl.col("target_class") + " as " + pl.col("predicted_class"))
        .filter(match == CONFUSED)
        .sort()
        .str.join(", "),
        false_classes=pl.col("predicted_class").filter(match.is_in(FALSE)).sort().str.join(", "),
    )
    mistakes = pl.col("missed") + 2 * pl.col("confused") + pl.col("false")
    scored = counts.with_columns(f1=2 * pl.col("found") / (2 * pl.col("found") + mistakes), reason=_reason())
    seen = scored.filter(pl.col("f1").is_not_nan())  # boxes in crowds alone say nothing
    worst_first = seen.sort("f1", mistakes, "item", descending=[False, True, False])
    return worst_first.select(SCENE_SCHEMA.names()).cast(SCENE_SCHEMA)


def _reason() -> pl.Expr:
    """Return what went wrong, such as ``2 missed (3, 7); 1 confused (8 as 3)``."""
    parts = [
        pl.when(pl.col(name) > 0).then(pl.format("{} {} ({})", name, pl.lit(name), f"{name}_classes"))
        for name in ("missed", "confused", "false")
    ]
    return pl.concat_str(parts, separator="; ", ignore_nulls=True)


def box_confusion(subset: str, findings: pl.DataFrame, classes: tuple[str, ...]) -> pl.DataFrame:
    """Return one row per pair of true and predicted class; background stands for no object, or no box."""
    names = [*classes, BACKGROUND]
    judged = findings.filter(pl.col("match").is_in([FOUND, CONFUSED, MISSED, *FALSE]))
    target = pl.when(pl.col("match").is_in(FALSE)).then(None).otherwise(pl.col("target_class"))
    pairs = judged.select(target.fill_null(BACKGROUND), pl.col("predicted_class").fill_null(BACKGROUND))
    places = pairs.select(pl.all().replace_strict(names, list(range(len(names))), return_dtype=pl.Int64)).to_numpy()
    counts = np.zeros((len(names), len(names)))
    np.add.at(counts, tuple(places.T), 1)
    return confusion_rows(subset, counts, names)


def weakest_class_sentence(confusion: pl.DataFrame, confidence: float) -> str:
    """Return the sentence about the class with the lowest F1 among those that have objects.

    Args:
        confusion: Rows of ``box_confusion`` of one subset.
        confidence: What a box must have to be in it.
    """
    names = confusion["target_class"].unique(maintain_order=True).to_list()
    counts = confusion["count"].to_numpy().reshape(len(names), len(names))
    right, objects, boxes = np.diagonal(counts)[:-1], counts.sum(axis=1)[:-1], counts.sum(axis=0)[:-1]
    f1 = np.where(objects > 0, 2 * right / np.maximum(objects + boxes, 1), np.inf)
    worst = int(f1.argmin())
    others = np.delete(counts[worst, :-1], worst)
    missed, confused, false = int(counts[worst, -1]), int(others.sum()), int(counts[-1, worst])
    known_as = f", mostly {np.delete(names[:-1], worst)[others.argmax()]}" if confused else ""
    advice = ADVICE[int(np.argmax([missed, confused, false]))]
    return (
        f"Weakest class at confidence {confidence:.2f}: {names[worst]}, F1 {f1[worst]:.3f}. Objects: {objects[worst]}, "
        f"of them missed {missed}, taken for others {confused}{known_as}; boxes without an object: {false}. {advice}"
    )
