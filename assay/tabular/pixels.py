"""From an image to a few grey numbers by a true area resize.

Belongs here: the arithmetic of one image. Does not belong here: files, rows, columns.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from assay.images.resizing import area_resize


def grey_pixels(image: Image.Image, size: tuple[int, int], border: int | None) -> NDArray[np.float32]:
    """Return the grey levels of the image at another size; each pixel is the mean of the area that it covers.

    Averages are not rounded: a half black, half white image becomes, 3 pixels wide, columns of 0, 127.5 and 255.

    Args:
        image: Mode L or RGB, any size.
        size: Width and height wanted, in pixels.
        border: Grey level beside an image of another shape, which is centred; None stretches it instead.

    Returns:
        (height, width) float32 from 0 to 255.
    """
    grey = np.asarray(image.convert("L"), dtype=np.float32)
    if border is None:
        return area_resize(grey, size)
    width, height = _fitted(image.size, size)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    framed = np.full((size[1], size[0]), border, np.float32)
    framed[top : top + height, left : left + width] = area_resize(grey, (width, height))
    return framed


def _fitted(size: tuple[int, int], room: tuple[int, int]) -> tuple[int, int]:
    """Return the largest size of the same shape that fits into the room, at least one pixel each way."""
    scale = min(room[0] / size[0], room[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
