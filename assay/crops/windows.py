"""Where to cut: the window around a box, and its pixels even where it leaves the image.

Belongs here: geometry of one crop. Does not belong here: files, loops, labels.
"""

import math

import numpy as np
from PIL import Image

from assay.images.boxes import Box


def window_around(box: Box, size: tuple[int, int], margin: float, square: bool) -> Box:
    """Return the window to cut for a box.

    It is moved, not shrunk, to lie inside the image; only where it is larger than the image does it stand out, evenly
    on both sides.

    Args:
        box: Inside the image.
        size: Width and height of the image in pixels.
        margin: Room on each side as a share of the box's longer side.
        square: Whether width and height are the same.
    """
    room = 2 * margin * max(box.width_px, box.height_px)
    width, height = math.ceil(box.width_px + room), math.ceil(box.height_px + room)
    if square:
        width = height = max(width, height)
    left = _start(box.x_px + box.width_px / 2, width, size[0])
    top = _start(box.y_px + box.height_px / 2, height, size[1])
    return Box(left, top, width, height)


def _start(centre: float, length: int, limit: int) -> int:
    if length >= limit:
        return -((length - limit) // 2)
    return min(max(math.floor(centre - length / 2 + 0.5), 0), limit - length)


def cut(image: Image.Image, window: Box) -> Image.Image:
    """Return the window's pixels; where it stands out of the image, the image's edge pixels are repeated.

    A black border would draw a line that no object has; repeated pixels don't.
    """
    left, top, right, bottom = window.edges
    inside = (max(left, 0), max(top, 0), min(right, image.width), min(bottom, image.height))
    pixels = image.crop(inside)
    if inside == window.edges:
        return pixels
    rows, columns = (inside[1] - top, bottom - inside[3]), (inside[0] - left, right - inside[2])
    depth = [(0, 0)] if image.mode != "L" else []
    return Image.fromarray(np.pad(np.asarray(pixels), [rows, columns, *depth], mode="edge"))
