"""The pictures of the analysis, of the subset that the summary is about.

Belongs here: which pictures there are. Does not belong here: how a chart looks (``assay.pictures``).
"""

from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image

from assay.analysis.inputs import AnalysisInputs
from assay.files import write_bytes
from assay.metrics.registry import get_metric
from assay.metrics.samples import ClassificationSample, RegressionSample, Sample
from assay.pictures.bars import metric_bars
from assay.pictures.confusion import confusion_matrix
from assay.pictures.grid import sample_grid, save_small_png
from assay.pictures.regression import predicted_vs_target, residuals
from assay.pictures.reliability import reliability
from assay.tables import read_parquet

TILE_PX = 96
MOST_TILES = 24
GRID_COLUMNS = 6


def draw_metrics(folder: Path, analysis: pl.DataFrame) -> None:
    """Write ``metrics.png``: every metric about all classes, per subset, beside its baseline."""
    rows = analysis.filter(pl.col("class") == "")
    if len(rows):
        labels = {name: get_metric(name).label for name in rows["metric"].unique()}
        write_bytes(folder / "metrics.png", metric_bars(rows, labels))


def draw_sample(
    folder: Path, subset: str, sample: Sample, classes: tuple[str, ...], calibration: pl.DataFrame, unit: str
) -> None:
    """Write the pictures of one subset's items."""
    about = f"{subset}, {len(sample.target):,} items"
    if isinstance(sample, RegressionSample):
        points = sample.target, sample.prediction, unit
        write_bytes(folder / "predicted_vs_target.png", predicted_vs_target(*points, f"Predictions · {about}"))
        write_bytes(folder / "residuals.png", residuals(*points, f"Residuals · {about}"))
    elif isinstance(sample, ClassificationSample):
        counts = sample.confusion[0].astype(int)
        write_bytes(folder / "confusion_matrix.png", confusion_matrix(counts, classes, f"Confusion matrix · {about}"))
        write_bytes(folder / "reliability.png", reliability(calibration, f"Calibration · {about}"))


def draw_worst(folder: Path, worst: pl.DataFrame, inputs: AnalysisInputs) -> None:
    """Write ``worst_items.png``: the images of the worst items; nothing when there are no images or no mistakes."""
    if inputs.crops_folder is None or not len(worst):
        return
    crops = read_parquet(inputs.crops_folder / "crops.parquet", ["item", "file"])
    rows = worst.join(crops, on="item", maintain_order="left").head(MOST_TILES)
    if len(rows):
        tiles = [_tile(inputs.crops_folder / file) for file in rows["file"]]
        captions = [_caption(row) for row in rows.iter_rows(named=True)]
        save_small_png(sample_grid(tiles, captions, GRID_COLUMNS), folder / "worst_items.png")


def _tile(file: Path) -> Image.Image:
    with Image.open(file) as image:
        scale = TILE_PX / max(image.size)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        return image.convert("RGB").resize(size, Image.Resampling.BICUBIC)


def _caption(row: dict[str, Any]) -> str:
    if "residual" in row:
        return f"{row['target']:g} → {row['prediction']:.3g}"
    return f"{row['target_class']} → {row['predicted_class']} {row['confidence']:.2f}"
