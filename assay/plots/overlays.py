"""Pictures of boxes over images: what is true, what was predicted, what came of it.

Belongs here: frames and tags on an image. Does not belong here: which images are shown, matching.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from assay.pictures.grid import Font
from assay.plots.sheets import Colour, fit, with_tones

TILE_PX = 376
TAG_PX = 12
DASH_PX = 4
HALO = (0, 0, 0)

Rectangle = tuple[int, int, int, int]


@dataclass(frozen=True)
class Mark:
    """A box with a tag.

    Attributes:
        place: Left, top, width and height in pixels of the image.
        text: What its tag says; empty for no tag.
        colour: Of frame and tag.
        dashed: Whether its frame is dashed.
    """

    place: tuple[float, float, float, float]
    text: str
    colour: Colour
    dashed: bool = False


def draw_marks(image: Image.Image, marks: Sequence[Mark], tones: int) -> Image.Image:
    """Return the image at the size of a tile with its boxes; tags avoid each other where there is room.

    Args:
        image: In colour.
        marks: The first are drawn first, and below the others.
        tones: Colours left to the image.
    """
    scaled = fit(image, TILE_PX)
    return with_marks(with_tones(scaled, tones), marks, scaled.width / image.width)


def with_marks(canvas: Image.Image, marks: Sequence[Mark], scale: float) -> Image.Image:
    """Draw boxes onto an image and return it; tags avoid each other where there is room.

    Args:
        canvas: RGB; changed.
        marks: The first are drawn first, and below the others.
        scale: Pixels of the canvas per pixel of the marks' places.
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
    left, top, width, height = mark.place
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
    """Write a tag at the first place near its frame where it covers no other; returns what it covers."""
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
    spot = next((each for each in choices if not any(_meet(each, other) for other in taken)), choices[0])
    draw.rectangle((spot[0], spot[1], spot[2] - 1, spot[3] - 1), fill=mark.colour)
    draw.text((spot[0] + 3, spot[1] + 1), mark.text, "black", font)
    return spot


def _inside(corner: tuple[int, int], width: int, height: int, size: tuple[int, int]) -> Rectangle:
    left = max(0, min(corner[0], size[0] - width))
    top = max(0, min(corner[1], size[1] - height))
    return left, top, left + width, top + height


def _meet(one: Rectangle, other: Rectangle) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
