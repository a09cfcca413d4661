"""The pictures of the analysis, of the subset that the summary is about.

Belongs here: which pictures there are. Does not belong here: how a chart looks (``assay.pictures``).
"""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from assay.analysis.compute import Analysis
from assay.analysis.inputs import AnalysisInputs
from assay.files import write_bytes
from assay.metrics.calibration import calibration_table
from assay.metrics.registry import get_metric
from assay.metrics.samples import RegressionSample
from assay.pictures.bars import metric_bars
from assay.pictures.confusion import confusion_matrix
from assay.pictures.grid import sample_grid, save_small_png
from assay.pictures.regression import predicted_vs_target, residuals
from assay.pictures.reliability import reliability
from assay.tables import read_parquet

TILE_PX = 96
MOST_TILES = 24
GRID_COLUMNS = 6


def draw_pictures(analysis: Analysis, inputs: AnalysisInputs, unit: str, folder: Path) -> None:
    """Write every picture that there is something to show for.

    Args:
        analysis: All numbers.
        inputs: Classes, and the crops that show the worst items.
        unit: Unit of a regression target.
        folder: Where the PNG files go.
    """
    _draw_metrics(analysis.tables["analysis"], folder)
    sample = analysis.samples[analysis.headline]
    about = f"{analysis.headline}, {len(sample.target):,} items"
    if isinstance(sample, RegressionSample):
        points = sample.target, sample.prediction, unit
        write_bytes(folder / "predicted_vs_target.png", predicted_vs_target(*points, f"Predictions · {about}"))
        write_bytes(folder / "residuals.png", residuals(*points, f"Residuals · {about}"))
    else:
        counts = sample.confusion[0].astype(np.int64)
        title = f"Confusion matrix · {about}"
        write_bytes(folder / "confusion_matrix.png", confusion_matrix(counts, inputs.classes, title))
        write_bytes(folder / "reliability.png", reliability(calibration_table(sample), f"Calibration · {about}"))
    worst = analysis.of_headline("worst_items")
    if inputs.crops_folder is not None and worst is not None and len(worst):
        _draw_worst(worst, inputs.crops_folder, folder)


def _draw_metrics(table: pl.DataFrame, folder: Path) -> None:
    """Draw every metric about all classes, per subset, beside its baseline."""
    rows = table.filter(pl.col("class") == "")
    if len(rows):
        labels = {name: get_metric(name).label for name in rows["metric"].unique()}
        write_bytes(folder / "metrics.png", metric_bars(rows, labels))


def _draw_worst(worst: pl.DataFrame, crops_folder: Path, folder: Path) -> None:
    """Draw the images of the worst items, those that have one."""
    crops = read_parquet(crops_folder / "crops.parquet", ["item", "file"])
    rows = worst.join(crops, on="item", maintain_order="left").head(MOST_TILES)
    if len(rows):
        tiles = [_tile(crops_folder / file) for file in rows["file"]]
        captions = [_caption(row) for row in rows.iter_rows(named=True)]
        save_small_png(sample_grid(tiles, captions, GRID_COLUMNS), folder / "worst_items.png")


def _tile(file: Path) -> Image.Image:
    with Image.open(file) as image:
        scale = TILE_PX / max(image.size)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        return image.convert("RGB").resize(size, Image.Resampling.BICUBIC)


def _caption(row: dict[str, Any]) -> str:
    if "residual" in row:
        return f"{row['target']:g} as {row['prediction']:.3g}"
    return f"{row['target_class']} as {row['predicted_class']} {row['confidence']:.2f}"
