"""What a model was taught, in few numbers kept beside it: all that trivial predictions know.

An evaluation on other data compares with them too; the data that the model learned from may be gone by then.

Belongs here: from training data to that table. Does not belong here: the predictions made from it.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from assay.datasets.mask_classes import IGNORED, read_meanings, read_values
from assay.datasets.schema import BACKGROUND, ITEMS_FILE, OBJECTS_FILE, mask_root_of
from assay.errors import DataError
from assay.storage.parquet import read_parquet, write_parquet
from assay.training.data import DataSource, read_subsets
from assay.training.image_targets import BoxTarget, MaskTarget
from assay.training.model_file import read_card
from assay.training.trained_model import CHOSEN

TAUGHT = "taught.parquet"

PLACE = ["x_px", "y_px", "width_px", "height_px"]

MOST_MASKS = 200
"""Training masks that are looked at: enough to know the commonest class, in constant time."""


def write_taught(model_folder: Path, source: DataSource) -> None:
    """Write taught.parquet into a model's folder.

    Args:
        model_folder: Result of the stage ``trained_model``, or what will be one.
        source: What the model learned from.

    Raises:
        DataError: The training subset has nothing to learn.
    """
    card = read_card(model_folder / CHOSEN)
    target, subset = card.target, card.section.data_train.subset
    if isinstance(target, MaskTarget):
        table = training_pixels(source.folder, subset, target)
    elif isinstance(target, BoxTarget):
        table = training_boxes(source.folder, subset, target)
    else:
        table = pl.DataFrame({"target": target.truth(read_subsets(source, [subset], target.column)[subset])})
    write_parquet(table, model_folder / TAUGHT)


def training_pixels(splits_folder: Path, subset: str, target: MaskTarget) -> pl.DataFrame:
    """Return the pixels of each class in training masks, evenly chosen: class (the background first) and pixels.

    Raises:
        DataError: There is no training mask, or one can't be read.
    """
    items = read_parquet(splits_folder / ITEMS_FILE, ["subset", "mask"])
    files = items.filter(pl.col("subset") == subset)["mask"].drop_nulls()
    if files.is_empty():
        raise DataError(f"Subset {subset!r} has no mask to make a baseline from.")
    chosen = np.unique(np.linspace(0, len(files) - 1, min(len(files), MOST_MASKS)).round().astype(int))
    meanings, root = read_meanings(splits_folder, target.classes, target.mapping), mask_root_of(splits_folder)
    pixels = np.zeros(IGNORED + 1)
    for file in files[chosen.tolist()]:
        pixels += np.bincount(meanings.apply(read_values(root / file)).ravel(), minlength=IGNORED + 1)
    return pl.DataFrame({"class": [BACKGROUND, *target.classes], "pixels": pixels[: 1 + len(target.classes)]})


def training_boxes(splits_folder: Path, subset: str, target: BoxTarget) -> pl.DataFrame:
    """Return the objects of the training images: class, and middle and size as shares of the image.

    Raises:
        DataError: There are none.
    """
    sizes = read_parquet(splits_folder / ITEMS_FILE, ["item", "width_px", "height_px"])
    found = read_objects(splits_folder, target.mapping).filter(pl.col("subset") == subset, ~pl.col("crowd"))
    if found.is_empty():
        raise DataError(f"Subset {subset!r} has no object to make a baseline from.")
    joined = found.join(sizes, on="item", suffix="_of_image")
    width, height = pl.col("width_px_of_image"), pl.col("height_px_of_image")
    return joined.select(
        "class",
        ((pl.col("x_px") + pl.col("width_px") / 2) / width).alias("x"),
        ((pl.col("y_px") + pl.col("height_px") / 2) / height).alias("y"),
        (pl.col("width_px") / width).alias("width"),
        (pl.col("height_px") / height).alias("height"),
    )


def read_objects(splits_folder: Path, classes: Mapping[str, str]) -> pl.DataFrame:
    """Return the objects of all images that are looked for: item, subset, class, place and crowd.

    Args:
        splits_folder: Result of the stage ``splits``.
        classes: Class of each label; objects of other labels are left out.
    """
    objects = read_parquet(splits_folder / OBJECTS_FILE, ["item", "subset", "label", *PLACE, "crowd"])
    known = objects.filter(pl.col("label").is_in(list(classes)))
    found = pl.col("label").replace_strict(list(classes), list(classes.values()), return_dtype=pl.String)
    return known.select("item", "subset", found.alias("class"), *PLACE, pl.col("crowd").fill_null(False))
