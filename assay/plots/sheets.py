"""Sheets of pictures with captions and a legend, as PNG files that stay sharp and small.

Belongs here: arranging, and bytes. Does not belong here: what is drawn onto a picture.
"""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from assay.files import write_bytes
from assay.images.resizing import at_most
from assay.pictures.grid import Font, sample_grid
from assay.plots.style import INK

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
