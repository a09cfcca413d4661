"""Grids of sample images with boxes, and PNG files small enough for the UI.

Belongs here: arranging and saving pictures with Pillow alone. Does not belong here: charts.
"""

import colorsys
import io
import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from assay.errors import DataError

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_GAP_PX = 6
_TEXT_PX = 13
_PAPER = (255, 255, 255)
_TEXT = (40, 40, 40)
_PALETTES = (256, 128, 64)
_GOLDEN_RATIO = 0.618034
_SHRINK = 0.9
_SMALLEST_PX = 32
_BEST, _FASTEST = 6, 1
_HOPELESS = 2
"""How many times too large a quickly compressed picture must be for the best compression not to be tried: that takes
five times as long and saves a tenth."""


def class_color(index: int) -> tuple[int, int, int]:
    """Return a bright colour for a class; neighbouring classes differ clearly."""
    hue = index * _GOLDEN_RATIO % 1.0  # the first n hues are spread out, whatever n
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.9, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_boxes(
    image: Image.Image, boxes: Sequence[tuple[int, int, int, int]], labels: Sequence[str], color: str = "#00e5ff"
) -> Image.Image:
    """Return a copy of the image with a frame just outside each box and its label above.

    Args:
        image: Any mode; the copy is RGB.
        boxes: Left, top, width and height in pixels; the frame touches no pixel of the box.
        labels: One text per box.
        color: Of the frames, as Pillow names colours.
    """
    copy = image.convert("RGB") if image.mode != "RGB" else image.copy()
    draw = ImageDraw.Draw(copy)
    font = ImageFont.load_default(_TEXT_PX)
    for (left, top, width, height), label in zip(boxes, labels, strict=True):
        draw.rectangle((left - 1, top - 1, left + width, top + height), outline=color)
        _draw_tag(draw, (left - 1, top - 2), label, font, color)
    return copy


def sample_grid(images: Sequence[Image.Image], captions: Sequence[str], columns: int) -> Image.Image:
    """Return the images in rows of ``columns``, each with its caption below, in cells of the largest image.

    Raises:
        DataError: There is no image.
    """
    if not images:
        raise DataError("A grid needs at least one image.")
    columns = min(columns, len(images))
    cell_width = max(image.width for image in images) + _GAP_PX
    cell_height = max(image.height for image in images) + _TEXT_PX + 2 * _GAP_PX
    rows = -(-len(images) // columns)
    grid = Image.new("RGB", (columns * cell_width + _GAP_PX, rows * cell_height + _GAP_PX), _PAPER)
    draw, font = ImageDraw.Draw(grid), ImageFont.load_default(_TEXT_PX)
    for position, (image, caption) in enumerate(zip(images, captions, strict=True)):
        left = _GAP_PX + position % columns * cell_width
        top = _GAP_PX + position // columns * cell_height
        grid.paste(image.convert("RGB"), (left, top))
        draw.text((left, top + image.height + 1), _shortened(caption, cell_width - _GAP_PX, font), _TEXT, font)
    return grid


def save_small_png(image: Image.Image, path: Path, max_bytes: int = 100_000) -> None:
    """Save a PNG of at most ``max_bytes``: with all colours if they fit, else with fewer, else smaller as well."""
    content = _encoded_at(image, _FASTEST)
    if len(content) <= _HOPELESS * max_bytes:
        content = _encoded_at(image)
    while len(content) > max_bytes:
        for colors in _PALETTES:
            content = _encoded_at(_reduced(image, colors))
            if len(content) <= max_bytes:
                break
        else:
            if max(image.size) <= _SMALLEST_PX:
                raise DataError(f"{path.name} can't be made smaller than {len(content)} bytes; raise max_bytes.")
            scale = min(_SHRINK, math.sqrt(max_bytes / len(content)))
            smaller = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            image = image.convert("RGB").resize(smaller, Image.Resampling.LANCZOS)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _reduced(image: Image.Image, colors: int) -> Image.Image:
    """Return the image with so many colours; Pillow's default method takes thirty times as long."""
    return image.convert("RGB").quantize(colors, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)


def _encoded_at(image: Image.Image, level: int = _BEST) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=level)
    return buffer.getvalue()


def _draw_tag(draw: ImageDraw.ImageDraw, corner: tuple[int, int], label: str, font: Font, color: str) -> None:
    """Write a label on a filled tag whose lower left is ``corner``, or as high as the image allows."""
    left, bottom = corner
    width = round(draw.textlength(label, font)) + 3
    top = max(0, bottom - _TEXT_PX)
    draw.rectangle((left, top, left + width, top + _TEXT_PX), fill=color)
    draw.text((left + 2, top - 1), label, "black", font)


def _shortened(text: str, width_px: int, font: Font) -> str:
    if font.getlength(text) <= width_px:
        return text
    while text and font.getlength(text + "…") > width_px:
        text = text[:-1]
    return text + "…"
