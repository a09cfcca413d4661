"""Analysis of masks: the pixels of each true and predicted class, and the images with the best and worst IoU."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
from PIL import Image

from assay.analysis.base import Analysis, AnalysisInputs, SubsetData, TaskAnalysis, by_subset
from assay.analysis.items import (
    confusion_rows,
    draw_class_scores,
    item_index,
    missing_values,
    open_image,
    read_image_boxes,
    refuse,
    repeated_items,
    require_prediction_columns,
    splits_of,
    unknown_names,
)
from assay.datasets.mask_classes import IndexMask, read_meanings, read_values
from assay.datasets.schema import BACKGROUND, mask_root_of
from assay.metrics.samples import Floats
from assay.metrics.segmentation import SegmentationSample, iou_of_counts
from assay.plots.classification import confusion_matrix
from assay.plots.overlays import UNKNOWN, class_legend, mask_panels
from assay.plots.sheets import save_sheet, sheet
from assay.spec.analysis import ResultAnalyzer
from assay.storage.files import write_bytes
from assay.utils.text import pluralize

IMAGES_PER_PLOT = 4

MASK_FOLDER = "masks"
"""Folder of the predicted masks, beside the table of predictions."""

COLUMNS = ["item", "subset", "target_class", "predicted_class", "pixels"]
"""Columns of the predictions that are read."""

IMAGE_SCHEMA = {
    "subset": pl.String(),
    "item": pl.String(),
    "mean_iou": pl.Float64(),
    "worst_class": pl.String(),
    "worst_iou": pl.Float64(),
    "reason": pl.String(),
}
"""Columns of the tables of best and worst images."""

PANELS = "Image, truth, prediction (with the true outlines in white)."
"""What the three panels of an image show."""


def _read(inputs: AnalysisInputs, analyzer: ResultAnalyzer) -> list[SubsetData]:
    training_pixels = inputs.training_summary["pixels"].to_numpy()
    return [
        _subset_data(subset, pixels, training_pixels, inputs, analyzer)
        for subset, pixels in read_counts(inputs).items()
    ]


@dataclass(frozen=True)
class PixelCounts:
    """The images of one subset whose true classes are known.

    Attributes:
        items: Their names.
        counts: (n, 1 + k, 1 + k) pixels per true and predicted class; 0 is the background.
    """

    items: list[str]
    counts: Floats


def _subset_data(
    subset: str, pixels: PixelCounts, training_pixels: Floats, inputs: AnalysisInputs, analyzer: ResultAnalyzer
) -> SubsetData:
    sample = SegmentationSample(pixels.counts, np.ones((1, len(pixels.items))))
    baselines = {
        "commonest object class": sample.predict_everywhere(1 + int(training_pixels[1:].argmax())),
        "majority class": sample.predict_everywhere(int(training_pixels.argmax())),
    }
    names = [BACKGROUND, *inputs.classes]
    images = rank_segmented_images(subset, pixels, names)
    tables = {
        "worst_items": images.filter(pl.col("mean_iou") < 1).head(analyzer.worst_items),
        "best_items": images.reverse().head(analyzer.worst_items),
        "confusion_matrix": confusion_rows(subset, pixels.counts.sum(axis=0), names),
    }
    return SubsetData(subset, sample, baselines, np.arange(len(pixels.items)), tables)


def _draw(analysis: Analysis, inputs: AnalysisInputs, analyzer: ResultAnalyzer, folder: Path) -> None:
    about = f"{analysis.headline.subset}, {pluralize(analysis.headline.item_count, 'image')}"
    counts = _confusion(analysis)
    title = f"Confusion of pixels · {about}"
    matrix = confusion_matrix(counts.astype(np.int64), [BACKGROUND, *inputs.classes], title, as_shares=True)
    write_bytes(folder / "confusion_matrix.png", matrix)
    draw_class_scores(analysis, about, folder)
    for name in ("best_items", "worst_items"):
        draw_masks(analysis.of_headline(name).head(IMAGES_PER_PLOT), inputs, folder / f"{name}.png")


def _advise(analysis: Analysis) -> str:
    table = analysis.of_headline("confusion_matrix")
    return worst_class_sentence(_confusion(analysis), table["target_class"].unique(maintain_order=True).to_list())


def _confusion(analysis: Analysis) -> Floats:
    sample = cast(SegmentationSample, analysis.headline.sample)
    total: Floats = sample.counts.sum(axis=0)
    return total


SEGMENTATION = TaskAnalysis("image", _read, _draw, _advise)


def read_counts(inputs: AnalysisInputs) -> dict[str, PixelCounts]:
    """Return the pixels of each image per true and predicted class, by subset, in the order of reports.

    Raises:
        DataError: The table can't be analysed; lists every problem.
    """
    frame = inputs.read_predictions()
    require_prediction_columns(inputs, frame, COLUMNS)
    known = frame.select(COLUMNS).filter(pl.col("target_class").is_not_null())
    names = [BACKGROUND, *inputs.classes]
    problems = repeated_items(known.unique(["item", "subset"], maintain_order=True))
    problems += missing_values(known.select("predicted_class", "pixels"))
    for name in ("target_class", "predicted_class"):
        problems += unknown_names(name, known[name].cast(pl.String), names)
    problems += [] if len(known) else ["there is no prediction of an image whose true classes are known"]
    refuse(inputs, problems)
    return {subset: _counts(rows, names) for subset, rows in by_subset(known).items()}


def _counts(rows: pl.DataFrame, names: list[str]) -> PixelCounts:
    items = rows["item"].unique(maintain_order=True).to_list()
    labels = list(range(len(names)))
    cells = rows.select(
        item_index(items),
        *(
            pl.col(name).cast(pl.String).replace_strict(names, labels, return_dtype=pl.Int64)
            for name in ("target_class", "predicted_class")
        ),
    )
    counts = np.zeros((len(items), len(names), len(names)))
    np.add.at(counts, tuple(cells.to_numpy().T), rows["pixels"].to_numpy())
    return PixelCounts(items, counts)


def rank_segmented_images(subset: str, pixels: PixelCounts, names: list[str]) -> pl.DataFrame:
    """Return one row per image with true or predicted objects, the lowest mean IoU first.

    Args:
        subset: Name of the subset.
        pixels: Its images.
        names: The background and the classes.
    """
    rows = [_image_row(counts, names) for counts in pixels.counts]
    table = [{"subset": subset, "item": item, **row} for item, row in zip(pixels.items, rows, strict=True) if row]
    return pl.DataFrame(table, schema=IMAGE_SCHEMA).sort("mean_iou", "item")


def _image_row(counts: Floats, names: list[str]) -> dict[str, Any] | None:
    """Return what a row says of an image with these counts (1 + k, 1 + k); None without any object."""
    ious = iou_of_counts(counts)[1:]
    if np.isnan(ious).all():
        return None
    wrong = (counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diagonal(counts))[1:]
    # The lowest IoU; of equal ones, the class with most wrong pixels.
    worst = min(np.flatnonzero(~np.isnan(ious)), key=lambda index: (ious[index], -wrong[index]))
    reason = _reason(counts, 1 + int(worst), names) if ious[worst] < 1 else ""
    return {
        "mean_iou": float(np.nanmean(ious)),
        "worst_class": names[1 + worst],
        "worst_iou": float(ious[worst]),
        "reason": reason,
    }


def _reason(counts: Floats, label: int, names: list[str]) -> str:
    """Return the most frequent mistake with a class: its pixels taken for another class, or the other way round."""
    missed, false = counts[label].copy(), counts[:, label].copy()
    missed[label] = false[label] = 0
    if missed.sum() >= false.sum():
        share = missed.max() / counts[label].sum()
        return f"{share:.0%} of {names[label]} taken for {names[int(missed.argmax())]}"
    share = false.max() / counts[:, label].sum()
    return f"{share:.0%} of what is called {names[label]} is {names[int(false.argmax())]}"


def worst_class_sentence(counts: Floats, names: list[str]) -> str:
    """Return the sentence about the class with the lowest IoU among those that occur.

    Args:
        counts: (1 + k, 1 + k) pixels of a subset per true and predicted class.
        names: The background and the classes.
    """
    ious = iou_of_counts(counts)
    occurring = 1 + np.flatnonzero(counts.sum(axis=1)[1:])
    worst = int(occurring[ious[occurring].argmin()])
    shares = counts[worst] / counts[worst].sum()
    confused = 1 - shares[worst] - shares[0]
    measured = f"Worst class: {names[worst]}, IoU {ious[worst]:.3f}; of its pixels {shares[0]:.0%} are taken for "
    if shares[0] >= confused:
        advice = "It is missed more than confused: train longer, or on larger images (data_description.image_size)."
        return f"{measured}background, {confused:.0%} for other classes. {advice}"
    others = np.where(np.arange(len(shares)) == worst, 0, shares)
    others[0] = 0
    advice = "It is confused more than missed: compare the two in worst_items.png, then add examples of both."
    return f"{measured}background, {others.max():.0%} for {names[int(others.argmax())]}. {advice}"


@dataclass(frozen=True)
class _MaskedImage:
    """One image with its masks and the caption below it."""

    image: Image.Image
    ground_truth: IndexMask
    predicted: IndexMask
    caption: str


def draw_masks(rows: pl.DataFrame, inputs: AnalysisInputs, path: Path) -> None:
    """Draw images with their true and predicted masks, one row each; without rows no file is written.

    Args:
        rows: Columns item, subset, mean_iou and reason, of one subset.
        inputs: Where images and masks are.
        path: The PNG file.
    """
    images = _read_masked_images(rows, inputs)
    if not images:
        return
    values = [np.unique(values) for each in images for values in (each.ground_truth, each.predicted)]
    shown = [value for value in np.unique(np.concatenate(values)).tolist() if 0 < value < UNKNOWN]
    captions = [each.caption for each in images]
    legend = class_legend(inputs.classes, shown)

    def make(tones: int) -> Image.Image:
        tiles = [mask_panels(each.image, each.ground_truth, each.predicted, tones) for each in images]
        return sheet(tiles, captions, 1, [(PANELS, None), *legend])

    save_sheet(make, path)


def _read_masked_images(rows: pl.DataFrame, inputs: AnalysisInputs) -> list[_MaskedImage]:
    folder = splits_of(inputs)
    meanings, root = read_meanings(folder, inputs.classes, inputs.label_classes), mask_root_of(folder)
    known = rows.join(read_image_boxes(inputs), on=["item", "subset"], how="inner", maintain_order="left")
    return [
        _MaskedImage(
            open_image(inputs, row["file"]),
            meanings.apply(read_values(root / row["mask"])),
            read_values(inputs.predictions.parent / MASK_FOLDER / f"{row['item']}.png").astype(np.uint8),
            f"{row['item']}: mean IoU {row['mean_iou']:.2f}" + f"; {row['reason']}" * bool(row["reason"]),
        )
        for row in known.iter_rows(named=True)
    ]
