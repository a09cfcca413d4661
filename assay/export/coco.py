"""Predicted boxes as COCO's files.

Belongs here: boxes in the format of https://cocodataset.org/#format-results. Does not belong here: reading results.
"""

from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from assay.export.coco_files import CocoContents, CocoIds, write_coco_files
from assay.export.predictions import Detections

_DECIMALS = 3


def export_coco(detections: Detections, folder: Path, like: Path | None = None) -> list[Path]:
    """Write boxes into COCO's files; return their paths.

    Args:
        detections: What to write.
        folder: Where to.
        like: COCO file whose IDs are taken.

    Raises:
        DataError: The other file lacks an image or class, or states another size.
    """
    contents = CocoContents(
        detections.images,
        detections.classes,
        detections.found["predicted_class"],
        predictions=partial(_predictions, detections.found),
        truth=partial(_truth, detections.objects),
    )
    return write_coco_files(contents, folder, like)


def _predictions(found: pl.DataFrame, ids: CocoIds) -> list[dict[str, Any]]:
    columns = found.select("item", "predicted_class", "confidence", *_BOX)
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
