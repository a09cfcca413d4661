"""Whether boxes are what their format says, x, y, width and height in pixels, or another format's numbers.

Belongs here: evidence for another unit, and the question that a message asks then. Does not belong here: reading
numbers, clipping boxes (``geometry``).

A box alone can't say whether 4, 4, 18, 18 ends at 18 or at 22. Its outline can, its area, or the other boxes of the
data: where some reach out of their images, and all fit as corners, none is believed.
"""

from collections.abc import Sequence

from assay.datasets.geometry import SLACK_PX, SLACK_SHARE, Edges

SHARES = "are these shares of the image's sides (0 to 1) rather than pixels?"

CORNERS = "is this x1, y1, x2, y2 rather than x, y, width, height?"

CENTRE = "is this the box's centre, width and height rather than x, y, width, height?"

_LEAST_SIDE_PX = 3
"""In smaller images a box of one pixel at the corner is none of shares."""

_LEAST_IOU = 0.5
"""Overlap of a box with the box around its outline, below which one of them is wrong."""

_SAME_PX = 1.0

Size = tuple[int, int]
"""Width and height of an image in pixels."""


def as_corners(edges: Edges) -> Edges:
    """Return the box of the same four numbers, had they been x1, y1, x2, y2 rather than x, y, width, height."""
    left, top, right, bottom = edges
    return left, top, right - left, bottom - top


def _as_centre(edges: Edges) -> Edges:
    left, top, right, bottom = edges
    width, height = right - left, bottom - top
    return left - width / 2, top - height / 2, left + width / 2, top + height / 2


def fits(edges: Edges, size: Size) -> bool:
    """Return whether a box has an area and lies in an image of this size, or nearly."""
    left, top, right, bottom = edges
    slacks = [max(SLACK_PX, SLACK_SHARE * side) for side in size]
    is_inside = (
        left >= -slacks[0] and top >= -slacks[1] and right <= size[0] + slacks[0] and bottom <= size[1] + slacks[1]
    )
    return left < right and top < bottom and is_inside


def corners_hint(edges: Edges, size: Size) -> str:
    """Return the question, after a semicolon, whether the numbers of a box that does not fit are corners."""
    return f"; {CORNERS}" if not fits(edges, size) and fits(as_corners(edges), size) else ""


def guess_unit(boxes: Sequence[tuple[Edges, Size]], alone: Sequence[tuple[Edges, Size]]) -> str:
    """Return ``SHARES`` or ``CORNERS`` where the boxes of a data set show that they are such; else an empty text.

    Args:
        boxes: All boxes, as if they were x, y, width and height in pixels, and the sizes of their images.
        alone: Those of which nothing but the box is known, no outline.
    """
    if any(_is_share(edges, size) and not all(edge.is_integer() for edge in edges) for edges, size in boxes):
        return SHARES
    if all(fits(as_corners(edges), size) for edges, size in alone) and not all(fits(*each) for each in alone):
        return CORNERS
    return ""


def _is_share(edges: Edges, size: Size) -> bool:
    left, top, right, bottom = edges
    numbers = (left, top, right - left, bottom - top)
    is_within = min(left, top) >= -SLACK_SHARE and max(right, bottom) <= 1 + SLACK_SHARE and max(numbers) <= 1
    return min(size) >= _LEAST_SIDE_PX and left < right and top < bottom and is_within


def require_unit(edges: Edges, size: Size, guess: str, is_alone: bool) -> None:
    """Check one box against what the data set's boxes are.

    Args:
        edges: The box, as if it were x, y, width and height in pixels.
        size: Size of its image.
        guess: What ``guess_unit`` returns.
        is_alone: Whether nothing but the box is known.

    Raises:
        ValueError: The clause that asks whether it is something else.
    """
    if guess == SHARES and _is_share(edges, size):
        raise ValueError(f"its box ({_numbers(edges)}) has less than a pixel; {SHARES}")
    if guess == CORNERS and is_alone and fits(edges, size):
        raise ValueError(f"its box ({_numbers(edges)}) fits its image, but other boxes do only as corners; {CORNERS}")


def require_agreement(edges: Edges, outline: Edges) -> None:
    """Check a box against the box around its outline.

    Raises:
        ValueError: The clause that says how they contradict each other.
    """
    if _largest_difference(edges, outline) <= SLACK_PX:
        return
    readings = {CORNERS: as_corners(edges), CENTRE: _as_centre(edges)}
    guess = next((text for text, other in readings.items() if _largest_difference(other, outline) <= _SAME_PX), "")
    scaled = not guess and max(abs(edge) for edge in outline) <= 1 + SLACK_SHARE
    if guess or _iou(edges, outline) < _LEAST_IOU:
        shown = f"its box ({_numbers(edges)}) contradicts its outline, which is in ({_numbers(outline)})"
        hint = guess or (f"of the outline, {SHARES}" if scaled else "masks: false leaves outlines out")
        raise ValueError(f"{shown}; {hint}")


def _largest_difference(one: Edges, other: Edges) -> float:
    return max(abs(first - second) for first, second in zip(one, other, strict=True))


def _iou(one: Edges, other: Edges) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0.0, width) * max(0.0, height)
    areas = sum((right - left) * (bottom - top) for left, top, right, bottom in (one, other))
    return common / (areas - common) if areas > common else 0.0


def _numbers(edges: Edges) -> str:
    left, top, right, bottom = edges
    return f"x {left:g}, y {top:g}, {right - left:g}x{bottom - top:g}"
