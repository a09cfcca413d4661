"""Findings: which object each predicted box was matched with, which mistakes the others are, and what was missed.

Belongs here: reading boxes, one finding per confident box and per missed object, and what follows from the findings
(images ranked by F1, confusion, the weakest class). Does not belong here: metrics and curves, which need the boxes of
every confidence (``assay.metrics.detection``, ``assay.analysis.detection``), plots.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assay.analysis.base import AnalysisInputs, by_subset
from assay.analysis.items import (
    confusion_rows,
    item_index,
    missing_values,
    read_image_boxes,
    refuse,
    repeated_items,
    splits_of,
    unknown_names,
)
from assay.datasets.schema import BACKGROUND
from assay.metrics.box_matching import Boxes, box_iou, match_boxes
from assay.metrics.samples import Booleans, Floats, Integers
from assay.training.summary import PLACE, read_objects

MATCH_IOU = 0.5
"""IoU from which a box matches an object."""

NEAR_IOU = 0.1
"""IoU from which a box is near an object of its class."""

FOUND, CONFUSED, DUPLICATE, MISPLACED, NO_OBJECT, MISSED, IN_CROWD = (
    "found",
    "confused class",
    "duplicate",
    "misplaced",
    "background",
    "missed",
    "in a crowd",
)

MATCHES = {
    FOUND: "The box matches an object of its class.",
    CONFUSED: "The box matches an object of another class that no other box found.",
    DUPLICATE: "The box matches an object that another box was matched with.",
    MISPLACED: "The box is near an object of its class, but its IoU with it is below 0.5.",
    NO_OBJECT: "The box is near no object of its class, and matches none of another.",
    IN_CROWD: "The box is in a region of many objects, where it is neither right nor wrong.",
    MISSED: "No box found this object or confused its class.",
}
"""Values of the column ``match``, and what they mean."""

FALSE = (DUPLICATE, MISPLACED, NO_OBJECT)
"""The false positives."""

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


IMAGE_SCHEMA = pl.Schema(
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
"""Columns of the tables of best and worst images."""

ADVICE = (
    "Most mistakes are missed objects: train longer, add images that show it, or read larger ones "
    "(data_description.image_size).",
    "Most mistakes are confusions: compare the two classes in worst_items.png, then add examples of both.",
    "Most mistakes are boxes without an object: look for objects without labels in worst_items.png.",
)
"""What to do where most mistakes are missed objects, confused classes or boxes without an object, in this order."""

PREDICTED = ["item", "subset", "predicted_class", "confidence", *PLACE]
"""Columns of the predictions that are read."""


@dataclass(frozen=True)
class _JudgedBoxes:
    """Boxes, the most confident first, with their findings.

    Attributes:
        boxes: The boxes.
        match: (d,) one of ``MATCHES``.
        target: (d,) index of the object that each is compared with, or -1.
        iou: (d,) IoU with it.
    """

    boxes: Boxes
    match: NDArray[np.object_]
    target: Integers
    iou: Floats


@dataclass(frozen=True)
class ImageBoxes:
    """The images of one subset whose objects are known, with their boxes.

    Attributes:
        images: One row per image: item, subset, file, width_px, height_px.
        objects: True objects; ``image`` is the index of a row of ``images``.
        predicted: Predicted boxes likewise.
    """

    images: pl.DataFrame
    objects: Boxes
    predicted: Boxes


def finding_rows(subset: str, boxes: ImageBoxes, confidence: float, classes: tuple[str, ...]) -> pl.DataFrame:
    """Return one row per predicted box that is confident enough, and one per missed object.

    Args:
        subset: Name of the subset.
        boxes: Its images and boxes.
        confidence: Least confidence of a box.
        classes: Class names in the model's order.

    Returns:
        Columns of ``FINDING_SCHEMA``, ordered by image, then by descending confidence. target_class and iou are null
        for a box near no object; predicted_class, confidence and iou for a missed object. Position and size are those
        of the box, or of the missed object.
    """
    judged = _judge(boxes.predicted.at(boxes.predicted.confidence >= confidence), boxes.objects)
    missed = ~boxes.objects.crowd
    missed[judged.target[np.isin(judged.match, (FOUND, CONFUSED))]] = False
    names = np.array([*classes, None], dtype=object)
    items = boxes.images["item"].to_numpy()
    compared = np.append(boxes.objects.label, len(classes))[judged.target]
    of_boxes = _columns(items, judged.boxes) | {
        "match": judged.match,
        "predicted_class": names[judged.boxes.label],
        "target_class": names[compared],
        "confidence": judged.boxes.confidence,
        "iou": np.where(judged.target >= 0, judged.iou, np.nan),
    }
    objects = boxes.objects.at(missed)
    of_objects = _columns(items, objects) | {"match": [MISSED] * len(objects), "target_class": names[objects.label]}
    rows = pl.concat([_frame(of_boxes), _frame(of_objects)]).with_columns(pl.lit(subset).alias("subset"))
    return rows.sort("item", "confidence", descending=[False, True], nulls_last=True, maintain_order=True)


def _judge(boxes: Boxes, objects: Boxes) -> _JudgedBoxes:
    """Return the finding of each box."""
    matches = match_boxes(boxes, objects, np.array([MATCH_IOU]))
    own = matches.objects[0]
    boxes = boxes.at(matches.boxes)
    match = np.full(len(boxes), NO_OBJECT, dtype=object)
    match[own >= 0] = np.where(objects.crowd[own[own >= 0]], IN_CROWD, FOUND)
    judged = _JudgedBoxes(boxes, match, own.copy(), np.zeros(len(boxes)))
    free = ~objects.crowd
    free[own[own >= 0]] = False
    for rows in _rows_by_image(boxes.image):
        span = np.searchsorted(objects.image, boxes.image[rows[0]] + np.arange(2))
        if span[0] < span[1]:
            _judge_image(judged, objects, free, rows, np.arange(*span))
    return judged


def _judge_image(judged: _JudgedBoxes, objects: Boxes, free: Booleans, rows: Integers, own: Integers) -> None:
    """Judge the boxes of one image that found nothing, in place, the most confident first.

    Args:
        judged: All boxes.
        objects: All objects.
        free: Which objects no box found or confused so far; changed.
        rows: Indices of the image's boxes.
        own: Indices of the image's objects.
    """
    ious = box_iou(judged.boxes.xywh[rows], objects.xywh[own], objects.crowd[own])
    for row, iou in zip(rows.tolist(), ious, strict=True):
        if judged.target[row] < 0:
            judged.match[row], index = _mistake(
                np.where(objects.crowd[own], 0.0, iou), objects.label[own] == judged.boxes.label[row], free[own]
            )
            judged.target[row] = own[index] if index >= 0 else -1
            if judged.match[row] == CONFUSED:
                free[own[index]] = False
        if judged.target[row] >= 0:
            judged.iou[row] = iou[judged.target[row] - own[0]]


def _mistake(iou: Floats, same_class: Booleans, free: Booleans) -> tuple[str, int]:
    """Return which mistake a box is that found nothing, and the index of the object it is compared with, or -1."""
    confused = np.where(free & ~same_class, iou, 0.0)
    of_class = np.where(same_class, iou, 0.0)
    if confused.max() >= MATCH_IOU:
        return CONFUSED, int(confused.argmax())
    if iou.max() >= MATCH_IOU:
        return DUPLICATE, int(iou.argmax())
    if of_class.max() >= NEAR_IOU:
        return MISPLACED, int(of_class.argmax())
    return NO_OBJECT, -1


def _rows_by_image(image: Integers) -> list[Integers]:
    """Return the indices of the boxes of each image that has any."""
    order = np.argsort(image, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(image[order])) + 1) if len(order) else []


def _columns(items: NDArray[np.object_], boxes: Boxes) -> dict[str, Any]:
    return {"item": items[boxes.image], **dict(zip(PLACE, boxes.xywh.T, strict=True))}


def _frame(columns: dict[str, Any]) -> pl.DataFrame:
    given = {name: list(columns[name]) if name in columns else None for name in FINDING_SCHEMA}
    count = len(given["match"] or ())
    frame = pl.DataFrame(
        {name: [None] * count if values is None else values for name, values in given.items()}, schema=FINDING_SCHEMA
    )
    return frame.with_columns(pl.col("iou").fill_nan(None))


def rank_detected_images(findings: pl.DataFrame) -> pl.DataFrame:
    """Return one row per image with any object or box, the worst first: lowest F1, then most mistakes."""
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
    defined = scored.filter(pl.col("f1").is_not_nan())  # not where all boxes are in crowds
    worst_first = defined.sort("f1", mistakes, "item", descending=[False, True, False])
    return worst_first.select(IMAGE_SCHEMA.names()).cast(IMAGE_SCHEMA)


def _reason() -> pl.Expr:
    """Return the mistakes as text, such as ``2 missed (3, 7); 1 confused (8 as 3)``."""
    parts = [
        pl.when(pl.col(name) > 0).then(pl.format("{} {} ({})", name, pl.lit(name), f"{name}_classes"))
        for name in ("missed", "confused", "false")
    ]
    return pl.concat_str(parts, separator="; ", ignore_nulls=True)


def box_confusion(subset: str, findings: pl.DataFrame, classes: tuple[str, ...]) -> pl.DataFrame:
    """Return one row per pair of true and predicted class; ``background`` stands for no object, or no box."""
    names = [*classes, BACKGROUND]
    judged = findings.filter(pl.col("match").is_in([FOUND, CONFUSED, MISSED, *FALSE]))
    target = pl.when(pl.col("match").is_in(FALSE)).then(None).otherwise(pl.col("target_class"))
    pairs = judged.select(target.fill_null(BACKGROUND), pl.col("predicted_class").fill_null(BACKGROUND))
    cells = pairs.select(pl.all().replace_strict(names, list(range(len(names))), return_dtype=pl.Int64)).to_numpy()
    counts = np.zeros((len(names), len(names)))
    np.add.at(counts, tuple(cells.T), 1)
    return confusion_rows(subset, counts, names)


def weakest_class_sentence(confusion: pl.DataFrame, confidence: float) -> str:
    """Return the sentence about the class with the lowest F1 among those that have objects.

    Args:
        confusion: Rows of ``box_confusion`` of one subset.
        confidence: Least confidence of the boxes in it.
    """
    names = confusion["target_class"].unique(maintain_order=True).to_list()
    counts = confusion["count"].to_numpy().reshape(len(names), len(names))
    hits, objects, boxes = np.diagonal(counts)[:-1], counts.sum(axis=1)[:-1], counts.sum(axis=0)[:-1]
    f1 = np.where(objects > 0, 2 * hits / np.maximum(objects + boxes, 1), np.inf)
    worst = int(f1.argmin())
    others = np.delete(counts[worst, :-1], worst)
    missed, confused, false = int(counts[worst, -1]), int(others.sum()), int(counts[-1, worst])
    mostly = f", mostly {np.delete(names[:-1], worst)[others.argmax()]}" if confused else ""
    advice = ADVICE[int(np.argmax([missed, confused, false]))]
    return (
        f"Weakest class at confidence {confidence:.2f}: {names[worst]}, F1 {f1[worst]:.3f}. Objects: {objects[worst]}, "
        f"of them missed {missed}, taken for others {confused}{mostly}; boxes without an object: {false}. {advice}"
    )


def read_boxes(inputs: AnalysisInputs) -> dict[str, ImageBoxes]:
    """Return true and predicted boxes, by subset, in the order of reports.

    Raises:
        DataError: The tables can't be analysed; lists every problem.
    """
    known = read_image_boxes(inputs).filter(pl.col("labelled").fill_null(True))
    predicted = inputs.read_predictions(PREDICTED).with_columns(pl.col("predicted_class").cast(pl.String))
    problems = repeated_items(known)
    problems += missing_values(predicted)
    problems += unknown_names("predicted_class", predicted["predicted_class"], inputs.classes)
    problems += [] if len(known) else ["there is no prediction of an image whose objects are known"]
    refuse(inputs, problems)
    objects = read_objects(splits_of(inputs), inputs.label_classes)
    return {subset: _of_subset(rows, objects, predicted, inputs.classes) for subset, rows in by_subset(known).items()}


def _of_subset(
    images: pl.DataFrame, objects: pl.DataFrame, predicted: pl.DataFrame, classes: tuple[str, ...]
) -> ImageBoxes:
    items = images["item"].to_list()
    of_subset = predicted.filter(pl.col("subset") == images["subset"][0]).rename({"predicted_class": "class"})
    frames = objects.with_columns(confidence=pl.lit(1.0)), of_subset.with_columns(crowd=pl.lit(False))
    return ImageBoxes(images, *(_boxes(frame, items, classes) for frame in frames))


def _boxes(frame: pl.DataFrame, items: list[str], classes: tuple[str, ...]) -> Boxes:
    """Return the boxes of some images, ordered by image and otherwise as they come."""
    rows = frame.with_columns(image=item_index(items)).drop_nulls("image").sort("image", maintain_order=True)
    labels = rows["class"].replace_strict(list(classes), list(range(len(classes))), return_dtype=pl.Int64)
    return Boxes(
        rows["image"].to_numpy(),
        labels.to_numpy(),
        rows.select(PLACE).to_numpy().astype(np.float64),
        rows["confidence"].cast(pl.Float64).to_numpy(),
        rows["crowd"].to_numpy(),
    )
