"""Sheets of pictures with captions and a legend, as PNG files that stay sharp and small.

Belongs here: arranging, and bytes. Does not belong here: what is drawn onto a picture.
"""

import colorsys
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image, ImageDraw, ImageFont, ImageOps

from assay.errors import DataError
from assay.images.resizing import at_most
from assay.plots.style import INK
from assay.storage.files import write_bytes

MAX_BYTES = 150_000

TEXT_PX = 13

SWATCH_PX = 12

PAPER = (255, 255, 255)

EDGE = "#9AA5B1"

TONES = (48, 32, 20, 12, 8)
"""Colours left to each photograph, until the sheet is small enough; what is drawn onto it keeps its own."""

Colour = tuple[int, int, int]


def fit(image: Image.Image, longest_px: int) -> Image.Image:
    """Return an image whose longest side has a size: reduced smoothly, or enlarged so that its pixels can be seen."""
    longest = max(image.size)
    if longest >= longest_px:
        return at_most(image, longest_px)
    size = (max(1, round(image.width * longest_px / longest)), max(1, round(image.height * longest_px / longest)))
    return image.resize(size, Image.Resampling.NEAREST)


def with_tones(image: Image.Image, tones: int) -> Image.Image:
    """Return the image with so many colours, which need fewer bytes; rare colours, as of small objects, are kept."""
    # Chosen among 4 bits per channel, which takes a tenth of the time; each pixel then gets the nearest.
    coarse = ImageOps.posterize(image, 4)
    palette = coarse.quantize(tones, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    return image.quantize(palette=palette, dither=Image.Dither.NONE).convert("RGB")


def sheet(
    tiles: Sequence[Image.Image], captions: Sequence[str], columns: int, legend: Sequence[tuple[str, Colour | None]]
) -> Image.Image:
    """Return the tiles in rows, each with its caption below, and one legend under all.

    Args:
        tiles: RGB images, at least one.
        captions: One per tile.
        columns: Tiles in a row.
        legend: Texts and their colours, None for a text alone; those that do not fit into a line go to the next.
    """
    grid = sample_grid(tiles, captions, columns)
    font = ImageFont.load_default(TEXT_PX)
    texts = [text for text, _ in legend]
    width = max([grid.width, *(_entry_px(text, font) for text in texts)])
    lines = _lines(texts, font, width)
    whole = Image.new("RGB", (width, grid.height + len(lines) * (TEXT_PX + 8)), PAPER)
    whole.paste(grid)
    draw, colours = ImageDraw.Draw(whole), dict(legend)
    for row, line in enumerate(lines):
        left, top = 6, grid.height + row * (TEXT_PX + 8)
        for text in line:
            colour = colours[text]
            indent = 0
            if colour is not None:
                indent = SWATCH_PX + 5
                draw.rectangle((left, top + 2, left + SWATCH_PX, top + 2 + SWATCH_PX), colour, EDGE)
            draw.text((left + indent, top), text, INK, font)
            left += _entry_px(text, font)
    return whole


def save_sheet(make: Callable[[int], Image.Image], path: Path) -> None:
    """Write a sheet as PNG, with as many tones as its size allows; texts and lines keep their sharpness.

    Args:
        make: From the number of colours of each photograph to the sheet.
        path: The PNG file.
    """
    for tones in TONES:
        content = _encoded(make(tones))
        if len(content) <= MAX_BYTES:
            break
    write_bytes(path, content)


def rgb(colour: str) -> Colour:
    """Return a colour written as ``#RRGGBB`` as three numbers."""
    red, green, blue = np.frombuffer(bytes.fromhex(colour.lstrip("#")), np.uint8).tolist()
    return red, green, blue


def _encoded(image: Image.Image) -> bytes:
    content = io.BytesIO()
    _with_palette(image).save(content, "PNG", optimize=True)
    return content.getvalue()


def _with_palette(image: Image.Image) -> Image.Image:
    """Return the image with a palette of its 256 most frequent colours; the others, shades of letters, become those."""
    pixels = np.asarray(image)
    codes = pixels.astype(np.int32) @ np.array([65536, 256, 1], np.int32)
    colours, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    channels = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1)
    kept = np.sort(np.argsort(-counts, kind="stable")[:256])
    nearest = np.array([np.abs(channels[kept] - each).sum(axis=1).argmin() for each in channels], np.uint8)
    reduced = Image.fromarray(nearest[inverse].reshape(codes.shape), "P")
    reduced.putpalette(channels[kept].astype(np.uint8).tobytes())
    return reduced


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def _lines(texts: Sequence[str], font: Font, width_px: int) -> list[list[str]]:
    """Return the texts of the legend, line by line."""
    lines: list[list[str]] = []
    used = 0
    for text in texts:
        needed = _entry_px(text, font)
        if not lines or used + needed > width_px:
            lines.append([])
            used = 6
        lines[-1].append(text)
        used += needed
    return lines


def _entry_px(text: str, font: Font) -> int:
    return SWATCH_PX + 5 + round(font.getlength(text)) + 14


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


MOST_CLASSES = 12

PER_CLASS = 6

CELL_PX = 80


def save_class_samples(items: pl.DataFrame, open_image: Callable[[str], Image.Image], path: Path) -> None:
    """Save a grid of the first images of each class, each with its class below.

    Args:
        items: Columns label, item and file; the order does not matter.
        open_image: Takes a value of ``file``.
        path: The PNG file, at most 100 KB.
    """
    shown = items.sort("item").with_columns(pl.col("label").fill_null(""))
    labels = shown["label"].unique().sort()[:MOST_CLASSES]
    chosen = (
        shown.filter(pl.col("label").is_in(labels.implode())).group_by("label", maintain_order=True).head(PER_CLASS)
    )
    chosen = chosen.sort("label", "item")
    tiles = [_tile(open_image(file)) for file in chosen["file"]]
    save_small_png(sample_grid(tiles, chosen["label"].to_list(), PER_CLASS), path)


def _tile(image: Image.Image) -> Image.Image:
    """Return the image at the cell's size: reduced smoothly, or enlarged so that its pixels can be seen."""
    scale = CELL_PX / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.convert("RGB").resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST)
