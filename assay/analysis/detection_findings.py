"""What became of each predicted box and of each object: found, confused, missed.

Belongs here: one row per box that is sure enough, and per object that none found. Does not belong here: metrics, which
look at all boxes, pictures.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assay.analysis.detection.read import Scenes
from assay.analysis.taught import PLACE
from assay.metrics.box_matching import match_boxes
from assay.metrics.boxes import Boxes, overlaps
from assay.metrics.samples import Booleans, Floats, Integers

ENOUGH = 0.5
"""Overlap from which on a box finds an object."""
NEAR = 0.1
"""Overlap from which on a box is near an object of its class."""

FOUND, CONFUSED, DUPLICATE, MISPLACED, BACKGROUND, MISSED, CROWD = (
    "found",
    "confused class",
    "duplicate",
    "misplaced",
    "background",
    "missed",
    "in a crowd",
)
MATCHES = {
    FOUND: "The box overlaps an object of its class by at least half.",
    CONFUSED: "It overlaps an object of another class that no box found.",
    DUPLICATE: "It overlaps an object that another box took.",
    MISPLACED: "It overlaps an object of its class, but by less than half.",
    BACKGROUND: "There is no such object.",
    CROWD: "It lies in a region of many objects, where it is neither right nor wrong.",
    MISSED: "No box found or confused this object.",
}
"""What a row of the table can say."""

FALSE = (DUPLICATE, MISPLACED, BACKGROUND)

FINDING_SCHEMA = {
    "subset": pl.String(),
    "item": pl.String(),
    "match": pl.String(),
    "predicted_class": pl.String(),
    "target_class": pl.String(),
    "confidence": pl.Float64(),
    "iou": pl.Float64(),
    **dict.fromkeys(PLACE, pl.Float64()),
}


@dataclass(frozen=True)
class _Judged:
    """Boxes, surest first, with what became of them.

    Attributes:
        boxes: The boxes.
        match: (d,) one of ``MATCHES``.
        target: (d,) index of the object that each is compared with, or -1.
        share: (d,) overlap with it.
    """

    boxes: Boxes
    match: NDArray[np.object_]
    target: Integers
    share: Floats


def finding_rows(subset: str, scenes: Scenes, confidence: float, classes: tuple[str, ...]) -> pl.DataFrame:
    """Return one row per predicted box that is sure enough, and one per object that is missed.

    Args:
        subset: Name of the subset.
        scenes: Its images.
        confidence: What a box must have at least.
        classes: Class names in the model's order.

    Returns:
        By image, surest box first; target_class and iou are null where a box is near no object; predicted_class,
        confidence and iou where no box belongs to an object. The place is that of the box, or of the missed object.
    """
    judged = _judge(scenes.predicted.at(scenes.predicted.confidence >= confidence), scenes.objects)
    took = np.isin(judged.match, (FOUND, CONFUSED))
    missed = ~scenes.objects.crowd
    missed[judged.target[took]] = False
    names = np.array([*classes, None], dtype=object)
    items = scenes.frame["item"].to_numpy()
    compared = np.append(scenes.objects.label, len(classes))[judged.target]
    of_boxes = _columns(items, judged.boxes) | {
        "match": judged.match,
        "predicted_class": names[judged.boxes.label],
        "target_class": names[compared],
        "confidence": judged.boxes.confidence,
        "iou": np.where(judged.target >= 0, judged.share, np.nan),
    }
    lost = scenes.objects.at(missed)
    of_objects = _columns(items, lost) | {"match": [MISSED] * len(lost), "target_class": names[lost.label]}
    rows = pl.concat([_frame(of_boxes), _frame(of_objects)]).with_columns(pl.lit(subset).alias("subset"))
    return rows.sort("item", "confidence", descending=[False, True], nulls_last=True, maintain_order=True)


def _judge(boxes: Boxes, objects: Boxes) -> _Judged:
    """Return what became of each box."""
    matches = match_boxes(boxes, objects, np.array([ENOUGH]))
    own = matches.found[0]
    boxes = boxes.at(matches.boxes)
    match = np.full(len(boxes), BACKGROUND, dtype=object)
    match[own >= 0] = np.where(objects.crowd[own[own >= 0]], CROWD, FOUND)
    judged = _Judged(boxes, match, own.copy(), np.zeros(len(boxes)))
    free = ~objects.crowd
    free[own[own >= 0]] = False
    for rows in _by_image(boxes.image):
        span = np.searchsorted(objects.image, boxes.image[rows[0]] + np.arange(2))
        if span[0] < span[1]:
            _judge_image(judged, objects, free, rows, np.arange(*span))
    return judged


def _judge_image(judged: _Judged, objects: Boxes, free: Booleans, rows: Integers, near: Integers) -> None:
    """Judge the boxes of one image, surest first; ``near`` are the image's objects."""
    shares = overlaps(judged.boxes.place[rows], objects.place[near], objects.crowd[near])
    for row, share in zip(rows.tolist(), shares, strict=True):
        if judged.target[row] < 0:
            judged.match[row], place = _verdict(
                np.where(objects.crowd[near], 0.0, share), objects.label[near] == judged.boxes.label[row], free[near]
            )
            judged.target[row] = near[place] if place >= 0 else -1
            if judged.match[row] == CONFUSED:
                free[near[place]] = False
        if judged.target[row] >= 0:
            judged.share[row] = share[judged.target[row] - near[0]]


def _verdict(share: Floats, same_class: Booleans, free: Booleans) -> tuple[str, int]:
    """Return what a box is that found nothing, and the place of the object that it is compared with, or -1."""
    confused = np.where(free & ~same_class, share, 0.0)
    of_class = np.where(same_class, share, 0.0)
    if confused.max() >= ENOUGH:
        return CONFUSED, int(confused.argmax())
    if share.max() >= ENOUGH:
        return DUPLICATE, int(share.argmax())
    if of_class.max() >= NEAR:
        return MISPLACED, int(of_class.argmax())
    return BACKGROUND, -1


def _by_image(image: Integers) -> list[Integers]:
    """Return the places of the boxes of each image that has any."""
    order = np.argsort(image, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(image[order])) + 1) if len(order) else []


def _columns(items: NDArray[np.object_], boxes: Boxes) -> dict[str, Any]:
    return {"item": items[boxes.image], **dict(zip(PLACE, boxes.place.T, strict=True))}


def _frame(columns: dict[str, Any]) -> pl.DataFrame:
    given = {name: list(columns[name]) if name in columns else None for name in FINDING_SCHEMA}
    count = len(given["match"] or ())
    frame = pl.DataFrame(
        {name: [None] * count if values is None else values for name, values in given.items()}, schema=FINDING_SCHEMA
    )
    return frame.with_columns(pl.col("iou").fill_nan(None))
