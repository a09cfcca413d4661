"""Where a number goes: a random place, clear of the others unless overlap is wanted."""

from collections.abc import Sequence

import numpy as np

from assay.boxes import Box

GAP_PX = 2
"""Least distance between numbers, so that their soft edges do not meet."""

_QUICK_TRIES = 20


def draw_place(
    size: tuple[int, int], taken: Sequence[Box], image_size: tuple[int, int], rng: np.random.Generator
) -> Box | None:
    """Draw a box of ``size`` inside the image and clear of the taken ones, all such places equally likely.

    Args:
        size: Width and height of the box, at most those of the image.
        taken: Boxes to keep clear of.
        image_size: Width and height of the image.
        rng: Source of randomness.

    Returns:
        The box, or None when there is no room.
    """
    for _ in range(_QUICK_TRIES):
        x_px = int(rng.integers(0, image_size[0] - size[0], endpoint=True))
        y_px = int(rng.integers(0, image_size[1] - size[1], endpoint=True))
        box = Box(x_px, y_px, *size)
        if not any(box.overlaps(other, GAP_PX) for other in taken):
            return box
    return _draw_from_all(size, taken, image_size, rng)


def _draw_from_all(
    size: tuple[int, int], taken: Sequence[Box], image_size: tuple[int, int], rng: np.random.Generator
) -> Box | None:
    """Draw from the list of all free places: slow, but finds the last one."""
    width, height = size
    free = np.ones((image_size[1] - height + 1, image_size[0] - width + 1), bool)  # [y, x] of the upper left corner
    for other in taken:
        left, top, right, bottom = other.edges
        top, left = max(0, top - height - GAP_PX + 1), max(0, left - width - GAP_PX + 1)
        free[top : bottom + GAP_PX, left : right + GAP_PX] = False
    places = np.flatnonzero(free)
    if not len(places):
        return None
    y_px, x_px = divmod(int(rng.choice(places)), free.shape[1])
    return Box(x_px, y_px, width, height)
