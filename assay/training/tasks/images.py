"""Whole images: read into memory, reduced to a longest side but never resize_classes, and stacked to batches.

Belongs here: pixels, sizes, standardization. Does not belong here: boxes and masks (``annotations``), windows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from PIL import Image
from torch import Tensor

from assay.datasets.schema import root_of
from assay.errors import DataError
from assay.images.decoding import DECODE_ERRORS, decode
from assay.images.resizing import at_most
from assay.training.data import DataSource
from assay.training.models.backbone import STRIDE
from assay.utils.concurrency import map_in_order


@dataclass(frozen=True)
class ResizedImage:
    """A whole image at the size at which the network sees it.

    Attributes:
        pixels: uint8 (3, h, w).
        width_px: Width of the original image.
        height_px: Height of the original image.
    """

    pixels: Tensor
    width_px: int
    height_px: int

    @property
    def scale(self) -> tuple[float, float]:
        """Reduced pixels per original pixel, along x and y; at most 1 except for rounding."""
        height, width = self.pixels.shape[1:]
        return width / self.width_px, height / self.height_px


def read_images(source: DataSource, rows: pl.DataFrame, longest_px: int, threads: int) -> Iterator[ResizedImage]:
    """Yield the images of some rows in their order; memory does not grow with their number.

    Args:
        source: Result of ``splits``.
        rows: Columns item and file.
        longest_px: Longest side to which larger images are reduced.
        threads: Number of threads that decode.

    Raises:
        DataError: An image can't be read; names the file and the reason.
    """
    root = root_of(source.folder)
    files = [root / name for name in rows["file"]]
    return map_in_order(lambda path: read_image(path, longest_px), files, threads)


def read_image(path: Path, longest_px: int) -> ResizedImage:
    """Return one image, upright and in colour.

    Raises:
        DataError: It can't be read.
    """
    try:
        image = decode(path.read_bytes())
    except DECODE_ERRORS as error:
        raise DataError(f"{path}: the image can't be read ({error}). Materialize splits again.") from error
    return resized_image(image, longest_px)


def resized_image(image: Image.Image, longest_px: int) -> ResizedImage:
    """Return a decoded image in colour, reduced to a longest side but never enlarged."""
    pixels = np.array(at_most(image.convert("RGB"), longest_px))  # (h, w, 3)
    return ResizedImage(torch.from_numpy(pixels).permute(2, 0, 1).contiguous(), *image.size)


def reduced_size(width_px: int, height_px: int, longest_px: int) -> tuple[int, int]:
    """Return width and height of an image after the reduction, as ``assay.images.resizing.at_most`` computes them."""
    longest = max(width_px, height_px)
    if longest <= longest_px:
        return width_px, height_px
    return max(1, round(width_px * longest_px / longest)), max(1, round(height_px * longest_px / longest))


def fitting_size(rows: pl.DataFrame, object_sides_px: Sequence[float], target_px: float) -> int:
    """Return the longest side to which images are reduced so that the median object has a given size.

    Args:
        rows: The training images, columns width_px and height_px.
        object_sides_px: Longer side of each object in them.
        target_px: Size of the median object afterwards; smaller objects are not resize_classes.
    """
    longest = int(rows.select(pl.max_horizontal("width_px", "height_px").max()).item())
    if not len(object_sides_px):
        return longest
    return max(32, round(longest * min(1.0, target_px / float(np.median(object_sides_px)))))


def resize_classes(classes: Tensor, width_px: int, height_px: int) -> Tensor:
    """Return a map of class indices (h, w) uint8 at another size, by the nearest pixel."""
    image = Image.fromarray(classes.numpy()).resize((width_px, height_px), Image.Resampling.NEAREST)
    return torch.from_numpy(np.array(image))


EPSILON = 0.05
"""Added to the standard deviation (white = 1), so that noise in a nearly uniform image is not amplified."""

PIXELS_AT_ONCE = 2_000_000
"""Largest number of pixels in a batch of whole images, unless a single image has more: memory grows with it."""


class Levels(NamedTuple):
    """What is subtracted from an image's values, and what they are then divided by; white is 255."""

    mean: float
    spread: float


def levels_of(pixels: Tensor, standardize: bool) -> Levels:
    """Return the levels that standardize an image (3, h, w) uint8, or that scale it to 0 to 1."""
    if not standardize:
        return Levels(0.0, 255.0)
    counts = torch.bincount(pixels.flatten(), minlength=256).cpu().double()  # a ninth of the time of torch.std_mean
    values = torch.arange(256).double()
    mean = counts @ values / counts.sum()
    variance = counts @ (values - mean).square() / max(1, pixels.numel() - 1)
    return Levels(mean.item(), variance.sqrt().item() + 255 * EPSILON)


def image_batch(images: Sequence[Tensor], standardize: bool) -> Tensor:
    """Return images as a batch for the network: (B, 3, H, W) float32, channels-last, sides multiples of 16.

    Each image lies in the top left corner; the padding is 0, the mean of a standardized image.

    Args:
        images: uint8 (3, h, w) of any sizes.
        standardize: Give each image mean 0 and standard deviation 1.
    """
    height, width = (-(-max(image.shape[axis] for image in images) // STRIDE) * STRIDE for axis in (1, 2))
    batch = torch.zeros(len(images), 3, height, width, device=images[0].device)
    batch = batch.contiguous(memory_format=torch.channels_last)
    for row, image in enumerate(images):
        mean, spread = levels_of(image, standardize)
        batch[row, :, : image.shape[1], : image.shape[2]].copy_(image).sub_(mean).div_(spread)
    return batch


def split_images(images: Sequence[Tensor], batch_size: int, max_pixels: int = PIXELS_AT_ONCE) -> Iterator[slice]:
    """Yield consecutive parts of a list of images, none with more than ``batch_size`` or too many pixels."""
    first = 0
    while first < len(images):
        end, height, width = first, 0, 0
        while end < len(images) and end - first < batch_size:
            height, width = (max(side, images[end].shape[axis]) for side, axis in ((height, 1), (width, 2)))
            if end > first and (end + 1 - first) * height * width > max_pixels:
                break
            end += 1
        yield slice(first, end)
        first = end
