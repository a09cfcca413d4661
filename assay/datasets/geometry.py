"""Turning boxes and masks along with an image that EXIF turns upright.

Belongs here: the eight orientations. Does not belong here: deciding whether something must be turned.

Orientations are those of the EXIF standard (CIPA DC-008, tag 0x0112): 1 is upright, 2 to 4 keep width and height,
5 to 8 swap them.
"""

from PIL import Image

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
