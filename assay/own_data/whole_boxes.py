"""From edges as people write them to boxes of whole pixels inside their image.

Belongs here: rounding, clipping, and what is too wrong for it. Does not belong here: any file format.
"""

import math
from dataclasses import dataclass

from assay.boxes import Box
from assay.datasets.geometry import Edges

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
