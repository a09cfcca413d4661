"""Predicted masks as COCO's files.

Belongs here: masks in the format of https://cocodataset.org/#format-results: one entry per class of an image, as for
COCO's own "stuff", with the run lengths of all its pixels. Does not belong here: reading results.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from assay.datasets.mask_classes import ClassMap
from assay.export.coco_files import CocoContents, CocoIds, write_coco_files
from assay.export.masks import PredictedMasks


def export_coco_masks(masks: PredictedMasks, folder: Path, like: Path | None = None) -> list[Path]:
    """Write masks into COCO's files; return their paths.

    Every entry has the score 1: a pixel's class is the answer, and it has no rank among others.

    Args:
        masks: What to write.
        folder: Where to.
        like: COCO file whose IDs are taken.

    Raises:
        DataError: The other file lacks an image or class, or states another size.
    """
    contents = CocoContents(
        masks.images,
        masks.classes,
        masks.shown,
        predictions=partial(_mask_predictions, masks),
        truth=partial(_mask_truth, masks),
    )
    return write_coco_files(contents, folder, like)


def _mask_predictions(masks: PredictedMasks, ids: CocoIds) -> list[dict[str, Any]]:
    return [
        {"image_id": ids.images[item], "category_id": ids.categories[label], "segmentation": runs, "score": 1.0}
        for item in masks.images["item"]
        for label, runs, _ in _classes(masks.predicted(item), masks.classes)
    ]


def _mask_truth(masks: PredictedMasks, ids: CocoIds) -> list[dict[str, Any]]:
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
