"""The picture of the worst items, where items are crops of images.

Belongs here: which crops, in which size. Does not belong here: the grid (``assay.pictures.grid``).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from assay.analysis.base import Analysis
from assay.analysis.inputs import AnalysisInputs
from assay.items import CROPS_FILE
from assay.pictures.grid import sample_grid, save_small_png
from assay.tables import read_parquet

TILE_PX = 96
MOST_TILES = 24
GRID_COLUMNS = 6


def draw_worst_crops(
    analysis: Analysis, inputs: AnalysisInputs, caption: Callable[[Mapping[str, Any]], str], folder: Path
) -> None:
    """Draw the crops of the headline subset's worst items, those that have one.

    Args:
        analysis: All tables.
        inputs: Where the crops are, if anywhere.
        caption: From a row of ``worst_items`` to the text below its crop.
        folder: Where ``worst_items.png`` goes.
    """
    worst = analysis.of_headline("worst_items")
    if inputs.crops_folder is None or worst.is_empty():
        return
    crops = read_parquet(inputs.crops_folder / CROPS_FILE, ["item", "file"])
    rows = worst.join(crops, on="item", maintain_order="left").head(MOST_TILES)
    if len(rows):
        tiles = [_tile(inputs.crops_folder / file) for file in rows["file"]]
        captions = [caption(row) for row in rows.iter_rows(named=True)]
        save_small_png(sample_grid(tiles, captions, GRID_COLUMNS), folder / "worst_items.png")


def _tile(file: Path) -> Image.Image:
    with Image.open(file) as image:
        scale = TILE_PX / max(image.size)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        return image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
