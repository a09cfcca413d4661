"""Predicted boxes and masks as COCO's files.

Belongs here: boxes and masks in the format of https://cocodataset.org/#format-results, and what the IDs in it mean, new
ones or those of the user's own file. Does not belong here: reading results (``predictions``).

``predictions.json`` is what ``COCO.loadRes`` of pycocotools takes; ``instances.json``, with images, categories and the
ground truth, is what it is loaded into. Masks have one entry per class of an image, as COCO's own "stuff" has, with the
run lengths of all pixels of the class.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from faster_coco_eval.core import mask as coco_masks

from assay.datasets.coco_json import CocoFile, Entry, Id, read_coco_file
from assay.datasets.mask_classes import IndexMask
from assay.errors import DataError
from assay.export.predictions import PredictedMasks, StoredDetections, require_classes
from assay.storage.files import write_json
from assay.utils.text import pluralize

_DECIMALS = 3

_BOX = ("x_px", "y_px", "width_px", "height_px")


def export_coco(detections: StoredDetections, folder: Path, like: Path | None = None) -> list[Path]:
    """Write boxes into COCO's files; return their paths.

    Args:
        detections: What to write.
        folder: Where to.
        like: COCO file whose IDs are used.

    Raises:
        DataError: The other file lacks an image or class, or states another size.
    """
    contents = CocoContents(
        detections.images,
        detections.classes,
        detections.boxes["predicted_class"],
        predictions=partial(box_entries, detections.boxes),
        ground_truth=partial(_true_boxes, detections.objects),
    )
    return write_coco_files(contents, folder, like)


@dataclass(frozen=True)
class CocoIds:
    """ID of each image by its item, and of each category by its name."""

    images: dict[str, Id]
    categories: dict[str, Id]


def box_entries(boxes: pl.DataFrame, ids: CocoIds) -> list[dict[str, Any]]:
    """Return predicted boxes as COCO's entries, in their order."""
    columns = boxes.select("item", "predicted_class", "confidence", *_BOX)
    return [
        {
            "image_id": ids.images[item],
            "category_id": ids.categories[label],
            "bbox": [round(side, _DECIMALS) for side in box],
            "score": round(confidence, 6),
        }
        for item, label, confidence, *box in columns.iter_rows()
    ]


def _true_boxes(objects: pl.DataFrame, ids: CocoIds) -> list[dict[str, Any]]:
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


Entries = Callable[[CocoIds], list[dict[str, Any]]]
"""Returns boxes or masks as COCO's entries with these IDs."""


@dataclass(frozen=True)
class CocoContents:
    """What is written.

    Attributes:
        images: Columns item, file, width_px, height_px; one row per image.
        classes: Names of all classes.
        predicted_classes: Those that were predicted.
        predictions: Entries of what was predicted.
        ground_truth: Entries of what is true.
    """

    images: pl.DataFrame
    classes: Sequence[str]
    predicted_classes: Iterable[str]
    predictions: Entries
    ground_truth: Entries


def write_coco_files(contents: CocoContents, folder: Path, like: Path | None = None) -> list[Path]:
    """Write predictions.json and, unless IDs are those of another file, instances.json; return both paths.

    Args:
        contents: What to write.
        folder: Where to.
        like: COCO file whose IDs of images and categories are taken, found by file and class names.

    Raises:
        DataError: The other file lacks an image or class, or states another size.
    """
    predictions, ground_truth = folder / "predictions.json", folder / "instances.json"
    if like is not None:
        ids = ids_of_file(like, contents.images, contents.predicted_classes)
        write_json(predictions, contents.predictions(ids))
        return [predictions]
    ids = new_ids(contents.images, contents.classes)
    write_json(ground_truth, instances(contents.images, ids, contents.ground_truth(ids)))
    write_json(predictions, contents.predictions(ids))
    return [predictions, ground_truth]


def new_ids(images: pl.DataFrame, classes: Sequence[str]) -> CocoIds:
    """Return IDs that begin with 1, in the order of the images and of the classes."""
    return CocoIds(
        {item: number for number, item in enumerate(images["item"], 1)},
        {name: number for number, name in enumerate(classes, 1)},
    )


def ids_of_file(like: Path, images: pl.DataFrame, predicted: Iterable[str]) -> CocoIds:
    """Return the IDs that another COCO file has for these images and for its own classes.

    Args:
        like: The file.
        images: Columns item, width_px, height_px.
        predicted: Classes that were predicted.

    Raises:
        DataError: The file lacks an image or a class, or states another size.
    """
    file = read_coco_file(like, str(like))
    require_classes(predicted, tuple(file.categories.values()), str(like))
    return CocoIds(_image_ids(images, file), {name: number for number, name in file.categories.items()})


def instances(images: pl.DataFrame, ids: CocoIds, annotations: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the file that predictions are loaded into: images, categories, and what is true."""
    columns = images.select("item", "file", "width_px", "height_px")
    return {
        "info": {"description": "The truth about the images in predictions.json"},
        "images": [
            {"id": ids.images[item], "file_name": file, "width": width, "height": height}
            for item, file, width, height in columns.iter_rows()
        ],
        "categories": [{"id": number, "name": name} for name, number in ids.categories.items()],
        "annotations": annotations,
    }


def _image_ids(images: pl.DataFrame, file: CocoFile) -> dict[str, Id]:
    """Return the other file's ID of each image; the path of an image may have more folders than its name there."""
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
        raise DataError(f"{file.name} does not fit the predictions of {pluralize(len(problems), 'image')}.", problems)
    return ids


def _other_size(entry: Entry, width: int, height: int) -> str | None:
    if entry.get("width") in (None, width) and entry.get("height") in (None, height):
        return None
    return (
        f"is {width}x{height} px upright, but {entry.get('width')}x{entry.get('height')} px there; boxes would be "
        "elsewhere. Save the image upright, without a rotation in EXIF"
    )


def export_coco_masks(masks: PredictedMasks, folder: Path, like: Path | None = None) -> list[Path]:
    """Write masks into COCO's files; return their paths.

    Every entry has the score 1: each pixel has one class, without a confidence.

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
        masks.predicted_classes,
        predictions=partial(_predicted_masks, masks),
        ground_truth=partial(_true_masks, masks),
    )
    return write_coco_files(contents, folder, like)


def _predicted_masks(masks: PredictedMasks, ids: CocoIds) -> list[dict[str, Any]]:
    items = masks.images["item"]
    return [entry for item in items for entry in mask_entries(item, masks.predicted(item), masks.classes, ids)]


def mask_entries(item: str, mask: IndexMask, classes: tuple[str, ...], ids: CocoIds) -> list[dict[str, Any]]:
    """Return a predicted mask as COCO's entries, one per class that it shows, with the score 1."""
    return [
        {"image_id": ids.images[item], "category_id": ids.categories[label], "segmentation": rle, "score": 1.0}
        for label, rle, _ in _class_entries(mask, classes)
    ]


def _true_masks(masks: PredictedMasks, ids: CocoIds) -> list[dict[str, Any]]:
    """Return the true masks; IDs begin with 1, since pycocotools takes 0 for none when it evaluates."""
    entries = [
        (item, *each)
        for item, mask, labelled in masks.images.select("item", "mask", "labelled").iter_rows()
        if mask is not None and labelled is not False
        for each in _class_entries(masks.ground_truth(mask), masks.classes)
    ]
    return [
        {
            "id": number,
            "image_id": ids.images[item],
            "category_id": ids.categories[label],
            "segmentation": rle,
            "area": area,
            "bbox": coco_masks.toBbox(rle).tolist(),
            "iscrowd": 0,
        }
        for number, (item, label, rle, area) in enumerate(entries, 1)
    ]


def _class_entries(mask: IndexMask, classes: tuple[str, ...]) -> list[tuple[str, dict[str, Any], int]]:
    """Return name, compressed run lengths and area in pixels of each class that a mask shows; 255 is unknown."""
    found = []
    for value in np.unique(mask).tolist():
        if 0 < value <= len(classes):
            rle = coco_masks.encode(np.asfortranarray(mask == value).view(np.uint8))
            area = int(coco_masks.area(rle))
            found.append((classes[value - 1], {**rle, "counts": rle["counts"].decode()}, area))
    return found
