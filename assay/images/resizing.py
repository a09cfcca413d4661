"""Resizing by exact areas: each new pixel is the mean of exactly the area that it covers.

Pillow's box filter counts whole pixels only: from 13 to 10 pixels, some new pixels are the mean of two old ones and
some are copies of one. Here every new pixel is the weighted mean of the 1.3 old pixels that it covers.

Belongs here: the weights and the product. Does not belong here: image files, borders.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def area_resize(pixels: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return the pixels at another size; the mean of all pixels stays the same.

    Grey levels are whole numbers and so are the weights, so every sum is a whole number and exact in whatever order
    a processor adds; the one division at the end rounds. The same image therefore gives the same bytes everywhere.

    Args:
        pixels: (height, width) or (height, width, channels), whole numbers from 0 to 255; others work, inexactly.
        size: New width and height.

    Returns:
        float32 of the new size.
    """
    width, height = size
    old_height, old_width = pixels.shape[:2]
    # Over all pixels float32 is the faster one, and exact for the sums of columns of up to 65,793 pixels.
    exact = pixels if 255 * old_height < 2**24 else pixels.astype(np.float64)
    rows = _covered(exact, height)  # (height, old width[, channels])
    turned = np.ascontiguousarray(np.swapaxes(rows, 0, 1), dtype=np.float64)  # whole lines: in a quarter of the time
    totals = _covered(turned, width)  # (width, height[, channels])
    totals /= old_height * old_width
    return np.swapaxes(totals.astype(np.float32), 0, 1)


def _covered(pixels: NDArray[Any], new: int) -> NDArray[Any]:
    """Return the weighted sums of what each new pixel covers of the first axis: a few old ones, not all of them."""
    places, weights = _bands(len(pixels), new)
    shape = (new, *(1 for _ in pixels.shape[1:]))
    total = np.zeros((new, *pixels.shape[1:]), pixels.dtype)
    for place, weight in zip(places, weights, strict=True):
        part = pixels.take(place, axis=0)
        part *= weight.reshape(shape).astype(pixels.dtype)
        total += part
    return total


@lru_cache(maxsize=1024)
def _bands(old: int, new: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the old pixels that each new one covers, and their weights: (k, new) each; a weight may be 0."""
    covered = coverage(old, new)
    starts = np.arange(new) * old // new
    most = int((covered > 0).sum(axis=1).max())
    places = starts + np.arange(most)[:, None]
    inside = np.minimum(places, old - 1)
    return inside, np.where(places < old, covered[np.arange(new), inside], np.float32(0))


@lru_cache(maxsize=1024)
def coverage(old: int, new: int) -> NDArray[np.float32]:
    """Return how many ``new``-ths of each old pixel lie in each new one, (new, old) whole numbers; rows sum to ``old``.

    Of 3 old pixels on 2 new ones: the first new one has both halves of the first and one of the second, [2, 1, 0].
    """
    edges = np.arange(new + 1) * old
    starts, ends = edges[:-1, None], edges[1:, None]
    pixels = np.arange(old) * new
    overlap = np.minimum(ends, pixels + new) - np.maximum(starts, pixels)
    weights: NDArray[np.float32] = np.maximum(overlap, 0).astype(np.float32)
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
    reduced = np.asarray(image.reduce(factor) if factor > 1 else image, dtype=np.float32)
    return Image.fromarray(area_resize(reduced, (width, height)).round().astype(np.uint8))
