"""Resizing by exact areas: each new pixel is the mean of exactly the area that it covers.

Pillow's box filter counts whole pixels only: from 13 to 10 pixels, some new pixels are the mean of two old ones and
some are copies of one. Here every new pixel is the weighted mean of the 1.3 old pixels that it covers.

Belongs here: the weights and the product. Does not belong here: image files, borders.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def area_resize(pixels: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return the pixels at another size; the mean of all pixels stays the same.

    Args:
        pixels: (height, width) or (height, width, channels).
        size: New width and height.

    Returns:
        float32 of the new size.
    """
    width, height = size
    rows = np.tensordot(coverage(pixels.shape[0], height), pixels, axes=1)  # (height, old width[, channels])
    resized: NDArray[np.float32] = np.tensordot(rows, coverage(pixels.shape[1], width), axes=((1,), (1,)))
    return resized if pixels.ndim == 2 else np.moveaxis(resized, 1, 2)  # (height, width[, channels])


@lru_cache(maxsize=1024)
def coverage(old: int, new: int) -> NDArray[np.float32]:
    """Return the share of each new pixel that each old pixel covers, (new, old) float32; rows sum to 1.

    From 3 old pixels to 2 new ones, the first old pixel covers 2/3 of the first new one and the second 1/3 of each.
    """
    edges = np.arange(new + 1) * (old / new)
    starts, ends = edges[:-1, None], edges[1:, None]
    pixels = np.arange(old)
    overlap = np.clip(np.minimum(ends, pixels + 1) - np.maximum(starts, pixels), 0, None)
    weights: NDArray[np.float32] = (overlap * (new / old)).astype(np.float32)
    return weights


def at_most(image: Image.Image, longest_px: int) -> Image.Image:
    """Return an L or RGB image, reduced if its longest side is longer than ``longest_px``.

    A whole factor is taken out first, by Pillow and exactly; the rest by weights, on an image that is small by then.
    """
    longest = max(image.size)
    if longest <= longest_px:
        return image
    width, height = (max(1, round(side * longest_px / longest)) for side in image.size)
    factor = longest // longest_px
    reduced = np.asarray(image.reduce(factor), dtype=np.float32)
    return Image.fromarray(area_resize(reduced, (width, height)).round().astype(np.uint8))
