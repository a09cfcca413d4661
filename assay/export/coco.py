"""Predicted boxes as COCO's files.

Belongs here: boxes in the format of https://cocodataset.org/#format-results. Does not belong here: reading results.

``predictions.json`` is what ``COCO.loadRes`` of pycocotools takes; ``instances.json``, with images, categories and the
true boxes, is what it is loaded into.
"""

from pathlib import Path
from typing import Any

import polars as pl

from assay.export.coco_ids import INSTANCES_JSON, PREDICTIONS_JSON, CocoIds, ids_of_file, instances, new_ids
from assay.export.detections import Detections
from assay.files import write_json

_DECIMALS = 3


def export_coco(detections: Detections, folder: Path, like: Path | None = None) -> list[Path]:
    """Write predictions.json and, unless IDs are those of another file, instances.json; return both paths.

    Args:
        detections: What to write.
        folder: Where to.
        like: COCO file whose IDs of images and categories are taken, found by file and class names.

    Raises:
        DataError: The other file lacks an image or class, or states another size.
    """
    if like is not None:
        ids = ids_of_file(like, detections.images, detections.found["predicted_class"])
        write_json(folder / PREDICTIONS_JSON, _predictions(detections, ids))
        return [folder / PREDICTIONS_JSON]
    ids = new_ids(detections.images, detections.classes)
    write_json(folder / INSTANCES_JSON, instances(detections.images, ids, _truth(detections.objects, ids)))
    write_json(folder / PREDICTIONS_JSON, _predictions(detections, ids))
    return [folder / PREDICTIONS_JSON, folder / INSTANCES_JSON]


def _predictions(detections: Detections, ids: CocoIds) -> list[dict[str, Any]]:
    columns = detections.found.select("item", "predicted_class", "confidence", *_BOX)
    return [
        {
            "image_id": ids.images[item],
            "category_id": ids.categories[label],
            "bbox": [round(side, _DECIMALS) for side in box],
            "score": round(confidence, 6),
        }
        for item, label, confidence, *box in columns.iter_rows()
    ]


_BOX = ("x_px", "y_px", "width_px", "height_px")


def _truth(objects: pl.DataFrame, ids: CocoIds) -> list[dict[str, Any]]:
    """Return the true boxes; IDs begin with 1, since pycocotools takes 0 for none when it evaluates."""
    known = objects.filter(pl.col("label").is_in(list(ids.categories)))
    return [
        {
            "id": number,
            "image_id": ids.images[item],
            "category_id": ids.categories[label],
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": int(crowd or False),
        }
        for number, (item, label, crowd, *box) in enumerate(
            known.select("item", "label", "crowd", *_BOX).iter_rows(), 1
        )
    ]
