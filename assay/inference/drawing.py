"""One picture with what a model predicts of it: boxes with tags, classes of pixels, or a caption."""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from assay.datasets.inspection import MOST_IMAGE_BYTES
from assay.images.decoding import decode
from assay.inference.model import Model
from assay.plots.overlays import Mark, paint_classes, with_marks
from assay.plots.sheets import class_color
from assay.utils.reading import read_bytes

LEAST_CONFIDENCE = 0.3
"""Least confidence of a box that is drawn; the table has all of them."""

CAPTION_PX, LEAST_WIDTH_PX = 14, 160


def drawn_prediction(model: Model, item: str, rows: pl.DataFrame | None, mask: NDArray[np.uint8] | None) -> Image.Image:
    """Return a picture in colour with its prediction.

    Args:
        model: What predicted.
        item: Path of the picture.
        rows: Its rows of the predictions; None if it has none.
        mask: Class of every pixel, for segmentation.
    """
    image = decode(read_bytes(Path(item), MOST_IMAGE_BYTES)).convert("RGB")
    if mask is not None:
        return paint_classes(image, mask)
    if model.task == "detection":
        return with_marks(image, _marks(model, rows), 1.0)
    return _captioned(image, _caption(rows))


def _marks(model: Model, rows: pl.DataFrame | None) -> list[Mark]:
    shown = rows.filter(pl.col("confidence") >= LEAST_CONFIDENCE).reverse() if rows is not None else None
    columns = ("x_px", "y_px", "width_px", "height_px", "predicted_class", "confidence")
    places = {name: place for place, name in enumerate(model.card.classes)}
    return [
        Mark((x, y, width, height), f"{name} {confidence:.2f}", class_color(places[name]))
        for x, y, width, height, name, confidence in (shown.select(columns).iter_rows() if shown is not None else ())
    ]


def _caption(rows: pl.DataFrame | None) -> str:
    row = rows.row(0, named=True) if rows is not None and len(rows) else {}
    if "prediction" in row:
        return f"{row['prediction']:.4g}"
    if "predicted_labels" in row:
        return ", ".join(row["predicted_labels"]) or "no label"
    return f"{row['predicted_class']} {row['confidence']:.2f}" if row else ""


def _captioned(image: Image.Image, caption: str) -> Image.Image:
    """Return an image with a line of text below; a small one is enlarged by a whole factor."""
    factor = max(1, LEAST_WIDTH_PX // max(image.size))
    large = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    canvas = Image.new("RGB", (max(large.width, LEAST_WIDTH_PX), large.height + CAPTION_PX + 4), "white")
    canvas.paste(large, (0, 0))
    ImageDraw.Draw(canvas).text((2, large.height), caption, "black", ImageFont.load_default(CAPTION_PX - 2))
    return canvas
