"""Predicted boxes as YOLO's text files.

Belongs here: the format, ``class cx cy width height confidence`` in shares of the image's sides, one line per box.
Does not belong here: reading results.
"""

from pathlib import Path

import polars as pl

from assay.datasets.yolo_paths import find_yolo_paths
from assay.errors import DataError
from assay.export.predictions import StoredDetections, name_without_ending
from assay.spec.generated_images import YoloSource
from assay.storage.files import write_text

CLASSES_FILE = "classes.txt"
LABEL_FOLDER = "labels"
_IMAGE_FOLDER = "images/"


def export_yolo(detections: StoredDetections, folder: Path, like: Path | None = None) -> list[Path]:
    """Write a label file per image, empty where nothing was found, and classes.txt; return the paths.

    Args:
        detections: What to write.
        folder: Where to: ``labels/<name>.txt``.
        like: data.yaml or classes.txt whose numbers of classes are taken.

    Raises:
        DataError: The other file lacks a class, or two images would have the same label file.
    """
    if like is not None:
        detections = detections.with_classes(find_yolo_paths(YoloSource(path=str(like))).names, str(like))
    numbers = {name: number for number, name in enumerate(detections.classes)}
    rows = {str(key[0]): part for key, part in detections.boxes.group_by("item", maintain_order=True)}
    paths = _label_files(detections.images, folder)
    for item, width, height in detections.images.select("item", "width_px", "height_px").iter_rows():
        write_text(paths[item], "".join(_lines(rows.get(item), numbers, (width, height))))
    write_text(folder / CLASSES_FILE, "".join(f"{name}\n" for name in detections.classes))
    return [*paths.values(), folder / CLASSES_FILE]


def _label_files(images: pl.DataFrame, folder: Path) -> dict[str, Path]:
    """Return the label file of each image by its item."""
    items: dict[Path, str] = {}
    for item, file in images.select("item", "file").iter_rows():
        path = folder / LABEL_FOLDER / f"{name_without_ending(item, file).removeprefix(_IMAGE_FOLDER)}.txt"
        if path in items:
            raise DataError(f"{item} and {items[path]} would have the same label file, {path.name}; rename one.")
        items[path] = item
    return {item: path for path, item in items.items()}


def _lines(boxes: pl.DataFrame | None, numbers: dict[str, int], size: tuple[int, int]) -> list[str]:
    if boxes is None:
        return []
    columns = boxes.select("predicted_class", "x_px", "y_px", "width_px", "height_px", "confidence")
    lines = []
    for label, x, y, width, height, confidence in columns.iter_rows():
        shares = ((x + width / 2) / size[0], (y + height / 2) / size[1], width / size[0], height / size[1])
        lines.append(" ".join([str(numbers[label]), *(f"{share:.6f}" for share in shares), f"{confidence:.6f}"]) + "\n")
    return lines
