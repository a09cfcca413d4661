"""One picture: a changed photo, numbers on it, the mask and the truth about each number.

Belongs here: the order in which a picture comes about. Does not belong here: files.
"""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from assay.boxes import Box
from assay.datasets.synthetic.backgrounds import PhotoShelf
from assay.datasets.synthetic.glyphs import FONTS, Glyph, GlyphPress
from assay.numbers.colours import change_colours, draw_colour
from assay.numbers.places import draw_place
from assay.numbers.warp import cut, draw_frame, warp
from assay.spec.numbers import NumbersSource

BACKGROUND_INDEX = 255
"""Value of mask pixels that belong to no number; numbers have their own value, 0 to 254."""


@dataclass(frozen=True)
class DrawnNumber:
    """What is true about one number in a picture.

    Attributes:
        number: The number, which is also its class index and its value in the mask.
        box: Smallest box around its pixels in the mask.
        rotation_deg: Angle, counter-clockwise.
        font: One of ``FONTS``.
        font_size_px: Font size in pixels.
        color: Red, green, blue, 0 to 255.
    """

    number: int
    box: Box
    rotation_deg: float
    font: str
    font_size_px: int
    color: tuple[int, int, int]


@dataclass(frozen=True)
class NumberPicture:
    """A picture and the truth about it.

    Attributes:
        image: RGB.
        mask: Mode L of the same size: the number at each pixel, or ``BACKGROUND_INDEX``.
        numbers: The visible numbers in the order in which they were drawn; at least one.
        background: File name of the photo.
        without_room: How many more numbers were wanted but found no free place.
    """

    image: Image.Image
    mask: Image.Image
    numbers: tuple[DrawnNumber, ...]
    background: str
    without_room: int


class NumberPainter:
    """Makes the pictures of one generation; safe to use from several threads."""

    def __init__(self, spec: NumbersSource, seed: int) -> None:
        self._spec = spec
        self._seed = seed
        self._size = (spec.img_size.width, spec.img_size.height)
        self._shelf = PhotoShelf(spec.background_folder, max(self._size))
        self._press = GlyphPress()

    def paint(self, index: int) -> NumberPicture:
        """Return picture ``index``, which depends on the spec, the seed and the index alone."""
        rng = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(index,)))
        image, background = self._draw_background(rng)
        layer = Image.new("L", self._size, 0)  # which number, counted from 1, is on top at each pixel
        drawn: list[DrawnNumber] = []
        wanted = int(rng.integers(1, self._spec.max_amount, endpoint=True))
        for _ in range(wanted):
            number = self._draw_number(image, layer, drawn, rng)
            if number is not None:
                drawn.append(number)
        visible = _visible(drawn, layer)
        return NumberPicture(image, _class_mask(drawn, layer), visible, background, wanted - len(drawn))

    def _draw_background(self, rng: np.random.Generator) -> tuple[Image.Image, str]:
        photo = self._shelf.photo(int(rng.integers(0, len(self._shelf.files) - 1, endpoint=True)))
        frame = draw_frame(photo.image.size, self._size, rng, self._spec.augmentation)
        part, frame = cut(photo.image, frame)
        part = change_colours(part, rng, self._spec.augmentation)
        return warp(part, frame, self._size), photo.name

    def _draw_number(
        self, image: Image.Image, layer: Image.Image, drawn: list[DrawnNumber], rng: np.random.Generator
    ) -> DrawnNumber | None:
        """Draw one more number onto image and layer; return None when there is no room for it."""
        spec = self._spec
        number = int(rng.integers(0, spec.max_number - 1, endpoint=True))
        font = FONTS[int(rng.integers(0, len(FONTS) - 1, endpoint=True))]
        font_size_px = int(rng.integers(spec.font_size_min, spec.font_size_max, endpoint=True))
        angle = round(float(rng.uniform(-spec.largest_angle, spec.largest_angle)), 2)
        glyph = self._press.draw(str(number), font, font_size_px, angle)
        taken = [] if spec.overlap else [other.box for other in drawn]
        box = draw_place((glyph.box.width_px, glyph.box.height_px), taken, self._size, rng)
        if box is None:
            return None
        color = draw_colour(np.asarray(image.crop(box.edges)), spec.min_contrast, rng)
        _paste(image, layer, glyph, box, color, len(drawn) + 1)
        return DrawnNumber(number, box, angle, font, font_size_px, color)


def _paste(
    image: Image.Image, layer: Image.Image, glyph: Glyph, box: Box, color: tuple[int, int, int], number: int
) -> None:
    """Put a glyph so that its ink fills ``box``; its soft edge reaches beyond in the image, not in the layer."""
    corner = (box.x_px - glyph.box.x_px, box.y_px - glyph.box.y_px)
    image.paste(color, corner, glyph.alpha)
    layer.paste(number, corner, glyph.ink)


def _visible(drawn: list[DrawnNumber], layer: Image.Image) -> tuple[DrawnNumber, ...]:
    """Return the numbers that are at least partly visible, each with the box of its visible part."""
    visible = []
    for count, number in enumerate(drawn, start=1):
        own = layer.crop(number.box.edges).point([255 if value == count else 0 for value in range(256)])
        box = Box.around(own)
        if box is not None:
            visible.append(replace(number, box=box.shifted(number.box.x_px, number.box.y_px)))
    return tuple(visible)


def _class_mask(drawn: list[DrawnNumber], layer: Image.Image) -> Image.Image:
    """Return the mask of class indices for a layer of counts."""
    classes = [BACKGROUND_INDEX] * 256
    for count, number in enumerate(drawn, start=1):
        classes[count] = number.number
    return layer.point(classes)
