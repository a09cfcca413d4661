"""Boxes, polygons and run-length masks in pixels, and how they follow an image that EXIF turns upright.

Belongs here: EXIF orientations, filling polygons, decoding run lengths, rounding and clipping boxes. Does not belong
here: file formats, and whether something has to be turned (``annotations``).
"""

import math
import re
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from faster_coco_eval import mask_api_new_cpp
from faster_coco_eval.core import mask as coco_masks
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
"""What makes an image upright, by EXIF orientation.

Orientations are those of the EXIF standard (CIPA DC-008, tag 0x0112): 1 is upright, 2 to 4 keep width and height,
5 to 8 swap them.
"""


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return the upright width and height of an image stored as ``size``, and the stored ones of an upright image."""
    return (size[1], size[0]) if _swaps_sides(orientation) else size


def upright_edges(edges: Edges, size: tuple[int, int], orientation: int) -> Edges:
    """Return where a box lies once its image, stored as ``size`` (width, height), is upright."""
    left, top, right, bottom = edges
    width, height = size
    if orientation in (2, 3, 7, 8):
        left, right = width - right, width - left
    if orientation in (3, 4, 6, 7):
        top, bottom = height - bottom, height - top
    return (top, left, bottom, right) if _swaps_sides(orientation) else (left, top, right, bottom)


def upright_image(image: Image.Image, orientation: int) -> Image.Image:
    """Return an image that is stored with an EXIF orientation upright."""
    return image.transpose(TRANSPOSES[orientation]) if orientation in TRANSPOSES else image


def _swaps_sides(orientation: int) -> bool:
    return orientation >= 5


Points = NDArray[np.float64]
"""(n, 2) corners, x and y in pixels; the first pixel reaches from 0 to 1."""


@dataclass(frozen=True)
class Polygons:
    """The shape of one object as polygons, which may overlap."""

    parts: tuple[Points, ...]

    def mask(self, width_px: int, height_px: int) -> NDArray[np.bool_]:
        """Return the pixels of all parts as (height, width); what lies outside is cut off."""
        mask = np.zeros((height_px, width_px), np.bool_)
        for part in self.parts:
            fill_polygon(part, mask)
        return mask

    def covers(self, width_px: int, height_px: int) -> bool:
        """Return whether a mask of this size would show a pixel of any part."""
        return any(_covers_pixel(part, width_px, height_px) for part in self.parts)

    def scaled(self, factors: tuple[float, float]) -> Self:
        """Return the parts with x and y multiplied by ``factors``."""
        return type(self)(tuple(part * np.array(factors) for part in self.parts))

    @property
    def edges(self) -> Edges:
        """Box around all parts."""
        corners = np.concatenate(self.parts)
        (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        return left, top, right, bottom


_MOST_CROSSINGS = 2**22
"""Most crossings of sides and rows that are computed at once, so that no polygon takes more than some 200 MB."""


def fill_polygon(points: Points, mask: NDArray[np.bool_], most_crossings: int = _MOST_CROSSINGS) -> None:
    """Set the pixels of one polygon, closed by itself, in ``mask`` of shape (height, width).

    A polygon of very many corners is divided into a fan of polygons with the first corner: what an odd number of them
    covers is inside.

    Args:
        points: Its corners.
        mask: What is changed.
        most_crossings: Most crossings of sides and rows that are computed at once, which bounds the memory.
    """
    corners = max(2, most_crossings // mask.shape[0])
    if len(points) <= corners:
        _fill(points, mask)
        return
    inside, part = np.zeros_like(mask), np.zeros_like(mask)
    for start in range(1, len(points) - 1, corners - 1):
        part[:] = False
        _fill(np.concatenate([points[:1], points[start : start + corners]]), part)
        inside ^= part
    mask |= inside


def _fill(points: Points, mask: NDArray[np.bool_]) -> None:
    """Set the pixels of one polygon of few corners.

    A pixel belongs to the polygon when its centre is inside by the even-odd rule: each side of the polygon toggles
    what is right of it in every row whose centre it crosses. The toggled pixels of all rows, one after the other, are
    the ends of alternating runs of background and object. The last column only ends the runs of its row.
    """
    height, width = mask.shape
    columns, rows = _crossings(points, height)
    if not len(rows):
        return
    columns = np.clip(columns, 0, width)
    left, right = columns.min(), columns.max()
    top, bottom = rows.min(), rows.max() + 1
    row_length = right - left + 1
    toggled = np.sort((rows - top) * row_length + columns - left)
    lengths = np.diff(np.r_[0, toggled, (bottom - top) * row_length])
    inside = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(bottom - top, row_length)
    mask[top:bottom, left:right] |= inside[:, :-1]


def _covers_pixel(points: Points, width: int, height: int) -> bool:
    """Return whether a polygon covers the centre of any pixel in an image of this size."""
    if len(points) > max(2, _MOST_CROSSINGS // height) or _covers_pixel_in_middle(points.tolist(), width, height):
        return True  # so many corners are not worth the time
    columns, rows = _crossings(points, height)
    columns = np.clip(columns, 0, width)
    columns = columns[np.lexsort((columns, rows))]
    return bool((columns[1::2] > columns[::2]).any())


def _covers_pixel_in_middle(points: list[list[float]], width: int, height: int) -> bool:
    """Return whether a polygon covers a pixel in the row of its middle, as most do; a tenth of the time of all rows."""
    row = math.floor(sum(y for _, y in points) / len(points))
    if not 0 <= row < height:
        return False
    middle = row + 0.5
    sides = zip(points, points[1:] + points[:1], strict=True)
    crossings = sorted(
        x1 + (middle - y1) / (y2 - y1) * (x2 - x1) for (x1, y1), (x2, y2) in sides if (y1 <= middle) != (y2 <= middle)
    )
    columns = [min(max(math.ceil(min(max(x, -1.0), width + 1.0) - 0.5), 0), width) for x in crossings]
    return any(after > first for first, after in zip(columns[::2], columns[1::2], strict=True))


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


_MOST_RLE_PIXELS = 2**31 - 1
"""Largest mask that is accepted, so that no library computes with numbers that wrap around."""

_RLE_TEXT = re.compile("[0-o]*")
"""Compressed run lengths: COCO's ``maskApi.c`` writes groups of six bits as the characters from ``0`` on."""

_FIRST_UNFINISHED = "P"
"""Characters from this one on say that their number continues."""


@dataclass(frozen=True)
class RleMask:
    """The shape of one object as COCO's run lengths: alternating background and object, column by column.

    Attributes:
        counts: (n,) lengths; the first is of background and may be 0. They sum to the number of pixels.
        width_px: Width.
        height_px: Height.
    """

    counts: NDArray[np.int64]
    width_px: int
    height_px: int

    def mask(self, width_px: int, height_px: int) -> NDArray[np.bool_]:
        """Return the mask as (height, width); the arguments are the mask's own size."""
        is_object = np.arange(len(self.counts)) % 2 == 1
        return np.repeat(is_object, self.counts).reshape(width_px, height_px).T

    def covers(self, width_px: int, height_px: int) -> bool:
        """Return whether any pixel belongs to the object; the arguments are the mask's own size."""
        return bool(self.counts[1::2].any())

    @property
    def edges(self) -> Edges | None:
        """Box around the pixels of the object; None where there is none."""
        entry = {"size": [self.height_px, self.width_px], "counts": self.counts.tolist()}
        left, top, width, height = coco_masks.toBbox(
            coco_masks.frPyObjects(entry, self.height_px, self.width_px)
        ).tolist()
        return (left, top, left + width, top + height) if width * height else None


def parse_rle(counts: str | list[Any], width_px: int, height_px: int) -> RleMask:
    """Return the mask that run lengths describe, compressed to a text or written as numbers.

    Args:
        counts: As in a COCO file. Nothing is allocated before the lengths are known to fit the size.
        width_px: Width of the mask, at least 1.
        height_px: Height of the mask, at least 1.

    Raises:
        ValueError: The clause that says what is wrong: no lengths, or not those of a mask of this size.
    """
    pixels = width_px * height_px
    if pixels > _MOST_RLE_PIXELS:
        raise ValueError(f"its run lengths are of more than {_MOST_RLE_PIXELS:,} px")
    lengths = _decompressed(counts, width_px, height_px) if isinstance(counts, str) else counts
    if not all(type(length) is int and length >= 0 for length in lengths):
        raise ValueError("its run lengths (counts) are not whole numbers from 0 on")
    total = sum(lengths)  # of Python's integers, which do not wrap around
    if total != pixels:
        shown = str(total) if total <= _MOST_RLE_PIXELS else f"more than {_MOST_RLE_PIXELS}"
        raise ValueError(f"its run lengths sum to {shown}, expected {pixels} ({width_px}x{height_px} px)")
    return RleMask(np.array(lengths, np.int64), width_px, height_px)


def _decompressed(text: str, width_px: int, height_px: int) -> list[int]:
    allowed = _RLE_TEXT.match(text)
    end = allowed.end() if allowed else 0
    if end < len(text):
        raise ValueError(f"its run lengths (counts) hold {text[end]!r}, which no compressed text has")
    if text and text[-1] >= _FIRST_UNFINISHED:
        raise ValueError("its run lengths (counts) end within a number")
    try:
        entry = mask_api_new_cpp.toUncompressedRLE([{"size": [height_px, width_px], "counts": text}])[0]
    except (RuntimeError, ValueError) as error:
        size = f"{width_px * height_px} ({width_px}x{height_px} px)"
        raise ValueError(f"its run lengths (counts) are not whole numbers from 0 on with the sum {size}") from error
    lengths: list[int] = entry["counts"]
    return lengths


SLACK_PX = 2.0

SLACK_SHARE = 0.05
"""A box may reach out of its image by 2 pixels or by 5% of the image's side; that much is cut off. More is not an
inaccuracy of drawing or rounding, but the box of another image or another unit."""


@dataclass(frozen=True)
class ClippedBox:
    """A box inside its image, and whether something of it was cut off."""

    box: Box
    was_clipped: bool


def clip_box(edges: Edges, size: tuple[int, int]) -> ClippedBox:
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
    return ClippedBox(Box.from_edges(columns[0], rows[0], columns[1], rows[1]), was_clipped)


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
