"""Pictures of masks: the image, the true classes of its pixels, the predicted ones, side by side.

Belongs here: painting pixels of classes. Does not belong here: which images are shown, reading masks.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from assay.pictures.grid import class_color
from assay.plots.sheets import Colour, fit, with_tones

PANEL_PX = 236
GAP_PX = 4
DIM = 0.35
"""Share of its brightness that the image keeps below the classes."""
MARGIN = 0.15
"""Room around the objects, in shares of the shown part's side."""
LEAST_SHARE = 0.35
"""Share of the image's longest side that is shown at least."""
UNKNOWN = 255

ClassMap = NDArray[np.uint8]


def mask_panels(image: Image.Image, truth: ClassMap, predicted: ClassMap, tones: int) -> Image.Image:
    """Return three panels: image, truth, prediction; in the prediction a white line surrounds the true objects.

    Args:
        image: In colour.
        truth: (h, w) of the image's size: 0 background, 1 to k the classes, 255 unknown (white).
        predicted: (h, w) likewise.
        tones: Colours left to the image.
    """
    part = shown_part(truth, predicted)
    cropped = with_tones(fit(image.crop(part), PANEL_PX), tones)
    maps = [_fitted(values, part, cropped.size) for values in (truth, predicted)]
    outline = _outline(maps[0])
    panels = [cropped, painted(cropped, maps[0]), painted(cropped, maps[1], outline)]
    width, height = cropped.size
    whole = Image.new("RGB", (3 * width + 2 * GAP_PX, height), (255, 255, 255))
    for place, panel in enumerate(panels):
        whole.paste(panel, (place * (width + GAP_PX), 0))
    return whole


def shown_part(truth: ClassMap, predicted: ClassMap) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the part of an image with all true and predicted objects."""
    height, width = truth.shape
    marked = ((truth > 0) & (truth < UNKNOWN)) | (predicted > 0)
    rows, columns = np.flatnonzero(marked.any(axis=1)), np.flatnonzero(marked.any(axis=0))
    if not len(rows):
        return 0, 0, width, height
    sides = (columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)
    side = round(max(max(sides) * (1 + 2 * MARGIN), LEAST_SHARE * max(width, height)))
    left, right = _span((columns[0] + columns[-1]) / 2, side, width)
    top, bottom = _span((rows[0] + rows[-1]) / 2, side, height)
    return left, top, right, bottom


def class_legend(names: Sequence[str], shown: Sequence[int]) -> list[tuple[str, Colour | None]]:
    """Return names and colours of the classes whose indices (from 1) are shown."""
    return [(names[index - 1], class_color(index - 1)) for index in sorted(shown)]


def _span(middle: float, side: int, size: int) -> tuple[int, int]:
    """Return start and end of an interval around a middle that stays inside an image's side."""
    start = int(np.clip(round(middle - side / 2), 0, max(0, size - side)))
    return start, min(size, start + side)


def _fitted(values: ClassMap, part: tuple[int, int, int, int], size: tuple[int, int]) -> ClassMap:
    return np.asarray(Image.fromarray(values).crop(part).resize(size, Image.Resampling.NEAREST))


def painted(image: Image.Image, values: ClassMap, outline: NDArray[np.bool_] | None = None) -> Image.Image:
    """Return the image, grey and dark, with its classes in their colours.

    Args:
        image: In colour.
        values: (h, w) of the image's size: 0 background, 1 to k the classes, 255 unknown (white).
        outline: Pixels that are made white; None for none.
    """
    grey = np.asarray(image.convert("L"), dtype=np.float32)[..., None] * DIM // 8 * 8
    pixels = np.repeat(grey, 3, axis=2)
    for value in np.unique(values[values > 0]).tolist():
        pixels[values == value] = (255, 255, 255) if value == UNKNOWN else class_color(value - 1)
    if outline is not None:
        pixels[outline] = 255
    return Image.fromarray(pixels.astype(np.uint8))


def _outline(values: ClassMap) -> NDArray[np.bool_]:
    """Return which background pixels touch an object."""
    objects = (values > 0) & (values < UNKNOWN)
    padded = np.pad(objects, 1)
    near = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    outline: NDArray[np.bool_] = near & ~objects
    return outline
