"""Whole images into memory, each reduced to a longest side, never enlarged; and back to their own size.

Belongs here: pixels, and the factor between what the network sees and the file. Does not belong here: what is in them
(``scene_truth``), cutting windows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from PIL import Image
from torch import Tensor

from assay.datasets.schema import root_of
from assay.errors import DataError
from assay.images.decoding import DECODE_ERRORS, decode
from assay.images.resizing import at_most
from assay.parallel import map_in_order
from assay.training.data import DataSource


@dataclass(frozen=True)
class Scene:
    """A whole image as the network sees it.

    Attributes:
        pixels: uint8 (3, h, w).
        width_px: Width of the file's image.
        height_px: Height of the file's image.
    """

    pixels: Tensor
    width_px: int
    height_px: int

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the network per pixel of the file, along x and y; at most 1 but for rounding."""
        height, width = self.pixels.shape[1:]
        return width / self.width_px, height / self.height_px


def read_scenes(source: DataSource, rows: pl.DataFrame, longest_px: int, threads: int) -> Iterator[Scene]:
    """Yield the images of some rows in their order; memory does not grow with their number.

    Args:
        source: Result of ``splits``.
        rows: Columns item and file.
        longest_px: Longest side to which larger images are reduced.
        threads: That decode.

    Raises:
        DataError: An image can't be read; names it, and why.
    """
    root = root_of(source.folder)
    files = [root / name for name in rows["file"]]
    return map_in_order(lambda path: read_scene(path, longest_px), files, threads)


def read_scene(path: Path, longest_px: int) -> Scene:
    """Return one image, upright and in colour.

    Raises:
        DataError: It can't be read.
    """
    try:
        image = decode(path.read_bytes()).convert("RGB")
    except DECODE_ERRORS as error:
        raise DataError(f"{path}: the image can't be read ({error}). Materialize splits again.") from error
    pixels = np.array(at_most(image, longest_px))  # (h, w, 3)
    return Scene(torch.from_numpy(pixels).permute(2, 0, 1).contiguous(), *image.size)


def reduced_size(width_px: int, height_px: int, longest_px: int) -> tuple[int, int]:
    """Return width and height of an image after the reduction, as ``assay.images.resizing.at_most`` computes them."""
    longest = max(width_px, height_px)
    if longest <= longest_px:
        return width_px, height_px
    return max(1, round(width_px * longest_px / longest)), max(1, round(height_px * longest_px / longest))


def fitting_size(rows: pl.DataFrame, object_sides_px: Sequence[float], wanted_px: float) -> int:
    """Return the longest side to which images are reduced so that the median object has a wanted size.

    Args:
        rows: The training images, columns width_px and height_px.
        object_sides_px: Longer side of each object in them.
        wanted_px: Size of the median object afterwards; smaller ones are left as they are.
    """
    longest = int(rows.select(pl.max_horizontal("width_px", "height_px").max()).item())
    if not len(object_sides_px):
        return longest
    return max(32, round(longest * min(1.0, wanted_px / float(np.median(object_sides_px)))))


def enlarged(classes: Tensor, width_px: int, height_px: int) -> Tensor:
    """Return a map of class indices (h, w) uint8 at another size, by the nearest pixel."""
    image = Image.fromarray(classes.numpy()).resize((width_px, height_px), Image.Resampling.NEAREST)
    return torch.from_numpy(np.array(image))
