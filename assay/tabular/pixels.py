"""From an image to a few grey numbers by a true area resize.

Belongs here: the arithmetic of one image. Does not belong here: files, rows, columns.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def grey_pixels(image: Image.Image, size: tuple[int, int], border: int | None) -> NDArray[np.float32]:
    """Return the grey levels of the image at another size; each pixel is the mean of the area that it covers.

    Averages are not rounded: of a half black, half white image 3 pixels wide, the middle column is 127.5.

    Args:
        image: Mode L or RGB, any size.
        size: Width and height wanted, in pixels.
        border: Grey level beside an image of another shape, which is centred; None stretches it instead.

    Returns:
        (height, width) float32 from 0 to 255.
    """
    grey = image.convert("L").convert("F")
    if border is None:
        return np.asarray(grey.resize(size, Image.Resampling.BOX))
    inner = _fitted(grey.size, size)
    framed = Image.new("F", size, border)
    framed.paste(grey.resize(inner, Image.Resampling.BOX), ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
    return np.asarray(framed)


def _fitted(size: tuple[int, int], room: tuple[int, int]) -> tuple[int, int]:
    """Return the largest size of the same shape that fits into the room, at least one pixel each way."""
    scale = min(room[0] / size[0], room[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
