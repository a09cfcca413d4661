"""What became of each predicted box and of each object: found, confused, missed.

Belongs here: one row per box that is sure enough, and per object that none found. Does not belong here: metrics, which
look at all boxes, pictures.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assay.analysis.base import AnalysisInputs, by_subset
from assay.analysis.images import place_of, read_scenes, splits_of
from assay.analysis.items import confusion_rows, refuse, repeated_items, unknown_names
from assay.datasets.schema import BACKGROUND
from assay.metrics.box_matching import Boxes, match_boxes, overlaps
from assay.metrics.samples import Booleans, Floats, Integers
from assay.storage.parquet import read_parquet
from assay.training.summary import PLACE, read_objects

ENOUGH = 0.5
"""Overlap from which on a box finds an object."""

NEAR = 0.1
"""Overlap from which on a box is near an object of its class."""

FOUND, CONFUSED, DUPLICATE, MISPLACED, NO_OBJECT, MISSED, CROWD = (
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
    NO_OBJECT: "There is no such object.",
    CROWD: "It lies in a region of many objects, where it is neither right nor wrong.",
    MISSED: "No box found or confused this object.",
}
"""What a row of the table can say."""

FALSE = (DUPLICATE, MISPLACED, NO_OBJECT)

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


@dataclass(frozen=True)
class Scenes:
    """The images of one subset whose objects are known.

    Attributes:
        frame: One row per image: item, subset, file, width_px, height_px.
        objects: True objects; their images are places in the frame.
        predicted: Predicted boxes likewise.
    """

    frame: pl.DataFrame
    objects: Boxes
    predicted: Boxes


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
    match = np.full(len(boxes), NO_OBJECT, dtype=object)
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
    return NO_OBJECT, -1


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


PREDICTED = ["item", "subset", "predicted_class", "confidence", *PLACE]


def read_boxes(inputs: AnalysisInputs) -> dict[str, Scenes]:
    """Return true and predicted boxes, by subset, in the order of reports.

    Raises:
        DataError: The tables can't be analysed; lists every problem.
    """
    known = read_scenes(inputs).filter(pl.col("labelled").fill_null(True))
    predicted = read_parquet(inputs.predictions, PREDICTED).with_columns(pl.col("predicted_class").cast(pl.String))
    problems = repeated_items(known)
    problems += [f"column {name!r} has {count} missing values" for name, count in _missing(predicted).items() if count]
    problems += unknown_names("predicted_class", predicted["predicted_class"], inputs.classes)
    problems += [] if len(known) else ["there is no prediction of an image whose objects are known"]
    refuse(inputs, problems)
    objects = read_objects(splits_of(inputs), inputs.label_classes)
    return {subset: _scenes(rows, objects, predicted, inputs.classes) for subset, rows in by_subset(known).items()}


def _scenes(rows: pl.DataFrame, objects: pl.DataFrame, predicted: pl.DataFrame, classes: tuple[str, ...]) -> Scenes:
    items = rows["item"].to_list()
    of_subset = predicted.filter(pl.col("subset") == rows["subset"][0]).rename({"predicted_class": "class"})
    own = objects.with_columns(pl.lit(1.0).alias("confidence"))
    found = of_subset.with_columns(pl.lit(False).alias("crowd"))
    return Scenes(rows, *(_boxes(frame, items, classes) for frame in (own, found)))


def _boxes(frame: pl.DataFrame, items: list[str], classes: tuple[str, ...]) -> Boxes:
    """Return the boxes of some images, ordered by image, otherwise as they come."""
    rows = frame.with_columns(place_of(items).alias("image")).drop_nulls("image").sort("image", maintain_order=True)
    labels = rows["class"].replace_strict(list(classes), list(range(len(classes))), return_dtype=pl.Int64)
    return Boxes(
        rows["image"].to_numpy(),
        labels.to_numpy(),
        rows.select(PLACE).to_numpy().astype(np.float64),
        rows["confidence"].cast(pl.Float64).to_numpy(),
        rows["crowd"].to_numpy(),
    )


def _missing(predicted: pl.DataFrame) -> dict[str, int]:
    counts = predicted.with_columns(pl.selectors.float().fill_nan(None)).null_count()
    return counts.row(0, named=True)
