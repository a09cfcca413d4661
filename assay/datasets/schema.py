"""The tables that stages hand on: their columns, where the files that they name are, the roles of a table's columns.

Belongs here: what ``items.parquet`` and the tables beside it mean to every stage. Does not belong here: making or
dividing items.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from assay.errors import FileError, StorageError
from assay.storage.files import write_json
from assay.utils.reading import read_record

ITEMS_FILE = "items.parquet"

OBJECTS_FILE = "objects.parquet"

CROPS_FILE = "crops.parquet"

MASK_CLASSES_FILE = "mask_classes.parquet"

PREDICTIONS_FILE = "predictions.parquet"

PREDICTED_ITEMS_FILE = "predicted_items.parquet"
"""The whole images that were predicted, which need not have a row in the predictions."""

_REPORT = "report.json"

Columns = Mapping[str, pl.DataType | type[pl.DataType]]

IMAGE_ITEM_COLUMNS: Columns = {
    "item": pl.String,
    "file": pl.String,
    "mask": pl.String,
    "width_px": pl.Int32,
    "height_px": pl.Int32,
    "sha256": pl.String,
    "pixels": pl.String,
    "thumbnail": pl.Binary,
    "label": pl.String,
    "labelled": pl.Boolean,
    "folder": pl.String,
    "background": pl.String,
    "given_subset": pl.String,
}
"""One row per image. ``file`` is relative to the root, ``mask`` to the masks' root and null where there is none.

``label`` is null where boxes or masks hold the labels. ``labelled`` is false where the ground truth is unknown; a
labelled image that has neither a label nor boxes is known to be empty.
``pixels`` and ``thumbnail`` are its ``assay.images.near_duplicates.ImageSignature``, computed once, while the image is
in memory anyway.
"""

OBJECT_COLUMNS: Columns = {
    "item": pl.String,
    "object": pl.Int32,
    "label": pl.String,
    "x_px": pl.Int32,
    "y_px": pl.Int32,
    "width_px": pl.Int32,
    "height_px": pl.Int32,
    "crowd": pl.Boolean,
}
"""One row per labelled box, of pixels ``x_px … x_px + width_px - 1``; sources may add columns.

``crowd`` is true for a region of so many objects that they were not told apart: finding one there is neither right nor
wrong.
"""

MASK_CLASS_COLUMNS: Columns = {"value": pl.Int32, "label": pl.String, "role": pl.String}
"""One row per value that pixels of masks have; see ``assay.images.decoding`` for what a pixel's value is.

``role`` is ``class``, ``background`` or ``ignore`` (the true class is unknown); ``label`` is null but for classes.
"""

CLASS, BACKGROUND, IGNORE = "class", "background", "ignore"

ROW_ITEM_COLUMNS: Columns = {
    "item": pl.String,
    "sha256": pl.String,
    "label": pl.String,
    "given_subset": pl.String,
    "given_group": pl.String,
}
"""One row per row of a table."""


def root_of(folder: Path) -> Path:
    """Return the folder that ``file`` in a result's index is relative to: the root that its report names, or itself."""
    return folder / str(_report(folder).get("root", "."))


def mask_root_of(folder: Path) -> Path:
    """Return the folder that ``mask`` in a result's index is relative to: the files' root unless its report differs."""
    report = _report(folder)
    return folder / str(report.get("mask_root", report.get("root", ".")))


def _report(folder: Path) -> dict[str, Any]:
    try:
        return read_record(folder / _REPORT)
    except FileNotFoundError:
        return {}


def is_nested() -> pl.Expr:
    """Return the expression that says whether an item's folder lies below its class folder."""
    depth = pl.col("folder").str.count_matches("/", literal=True)
    return depth > pl.col("given_subset").is_not_null().cast(pl.UInt32)


TABLE_INFO_FILE = "table.json"


@dataclass(frozen=True)
class TableInfo:
    """The roles of a table's columns.

    Attributes:
        target_column: Column to predict.
        features: Columns to predict from, in the table's order.
    """

    target_column: str
    features: tuple[str, ...]

    def write(self, folder: Path) -> None:
        """Write the roles into the table's folder."""
        write_json(folder / TABLE_INFO_FILE, asdict(self))


def read_table_info(folder: Path) -> TableInfo:
    """Read the roles from a table's folder.

    Raises:
        StorageError: They are missing or damaged.
    """
    path = folder / TABLE_INFO_FILE
    try:
        content = read_record(path)
        return TableInfo(str(content["target_column"]), tuple(content["features"]))
    except (FileNotFoundError, FileError, KeyError, TypeError) as error:
        raise StorageError(f"{path} can't be read: {error!r}. Materialize the table's stage again.") from error
