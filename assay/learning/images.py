"""Pictures into memory, all brought to one size."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from assay.errors import DataError
from assay.parallel import map_in_order

SMALL, USUAL = 16, 24
"""Sides in pixels: of networks for pictures no larger than SMALL, and of all others."""


def natural_size(rows: pl.DataFrame, folder: Path) -> int:
    """Return the side that suits the pictures: enlarging tiny ones further would only cost time.

    Args:
        rows: Column file; all are looked at, which reads no pixels.
        folder: Where the files are.
    """
    for name in rows["file"]:
        with Image.open(folder / name) as image:
            if max(image.size) > SMALL:
                return USUAL
    return SMALL


def load_images(paths: Sequence[Path], size: int, threads: int) -> Tensor:
    """Return pictures as uint8 (n, 3, size, size), reduced or enlarged to fit, with a black border to the square.

    Raises:
        DataError: Names every picture that can't be read, and why.
    """
    images = torch.empty((len(paths), 3, size, size), dtype=torch.uint8)
    problems = []
    for index, pixels in enumerate(map_in_order(lambda path: _decode(path, size), paths, threads)):
        if isinstance(pixels, str):
            problems.append(f"{paths[index]}: {pixels}")
        else:
            images[index] = torch.from_numpy(pixels).permute(2, 0, 1)
    if problems:
        raise DataError(f"{len(problems)} picture(s) can't be read. Materialize crops again.", problems)
    return images


def _decode(path: Path, size: int) -> NDArray[np.uint8] | str:
    """Return a picture as (size, size, 3), or what is wrong with it."""
    try:
        with Image.open(path) as image:
            fitted = ImageOps.pad(image.convert("RGB"), (size, size), Image.Resampling.BILINEAR)
            return np.array(fitted)
    except (OSError, UnidentifiedImageError, ValueError) as error:
        return str(error)
