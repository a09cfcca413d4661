"""Predicted masks as COCO's files.

Belongs here: masks in the format of https://cocodataset.org/#format-results: one entry per class of an image, as for
COCO's own "stuff", with the run lengths of all its pixels. Does not belong here: reading results.
"""

from pathlib import Path
from typing import Any

import numpy as np

from assay.class_maps import ClassMap
from assay.export.coco_ids import INSTANCES_JSON, PREDICTIONS_JSON, CocoIds, ids_of_file, instances, new_ids
from assay.export.masks import PredictedMasks
from assay.files import write_json


def export_coco_masks(masks: PredictedMasks, folder: Path, like: Path | None = None) -> list[Path]:
    """Write predictions.json and, unless IDs are those of another file, instances.json; return both paths.

    Every entry has the score 1: a pixel's class is the answer, and it has no rank among others.

    Args:
        masks: What to write.
        folder: Where to.
        like: COCO file whose IDs of images and categories are taken, found by file and class names.

    Raises:
        DataError: The other file lacks an image or class, or states another size.
    """
    if like is not None:
        ids = ids_of_file(like, masks.images, masks.shown)
        write_json(folder / PREDICTIONS_JSON, _predictions(masks, ids))
        return [folder / PREDICTIONS_JSON]
    ids = new_ids(masks.images, masks.classes)
    write_json(folder / INSTANCES_JSON, instances(masks.images, ids, _truth(masks, ids)))
    write_json(folder / PREDICTIONS_JSON, _predictions(masks, ids))
    return [folder / PREDICTIONS_JSON, folder / INSTANCES_JSON]


def _predictions(masks: PredictedMasks, ids: CocoIds) -> list[dict[str, Any]]:
    return [
        {"image_id": ids.images[item], "category_id": ids.categories[label], "segmentation": runs, "score": 1.0}
        for item in masks.images["item"]
        for label, runs, _ in _classes(masks.predicted(item), masks.classes)
    ]


def _truth(masks: PredictedMasks, ids: CocoIds) -> list[dict[str, Any]]:
    """Return the true masks; IDs begin with 1, since pycocotools takes 0 for none when it evaluates."""
    entries = [
        (item, *each)
        for item, mask, labelled in masks.images.select("item", "mask", "labelled").iter_rows()
        if mask is not None and labelled is not False
        for each in _classes(masks.truth(mask), masks.classes)
    ]
    return [
        {
            "id": number,
            "image_id": ids.images[item],
            "category_id": ids.categories[label],
            "segmentation": runs,
            "area": area,
            "bbox": _box(runs),
            "iscrowd": 0,
        }
        for number, (item, label, runs, area) in enumerate(entries, 1)
    ]


def _classes(class_map: ClassMap, classes: tuple[str, ...]) -> list[tuple[str, dict[str, Any], int]]:
    """Return name, compressed run lengths and pixels of each class that a map shows; 255 is unknown, not a class."""
    from faster_coco_eval.core import mask as coco

    found = []
    for value in np.unique(class_map).tolist():
        if 0 < value <= len(classes):
            runs = coco.encode(np.asfortranarray(class_map == value).view(np.uint8))
            runs["counts"] = runs["counts"].decode()
            found.append((classes[value - 1], runs, int((class_map == value).sum())))
    return found


def _box(runs: dict[str, Any]) -> list[float]:
    """Return left, top, width and height of a mask."""
    from faster_coco_eval.core import mask as coco

    box: list[float] = coco.toBbox(runs).tolist()
    return box
