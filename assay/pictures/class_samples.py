"""The picture that shows a few images of each class.

Belongs here: which images, at which size. Does not belong here: the grid itself.
"""

from collections.abc import Callable
from pathlib import Path

import polars as pl
from PIL import Image

from assay.pictures.grid import sample_grid, save_small_png

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
