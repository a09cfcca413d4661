"""Polygons as masks: a pixel belongs to a polygon when its centre is inside.

Belongs here: filling. Does not belong here: where polygons come from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

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
