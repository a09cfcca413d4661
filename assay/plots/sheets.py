"""Grids and sheets of images with captions and a legend, as PNG files that stay sharp and small.

Belongs here: arranging images, colours of classes, and PNG files of limited size. Does not belong here: masks and the
boxes of an analysis (``assay.plots.overlays``), matplotlib, which must not be imported by the stages that only save a
few images.
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
from assay.plots.common import GREY, INK
from assay.storage.files import write_bytes

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

MAX_PNG_BYTES = 100_000
"""Largest PNG that is shown in metadata; with larger ones the UI becomes slow."""

MAX_SHEET_BYTES = 150_000
"""Largest sheet of images."""

TONES = (48, 32, 20, 12, 8)
"""Numbers of colours of each photograph that are tried until a sheet is small enough."""

PAPER = (255, 255, 255)
EDGE = GREY
CAPTION_COLOUR = (40, 40, 40)
TEXT_PX, SWATCH_PX, GAP_PX = 13, 12, 6

MAX_SAMPLED_CLASSES, SAMPLES_PER_CLASS, SAMPLE_PX = 12, 6, 80
"""Size of the grid of samples of each class, and longest side of a sample."""

_GOLDEN_RATIO = 0.618034
_BEST_COMPRESSION, _FAST_COMPRESSION = 6, 1
_PALETTES = (256, 128, 64)
_SHRINK = 0.9
_SMALLEST_PX = 32
_HOPELESS = 2
"""The best compression takes five times as long as the fast one and saves a tenth, so it is not tried where the fast
one is too large by this factor."""


def class_color(index: int) -> tuple[int, int, int]:
    """Return a bright colour for a class; neighbouring classes differ clearly."""
    hue = index * _GOLDEN_RATIO % 1.0  # the first n hues are spread out, whatever n
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.9, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def rgb(colour: str) -> Colour:
    """Return a colour written as ``#RRGGBB`` as three numbers from 0 to 255."""
    red, green, blue = np.frombuffer(bytes.fromhex(colour.lstrip("#")), np.uint8).tolist()
    return red, green, blue


def fit_into(image: Image.Image, longest_px: int) -> Image.Image:
    """Return an image with a given longest side: smoothly reduced, or enlarged so that its pixels can be seen."""
    longest = max(image.size)
    if longest >= longest_px:
        return at_most(image, longest_px)
    size = (max(1, round(image.width * longest_px / longest)), max(1, round(image.height * longest_px / longest)))
    return image.resize(size, Image.Resampling.NEAREST)


def scaled_size(image: Image.Image, scale: float) -> tuple[int, int]:
    """Return width and height of a scaled image, at least one pixel each."""
    return max(1, round(image.width * scale)), max(1, round(image.height * scale))


def with_tones(image: Image.Image, tones: int) -> Image.Image:
    """Return an image with fewer colours, which needs fewer bytes; rare colours, as of small objects, are kept."""
    # The palette is chosen among 4 bits per channel, which takes a tenth of the time; each pixel gets the nearest.
    coarse = ImageOps.posterize(image, 4)
    palette = coarse.quantize(tones, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    return image.quantize(palette=palette, dither=Image.Dither.NONE).convert("RGB")


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
    font = ImageFont.load_default(TEXT_PX)
    for (left, top, width, height), label in zip(boxes, labels, strict=True):
        draw.rectangle((left - 1, top - 1, left + width, top + height), outline=color)
        _draw_tag(draw, (left - 1, top - 2), label, font, color)
    return copy


def _draw_tag(draw: ImageDraw.ImageDraw, corner: tuple[int, int], label: str, font: Font, color: str) -> None:
    """Write a label on a filled tag whose lower left is ``corner``, or as high as the image allows."""
    left, bottom = corner
    width = round(draw.textlength(label, font)) + 3
    top = max(0, bottom - TEXT_PX)
    draw.rectangle((left, top, left + width, top + TEXT_PX), fill=color)
    draw.text((left + 2, top - 1), label, "black", font)


def sample_grid(images: Sequence[Image.Image], captions: Sequence[str], columns: int) -> Image.Image:
    """Return the images in rows of ``columns``, each with its caption below, in cells of the largest image.

    Raises:
        DataError: There is no image.
    """
    if not images:
        raise DataError("A grid needs at least one image.")
    columns = min(columns, len(images))
    cell_width = max(image.width for image in images) + GAP_PX
    cell_height = max(image.height for image in images) + TEXT_PX + 2 * GAP_PX
    rows = -(-len(images) // columns)
    grid = Image.new("RGB", (columns * cell_width + GAP_PX, rows * cell_height + GAP_PX), PAPER)
    draw, font = ImageDraw.Draw(grid), ImageFont.load_default(TEXT_PX)
    for position, (image, caption) in enumerate(zip(images, captions, strict=True)):
        left = GAP_PX + position % columns * cell_width
        top = GAP_PX + position // columns * cell_height
        grid.paste(image.convert("RGB"), (left, top))
        text = _shortened(caption, cell_width - GAP_PX, font)
        draw.text((left, top + image.height + 1), text, CAPTION_COLOUR, font)
    return grid


def _shortened(text: str, width_px: int, font: Font) -> str:
    if font.getlength(text) <= width_px:
        return text
    while text and font.getlength(text + "…") > width_px:
        text = text[:-1]
    return text + "…"


def sheet(
    tiles: Sequence[Image.Image], captions: Sequence[str], columns: int, legend: Sequence[tuple[str, Colour | None]]
) -> Image.Image:
    """Return the tiles in rows, each with its caption below, and one legend under all of them.

    Args:
        tiles: RGB images, at least one.
        captions: One per tile.
        columns: Tiles in a row.
        legend: Texts and their colours; None for a text without a swatch. The legend takes as many lines as it needs.
    """
    grid = sample_grid(tiles, captions, columns)
    font = ImageFont.load_default(TEXT_PX)
    texts = [text for text, _ in legend]
    width = max([grid.width, *(_entry_px(text, font) for text in texts)])
    lines = _legend_lines(texts, font, width)
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


def _legend_lines(texts: Sequence[str], font: Font, width_px: int) -> list[list[str]]:
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


def save_sheet(make: Callable[[int], Image.Image], path: Path) -> None:
    """Write a sheet as PNG with as many tones as its size allows; texts and lines keep their colours and sharpness.

    Args:
        make: Takes the number of colours of each photograph; returns the sheet.
        path: The PNG file.
    """
    for tones in TONES:
        content = encode_sheet(_with_palette(make(tones)))
        if len(content) <= MAX_SHEET_BYTES:
            break
    write_bytes(path, content)


def _with_palette(image: Image.Image) -> Image.Image:
    """Return an image with a palette of its 256 most frequent colours; the others, edges of letters, become those."""
    pixels = np.asarray(image)
    codes = pixels.astype(np.int32) @ np.array([65536, 256, 1], np.int32)
    colours, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    channels = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1)
    kept = np.sort(np.argsort(-counts, kind="stable")[:256])
    nearest = np.array([np.abs(channels[kept] - each).sum(axis=1).argmin() for each in channels], np.uint8)
    reduced = Image.fromarray(nearest[inverse].reshape(codes.shape), "P")
    reduced.putpalette(channels[kept].astype(np.uint8).tobytes())
    return reduced


def encode_sheet(image: Image.Image, level: int | None = None) -> bytes:
    """Return the PNG of an image, compressed at a level from 0 to 9, or as small as Pillow can."""
    content = io.BytesIO()
    image.save(content, "PNG", **({"optimize": True} if level is None else {"compress_level": level}))
    return content.getvalue()


def save_small_png(image: Image.Image, path: Path, max_bytes: int = MAX_PNG_BYTES) -> None:
    """Save a PNG of at most ``max_bytes``: with all colours if they fit, else with fewer, else smaller as well.

    Raises:
        DataError: Even the smallest image has too many bytes.
    """
    content = encode_sheet(image, _FAST_COMPRESSION)
    if len(content) <= _HOPELESS * max_bytes:
        content = encode_sheet(image, _BEST_COMPRESSION)
    while len(content) > max_bytes:
        for colors in _PALETTES:
            content = encode_sheet(_reduced(image, colors), _BEST_COMPRESSION)
            if len(content) <= max_bytes:
                break
        else:
            if max(image.size) <= _SMALLEST_PX:
                raise DataError(f"{path.name} can't be made smaller than {len(content)} bytes; raise max_bytes.")
            smaller = scaled_size(image, min(_SHRINK, math.sqrt(max_bytes / len(content))))
            image = image.convert("RGB").resize(smaller, Image.Resampling.LANCZOS)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _reduced(image: Image.Image, colors: int) -> Image.Image:
    """Return an image with fewer colours; Pillow's default method takes thirty times as long."""
    return image.convert("RGB").quantize(colors, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)


def save_class_samples(items: pl.DataFrame, open_image: Callable[[str], Image.Image], path: Path) -> None:
    """Save a grid with the first images of each class, each with the class below.

    Args:
        items: Columns label, item and file, in any order.
        open_image: Takes a value of ``file``; returns the image.
        path: The PNG file, at most 100 KB.
    """
    shown = items.sort("item").with_columns(pl.col("label").fill_null(""))
    labels = shown["label"].unique().sort()[:MAX_SAMPLED_CLASSES]
    of_labels = shown.filter(pl.col("label").is_in(labels.implode()))
    chosen = of_labels.group_by("label", maintain_order=True).head(SAMPLES_PER_CLASS).sort("label", "item")
    tiles = [_tile(open_image(file)) for file in chosen["file"]]
    save_small_png(sample_grid(tiles, chosen["label"].to_list(), SAMPLES_PER_CLASS), path)


def _tile(image: Image.Image) -> Image.Image:
    """Return an image at the size of a sample: smoothly reduced, or enlarged so that its pixels can be seen."""
    scale = SAMPLE_PX / max(image.size)
    resampling = Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST
    return image.convert("RGB").resize(scaled_size(image, scale), resampling)
