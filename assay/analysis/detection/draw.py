"""The pictures of single images: their objects, and what became of each predicted box.

Belongs here: from rows of tables to a sheet. Does not belong here: how frames look (``assay.pictures.overlays``).
"""

from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image

from assay.analysis.detection_findings import BACKGROUND, CONFUSED, CROWD, DUPLICATE, FOUND, MISPLACED, MISSED
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.scenes import open_scene, read_scenes, splits_of
from assay.analysis.taught import PLACE, read_objects
from assay.pictures.overlays import Mark, draw_marks
from assay.pictures.sheets import Colour, rgb, save_sheet, sheet

COLUMNS = 2
MOST_LETTERS = 14
"""Letters of a class name in a tag."""
TRUTH = rgb("#FFFFFF")
COLOURS = {
    FOUND: rgb("#3DDC84"),
    CONFUSED: rgb("#E48BD0"),
    DUPLICATE: rgb("#FFB000"),
    MISPLACED: rgb("#FFE14D"),
    BACKGROUND: rgb("#FF7A33"),
    CROWD: rgb("#9AA5B1"),
    MISSED: rgb("#FF4D4D"),
}
WORDS = {BACKGROUND: "no object there", MISSED: "missed (dashed)"}
"""What the legend says where the table's word alone would be short of meaning."""


def draw_scenes(rows: pl.DataFrame, findings: pl.DataFrame, inputs: AnalysisInputs, path: Path) -> None:
    """Draw images with their boxes; nothing without rows.

    Args:
        rows: Columns item, subset, f1 and reason, one subset.
        findings: What became of boxes and objects.
        inputs: Where the images and objects are.
        path: The PNG file.
    """
    known = rows.join(read_scenes(inputs), on=["item", "subset"], how="inner", maintain_order="left")
    if known.is_empty():
        return
    objects = read_objects(splits_of(inputs), inputs.label_classes)
    images = [open_scene(inputs, file) for file in known["file"]]
    marks = [_marks(objects, findings, item) for item in known["item"]]
    captions = [_caption(row) for row in known.iter_rows(named=True)]
    present = findings.filter(pl.col("item").is_in(known["item"].implode()))["match"].unique().to_list()
    legend: list[tuple[str, Colour | None]] = [("object (dashed)", TRUTH)]
    legend += [(WORDS.get(name, name), colour) for name, colour in COLOURS.items() if name in present]

    def make(tones: int) -> Image.Image:
        tiles = [draw_marks(image, own, tones) for image, own in zip(images, marks, strict=True)]
        return sheet(tiles, captions, COLUMNS, legend)

    save_sheet(make, path)


def _marks(objects: pl.DataFrame, findings: pl.DataFrame, item: str) -> list[Mark]:
    """Return the objects of an image, then its boxes, the surest last and on top."""
    true = [Mark(_place(row), "", TRUTH, dashed=True) for row in objects.filter(pl.col("item") == item).to_dicts()]
    of_image = findings.filter(pl.col("item") == item).reverse()
    return true + [
        Mark(_place(row), _tag(row), COLOURS[row["match"]], row["match"] == MISSED) for row in of_image.to_dicts()
    ]


def _place(row: dict[str, Any]) -> tuple[float, float, float, float]:
    left, top, width, height = (float(row[name]) for name in PLACE)
    return left, top, width, height


def _tag(row: dict[str, Any]) -> str:
    if row["match"] == MISSED:
        return _short(row["target_class"])
    instead = f" not {_short(row['target_class'])}" if row["match"] == CONFUSED else ""
    return f"{_short(row['predicted_class'])}{instead} {row['confidence']:.2f}"


def _short(name: str) -> str:
    return name if len(name) <= MOST_LETTERS else f"{name[: MOST_LETTERS - 1]}…"


def _caption(row: dict[str, Any]) -> str:
    return f"{row['item']}: " + (row["reason"] or f"all {row['found']} found, nothing else")
