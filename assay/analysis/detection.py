"""Analysis of boxes: curves over the confidence, the images with the best and worst F1, and the trivial baseline.

Belongs here: what is computed and drawn from boxes and their findings. Does not belong here: reading boxes and judging
each of them (``assay.analysis.detection_findings``).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from assay.analysis.base import Analysis, AnalysisInputs, SubsetData, TaskAnalysis
from assay.analysis.detection_findings import (
    CONFUSED,
    DUPLICATE,
    FOUND,
    IN_CROWD,
    MISPLACED,
    MISSED,
    NO_OBJECT,
    ImageBoxes,
    box_confusion,
    finding_rows,
    rank_detected_images,
    read_boxes,
    weakest_class_sentence,
)
from assay.analysis.items import draw_class_scores, open_image, read_image_boxes, splits_of
from assay.datasets.schema import BACKGROUND
from assay.metrics.box_matching import Boxes
from assay.metrics.detection import AT_50, DetectionSample, make_sample
from assay.metrics.samples import Booleans
from assay.plots.classification import confusion_matrix, draw_threshold_curves
from assay.plots.overlays import Mark, draw_marks
from assay.plots.sheets import Colour, rgb, save_sheet, sheet
from assay.spec.analysis import ResultAnalyzer
from assay.storage.files import write_bytes
from assay.training.summary import PLACE, read_objects
from assay.utils.text import pluralize

TUNING_SUBSET = "validation"
"""The subset on which the confidence of findings is chosen, if it was predicted; otherwise each subset has its own."""

IMAGES_PER_PLOT, COLUMNS = 4, 2

MAX_LETTERS = 14
"""Letters of a class name in a tag."""

OBJECT_COLOUR = rgb("#FFFFFF")

MATCH_COLOURS = {
    FOUND: rgb("#3DDC84"),
    CONFUSED: rgb("#E48BD0"),
    DUPLICATE: rgb("#FFB000"),
    MISPLACED: rgb("#FFE14D"),
    NO_OBJECT: rgb("#FF7A33"),
    IN_CROWD: rgb("#9AA5B1"),
    MISSED: rgb("#FF4D4D"),
}

LEGEND_TEXTS = {NO_OBJECT: "no object there", MISSED: "missed (dashed)"}
"""Texts of the legend where the value in the table alone would not be clear."""

MAX_POINTS = 200
"""Points kept of each curve: more can't be told apart."""

ALL_CLASSES = ""
"""Class of the curve over all classes."""

CURVE_SCHEMA = pl.Schema(
    {
        "subset": pl.String(),
        "class": pl.String(),
        "threshold": pl.Float64(),
        "precision": pl.Float64(),
        "recall": pl.Float64(),
        "f1": pl.Float64(),
        "best": pl.Boolean(),
    }
)


def _read(inputs: AnalysisInputs, analyzer: ResultAnalyzer) -> list[SubsetData]:
    subsets, classes = read_boxes(inputs), inputs.classes
    samples = {
        subset: make_sample(boxes.predicted, boxes.objects, len(classes), len(boxes.images))
        for subset, boxes in subsets.items()
    }
    curves = {subset: curve_rows(subset, sample, classes) for subset, sample in samples.items()}
    return [_subset_data(subset, boxes, samples[subset], curves, inputs, analyzer) for subset, boxes in subsets.items()]


def _subset_data(
    subset: str,
    boxes: ImageBoxes,
    sample: DetectionSample,
    curves: Mapping[str, pl.DataFrame],
    inputs: AnalysisInputs,
    analyzer: ResultAnalyzer,
) -> SubsetData:
    trivial = mean_boxes(inputs.training_summary, boxes.images, inputs.classes)
    baseline = make_sample(trivial, boxes.objects, len(inputs.classes), len(boxes.images))
    confidence = best_confidence(curves.get(TUNING_SUBSET, curves[subset]))
    findings = finding_rows(subset, boxes, confidence, inputs.classes)
    images = rank_detected_images(findings)
    tables = {
        "worst_items": images.filter(pl.col("f1") < 1).head(analyzer.worst_items),
        "best_items": images.filter(pl.col("found") > 0)
        .sort("f1", "found", "item", descending=[True, True, False])
        .head(analyzer.worst_items),
        "detections": findings,
        "curves": curves[subset],
        "confusion_matrix": box_confusion(subset, findings, inputs.classes),
    }
    return SubsetData(subset, sample, {"mean box of each class": baseline}, np.arange(len(boxes.images)), tables)


def _draw(analysis: Analysis, inputs: AnalysisInputs, analyzer: ResultAnalyzer, folder: Path) -> None:
    about = f"{analysis.headline.subset}, {pluralize(analysis.headline.item_count, 'image')}"
    confidence = _confidence(analysis)
    names = [*inputs.classes, BACKGROUND]
    counts = analysis.of_headline("confusion_matrix")["count"].to_numpy().reshape(len(names), len(names))
    title = f"Confusion at confidence {confidence:.2f} · {about}"
    write_bytes(folder / "confusion_matrix.png", confusion_matrix(counts, names, title))
    curves = draw_threshold_curves(analysis.of_headline("curves"), f"Thresholds · {about}", confidence)
    write_bytes(folder / "curves.png", curves)
    draw_class_scores(analysis, about, folder)
    for name in ("best_items", "worst_items"):
        rows = analysis.of_headline(name).head(IMAGES_PER_PLOT)
        draw_detections(rows, analysis.of_headline("detections"), inputs, folder / f"{name}.png")


def _advise(analysis: Analysis) -> str:
    return weakest_class_sentence(analysis.of_headline("confusion_matrix"), _confidence(analysis))


def _confidence(analysis: Analysis) -> float:
    """Return the confidence from which boxes are in the findings of the headline subset."""
    curves = analysis.tables["curves"]
    subset = TUNING_SUBSET if TUNING_SUBSET in analysis.subsets else analysis.headline.subset
    return best_confidence(curves.filter(pl.col("subset") == subset))


DETECTION = TaskAnalysis("image", _read, _draw, _advise)


def draw_detections(rows: pl.DataFrame, findings: pl.DataFrame, inputs: AnalysisInputs, path: Path) -> None:
    """Draw images with their boxes; without rows no file is written.

    Args:
        rows: Columns item, subset, found and reason, of one subset.
        findings: What each box and object was matched with, as ``finding_rows`` gives it.
        inputs: Where the images and objects are.
        path: The PNG file.
    """
    known = rows.join(read_image_boxes(inputs), on=["item", "subset"], how="inner", maintain_order="left")
    if known.is_empty():
        return
    objects = read_objects(splits_of(inputs), inputs.label_classes)
    images = [open_image(inputs, file) for file in known["file"]]
    marks = [_marks(objects, findings, item) for item in known["item"]]
    captions = [_caption(row) for row in known.iter_rows(named=True)]
    present = findings.filter(pl.col("item").is_in(known["item"].implode()))["match"].unique().to_list()
    legend: list[tuple[str, Colour | None]] = [("object (dashed)", OBJECT_COLOUR)]
    legend += [(LEGEND_TEXTS.get(name, name), colour) for name, colour in MATCH_COLOURS.items() if name in present]

    def make(tones: int) -> Image.Image:
        tiles = [draw_marks(image, own, tones) for image, own in zip(images, marks, strict=True)]
        return sheet(tiles, captions, COLUMNS, legend)

    save_sheet(make, path)


def _marks(objects: pl.DataFrame, findings: pl.DataFrame, item: str) -> list[Mark]:
    """Return the objects of an image, then its boxes, the most confident last and on top."""
    of_image = objects.filter(pl.col("item") == item), findings.filter(pl.col("item") == item).reverse()
    true, predicted = (frame.to_dicts() for frame in of_image)
    return [Mark(_xywh(row), "", OBJECT_COLOUR, dashed=True) for row in true] + [
        Mark(_xywh(row), _tag(row), MATCH_COLOURS[row["match"]], row["match"] == MISSED) for row in predicted
    ]


def _xywh(row: dict[str, Any]) -> tuple[float, float, float, float]:
    left, top, width, height = (float(row[name]) for name in PLACE)
    return left, top, width, height


def _tag(row: dict[str, Any]) -> str:
    if row["match"] == MISSED:
        return _short(row["target_class"])
    instead = f" not {_short(row['target_class'])}" if row["match"] == CONFUSED else ""
    return f"{_short(row['predicted_class'])}{instead} {row['confidence']:.2f}"


def _short(name: str) -> str:
    return name if len(name) <= MAX_LETTERS else f"{name[: MAX_LETTERS - 1]}…"


def _caption(row: dict[str, Any]) -> str:
    return f"{row['item']}: " + (row["reason"] or f"all {row['found']} found, nothing else")


def curve_rows(subset: str, sample: DetectionSample, classes: tuple[str, ...]) -> pl.DataFrame:
    """Return one curve per class that has objects, and one over all classes, at an IoU of 0.5.

    Args:
        subset: Name of the subset.
        sample: Its images.
        classes: Class names in the model's order.

    Returns:
        One row per threshold of the confidence, descending; ``best`` marks the highest F1 of each curve.
    """
    objects = np.array(sample.class_counts)
    labels = sample.predicted.label[sample.matches.boxes]
    curve = _curve(sample, np.ones(len(labels), bool), int(objects.sum()))
    curves = [curve.with_columns(pl.lit(ALL_CLASSES).alias("class"))]
    for label in np.flatnonzero(objects):
        curve = _curve(sample, labels == label, int(objects[label]))
        curves.append(curve.with_columns(pl.lit(classes[label]).alias("class")))
    rows = pl.concat(curves).with_columns(pl.lit(subset).alias("subset"))
    return rows.select(CURVE_SCHEMA.names()).cast(CURVE_SCHEMA)


def best_confidence(curves: pl.DataFrame) -> float:
    """Return the confidence with the highest F1 over all classes; 0.5 where nothing was predicted."""
    best = curves.filter((pl.col("class") == ALL_CLASSES) & pl.col("best"))["threshold"]
    return float(best[0]) if len(best) else 0.5


def _curve(sample: DetectionSample, chosen: Booleans, object_count: int) -> pl.DataFrame:
    """Return the curve of the chosen boxes (d,) without those in crowds; columns of ``CURVE_SCHEMA`` but two."""
    matched = sample.matches.objects[AT_50, chosen]
    crowd = np.append(sample.objects.crowd, False)[matched]
    confidence = sample.predicted.confidence[sample.matches.boxes[chosen]][~crowd]
    hits = np.cumsum(matched[~crowd] >= 0)
    # A threshold includes all boxes of equal confidence, or none of them.
    last = np.flatnonzero(np.append(np.diff(confidence) != 0, True)[: len(confidence)])
    hits, boxes = hits[last].astype(np.float64), 1.0 + last
    f1 = 2 * hits / (boxes + object_count)
    best = np.arange(len(f1)) == (f1.argmax() if len(f1) else -1)
    kept = _thinned(best)
    return pl.DataFrame(
        {
            "threshold": confidence[last][kept],
            "precision": (hits / boxes)[kept],
            "recall": (hits / object_count if object_count else np.zeros(len(hits)))[kept],
            "f1": f1[kept],
            "best": best[kept],
        }
    )


def _thinned(best: Booleans) -> Booleans:
    """Return which points of a curve to keep: the best one, the ends, and others evenly spaced."""
    kept = best.copy()
    kept[np.linspace(0, len(best) - 1, min(len(best), MAX_POINTS)).round().astype(int)] = True
    return kept


def mean_boxes(training_boxes: pl.DataFrame, images: pl.DataFrame, classes: tuple[str, ...]) -> Boxes:
    """Return a trivial prediction: in every image, one box per class at the mean position and size in training.

    Its confidence is the share of the class among the training boxes.

    Args:
        training_boxes: Columns class, and x and y of the centre, width and height as shares of the image.
        images: Columns width_px and height_px.
        classes: In the model's order; those without training boxes are never predicted.
    """
    shares = pl.len() / len(training_boxes)
    means = training_boxes.group_by("class").agg(pl.mean("x", "y", "width", "height"), share=shares)
    present = [name for name in classes if name in set(means["class"])]
    means = pl.DataFrame({"class": present}).join(means, on="class", maintain_order="left")
    sizes = images.select("width_px", "height_px").to_numpy().astype(np.float64)
    centre, size = means.select("x", "y").to_numpy(), means.select("width", "height").to_numpy()
    shape = np.concatenate([centre - size / 2, size], axis=1)
    boxes = shape[None] * np.tile(sizes, 2)[:, None]  # (n, k, 4)
    return Boxes(
        np.repeat(np.arange(len(images)), len(present)),
        np.tile([classes.index(name) for name in present], len(images)),
        boxes.reshape(-1, 4),
        np.tile(means["share"].to_numpy(), len(images)),
        np.zeros(len(images) * len(present), bool),
    )
