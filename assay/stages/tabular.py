"""Building the result folder of a table, from crops or from the user's own table.

Belongs here: the steps and the report. Does not belong here: arithmetic on pixels, the choice of crops.
"""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from assay.datasets.schema import CROPS_FILE, ITEMS_FILE, TableInfo, read_table_info
from assay.datasets.table import ROWS_FILE
from assay.errors import DataError
from assay.parallel import map_in_order, usable_cores
from assay.plots.sheets import save_class_samples
from assay.progress import Progress, silent
from assay.spec.tabular import TabularSection
from assay.tables import read_parquet, write_parquet
from assay.tabular.crop_rows import chosen_crops, crop_table, pixel_columns
from assay.tabular.pixels import grey_pixels

TABULAR_FILE = "tabular.parquet"
_PIECE = 64
"""Crops per job: handing over each small image by itself would cost more than resizing it."""


def build_tabular(
    source_folder: Path,
    splits_folder: Path,
    crops_folder: Path | None,
    spec: TabularSection,
    folder: Path,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Write tabular.parquet and table.json (target and features), and return statistics about the table.

    Args:
        source_folder: Result of ``generated_images``; read only when it is a table.
        splits_folder: Result of ``splits``.
        crops_folder: Result of ``crops``; not read when the source is a table.
        spec: How crops become rows.
        folder: Existing empty folder.
        progress: Called while crops are resized.

    Raises:
        DataError: No row is left, or crops are needed and not given.
    """
    items = read_parquet(splits_folder / ITEMS_FILE)
    if "file" not in items.columns:
        table, info = _own_table(source_folder, items, spec)
    elif crops_folder is None:
        raise DataError("tabular needs crops, because the source is images; materialize crops first.")
    else:
        table, info = _table_of_crops(crops_folder, items, spec, folder, progress)
    write_parquet(table, folder / TABULAR_FILE)
    info.write(folder)
    return {
        "rows": len(table),
        "columns": len(table.columns),
        "features": len(info.features),
        "target_column": info.target_column,
        "rows_per_subset": dict(table["subset"].value_counts().sort("subset").iter_rows()),
    }


def _own_table(source_folder: Path, items: pl.DataFrame, spec: TabularSection) -> tuple[pl.DataFrame, TableInfo]:
    rows = read_parquet(source_folder / ROWS_FILE)
    table = items.select("item", "subset").join(rows, on="item", maintain_order="left")
    if not spec.use_dirs_as_subsets:
        table = table.with_columns(subset=pl.lit("train"))
    return table, read_table_info(source_folder)


def _table_of_crops(
    crops_folder: Path, items: pl.DataFrame, spec: TabularSection, folder: Path, progress: Progress
) -> tuple[pl.DataFrame, TableInfo]:
    cut = read_parquet(crops_folder / CROPS_FILE)
    if cut.is_empty():  # images that only have masks
        return cut.select("item", "image", "subset", "label"), TableInfo("label", ())
    crops = chosen_crops(cut, items, spec)
    pixels = _read_pixels([crops_folder / file for file in crops["file"]], spec, progress)
    table = crop_table(crops, pixels, spec)
    numbered = crops.select("label", "item", file=pl.int_range(len(crops)).cast(pl.String))
    save_class_samples(numbered, lambda row: _as_image(pixels[int(row)]), folder / "pictures" / "rows.png")
    features = tuple(pixel_columns(*pixels.shape[1:]))
    return table, TableInfo("target" if "target" in table.columns else "label", features)


def _read_pixels(paths: list[Path], spec: TabularSection, progress: Progress) -> NDArray[np.float32]:
    """Return the grey levels of all crops, (n, height, width) float32."""
    size = (spec.target_image_size.width, spec.target_image_size.height)
    pixels = np.empty((len(paths), size[1], size[0]), np.float32)

    def read(start: int) -> int:
        piece = paths[start : start + _PIECE]
        for row, path in enumerate(piece, start):
            with Image.open(path) as image:
                pixels[row] = grey_pixels(image, size, spec.border)
        return start + len(piece)

    for done in map_in_order(read, range(0, len(paths), _PIECE), usable_cores()):
        progress(done, len(paths), "crops resized")
    return pixels


def _as_image(pixels: NDArray[np.float32]) -> Image.Image:
    return Image.fromarray(pixels.round().astype(np.uint8))
