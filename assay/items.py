"""The index of items that stages hand on: its columns, where its files are, which items are nested.

Belongs here: what ``items.parquet`` means to every stage. Does not belong here: making or dividing items.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import polars as pl

ITEMS_FILE = "items.parquet"
OBJECTS_FILE = "objects.parquet"
CROPS_FILE = "crops.parquet"
_REPORT = "report.json"

Columns = Mapping[str, pl.DataType | type[pl.DataType]]

IMAGE_ITEM_COLUMNS: Columns = {
    "item": pl.String,
    "file": pl.String,
    "width_px": pl.Int32,
    "height_px": pl.Int32,
    "sha256": pl.String,
    "pixels": pl.String,
    "thumbnail": pl.Binary,
    "label": pl.String,
    "folder": pl.String,
    "background": pl.String,
    "given_subset": pl.String,
}
"""One row per image. ``file`` is relative to the root; ``label`` is null where boxes hold the labels.

``pixels`` and ``thumbnail`` are its ``assay.looks.Look``, taken once, while the image is in memory.
"""

OBJECT_COLUMNS: Columns = {
    "item": pl.String,
    "object": pl.Int32,
    "label": pl.String,
    "x_px": pl.Int32,
    "y_px": pl.Int32,
    "width_px": pl.Int32,
    "height_px": pl.Int32,
}
"""One row per labelled box, of pixels ``x_px … x_px + width_px - 1``; sources may add columns."""

ROW_ITEM_COLUMNS: Columns = {
    "item": pl.String,
    "sha256": pl.String,
    "label": pl.String,
    "given_subset": pl.String,
    "given_group": pl.String,
}
"""One row per row of a table."""


def root_of(folder: Path) -> Path:
    """Return the folder that ``file`` in a result's index is relative to: as its report says, or itself."""
    report = folder / _REPORT
    root = json.loads(report.read_text(encoding="utf-8")).get("root", ".") if report.is_file() else "."
    return folder / str(root)


def is_nested() -> pl.Expr:
    """Return whether an item's folder lies below its class folder."""
    depth = pl.col("folder").str.count_matches("/", literal=True)
    return depth > pl.col("given_subset").is_not_null().cast(pl.UInt32)
