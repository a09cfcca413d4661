"""The sample picture for the UI: windows of the first pictures with boxes and tinted masks.

Belongs here: what a sample shows. Does not belong here: arranging samples (``assay.pictures.grid``).
"""

import numpy as np
from PIL import Image

from assay.boxes import Box
from assay.datasets.synthetic.picture import BACKGROUND_INDEX, NumberPicture
from assay.pictures.grid import class_color, draw_boxes

SAMPLES = 9
COLUMNS = 3
_WINDOW_PX = 192
_TINT = 0.35


def draw_sample(picture: NumberPicture) -> Image.Image:
    """Return a window around the picture's first number in original size: whole pictures would be too small to see."""
    window = _window(picture)
    image, mask = picture.image.crop(window.edges), picture.mask.crop(window.edges)
    inside = [number for number in picture.numbers if number.box.overlaps(window)]
    boxes = [number.box.shifted(-window.x_px, -window.y_px) for number in inside]
    return draw_boxes(_tinted(image, mask), boxes, [str(number.number) for number in inside])


def _window(picture: NumberPicture) -> Box:
    first = picture.numbers[0].box
    width, height = (min(side, _WINDOW_PX) for side in picture.image.size)
    left = first.x_px + first.width_px // 2 - width // 2
    top = first.y_px + first.height_px // 2 - height // 2
    free_x, free_y = picture.image.width - width, picture.image.height - height
    return Box(min(max(left, 0), free_x), min(max(top, 0), free_y), width, height)


def _tinted(image: Image.Image, mask: Image.Image) -> Image.Image:
    """Blend each number's class colour over its mask pixels."""
    pixels, classes = np.array(image, np.float32), np.asarray(mask)
    for index in np.unique(classes[classes != BACKGROUND_INDEX]).tolist():
        here = classes == index
        pixels[here] += _TINT * (np.array(class_color(index), np.float32) - pixels[here])
    return Image.fromarray(pixels.round().astype(np.uint8))
