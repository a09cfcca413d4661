"""Analysis of masks.

Belongs here: which tables and pictures there are. Does not belong here: how they are made
(``assay.analysis.segmentation``).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
from PIL import Image

from assay.analysis.base import Analysis, AnalysisInputs, Kind, Part, by_subset
from assay.analysis.images import open_scene, place_of, read_scenes, splits_of
from assay.analysis.items import confusion_rows, refuse, repeated_items, unknown_names
from assay.datasets.mask_classes import IndexMask, read_meanings, read_values
from assay.datasets.schema import BACKGROUND, mask_root_of
from assay.errors import DataError
from assay.metrics.samples import Floats, divide
from assay.metrics.segmentation import SegmentationSample
from assay.plots.classification import class_scores, confusion_matrix
from assay.plots.overlays import UNKNOWN, class_legend, mask_panels
from assay.plots.sheets import save_sheet, sheet
from assay.spec.analysis import ResultAnalyzer
from assay.storage.files import write_bytes
from assay.storage.parquet import read_parquet

PER_PICTURE = 4


def _parts(inputs: AnalysisInputs, analyzer: ResultAnalyzer) -> list[Part]:
    trained = inputs.taught["pixels"].to_numpy()
    return [_part(subset, pixels, trained, inputs, analyzer) for subset, pixels in read_counts(inputs).items()]


@dataclass(frozen=True)
class PixelCounts:
    """The images of one subset whose truth is known.

    Attributes:
        items: Their names.
        counts: (n, 1 + k, 1 + k) pixels per true and predicted class; 0 is the background.
    """

    items: list[str]
    counts: Floats


def _part(subset: str, pixels: PixelCounts, trained: Floats, inputs: AnalysisInputs, analyzer: ResultAnalyzer) -> Part:
    sample = SegmentationSample(pixels.counts, np.ones((1, len(pixels.items))))
    baselines = {
        "commonest object class": sample.predict_everywhere(1 + int(trained[1:].argmax())),
        "majority class": sample.predict_everywhere(int(trained.argmax())),
    }
    names = [BACKGROUND, *inputs.classes]
    scenes = scene_rows(subset, pixels, names)
    tables = {
        "worst_items": scenes.filter(pl.col("mean_iou") < 1).head(analyzer.worst_items),
        "best_items": scenes.reverse().head(analyzer.worst_items),
        "confusion_matrix": confusion_rows(subset, pixels.counts.sum(axis=0), names),
    }
    return Part(subset, sample, baselines, np.arange(len(pixels.items)), tables)


def _draw(analysis: Analysis, inputs: AnalysisInputs, analyzer: ResultAnalyzer, folder: Path) -> None:
    part = analysis.parts[analysis.headline]
    about = f"{part.subset}, {part.item_count:,} images"
    counts = _confusion(analysis)
    title = f"Confusion of pixels · {about}"
    matrix = confusion_matrix(counts.astype(np.int64), [BACKGROUND, *inputs.classes], title, as_shares=True)
    write_bytes(folder / "confusion_matrix.png", matrix)
    per_class = analysis.of_headline("analysis").filter(pl.col("class") != "")
    if len(per_class):
        write_bytes(folder / "classes.png", class_scores(per_class, f"Classes · {about}"))
    for name in ("best_items", "worst_items"):
        draw_scenes(analysis.of_headline(name).head(PER_PICTURE), inputs, folder / f"{name}.png")


def _advise(analysis: Analysis) -> str:
    table = analysis.of_headline("confusion_matrix")
    return worst_class_sentence(_confusion(analysis), table["target_class"].unique(maintain_order=True).to_list())


def _confusion(analysis: Analysis) -> Floats:
    sample = cast(SegmentationSample, analysis.parts[analysis.headline].sample)
    total: Floats = sample.counts.sum(axis=0)
    return total


SEGMENTATION = Kind("image", _parts, _draw, _advise)

COLUMNS = ["item", "subset", "target_class", "predicted_class", "pixels"]


def read_counts(inputs: AnalysisInputs) -> dict[str, PixelCounts]:
    """Return the pixels of each image per true and predicted class, by subset, in the order of reports.

    Raises:
        DataError: The table can't be analysed; lists every problem.
    """
    frame = read_parquet(inputs.predictions)
    absent = [name for name in COLUMNS if name not in frame.columns]
    if absent:
        raise DataError(f"{inputs.predictions.name} lacks columns: {', '.join(absent)}.")
    known = frame.select(COLUMNS).filter(pl.col("target_class").is_not_null())
    names = [BACKGROUND, *inputs.classes]
    problems = repeated_items(known.unique(["item", "subset"], maintain_order=True))
    problems += [
        f"column {name!r} has {count} missing values"
        for name in ("predicted_class", "pixels")
        if (count := known[name].null_count())
    ]
    for name in ("target_class", "predicted_class"):
        problems += unknown_names(name, known[name].cast(pl.String), names)
    problems += [] if len(known) else ["there is no prediction of an image whose truth is known"]
    refuse(inputs, problems)
    return {subset: _counts(rows, names) for subset, rows in by_subset(known).items()}


def _counts(rows: pl.DataFrame, names: list[str]) -> PixelCounts:
    items = rows["item"].unique(maintain_order=True).to_list()
    places = list(range(len(names)))
    cells = rows.select(
        place_of(items),
        *(
            pl.col(name).cast(pl.String).replace_strict(names, places, return_dtype=pl.Int64)
            for name in ("target_class", "predicted_class")
        ),
    )
    counts = np.zeros((len(items), len(names), len(names)))
    np.add.at(counts, tuple(cells.to_numpy().T), rows["pixels"].to_numpy())
    return PixelCounts(items, counts)


SCENE_SCHEMA = {
    "subset": pl.String(),
    "item": pl.String(),
    "mean_iou": pl.Float64(),
    "worst_class": pl.String(),
    "worst_iou": pl.Float64(),
    "reason": pl.String(),
}


def scene_rows(subset: str, pixels: PixelCounts, names: list[str]) -> pl.DataFrame:
    """Return one row per image with anything to find or anything found, the worst first.

    Args:
        subset: Name of the subset.
        pixels: Its images.
        names: The background and the classes.
    """
    rows = [_scene_row(counts, names) for counts in pixels.counts]
    table = [{"subset": subset, "item": item, **row} for item, row in zip(pixels.items, rows, strict=True) if row]
    return pl.DataFrame(table, schema=SCENE_SCHEMA).sort("mean_iou", "item")


def _scene_row(counts: Floats, names: list[str]) -> dict[str, Any] | None:
    right, wrong = np.diagonal(counts), counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diagonal(counts)
    ious = divide(right, right + wrong)[1:]
    if np.isnan(ious).all():
        return None
    # The lowest IoU; of equal ones, the class with most wrong pixels.
    worst = min(np.flatnonzero(~np.isnan(ious)), key=lambda place: (ious[place], -wrong[1 + place]))
    reason = _reason(counts, 1 + int(worst), names) if ious[worst] < 1 else ""
    return {
        "mean_iou": float(np.nanmean(ious)),
        "worst_class": names[1 + worst],
        "worst_iou": float(ious[worst]),
        "reason": reason,
    }


def _reason(counts: Floats, place: int, names: list[str]) -> str:
    """Return what most of a class's wrong pixels are: its own taken for others, or others' taken for it."""
    missed, false = counts[place].copy(), counts[:, place].copy()
    missed[place] = false[place] = 0
    if missed.sum() >= false.sum():
        share = missed.max() / counts[place].sum()
        return f"{share:.0%} of {names[place]} taken for {names[int(missed.argmax())]}"
    share = false.max() / counts[:, place].sum()
    return f"{share:.0%} of what is called {names[place]} is {names[int(false.argmax())]}"


def worst_class_sentence(counts: Floats, names: list[str]) -> str:
    """Return the sentence about the class with the lowest IoU among those that occur.

    Args:
        counts: (1 + k, 1 + k) pixels of a subset per true and predicted class.
        names: The background and the classes.
    """
    right = np.diagonal(counts)
    ious = divide(right, counts.sum(axis=0) + counts.sum(axis=1) - right)
    occurring = 1 + np.flatnonzero(counts.sum(axis=1)[1:])
    worst = int(occurring[ious[occurring].argmin()])
    shares = counts[worst] / counts[worst].sum()
    confused = 1 - shares[worst] - shares[0]
    measured = f"Worst class: {names[worst]}, IoU {ious[worst]:.3f}; of its pixels {shares[0]:.0%} are taken for "
    if shares[0] >= confused:
        advice = "It is missed more than confused: train longer, or on larger images (data_description.image_size)."
        return f"{measured}background, {confused:.0%} for other classes. {advice}"
    other = np.where(np.arange(len(shares)) == worst, 0, shares)
    other[0] = 0
    advice = "It is confused more than missed: compare the two in worst_items.png, then add examples of both."
    return f"{measured}background, {other.max():.0%} for {names[int(other.argmax())]}. {advice}"


MASK_FOLDER = "masks"

READING = "Image, truth, prediction (with the true outlines in white)."


@dataclass(frozen=True)
class _Scene:
    """One image with its masks and what is written below it."""

    image: Image.Image
    truth: IndexMask
    predicted: IndexMask
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
