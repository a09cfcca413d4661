"""Turning boxes and masks along with an image that EXIF turns upright.

Belongs here: the eight orientations. Does not belong here: deciding whether something must be turned.

Orientations are those of the EXIF standard (CIPA DC-008, tag 0x0112): 1 is upright, 2 to 4 keep width and height,
5 to 8 swap them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from assay.images.boxes import Box

Edges = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels; the last two are exclusive."""

TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image upright, by orientation."""


def swaps_sides(orientation: int) -> bool:
    """Return whether width and height change places."""
    return orientation >= 5


def turned_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return width and height after (or before) turning."""
    return (size[1], size[0]) if swaps_sides(orientation) else size


def turned_edges(edges: Edges, size: tuple[int, int], orientation: int) -> Edges:
    """Return where a box is once its image of ``size`` (width, height) is upright."""
    left, top, right, bottom = edges
    width, height = size
    if orientation in (2, 3, 7, 8):
        left, right = width - right, width - left
    if orientation in (3, 4, 6, 7):
        top, bottom = height - bottom, height - top
    return (top, left, bottom, right) if swaps_sides(orientation) else (left, top, right, bottom)


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """Return an image upright."""
    return image.transpose(TRANSPOSES[orientation]) if orientation in TRANSPOSES else image


Points = NDArray[np.float64]
"""(n, 2) corners, x and y in pixels; the first pixel reaches from 0 to 1."""


@dataclass(frozen=True)
class Polygons:
    """The parts of one object; parts may overlap."""

    parts: tuple[Points, ...]

    def mask(self, width_px: int, height_px: int) -> NDArray[np.bool_]:
        """Return the pixels of all parts as (height, width); what lies outside is cut off."""
        mask = np.zeros((height_px, width_px), np.bool_)
        for part in self.parts:
            fill(part, mask)
        return mask

    def scaled(self, factors: tuple[float, float]) -> Self:
        """Return the parts with x and y multiplied by ``factors``."""
        return type(self)(tuple(part * np.array(factors) for part in self.parts))

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of all parts, in pixels."""
        return edges_of(self.parts)


def edges_of(parts: Sequence[Points]) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of all corners."""
    corners = np.concatenate(parts)
    (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return left, top, right, bottom


def fill(points: Points, mask: NDArray[np.bool_]) -> None:
    """Set the pixels of one polygon, closed by itself, in ``mask`` of shape (height, width).

    Each side toggles what is right of it in every row whose centre it crosses, so that a pixel is inside when it was
    toggled an odd number of times: the even-odd rule, without a loop over rows.
    """
    height, width = mask.shape
    columns, rows = _crossings(points, height)
    if not len(rows):
        return
    top, bottom = rows.min(), rows.max() + 1
    toggled = np.zeros((bottom - top, width + 1), np.int32)
    np.add.at(toggled, (rows - top, np.clip(columns, 0, width)), 1)
    mask[top:bottom] |= np.cumsum(toggled, axis=1)[:, :width] % 2 == 1


def _crossings(points: Points, height: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return column and row of the first pixel right of each point where a side crosses the centre of a row."""
    start, end = points, np.roll(points, -1, axis=0)
    upper, lower = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    first = np.clip(np.ceil(upper - 0.5), 0, height).astype(np.int64)
    after = np.clip(np.ceil(lower - 0.5), 0, height).astype(np.int64)
    counts = after - first
    side = np.repeat(np.arange(len(points)), counts)
    rows = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[side]
    share = (rows + 0.5 - start[side, 1]) / (end[side, 1] - start[side, 1])
    x = start[side, 0] + share * (end[side, 0] - start[side, 0])
    limit = 2.0**31
    return np.ceil(np.clip(x, -limit, limit) - 0.5).astype(np.int64), rows


_FIRST_CHARACTER = 48

_BITS, _VALUE, _MORE, _SIGN = 5, 0x1F, 0x20, 0x10


@dataclass(frozen=True)
class Runs:
    """A mask of ``height_px`` by ``width_px`` pixels.

    Attributes:
        counts: (n,) lengths; the first is of background and may be 0. They sum to the number of pixels.
        width_px: Width.
        height_px: Height.
    """

    counts: NDArray[np.int64]
    width_px: int
    height_px: int

    def mask(self, width_px: int, height_px: int) -> NDArray[np.bool_]:
        """Return the mask as (height, width); the arguments are the runs' own size."""
        values = np.arange(len(self.counts)) % 2 == 1
        return np.repeat(values, self.counts).reshape(width_px, height_px).T


def read_counts(counts: str | list[int]) -> NDArray[np.int64]:
    """Return the lengths of runs from either spelling.

    Raises:
        ValueError: Not a spelling of lengths that are whole and not negative.
    """
    numbers = _decompressed(counts) if isinstance(counts, str) else counts
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError("its run lengths (counts) are not whole numbers from 0 on")
    return np.array(numbers, np.int64)


def _decompressed(text: str) -> list[int]:
    counts: list[int] = []
    number = shift = 0
    for character in text:
        group = ord(character) - _FIRST_CHARACTER
        if not 0 <= group <= _VALUE | _MORE:
            raise ValueError(f"its run lengths (counts) hold {character!r}, which no compressed text has")
        number |= (group & _VALUE) << shift
        shift += _BITS
        if not group & _MORE:
            number -= (1 << shift) if group & _SIGN else 0
            counts.append(number + counts[-2] if len(counts) > 2 else number)
            number = shift = 0
    if shift:
        raise ValueError("its run lengths (counts) end within a number")
    return counts


SLACK_PX = 2.0

SLACK_SHARE = 0.05
"""A box may reach out of its image by 2 pixels or by 5% of the image's side: that much is cut off. More than that is
no inaccuracy of drawing or rounding, but another image's box or another unit."""


@dataclass(frozen=True)
class WholeBox:
    """A box, and whether something of it was cut off."""

    box: Box
    was_clipped: bool


def whole_box(edges: Edges, size: tuple[int, int]) -> WholeBox:
    """Return the box of whole pixels, at least one, nearest to ``edges`` in an image of ``size`` (width, height).

    Raises:
        ValueError: The clause that says what is wrong: no finite numbers, no area, too far outside.
    """
    if not all(math.isfinite(edge) for edge in edges):
        raise ValueError(f"its box ({_text(edges)}) holds a value that is no finite number")
    left, top, right, bottom = edges
    if right <= left or bottom <= top:
        raise ValueError(f"its box ({_text(edges)}) has no area")
    _require_near(edges, size)
    columns, rows = _inside(left, right, size[0]), _inside(top, bottom, size[1])
    if columns is None or rows is None:
        raise ValueError(f"its box ({_text(edges)}) lies outside the image of {size[0]}x{size[1]} px")
    was_clipped = left < -0.5 or top < -0.5 or right > size[0] + 0.5 or bottom > size[1] + 0.5
    return WholeBox(Box.from_edges(columns[0], rows[0], columns[1], rows[1]), was_clipped)


def _require_near(edges: Edges, size: tuple[int, int]) -> None:
    left, top, right, bottom = edges
    for low, high, side in ((left, right, size[0]), (top, bottom, size[1])):
        slack = max(SLACK_PX, SLACK_SHARE * side)
        if low < -slack or high > side + slack:
            beyond = max(-low, high - side)
            raise ValueError(
                f"its box ({_text(edges)}) reaches {beyond:.0f} px out of the image of {size[0]}x{size[1]} px"
            )


def _inside(low: float, high: float, side: int) -> tuple[int, int] | None:
    """Return the range of whole pixels, or None where nothing of it is inside."""
    if high <= 0 or low >= side:
        return None
    first = min(max(math.floor(low + 0.5), 0), side - 1)
    after = min(max(math.floor(high + 0.5), first + 1), side)
    return first, after


def _text(edges: Edges) -> str:
    left, top, right, bottom = edges
    return f"x {left:g}, y {top:g}, {right - left:g}x{bottom - top:g}"
