"""What is learned about whole images: the class of every pixel, or boxes with their classes.

Belongs here: classes of masks and boxes, saved with the weights. Does not belong here: reading masks and boxes
(``scene_truth``), losses.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import torch
from PIL import Image
from torch import Tensor

from assay.datasets.mask_classes import indices_of, read_meanings, read_values
from assay.datasets.schema import CLASS, MASK_CLASSES_FILE, OBJECTS_FILE, mask_root_of
from assay.errors import DataError
from assay.images.masks import MaskValues, regions_by_class
from assay.spec.base import Section
from assay.spec.classes import ClassDescription, DataDescription, classes_of_labels, unknown_subclasses
from assay.storage.parquet import read_parquet
from assay.training.data import DataSource
from assay.training.tasks.images import reduced_size
from assay.utils.concurrency import map_in_order, usable_cores


class SceneTarget(Section):
    """Classes of what is in an image."""

    classes: tuple[str, ...]
    """Classes in the order of the outputs."""
    mapping: dict[str, str]
    """Class of each label; objects of other labels are not looked for."""

    @property
    def column(self) -> str:
        """Column of the labels."""
        return "label"

    def index_of(self, label: str | None) -> int | None:
        """Return the place of a label's class, None for labels that are not looked for."""
        name = self.mapping.get(label or "")
        return None if name is None else self.classes.index(name)


class MaskTarget(SceneTarget):
    """The class of every pixel; class 0 of the outputs is the background."""

    kind: Literal["masks"] = "masks"
    """masks."""
    least_middle: float = 0.0
    """Probability of an object's middle near a pixel without which it is background; 0: any."""

    @property
    def output_count(self) -> int:
        """Outputs that the network needs for each pixel: the background, and one per class."""
        return 1 + len(self.classes)


class BoxTarget(SceneTarget):
    """Boxes and their classes."""

    kind: Literal["boxes"] = "boxes"
    """boxes."""

    @property
    def output_count(self) -> int:
        """Outputs that the network needs for each cell: one per class, and the distances to four edges."""
        return len(self.classes) + 4


def scene_classes(description: DataDescription, found: Sequence[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the classes, and the class of each label of the training data that belongs to one.

    Args:
        description: Classes and mapping of the spec; without both, every label is a class.
        found: Labels of the training data, in order.

    Raises:
        DataError: The training data have no label, a class has none in them, or a subclass does not exist.
    """
    if not found:
        raise DataError("The training data show no object of any class. Look at the labels of generated_images.")
    if description.class_mapping:
        mapping = {label: description.class_mapping[label] for label in found if label in description.class_mapping}
        names = tuple(each.name for each in described(description)) or tuple(dict.fromkeys(mapping.values()))
    elif description.classes:
        classes = described(description)
        if wrong := unknown_subclasses(classes, found):
            raise DataError("data_description.classes: these are neither classes nor labels of the data.", wrong)
        names = tuple(each.name for each in classes)
        places = classes_of_labels(classes)
        mapping = {label: names[places[label][0]] for label in found if label in places}
    else:
        names, mapping = tuple(found), {label: label for label in found}
    missing = [name for name in names if name not in mapping.values()]
    if missing or not names:
        raise DataError(
            f"data_description: the training data show nothing of these classes; they show {', '.join(found)}.", missing
        )
    return names, mapping


def described(description: DataDescription) -> list[ClassDescription]:
    """Return the classes of a spec, none when they are left open."""
    return [ClassDescription.model_validate(each) for each in description.classes or ()]


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
    places = indices_of(values, known)
    counts = np.bincount(places.ravel(), minlength=1 + len(known))
    present = {value for value, count in zip(known, counts, strict=False) if count}
    classes = np.where(places == len(known), 0, places + 1)
    boxes = [box for each in regions_by_class(classes) for box in ndimage.find_objects(each.numbers)]
    return present, [float(max(rows.stop - rows.start, columns.stop - columns.start)) for rows, columns in boxes]
