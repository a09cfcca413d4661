"""Boxes and masks drawn over images: frames with tags, and panels of true and predicted classes.

Belongs here: what is drawn onto one image. Does not belong here: which images are shown, arranging them
(``assay.plots.sheets``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from assay.plots.sheets import Colour, Font, class_color, fit_into, with_tones

TILE_PX = 376
"""Longest side of an image with boxes."""

PANEL_PX = 236
"""Longest side of each of the three panels of an image with masks."""

TAG_PX, DASH_PX, GAP_PX = 12, 4, 4

HALO = (0, 0, 0)

DIM = 0.35
"""Share of its brightness that the image keeps below the classes."""

MARGIN = 0.15
"""Room around the objects, as a share of the side of the shown part."""

LEAST_SHARE = 0.35
"""Least side of the shown part, as a share of the longest side of the image."""

UNKNOWN = 255
"""Value of pixels whose class is unknown."""

ClassMap = NDArray[np.uint8]
Rectangle = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels."""


@dataclass(frozen=True)
class Mark:
    """A box with a tag.

    Attributes:
        xywh: Left, top, width and height in pixels of the image.
        text: Text of its tag; empty for no tag.
        colour: Of frame and tag.
        dashed: Whether its frame is dashed.
    """

    xywh: tuple[float, float, float, float]
    text: str
    colour: Colour
    dashed: bool = False


def draw_marks(image: Image.Image, marks: Sequence[Mark], tones: int) -> Image.Image:
    """Return the image at the size of a tile with its boxes; tags avoid each other where there is room.

    Args:
        image: In colour.
        marks: The first are drawn first, and below the others.
        tones: Number of colours that the image keeps.
    """
    scaled = fit_into(image, TILE_PX)
    return with_marks(with_tones(scaled, tones), marks, scaled.width / image.width)


def with_marks(canvas: Image.Image, marks: Sequence[Mark], scale: float) -> Image.Image:
    """Draw boxes onto an image and return it; tags avoid each other where there is room.

    Args:
        canvas: RGB; changed.
        marks: The first are drawn first, and below the others.
        scale: Pixels of the canvas per pixel of the marks.
    """
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(TAG_PX)
    frames = [_frame(mark, scale) for mark in marks]
    for mark, frame in zip(marks, frames, strict=True):
        _draw_frame(draw, frame, mark)
    taken: list[Rectangle] = []
    for mark, frame in zip(marks, frames, strict=True):
        if mark.text:
            taken.append(_draw_tag(draw, frame, mark, taken, font, canvas.size))
    return canvas


def _frame(mark: Mark, scale: float) -> Rectangle:
    left, top, width, height = mark.xywh
    right, bottom = left + width, top + height
    return round(left * scale) - 1, round(top * scale) - 1, round(right * scale), round(bottom * scale)


def _draw_frame(draw: ImageDraw.ImageDraw, frame: Rectangle, mark: Mark) -> None:
    left, top, right, bottom = frame
    if not mark.dashed:
        draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=HALO)
        draw.rectangle(frame, outline=mark.colour, width=2)
        return
    draw.rectangle(frame, outline=HALO, width=2)
    for x in range(left, right, 2 * DASH_PX):
        for y in (top, bottom - 1):
            draw.rectangle((x, y, min(x + DASH_PX, right), y + 1), fill=mark.colour)
    for y in range(top, bottom, 2 * DASH_PX):
        for x in (left, right - 1):
            draw.rectangle((x, y, x + 1, min(y + DASH_PX, bottom)), fill=mark.colour)


def _draw_tag(
    draw: ImageDraw.ImageDraw,
    frame: Rectangle,
    mark: Mark,
    taken: Sequence[Rectangle],
    font: Font,
    size: tuple[int, int],
) -> Rectangle:
    """Draw a tag at the first position near its frame where it covers no other tag; returns its rectangle."""
    width, height = round(font.getlength(mark.text)) + 5, TAG_PX + 4
    left, top, right, bottom = frame
    corners = [
        (left, top - height),
        (left, bottom + 1),
        (right - width, top - height),
        (right - width, bottom + 1),
        (right + 1, top),
        (left - width, top),
        (left, top),
    ]
    choices = [_inside(corner, width, height, size) for corner in corners]
    tag = next((each for each in choices if not any(_overlap(each, other) for other in taken)), choices[0])
    draw.rectangle((tag[0], tag[1], tag[2] - 1, tag[3] - 1), fill=mark.colour)
    draw.text((tag[0] + 3, tag[1] + 1), mark.text, "black", font)
    return tag


def _inside(corner: tuple[int, int], width: int, height: int, size: tuple[int, int]) -> Rectangle:
    left = max(0, min(corner[0], size[0] - width))
    top = max(0, min(corner[1], size[1] - height))
    return left, top, left + width, top + height


def _overlap(one: Rectangle, other: Rectangle) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def mask_panels(image: Image.Image, ground_truth: ClassMap, predicted: ClassMap, tones: int) -> Image.Image:
    """Return three panels: image, ground truth and prediction, with a white outline of the true objects.

    Args:
        image: In colour.
        ground_truth: (h, w) of the image's size: 0 background, 1 to k the classes, 255 unknown (white).
        predicted: (h, w) likewise.
        tones: Number of colours that the image keeps.
    """
    part = shown_part(ground_truth, predicted)
    cropped = with_tones(fit_into(image.crop(part), PANEL_PX), tones)
    maps = [_fitted(values, part, cropped.size) for values in (ground_truth, predicted)]
    outline = _outline(maps[0])
    panels = [cropped, paint_classes(cropped, maps[0]), paint_classes(cropped, maps[1], outline)]
    width, height = cropped.size
    whole = Image.new("RGB", (3 * width + 2 * GAP_PX, height), (255, 255, 255))
    for index, panel in enumerate(panels):
        whole.paste(panel, (index * (width + GAP_PX), 0))
    return whole


def shown_part(ground_truth: ClassMap, predicted: ClassMap) -> Rectangle:
    """Return the part of an image with all true and predicted objects; the whole image where there are none."""
    height, width = ground_truth.shape
    marked = ((ground_truth > 0) & (ground_truth < UNKNOWN)) | (predicted > 0)
    rows, columns = np.flatnonzero(marked.any(axis=1)), np.flatnonzero(marked.any(axis=0))
    if not len(rows):
        return 0, 0, width, height
    sides = (columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)
    side = round(max(max(sides) * (1 + 2 * MARGIN), LEAST_SHARE * max(width, height)))
    left, right = _interval((columns[0] + columns[-1]) / 2, side, width)
    top, bottom = _interval((rows[0] + rows[-1]) / 2, side, height)
    return left, top, right, bottom


def class_legend(names: Sequence[str], shown: Sequence[int]) -> list[tuple[str, Colour | None]]:
    """Return names and colours of the classes whose indices (from 1) are shown."""
    return [(names[index - 1], class_color(index - 1)) for index in sorted(shown)]


def _interval(middle: float, side: int, size: int) -> tuple[int, int]:
    """Return start and end of an interval of length ``side`` around a middle, moved to lie inside 0 to ``size``."""
    start = int(np.clip(round(middle - side / 2), 0, max(0, size - side)))
    return start, min(size, start + side)


def _fitted(values: ClassMap, part: Rectangle, size: tuple[int, int]) -> ClassMap:
    return np.asarray(Image.fromarray(values).crop(part).resize(size, Image.Resampling.NEAREST))


def paint_classes(image: Image.Image, values: ClassMap, outline: NDArray[np.bool_] | None = None) -> Image.Image:
    """Return an image, grey and dark, with its classes in their colours.

    Args:
        image: In colour.
        values: (h, w) of the image's size: 0 background, 1 to k the classes, 255 unknown (white).
        outline: Pixels to make white; None for none.
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
