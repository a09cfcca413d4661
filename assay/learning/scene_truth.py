"""What is in whole images, as tensors that go with their reduced pixels: boxes, and maps of classes.

Belongs here: from the index and mask files to tensors. Does not belong here: pixels (``scenes``), which classes there
are (``scene_targets``).
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import torch
from PIL import Image
from torch import Tensor

from assay.datasets.mask_classes import places_of, read_meanings, read_values
from assay.datasets.schema import CLASS, MASK_CLASSES_FILE, OBJECTS_FILE, mask_root_of
from assay.errors import DataError
from assay.images.masks import MaskValues, regions_by_class
from assay.parallel import map_in_order, usable_cores
from assay.storage.parquet import read_parquet
from assay.training.data import DataSource
from assay.training.image_targets import SceneTarget
from assay.training.tasks.images import reduced_size

CROWD = -2.0
"""Class of a region in which nothing is right or wrong."""


def objects_of(source: DataSource, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the labelled boxes of some items, in the order of the items."""
    objects = read_parquet(source.folder / OBJECTS_FILE)
    return rows.select("item").join(objects, on="item", how="inner", maintain_order="left")


def read_boxes(source: DataSource, rows: pl.DataFrame, target: SceneTarget, longest_px: int) -> list[Tensor]:
    """Return the boxes of each item: float32 (m, 5), class index, left, top, right, bottom in reduced pixels.

    Boxes of labels that are not looked for are left out; crowd regions have the class ``CROWD``.
    """
    objects = objects_of(source, rows)
    by_item = {str(key[0]): part for key, part in objects.group_by("item")}
    return [
        _boxes(by_item.get(item), target, _scale(width, height, longest_px))
        for item, width, height in rows.select("item", "width_px", "height_px").iter_rows()
    ]


def _scale(width_px: int, height_px: int, longest_px: int) -> tuple[float, float]:
    width, height = reduced_size(width_px, height_px, longest_px)
    return width / width_px, height / height_px


def _boxes(objects: pl.DataFrame | None, target: SceneTarget, scale: tuple[float, float]) -> Tensor:
    if objects is None:
        return torch.zeros(0, 5)
    columns = objects.select("label", "x_px", "y_px", "width_px", "height_px", pl.col("crowd").fill_null(False))
    boxes = []
    for label, left, top, width, height, crowd in columns.iter_rows():
        index = target.index_of(label)
        if crowd or index is not None:
            place = CROWD if crowd or index is None else float(index)
            boxes.append((place, left, top, left + width, top + height))
    across, down = scale
    return torch.tensor(boxes).reshape(-1, 5) * torch.tensor([1.0, across, down, across, down])


def read_class_maps(
    source: DataSource, rows: pl.DataFrame, target: SceneTarget, longest_px: int, threads: int
) -> list[Tensor]:
    """Return the class of every pixel of each item: uint8 (h, w), 0 background, 1..k classes, 255 unknown.

    Raises:
        DataError: A mask is missing, can't be read, has another size than its image, or a value without meaning.
    """
    meaning = read_meanings(source.folder, target.classes, target.mapping)

    def reduced(values: MaskValues) -> Tensor:
        height, width = values.shape
        image = Image.fromarray(meaning.apply(values))
        size = reduced_size(width, height, longest_px)
        return torch.from_numpy(np.array(image.resize(size, Image.Resampling.NEAREST)))

    paths = mask_paths(source, rows)
    return list(map_in_order(lambda path: reduced(read_values(path)), paths, threads))


def classes_in_masks(source: DataSource, rows: pl.DataFrame, target: SceneTarget) -> Iterator[str]:
    """Yield the classes that each item's mask shows, each once per item."""
    meaning = read_meanings(source.folder, target.classes, target.mapping)

    def shown(path: Path) -> list[str]:
        counts = np.bincount(meaning.apply(read_values(path)).ravel(), minlength=1 + len(target.classes))
        return [name for name, count in zip(target.classes, counts[1:], strict=False) if count]

    for names in map_in_order(shown, mask_paths(source, rows), usable_cores()):
        yield from names


def mask_paths(source: DataSource, rows: pl.DataFrame) -> list[Path]:
    """Return the mask file of each item.

    Raises:
        DataError: Items have none.
    """
    root = mask_root_of(source.folder)
    without = rows.filter(pl.col("mask").is_null())["item"].to_list() if "mask" in rows.columns else list(rows["item"])
    if without:
        advice = "Segmentation needs one for each: set generated_images.source.masks, or use kind masks or coco."
        raise DataError(f"{len(without)} image(s) have no mask. {advice}", without)
    return [root / name for name in rows["mask"]]


def labels_in_masks(source: DataSource, rows: pl.DataFrame, threads: int) -> tuple[list[str], list[float]]:
    """Return the labels that masks show, in the order of their values, and the longer side of each coherent region.

    Raises:
        DataError: A mask is missing or can't be read.
    """
    table = read_parquet(source.folder / MASK_CLASSES_FILE).filter(pl.col("role") == CLASS).sort("value")
    names = dict(table.select("value", "label").iter_rows())
    shown: set[int] = set()
    sides: list[float] = []
    for present, found in map_in_order(
        lambda path: _regions(read_values(path), names), mask_paths(source, rows), threads
    ):
        shown |= present
        sides += found
    return [label for value, label in names.items() if value in shown], sides


def _regions(values: MaskValues, names: dict[int, str]) -> tuple[set[int], list[float]]:
    from scipy import ndimage  # 0.2 s, which only segmentation needs

    known = list(names)
    places = places_of(values, known)
    counts = np.bincount(places.ravel(), minlength=1 + len(known))
    present = {value for value, count in zip(known, counts, strict=False) if count}
    classes = np.where(places == len(known), 0, places + 1)
    boxes = [box for each in regions_by_class(classes) for box in ndimage.find_objects(each.numbers)]
    return present, [float(max(rows.stop - rows.start, columns.stop - columns.start)) for rows, columns in boxes]
