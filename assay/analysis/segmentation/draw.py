"""The pictures of single images: what they show, what it is, what the model says.

Belongs here: from rows of tables to a sheet. Does not belong here: how masks are painted (``assay.pictures.masks``).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from assay.analysis.inputs import AnalysisInputs
from assay.analysis.scenes import open_scene, read_scenes, splits_of
from assay.class_maps import ClassMap, read_meanings, read_values
from assay.items import mask_root_of
from assay.pictures.masks import UNKNOWN, class_legend, mask_panels
from assay.pictures.sheets import save_sheet, sheet

MASK_FOLDER = "masks"
READING = "Image, truth, prediction (with the true outlines in white)."


@dataclass(frozen=True)
class _Scene:
    """One image with its masks and what is written below it."""

    image: Image.Image
    truth: ClassMap
    predicted: ClassMap
    caption: str


def draw_scenes(rows: pl.DataFrame, inputs: AnalysisInputs, path: Path) -> None:
    """Draw images with their true and predicted masks, one row each; nothing without rows.

    Args:
        rows: Columns item, mean_iou and reason, one subset.
        inputs: Where images and masks are.
        path: The PNG file.
    """
    scenes = _read(rows, inputs)
    if not scenes:
        return
    values = [np.unique(values) for scene in scenes for values in (scene.truth, scene.predicted)]
    shown = [value for value in np.unique(np.concatenate(values)).tolist() if 0 < value < UNKNOWN]
    captions = [scene.caption for scene in scenes]
    legend = class_legend(inputs.classes, shown)

    def make(tones: int) -> Image.Image:
        tiles = [mask_panels(scene.image, scene.truth, scene.predicted, tones) for scene in scenes]
        return sheet(tiles, captions, 1, [(READING, None), *legend])

    save_sheet(make, path)


def _read(rows: pl.DataFrame, inputs: AnalysisInputs) -> list[_Scene]:
    folder = splits_of(inputs)
    meanings, root = read_meanings(folder, inputs.classes, inputs.label_classes), mask_root_of(folder)
    known = rows.join(read_scenes(inputs), on=["item", "subset"], how="inner", maintain_order="left")
    return [
        _Scene(
            open_scene(inputs, row["file"]),
            meanings.apply(read_values(root / row["mask"])),
            read_values(inputs.predictions.parent / MASK_FOLDER / f"{row['item']}.png").astype(np.uint8),
            f"{row['item']}: mean IoU {row['mean_iou']:.2f}" + f"; {row['reason']}" * bool(row["reason"]),
        )
        for row in known.iter_rows(named=True)
    ]
