"""COCO's two files: what was predicted, and what the IDs in it mean, new ones or those of the user's own file.

Belongs here: both files, images and categories. Does not belong here: how boxes or masks are written.

``predictions.json`` is what ``COCO.loadRes`` of pycocotools takes; ``instances.json``, with images, categories and the
truth, is what it is loaded into.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from assay.datasets.coco_json import CocoFile, Entry, Id, read_coco_file
from assay.errors import DataError
from assay.export.results import require_classes
from assay.files import write_json


@dataclass(frozen=True)
class CocoIds:
    """ID of each image by its item, and of each category by its name."""

    images: dict[str, Id]
    categories: dict[str, Id]


Entries = Callable[[CocoIds], list[dict[str, Any]]]
"""Writes down boxes or masks with these IDs."""


@dataclass(frozen=True)
class CocoContents:
    """What is written.

    Attributes:
        images: Columns item, file, width_px, height_px; one row per image.
        classes: Names of all classes.
        shown: Those that were predicted.
        predictions: Entries of what was predicted.
        truth: Entries of what is true.
    """

    images: pl.DataFrame
    classes: Sequence[str]
    shown: Iterable[str]
    predictions: Entries
    truth: Entries


def write_coco_files(contents: CocoContents, folder: Path, like: Path | None = None) -> list[Path]:
    """Write predictions.json and, unless IDs are those of another file, instances.json; return both paths.

    Args:
        contents: What to write.
        folder: Where to.
        like: COCO file whose IDs of images and categories are taken, found by file and class names.

    Raises:
        DataError: The other file lacks an image or class, or states another size.
    """
    predictions, truth = folder / "predictions.json", folder / "instances.json"
    if like is not None:
        ids = ids_of_file(like, contents.images, contents.shown)
        write_json(predictions, contents.predictions(ids))
        return [predictions]
    ids = new_ids(contents.images, contents.classes)
    write_json(truth, instances(contents.images, ids, contents.truth(ids)))
    write_json(predictions, contents.predictions(ids))
    return [predictions, truth]


def new_ids(images: pl.DataFrame, classes: Sequence[str]) -> CocoIds:
    """Return IDs from 1 on, in the order of the arguments."""
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
