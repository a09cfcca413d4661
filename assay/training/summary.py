"""The training summary ``taught.parquet``: what trivial baselines need to know about the training data.

It is kept beside the model, because an evaluation compares other data with the same baselines, and the training data
may be gone by then.

Belongs here: from training data to that table. Does not belong here: the baselines.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from assay.datasets.mask_classes import IGNORED
from assay.datasets.schema import BACKGROUND, OBJECTS_FILE
from assay.errors import DataError
from assay.storage.parquet import read_parquet
from assay.training.annotations import Annotations, mask_paths
from assay.training.image_targets import BoxTarget, MaskTarget
from assay.training.model_card import AnyTarget

TRAINING_SUMMARY = "taught.parquet"

PLACE = ["x_px", "y_px", "width_px", "height_px"]

MOST_MASKS = 200
"""Training masks that are counted: enough to find the most frequent class, in constant time."""


def training_summary(annotations: Annotations, target: AnyTarget, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the content of taught.parquet.

    Args:
        annotations: Boxes and masks of whole images; not read for targets of items.
        target: What the model predicts.
        rows: The training rows.

    Raises:
        DataError: There is no training mask or object.
    """
    if isinstance(target, MaskTarget):
        return training_pixels(annotations, target, rows)
    if isinstance(target, BoxTarget):
        return training_boxes(annotations, target, rows)
    return pl.DataFrame({"target": target.ground_truth(rows)})


def training_pixels(annotations: Annotations, target: MaskTarget, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the pixels of each class in evenly chosen training masks: class (the background first) and pixels.

    Raises:
        DataError: There is no training mask, or one can't be read.
    """
    with_mask = rows.filter(pl.col("mask").is_not_null())
    if with_mask.is_empty():
        raise DataError(f"Subset {rows['subset'].first()!r} has no mask to make a baseline from.")
    chosen = np.unique(np.linspace(0, len(with_mask) - 1, min(len(with_mask), MOST_MASKS)).round().astype(int))
    pixels = np.zeros(IGNORED + 1)
    for path in mask_paths(annotations.source, with_mask[chosen.tolist()]):
        pixels += annotations.class_pixels(path, target)
    return pl.DataFrame({"class": [BACKGROUND, *target.classes], "pixels": pixels[: 1 + len(target.classes)]})


def training_boxes(annotations: Annotations, target: BoxTarget, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the objects of the training images: class, and center and size as shares of the image.

    Raises:
        DataError: There are none.
    """
    objects = objects_of_classes(annotations.objects, target.mapping).filter(~pl.col("crowd"))
    sizes = rows.select("item", "width_px", "height_px")
    joined = objects.join(sizes, on="item", suffix="_of_image", maintain_order="left")
    if joined.is_empty():
        raise DataError(f"Subset {rows['subset'].first()!r} has no object to make a baseline from.")
    width, height = pl.col("width_px_of_image"), pl.col("height_px_of_image")
    return joined.select(
        "class",
        ((pl.col("x_px") + pl.col("width_px") / 2) / width).alias("x"),
        ((pl.col("y_px") + pl.col("height_px") / 2) / height).alias("y"),
        (pl.col("width_px") / width).alias("width"),
        (pl.col("height_px") / height).alias("height"),
    )


def read_objects(splits_folder: Path, classes: Mapping[str, str]) -> pl.DataFrame:
    """Read the objects of all images that belong to a class: item, subset, class, place and crowd.

    Args:
        splits_folder: Result of the stage ``splits``.
        classes: Class of each label; objects with other labels are left out.
    """
    columns = ["item", "subset", "label", *PLACE, "crowd"]
    return objects_of_classes(read_parquet(splits_folder / OBJECTS_FILE, columns), classes)


def objects_of_classes(objects: pl.DataFrame, classes: Mapping[str, str]) -> pl.DataFrame:
    """Return the rows of objects.parquet that belong to a class: item, subset, class, place and crowd."""
    known = objects.filter(pl.col("label").is_in(list(classes)))
    names = pl.col("label").replace_strict(list(classes), list(classes.values()), return_dtype=pl.String)
    return known.select("item", "subset", names.alias("class"), *PLACE, pl.col("crowd").fill_null(False))
