"""One generated picture: an augmented photo, numbers on it, the mask, and the ground truth about each number.

Belongs here: the order of steps, placement of the numbers, and what labels and tables say about them. Does not belong
here: files (``build``), pixels of one number (``glyphs``), photos (``backgrounds``).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from assay.datasets.schema import BACKGROUND, CLASS, MASK_CLASS_COLUMNS, OBJECT_COLUMNS, Columns
from assay.datasets.synthetic.backgrounds import PhotoCache, crop_to_frame, random_frame, warp
from assay.datasets.synthetic.glyphs import FONTS, Glyph, GlyphRenderer, augment_colours, random_colour
from assay.images.boxes import Box
from assay.images.near_duplicates import signature_of
from assay.spec.generated_images import NumbersSource

BACKGROUND_INDEX = 255
"""Value of mask pixels that belong to no number; numbers have their own value, 0 to 254."""


@dataclass(frozen=True)
class DrawnNumber:
    """The ground truth about one number in a picture.

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
    """A picture and the ground truth about it.

    Attributes:
        image: RGB.
        mask: Mode L of the same size: the number at each pixel, or ``BACKGROUND_INDEX``.
        numbers: The visible numbers in the order in which they were drawn; at least one.
        background: File name of the photo.
        without_room: How many further numbers were to be drawn but found no room.
    """

    image: Image.Image
    mask: Image.Image
    numbers: tuple[DrawnNumber, ...]
    background: str
    without_room: int


class NumberPainter:
    """Makes the pictures of one data set; safe to use from several threads."""

    def __init__(self, spec: NumbersSource, seed: int) -> None:
        self._spec = spec
        self._seed = seed
        self._size = (spec.img_size.width, spec.img_size.height)
        self._photos = PhotoCache(spec.background_folder, max(self._size))
        self._renderer = GlyphRenderer()

    def paint(self, index: int) -> NumberPicture:
        """Return picture ``index``, which depends on the spec, the seed and the index alone."""
        rng = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(index,)))
        image, background = self._draw_background(rng)
        layer = Image.new("L", self._size, 0)  # which number, counted from 1, is on top at each pixel
        drawn: list[DrawnNumber] = []
        amount = int(rng.integers(1, self._spec.max_amount, endpoint=True))
        for _ in range(amount):
            number = self._draw_number(image, layer, drawn, rng)
            if number is not None:
                drawn.append(number)
        visible = _visible(drawn, layer)
        return NumberPicture(image, _class_mask(drawn, layer), visible, background, amount - len(drawn))

    def _draw_background(self, rng: np.random.Generator) -> tuple[Image.Image, str]:
        photo = self._photos.photo(int(rng.integers(0, len(self._photos.files) - 1, endpoint=True)))
        frame = random_frame(photo.image.size, self._size, rng, self._spec.augmentation)
        part, frame = crop_to_frame(photo.image, frame)
        part = augment_colours(part, rng, self._spec.augmentation)
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
        glyph = self._renderer.draw(str(number), font, font_size_px, angle)
        taken = [] if spec.overlap else [other.box for other in drawn]
        box = random_position((glyph.box.width_px, glyph.box.height_px), taken, self._size, rng)
        if box is None:
            return None
        color = random_colour(np.asarray(image.crop(box.edges)), spec.min_contrast, rng)
        _paste(image, layer, glyph, box, color, len(drawn) + 1)
        return DrawnNumber(number, box, angle, font, font_size_px, color)


def _paste(
    image: Image.Image, layer: Image.Image, glyph: Glyph, box: Box, color: tuple[int, int, int], number: int
) -> None:
    """Paste a glyph so that its ink fills ``box``; its soft edge reaches beyond in the image, not in the layer."""
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


GAP_PX = 2
"""Least distance between numbers in pixels, so that their soft edges do not meet."""

_QUICK_TRIES = 20


def random_position(
    size: tuple[int, int], taken: Sequence[Box], image_size: tuple[int, int], rng: np.random.Generator
) -> Box | None:
    """Return a random box inside the image and clear of the taken ones, all such positions equally likely.

    Args:
        size: Width and height of the box, at most those of the image.
        taken: Boxes to keep clear of.
        image_size: Width and height of the image.
        rng: Source of randomness.

    Returns:
        The box, or None when there is no room.
    """
    for _ in range(_QUICK_TRIES):
        x_px = int(rng.integers(0, image_size[0] - size[0], endpoint=True))
        y_px = int(rng.integers(0, image_size[1] - size[1], endpoint=True))
        box = Box(x_px, y_px, *size)
        if not any(box.overlaps(other, GAP_PX) for other in taken):
            return box
    return _random_free_position(size, taken, image_size, rng)


def _random_free_position(
    size: tuple[int, int], taken: Sequence[Box], image_size: tuple[int, int], rng: np.random.Generator
) -> Box | None:
    """Choose among all free positions: slow, but finds the last one."""
    width, height = size
    free = np.ones((image_size[1] - height + 1, image_size[0] - width + 1), bool)  # [y, x] of the upper left corner
    for other in taken:
        left, top, right, bottom = other.edges
        top, left = max(0, top - height - GAP_PX + 1), max(0, left - width - GAP_PX + 1)
        free[top : bottom + GAP_PX, left : right + GAP_PX] = False
    positions = np.flatnonzero(free)
    if not len(positions):
        return None
    y_px, x_px = divmod(int(rng.choice(positions)), free.shape[1])
    return Box(x_px, y_px, width, height)


NUMBER_COLUMNS: Columns = {
    **OBJECT_COLUMNS,
    "rotation_deg": pl.Float64,
    "font": pl.String,
    "font_size_px": pl.Int32,
    "color": pl.String,
}
"""One row of objects.parquet per number: the columns of all sources, and how the number was drawn."""

_ROWS_PER_FRAME = 4096


def item_name(index: int) -> str:
    """Return the name of picture ``index``; names sort like indices."""
    return f"{index:06d}"


def picture_row(item: str, picture: NumberPicture, image_file: bytes, has_mask: bool) -> dict[str, Any]:
    """Return the picture's row of items.parquet.

    Args:
        item: Its name.
        picture: The picture.
        image_file: Content of the file of its image.
        has_mask: Whether its mask is written.
    """
    signature = signature_of(picture.image)
    return {
        "item": item,
        "file": f"images/{item}.png",
        "mask": f"masks/{item}.png" if has_mask else None,
        "width_px": picture.image.width,
        "height_px": picture.image.height,
        "sha256": hashlib.sha256(image_file).hexdigest(),
        "pixels": signature.pixels,
        "thumbnail": signature.thumbnail,
        "label": None,
        "labelled": True,
        "folder": "",
        "background": picture.background,
        "given_subset": None,
    }


def object_rows(item: str, picture: NumberPicture) -> list[dict[str, Any]]:
    """Return one row of objects.parquet per visible number."""
    return [
        {"item": item, "object": position, "crowd": False, **describe_number(number)}
        for position, number in enumerate(picture.numbers)
    ]


def number_mask_classes(max_number: int) -> pl.DataFrame:
    """Return mask_classes.parquet: each number below ``max_number`` is its own value in masks."""
    numbers = [(number, str(number), CLASS) for number in range(max_number)]
    rows = [*numbers, (BACKGROUND_INDEX, None, BACKGROUND)]
    return pl.DataFrame(rows, schema=dict(MASK_CLASS_COLUMNS), orient="row")


def describe_number(number: DrawnNumber) -> dict[str, Any]:
    """Return a number's label, box and look as plain values; label file and table use the same names."""
    return {
        "label": str(number.number),
        **number.box._asdict(),
        "rotation_deg": number.rotation_deg,
        "font": number.font,
        "font_size_px": number.font_size_px,
        "color": "#{:02x}{:02x}{:02x}".format(*number.color),
    }


def label_text(item: str, picture: NumberPicture) -> str:
    """Return the picture's JSON label; boxes include their last row and column."""
    content = {
        "image": f"images/{item}.png",
        "width_px": picture.image.width,
        "height_px": picture.image.height,
        "background": picture.background,
        "objects": [describe_number(number) for number in picture.numbers],
    }
    return json.dumps(content, indent=1) + "\n"


class RowCollector:
    """Collects the rows of one table in compact form: rows kept as Python dicts take ten times the memory."""

    def __init__(self, columns: Mapping[str, pl.DataType | type[pl.DataType]]) -> None:
        self._schema = dict(columns)
        self._frames: list[pl.DataFrame] = []
        self._rows: list[dict[str, Any]] = []

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows."""
        self._rows.extend(dict(row) for row in rows)
        if len(self._rows) >= _ROWS_PER_FRAME:
            self._pack()

    def frame(self) -> pl.DataFrame:
        """Return all rows in the order in which they came, with the declared types even when there are none."""
        self._pack()
        return pl.concat(self._frames)

    def _pack(self) -> None:
        self._frames.append(pl.DataFrame(self._rows, schema=self._schema))
        self._rows = []
