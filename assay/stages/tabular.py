"""Stage ``tabular``: one row per crop with its grey pixels as columns, or the rows of the user's own table.

Reads ``splits`` and either ``crops`` or, if the source is a table, the rows.parquet of ``generated_images``. Writes
tabular.parquet, table.json (target and features) and, for crops, pictures/rows.png. Belongs here: which crops become
rows, their labels and pixels, the report. Does not belong here: the resize itself (``assay.images.resizing``), scaling
of columns (``assay.stages.normalized``).
"""

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from assay.datasets.schema import CROPS_FILE, ITEMS_FILE, TableInfo, is_nested, read_table_info
from assay.datasets.table import ROWS_FILE
from assay.errors import DataError, nearest
from assay.images.resizing import area_resize
from assay.plots.sheets import save_class_samples
from assay.spec.tabular import TabularSection
from assay.stages.crops import numeric_labels
from assay.storage.parquet import read_parquet, write_parquet
from assay.utils.concurrency import Progress, map_in_order, silent, usable_cores
from assay.utils.text import pluralize

TABULAR_FILE = "tabular.parquet"


_BATCH = 64
"""Crops per job of a thread: submitting each small image by itself would cost more than resizing it."""


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
        source_folder: Result of ``generated_images``; read only if the source is a table.
        splits_folder: Result of ``splits``.
        crops_folder: Result of ``crops``; not read if the source is a table.
        spec: How crops become rows.
        folder: Existing empty folder for the result.
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
    """Return the user's rows with the subset of each."""
    rows = read_parquet(source_folder / ROWS_FILE)
    table = items.select("item", "subset").join(rows, on="item", maintain_order="left")
    if not spec.use_dirs_as_subsets:
        table = table.with_columns(subset=pl.lit("train"))
    return table, read_table_info(source_folder)


def _table_of_crops(
    crops_folder: Path, items: pl.DataFrame, spec: TabularSection, folder: Path, progress: Progress
) -> tuple[pl.DataFrame, TableInfo]:
    """Return one row per crop, and draw some of the rows as images."""
    all_crops = read_parquet(crops_folder / CROPS_FILE)
    if all_crops.is_empty():  # the images only have masks
        return all_crops.select("item", "image", "subset", "label"), TableInfo("label", ())
    crops = chosen_crops(all_crops, items, spec)
    pixels = _read_pixels([crops_folder / file for file in crops["file"]], spec, progress)
    table = crop_table(crops, pixels, spec)
    numbered = crops.select("label", "item", file=pl.int_range(len(crops)).cast(pl.String))
    save_class_samples(numbered, lambda row: _as_image(pixels[int(row)]), folder / "pictures" / "rows.png")
    features = tuple(pixel_columns(*pixels.shape[1:]))
    return table, TableInfo("target" if "target" in table.columns else "label", features)


def chosen_crops(crops: pl.DataFrame, items: pl.DataFrame, spec: TabularSection) -> pl.DataFrame:
    """Return the crops that become rows, sorted by item, with the label that the spec asks for.

    Args:
        crops: Rows of crops.parquet.
        items: Rows of items.parquet of ``splits``, which know the folders of the crops' images.
        spec: Which crops to take, and where their label comes from.

    Raises:
        DataError: No crop is left, or the spec takes labels from file names although the boxes have labels.
    """
    taken = (
        crops
        if spec.recursive
        else crops.join(items.filter(~is_nested()), left_on="image", right_on="item", how="semi")
    )
    taken = _below(taken, spec.sub_dir)
    if taken.is_empty():
        raise DataError(
            f"tabular.recursive is false, but {pluralize(len(crops), 'crop')}, all of them, lie in folders "
            "below their class folder."
        )
    if spec.name_delimiter is not None:
        taken = _labelled_by_name(taken, spec.name_delimiter)
    return taken.sort("item")


def _below(crops: pl.DataFrame, sub_dir: str) -> pl.DataFrame:
    """Return the crops in one folder of each subset; all of them if no folder is given."""
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
    """Replace the labels with the last part of each crop's file name."""
    if (crops["item"] != crops["image"]).any():
        raise DataError(
            f"tabular.name_delimiter ({delimiter!r}) takes labels from file names, but these crops have the labels of "
            "their boxes; leave tabular.name_delimiter out."
        )
    labels = [PurePosixPath(file).stem.split(delimiter)[-1] for file in crops["file"]]
    return crops.with_columns(pl.Series("label", labels)).with_columns(number=numeric_labels(pl.Series(labels)))


def _read_pixels(paths: list[Path], spec: TabularSection, progress: Progress) -> NDArray[np.float32]:
    """Return the grey levels of all crops, (n, height, width) float32."""
    size = (spec.target_image_size.width, spec.target_image_size.height)
    pixels = np.empty((len(paths), size[1], size[0]), np.float32)

    def read(start: int) -> int:
        batch = paths[start : start + _BATCH]
        for row, path in enumerate(batch, start):
            with Image.open(path) as image:
                pixels[row] = grey_pixels(image, size, spec.border)
        return start + len(batch)

    for done in map_in_order(read, range(0, len(paths), _BATCH), usable_cores()):
        progress(done, len(paths), "crops resized")
    return pixels


def grey_pixels(image: Image.Image, size: tuple[int, int], border: int | None) -> NDArray[np.float32]:
    """Return the grey levels of the image at another size; each pixel is the mean of the area that it covers.

    Means are not rounded: at a width of 3 pixels, a half black, half white image has columns of 0, 127.5 and 255.

    Args:
        image: Image in mode L or RGB, of any size.
        size: Target width and height, in pixels.
        border: Grey level, 0 to 255, that fills up an image of another aspect ratio, which is centred; None stretches
            the image instead.

    Returns:
        (height, width) float32 from 0 to 255.
    """
    grey = np.asarray(image.convert("L"), dtype=np.float32)
    if border is None:
        return area_resize(grey, size)
    width, height = _fit_within(image.size, size)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    framed = np.full((size[1], size[0]), border, np.float32)
    framed[top : top + height, left : left + width] = area_resize(grey, (width, height))
    return framed


def _fit_within(size: tuple[int, int], limit: tuple[int, int]) -> tuple[int, int]:
    """Return the largest size of the same aspect ratio within the limit, at least one pixel wide and high."""
    scale = min(limit[0] / size[0], limit[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def crop_table(crops: pl.DataFrame, pixels: NDArray[np.float32], spec: TabularSection) -> pl.DataFrame:
    """Return the table: item, image, subset, label, target if all labels are numbers, and one column per pixel.

    Args:
        crops: The n crops that ``chosen_crops`` returned.
        pixels: Grey levels, (n, height, width) float32 from 0 to 255.
        spec: Whether rows keep their crop's subset (``use_dirs_as_subsets``) or all go to train.
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


def _as_image(pixels: NDArray[np.float32]) -> Image.Image:
    return Image.fromarray(pixels.round().astype(np.uint8))
