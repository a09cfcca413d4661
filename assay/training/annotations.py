"""The boxes and masks of whole images, read once for a training or a prediction.

Belongs here: from objects.parquet, mask_classes.parquet and mask files to tensors at the size of the reduced images.
Does not belong here: pixels of images (``tasks.images``), which classes there are (``image_targets``).
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from assay.datasets.mask_classes import IGNORED, IndexMask, indices_of, meanings_from, read_values
from assay.datasets.schema import CLASS, MASK_CLASSES_FILE, OBJECTS_FILE, mask_root_of
from assay.errors import DataError
from assay.images.decoding import MaskValues
from assay.storage.parquet import read_parquet
from assay.training.data import DataSource
from assay.training.image_targets import ImageTarget
from assay.training.interfaces import CROWD
from assay.training.tasks.images import reduced_size
from assay.utils.concurrency import map_in_order, usable_cores
from assay.utils.text import pluralize

MOST_KEPT_BYTES = 1 << 28
"""Memory for decoded masks that are needed again; masks beyond it are read a second time."""

MaskKey = tuple[Path, tuple[str, ...], tuple[tuple[str, str], ...]]
"""A mask file, and the classes and mapping of a target."""


class Annotations:
    """Boxes and masks of the images in one result.

    Tables are read at their first use and kept. A mask that was read for its labels is kept until it is read for its
    class map, and how many pixels it has of each class is remembered from then on.
    """

    def __init__(self, source: DataSource) -> None:
        self.source = source
        self._masks: dict[Path, NDArray[np.integer]] = {}
        self._kept_bytes = 0
        self._class_pixels: dict[MaskKey, NDArray[np.int64]] = {}

    @cached_property
    def objects(self) -> pl.DataFrame:
        """All rows of objects.parquet."""
        return read_parquet(self.source.folder / OBJECTS_FILE)

    @cached_property
    def mask_classes(self) -> pl.DataFrame:
        """All rows of mask_classes.parquet: value, label and role."""
        return read_parquet(self.source.folder / MASK_CLASSES_FILE)

    def keep_mask(self, path: Path, values: MaskValues) -> None:
        """Keep the values of a mask for the next call of ``class_map``, if there is memory for it."""
        # Values may be negative, so both ends of their range choose the type.
        low, high = int(values.min(initial=0)), int(values.max(initial=0))
        compact = values.astype(np.result_type(np.min_scalar_type(low), np.min_scalar_type(high)))
        if self._kept_bytes + compact.nbytes <= MOST_KEPT_BYTES:
            self._kept_bytes += compact.nbytes
            self._masks[path] = compact

    def class_map(self, path: Path, target: ImageTarget) -> IndexMask:
        """Return the class of every pixel of a mask: uint8 (h, w), 0 background, 1..k classes, 255 unknown.

        Raises:
            DataError: The mask is missing, can't be read, or has a value without meaning.
        """
        kept = self._masks.pop(path, None)
        values = read_values(path) if kept is None else kept.astype(np.int32)
        classes = meanings_from(self.mask_classes, target.classes, target.mapping).apply(values)
        self._class_pixels[_key(path, target)] = np.bincount(classes.ravel(), minlength=IGNORED + 1)
        return classes

    def class_pixels(self, path: Path, target: ImageTarget) -> NDArray[np.int64]:
        """Return how many pixels of a mask have each index of ``class_map``: (256,). Reads only masks not yet read.

        Raises:
            DataError: See ``class_map``.
        """
        if _key(path, target) not in self._class_pixels:
            self.class_map(path, target)
        return self._class_pixels[_key(path, target)]


def _key(path: Path, target: ImageTarget) -> MaskKey:
    return path, target.classes, tuple(target.mapping.items())


def objects_of(annotations: Annotations, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the annotated boxes of some items, in the order of the items."""
    return rows.select("item").join(annotations.objects, on="item", how="inner", maintain_order="left")


def boxes_of_rows(annotations: Annotations, rows: pl.DataFrame, target: ImageTarget, longest_px: int) -> list[Tensor]:
    """Return the boxes of each item: float32 (m, 5), class index, left, top, right, bottom in reduced pixels.

    Boxes with labels of no class are left out; crowd regions have the class ``CROWD``.
    """
    by_item = {str(key[0]): part for key, part in objects_of(annotations, rows).group_by("item")}
    return [
        _boxes(by_item.get(item), target, _scale(width, height, longest_px))
        for item, width, height in rows.select("item", "width_px", "height_px").iter_rows()
    ]


def _scale(width_px: int, height_px: int, longest_px: int) -> tuple[float, float]:
    width, height = reduced_size(width_px, height_px, longest_px)
    return width / width_px, height / height_px


def _boxes(objects: pl.DataFrame | None, target: ImageTarget, scale: tuple[float, float]) -> Tensor:
    if objects is None:
        return torch.zeros(0, 5)
    columns = objects.select("label", "x_px", "y_px", "width_px", "height_px", pl.col("crowd").fill_null(False))
    boxes = []
    for label, left, top, width, height, crowd in columns.iter_rows():
        index = target.index_of(label)
        if crowd or index is not None:
            class_index = float(CROWD if crowd or index is None else index)
            boxes.append((class_index, left, top, left + width, top + height))
    across, down = scale
    return torch.tensor(boxes).reshape(-1, 5) * torch.tensor([1.0, across, down, across, down])


def read_class_maps(
    annotations: Annotations, rows: pl.DataFrame, target: ImageTarget, longest_px: int, threads: int
) -> list[Tensor]:
    """Return the class of every pixel of each item: uint8 (h, w), 0 background, 1..k classes, 255 unknown.

    Raises:
        DataError: A mask is missing, can't be read, has another size than its image, or a value without meaning.
    """

    def reduced(path: Path) -> Tensor:
        classes = annotations.class_map(path, target)
        height, width = classes.shape
        size = reduced_size(width, height, longest_px)
        return torch.from_numpy(np.array(Image.fromarray(classes).resize(size, Image.Resampling.NEAREST)))

    return list(map_in_order(reduced, mask_paths(annotations.source, rows), threads))


def classes_in_masks(annotations: Annotations, rows: pl.DataFrame, target: ImageTarget) -> Iterator[str]:
    """Yield the classes that each item's mask shows, each once per item."""

    def counts(path: Path) -> NDArray[np.int64]:
        return annotations.class_pixels(path, target)

    for pixels in map_in_order(counts, mask_paths(annotations.source, rows), usable_cores()):
        yield from (name for name, count in zip(target.classes, pixels[1:], strict=False) if count)


def mask_paths(source: DataSource, rows: pl.DataFrame) -> list[Path]:
    """Return the mask file of each item.

    Raises:
        DataError: Items have none.
    """
    root = mask_root_of(source.folder)
    without = rows.filter(pl.col("mask").is_null())["item"].to_list() if "mask" in rows.columns else list(rows["item"])
    if without:
        advice = "Segmentation needs one for each: set generated_images.source.masks, or use kind masks or coco."
        raise DataError(f"{pluralize(len(without), 'image has', 'images have')} no mask. {advice}", without)
    return [root / name for name in rows["mask"]]


def labels_in_masks(annotations: Annotations, rows: pl.DataFrame, threads: int) -> tuple[list[str], list[float]]:
    """Return the labels in masks, in the order of their values, and the longer side of each region, in any order.

    Raises:
        DataError: A mask is missing or can't be read.
    """
    table = annotations.mask_classes.filter(pl.col("role") == CLASS).sort("value")
    names = dict(table.select("value", "label").iter_rows())
    present: set[int] = set()
    sides: list[float] = []

    def read(path: Path) -> tuple[MaskValues, set[int], list[float]]:
        values = read_values(path)
        return values, *_present_values(values, list(names))

    paths = mask_paths(annotations.source, rows)
    for path, (values, own_present, own_sides) in zip(paths, map_in_order(read, paths, threads), strict=True):
        annotations.keep_mask(path, values)
        present |= own_present
        sides += own_sides
    return [label for value, label in names.items() if value in present], sides


def _present_values(values: MaskValues, known: list[int]) -> tuple[set[int], list[float]]:
    """Return which of the known values occur, and the longer side in pixels of each connected region of one value."""
    from scipy import ndimage  # with scikit-image 0.2 s, which only segmentation needs
    from skimage.measure import label

    places = indices_of(values, known)
    counts = np.bincount(places.ravel(), minlength=1 + len(known))
    present = {value for value, count in zip(known, counts, strict=False) if count}
    classes = np.where(places == len(known), 0, places + 1)
    regions = label(classes, background=0, connectivity=2)  # type: ignore[no-untyped-call]
    boxes = ndimage.find_objects(regions)
    return present, [float(max(rows.stop - rows.start, columns.stop - columns.start)) for rows, columns in boxes]
