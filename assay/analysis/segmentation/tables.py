"""In which images, and between which classes, pixels are confused.

Belongs here: tables, and the sentence about them. Does not belong here: metrics of a whole subset, pictures.
"""

from typing import Any

import numpy as np
import polars as pl

from assay.analysis.segmentation.read import PixelCounts
from assay.metrics.samples import Floats, divide

SCENE_SCHEMA = {
    "subset": pl.String(),
    "item": pl.String(),
    "mean_iou": pl.Float64(),
    "worst_class": pl.String(),
    "worst_iou": pl.Float64(),
    "reason": pl.String(),
}


def scene_rows(subset: str, pixels: PixelCounts, names: list[str]) -> pl.DataFrame:
    """Return one row per image with anything to find or anything found, the worst first.

    Args:
        subset: Name of the subset.
        pixels: Its images.
        names: The background and the classes.
    """
    rows = [_scene_row(counts, names) for counts in pixels.counts]
    table = [{"subset": subset, "item": item, **row} for item, row in zip(pixels.items, rows, strict=True) if row]
    return pl.DataFrame(table, schema=SCENE_SCHEMA).sort("mean_iou", "item")


def _scene_row(counts: Floats, names: list[str]) -> dict[str, Any] | None:
    right, wrong = np.diagonal(counts), counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diagonal(counts)
    ious = divide(right, right + wrong)[1:]
    if np.isnan(ious).all():
        return None
    # The lowest IoU; of equal ones, the class with most wrong pixels.
    worst = min(np.flatnonzero(~np.isnan(ious)), key=lambda place: (ious[place], -wrong[1 + place]))
    reason = _reason(counts, 1 + int(worst), names) if ious[worst] < 1 else ""
    return {
        "mean_iou": float(np.nanmean(ious)),
        "worst_class": names[1 + worst],
        "worst_iou": float(ious[worst]),
        "reason": reason,
    }


def _reason(counts: Floats, place: int, names: list[str]) -> str:
    """Return what most of a class's wrong pixels are: its own taken for others, or others' taken for it."""
    missed, false = counts[place].copy(), counts[:, place].copy()
    missed[place] = false[place] = 0
    if missed.sum() >= false.sum():
        share = missed.max() / counts[place].sum()
        return f"{share:.0%} of {names[place]} taken for {names[int(missed.argmax())]}"
    share = false.max() / counts[:, place].sum()
    return f"{share:.0%} of what is called {names[place]} is {names[int(false.argmax())]}"


def worst_class_sentence(counts: Floats, names: list[str]) -> str:
    """Return the sentence about the class with the lowest IoU among those that occur.

    Args:
        counts: (1 + k, 1 + k) pixels of a subset per true and predicted class.
        names: The background and the classes.
    """
    right = np.diagonal(counts)
    ious = divide(right, counts.sum(axis=0) + counts.sum(axis=1) - right)
    occurring = 1 + np.flatnonzero(counts.sum(axis=1)[1:])
    worst = int(occurring[ious[occurring].argmin()])
    shares = counts[worst] / counts[worst].sum()
    confused = 1 - shares[worst] - shares[0]
    measured = f"Worst class: {names[worst]}, IoU {ious[worst]:.3f}; of its pixels {shares[0]:.0%} are taken for "
    if shares[0] >= confused:
        advice = "It is missed more than confused: train longer, or on larger images (data_description.image_size)."
        return f"{measured}background, {confused:.0%} for other classes. {advice}"
    other = np.where(np.arange(len(shares)) == worst, 0, shares)
    other[0] = 0
    advice = "It is confused more than missed: compare the two in worst_items.png, then add examples of both."
    return f"{measured}background, {other.max():.0%} for {names[int(other.argmax())]}. {advice}"
