"""Predicted boxes as COCO's files.

Belongs here: the format of https://cocodataset.org/#format-results. Does not belong here: reading results.

``predictions.json`` is what ``COCO.loadRes`` of pycocotools takes; ``instances.json``, with images, categories and the
true boxes, is what it is loaded into.
"""

from pathlib import Path
from typing import Any

import polars as pl

from assay.errors import DataError
from assay.export.detections import Detections
from assay.files import write_json
from assay.own_data.coco_json import CocoFile, Entry, Id, read_coco_file

PREDICTIONS_JSON, INSTANCES_JSON = "predictions.json", "instances.json"
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
    if like is None:
        images = {item: number for number, item in enumerate(detections.images["item"], 1)}
        categories: dict[str, Id] = {name: number for number, name in enumerate(detections.classes, 1)}
        instances = _instances(detections, images, categories)
        write_json(folder / INSTANCES_JSON, instances)
        write_json(folder / PREDICTIONS_JSON, _predictions(detections, images, categories))
        return [folder / PREDICTIONS_JSON, folder / INSTANCES_JSON]
    file = read_coco_file(like, str(like))
    detections = detections.with_classes(file.categories.values(), str(like))
    ids = _image_ids(detections.images, file)
    categories = {name: number for number, name in file.categories.items()}
    write_json(folder / PREDICTIONS_JSON, _predictions(detections, ids, categories))
    return [folder / PREDICTIONS_JSON]


def _predictions(detections: Detections, images: dict[str, Any], categories: dict[str, Id]) -> list[dict[str, Any]]:
    columns = detections.found.select("item", "predicted_class", "confidence", *_BOX)
    return [
        {
            "image_id": images[item],
            "category_id": categories[label],
            "bbox": [round(side, _DECIMALS) for side in box],
            "score": round(confidence, 6),
        }
        for item, label, confidence, *box in columns.iter_rows()
    ]


_BOX = ("x_px", "y_px", "width_px", "height_px")


def _instances(detections: Detections, images: dict[str, int], categories: dict[str, Id]) -> dict[str, Any]:
    return {
        "info": {"description": "True boxes of the images in predictions.json"},
        "images": [
            {"id": images[item], "file_name": file, "width": width, "height": height}
            for item, file, width, height in detections.images.select(
                "item", "file", "width_px", "height_px"
            ).iter_rows()
        ],
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
        "annotations": _truth(detections.objects, images, categories),
    }


def _truth(objects: pl.DataFrame, images: dict[str, int], categories: dict[str, Id]) -> list[dict[str, Any]]:
    """Return the true boxes; IDs begin with 1, since pycocotools takes 0 for none when it evaluates."""
    known = objects.filter(pl.col("label").is_in(list(categories)))
    return [
        {
            "id": number,
            "image_id": images[item],
            "category_id": categories[label],
            "bbox": box,
            "area": box[2] * box[3],
            "iscrowd": int(crowd or False),
        }
        for number, (item, label, crowd, *box) in enumerate(
            known.select("item", "label", "crowd", *_BOX).iter_rows(), 1
        )
    ]


def _image_ids(images: pl.DataFrame, file: CocoFile) -> dict[str, Id]:
    """Return the other file's ID of each image; an image may have folders before the name that it has there."""
    by_name = {str(entry["file_name"]).replace("\\", "/"): entry for entry in file.images.values()}
    problems = []
    ids: dict[str, Id] = {}
    for item, width, height in images.select("item", "width_px", "height_px").iter_rows():
        parts = item.split("/")
        names = ["/".join(parts[start:]) for start in range(len(parts))]
        entry = next((by_name[name] for name in names if name in by_name), None)
        if entry is None:
            problems.append(f"{item}: is not in {file.name}")
        elif problem := _other_size(entry, width, height):
            problems.append(f"{item}: {problem}")
        else:
            ids[item] = entry["id"]
    if problems:
        raise DataError(f"{file.name} does not fit the predictions of {len(problems)} images.", problems)
    return ids


def _other_size(entry: Entry, width: int, height: int) -> str | None:
    if entry.get("width") in (None, width) and entry.get("height") in (None, height):
        return None
    return (
        f"is {width}x{height} px upright, but {entry.get('width')}x{entry.get('height')} px there; boxes would be "
        "elsewhere. Save the image upright, without a rotation in EXIF"
    )
