"""Rows from crops: which crops, with which labels, as which columns.

Belongs here: choosing and labelling crops, the shape of the table. Does not belong here: resizing, files.
"""

from pathlib import PurePosixPath

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assay.crops.boxes_of_items import numeric_labels
from assay.datasets.schema import is_nested
from assay.errors import DataError, nearest
from assay.spec.tabular import TabularSection


def chosen_crops(crops: pl.DataFrame, items: pl.DataFrame, spec: TabularSection) -> pl.DataFrame:
    """Return the crops that become rows, sorted by item, with the label that the spec wants.

    Args:
        crops: As the stage ``crops`` wrote them.
        items: Of ``splits``: where the crops' images come from.
        spec: Which crops, which label.

    Raises:
        DataError: No crop is left, or labels from names where boxes hold them.
    """
    taken = (
        crops
        if spec.recursive
        else crops.join(items.filter(~is_nested()), left_on="image", right_on="item", how="semi")
    )
    taken = _below(taken, spec.sub_dir)
    if taken.is_empty():
        raise DataError(
            f"tabular.recursive is false, but all {len(crops)} crops are in folders below their class folder."
        )
    if spec.name_delimiter is not None:
        taken = _labelled_by_name(taken, spec.name_delimiter)
    return taken.sort("item")


def _below(crops: pl.DataFrame, sub_dir: str) -> pl.DataFrame:
    if not sub_dir:
        return crops
    taken = crops.filter(pl.col("file").str.starts_with(pl.format("{}/{}/", pl.col("subset"), pl.lit(sub_dir))))
    if taken.is_empty():
        folders = {str(PurePosixPath(*PurePosixPath(file).parts[1:-1])) for file in crops["file"]} - {"."}
        guess = nearest(sub_dir, folders)
        hint = f"Did you mean {guess!r}?" if guess else f"Folders there: {', '.join(sorted(folders)[:10]) or 'none'}."
        raise DataError(f"tabular.sub_dir {sub_dir!r}: no crop lies in this folder of any subset. {hint}")
    return taken


def _labelled_by_name(crops: pl.DataFrame, delimiter: str) -> pl.DataFrame:
    if (crops["item"] != crops["image"]).any():
        raise DataError(
            f"tabular.name_delimiter ({delimiter!r}) takes labels from file names, but these crops have the labels of "
            "their boxes; leave tabular.name_delimiter out."
        )
    labels = [PurePosixPath(file).stem.split(delimiter)[-1] for file in crops["file"]]
    return crops.with_columns(pl.Series("label", labels)).with_columns(number=numeric_labels(pl.Series(labels)))


def crop_table(crops: pl.DataFrame, pixels: NDArray[np.float32], spec: TabularSection) -> pl.DataFrame:
    """Return the table: item, image, subset, label, target where labels are numbers, and one column per pixel.

    Args:
        crops: (n) rows of ``chosen_crops``.
        pixels: (n, height, width) grey levels.
        spec: Whether the crops' folders are the subsets.
    """
    rows = crops.select("item", "image", "subset", "label", target="number")
    if rows["target"].null_count():
        rows = rows.drop("target")
    if not spec.use_dirs_as_subsets:
        rows = rows.with_columns(subset=pl.lit("train"))
    columns = np.ascontiguousarray(pixels.reshape(len(pixels), -1).T)
    return rows.with_columns(
        pl.Series(name, column) for name, column in zip(pixel_columns(*pixels.shape[1:]), columns, strict=True)
    )


def pixel_columns(height: int, width: int) -> list[str]:
    """Return the names of the pixel columns, row by row from the top left."""
    return [f"px_{row}_{column}" for row in range(height) for column in range(width)]
