"""The sample picture of annotated images: the first ones with boxes and tinted masks.

Belongs here: what a sample shows. Does not belong here: arranging samples (``assay.pictures.grid``).
"""

from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from assay.mask_values import read_mask
from assay.own_data.pixels import decode
from assay.pictures.grid import class_color, draw_boxes, sample_grid, save_small_png

SAMPLES = 9
COLUMNS = 3
_CELL_PX = 224
_MOST_BOXES = 30
_TINT = 0.4


def save_truth_samples(
    items: pl.DataFrame, objects: pl.DataFrame, roots: tuple[Path, Path], path: Path, background: int | None = 0
) -> None:
    """Save a grid of the first images that hold something, or of the first ones if none does.

    Args:
        items: Rows of items.parquet.
        objects: Rows of objects.parquet.
        roots: What ``file`` and ``mask`` are relative to.
        path: The PNG file, at most 100 KB.
        background: Value in masks that is not tinted.
    """
    holds_boxes = pl.col("item").is_in(objects["item"].implode())
    filled = items.filter(holds_boxes if len(objects) else pl.col("mask").is_not_null())
    shown = (filled if len(filled) else items).sort("item").head(SAMPLES)
    tiles = []
    for item, file, mask in shown.select("item", "file", "mask").iter_rows():
        image = _fitted(decode((roots[0] / file).read_bytes()).convert("RGB"))
        if mask:
            image = _tinted(image, (roots[1] / mask).read_bytes(), background)
        tiles.append(_with_boxes(image, objects.filter(item=item), items.filter(item=item)["width_px"][0]))
    save_small_png(sample_grid(tiles, shown["item"].to_list(), COLUMNS), path)


def _fitted(image: Image.Image) -> Image.Image:
    scale = min(1.0, _CELL_PX / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BOX)


def _tinted(image: Image.Image, mask: bytes, background: int | None) -> Image.Image:
    """Blend a colour per value over the pixels of a mask."""
    values = Image.fromarray(read_mask(mask)).resize(image.size, Image.Resampling.NEAREST)
    pixels, classes = np.array(image, np.float32), np.asarray(values)
    for value in np.unique(classes[classes != (-1 if background is None else background)]).tolist():
        here = classes == value
        pixels[here] += _TINT * (np.array(class_color(value), np.float32) - pixels[here])
    return Image.fromarray(pixels.round().astype(np.uint8))


def _with_boxes(image: Image.Image, objects: pl.DataFrame, width_px: int) -> Image.Image:
    scale = image.width / width_px
    boxes, labels = [], []
    for *box, label, crowd in (
        objects.select("x_px", "y_px", "width_px", "height_px", "label", "crowd").head(_MOST_BOXES).iter_rows()
    ):
        left, top, width, height = (round(scale * side) for side in box)
        boxes.append((left, top, max(1, width), max(1, height)))
        labels.append(f"{label} (crowd)" if crowd else label)
    return draw_boxes(image, boxes, labels)
