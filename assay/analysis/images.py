"""Whole images that were predicted: what the analyses of masks and boxes share."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
from PIL import Image

from assay.analysis.base import AnalysisInputs
from assay.datasets.schema import PREDICTED_ITEMS_FILE, root_of
from assay.errors import AssayError, DataError
from assay.images.decoding import DECODE_ERRORS, decode
from assay.storage.parquet import read_parquet


def read_image_boxes(inputs: AnalysisInputs) -> pl.DataFrame:
    """Return the predicted images: columns item, subset, file, mask, labelled, width_px, height_px.

    Raises:
        DataError: A column is missing.
    """
    columns = ["item", "subset", "file", "mask", "labelled", "width_px", "height_px"]
    return read_parquet(inputs.predictions.parent / PREDICTED_ITEMS_FILE, columns)


def splits_of(inputs: AnalysisInputs) -> Path:
    """Return the result folder of ``splits``.

    Raises:
        AssayError: There is none, without which masks and boxes can't be analysed.
    """
    if inputs.splits_folder is None:
        raise AssayError(
            f"The analysis of {inputs.task} reads images and their ground truth, but got no folder of splits."
        )
    return inputs.splits_folder


def open_image(inputs: AnalysisInputs, file: str) -> Image.Image:
    """Return an image in RGB, upright.

    Args:
        inputs: Where the images are.
        file: As ``predicted_items.parquet`` names it.

    Raises:
        DataError: It can't be read.
    """
    path = root_of(splits_of(inputs)) / file
    try:
        return decode(path.read_bytes()).convert("RGB")
    except DECODE_ERRORS as error:
        raise DataError(f"{path}: the image can't be read ({error}). Materialize splits again.") from error


def item_index(items: Sequence[str]) -> pl.Expr:
    """Return the index of column ``item`` among some items; null for others."""
    indices = list(range(len(items)))
    return pl.col("item").replace_strict(list(items), indices, default=None, return_dtype=pl.Int64)
