"""Analysis of boxes.

Belongs here: which tables and pictures there are. Does not belong here: how they are made
(``assay.analysis.detection``).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from assay.analysis.base import Analysis, AnalysisInputs, Kind, Part
from assay.analysis.detection_findings import (
    CONFUSED,
    CROWD,
    DUPLICATE,
    FOUND,
    MISPLACED,
    MISSED,
    NO_OBJECT,
    Scenes,
    box_confusion,
    finding_rows,
    read_boxes,
    scene_rows,
    weakest_class_sentence,
)
from assay.analysis.images import open_scene, read_scenes, splits_of
from assay.datasets.schema import BACKGROUND
from assay.metrics.box_matching import Boxes
from assay.metrics.detection import AT_50, DetectionSample, make_sample
from assay.metrics.samples import Booleans, Floats
from assay.plots.classification import class_scores, confusion_matrix, draw_threshold_curves
from assay.plots.overlays import Mark, draw_marks
from assay.plots.sheets import Colour, rgb, save_sheet, sheet
from assay.spec.analysis import ResultAnalyzer
from assay.storage.files import write_bytes
from assay.training.summary import PLACE, read_objects

CHOOSES = "validation"
"""The subset that chooses the confidence of findings, if it was predicted; otherwise each subset chooses its own."""

PER_PICTURE = 4


def _parts(inputs: AnalysisInputs, analyzer: ResultAnalyzer) -> list[Part]:
    subsets, trained, classes = read_boxes(inputs), inputs.taught, inputs.classes
    samples = {
        subset: make_sample(scenes.predicted, scenes.objects, len(classes), len(scenes.frame))
        for subset, scenes in subsets.items()
    }
    curves = {subset: curve_rows(subset, sample, classes) for subset, sample in samples.items()}
    return [
        _part(subset, scenes, samples[subset], trained, curves, inputs, analyzer) for subset, scenes in subsets.items()
    ]


def _part(
    subset: str,
    scenes: Scenes,
    sample: DetectionSample,
    trained: pl.DataFrame,
    curves: Mapping[str, pl.DataFrame],
    inputs: AnalysisInputs,
    analyzer: ResultAnalyzer,
) -> Part:
    trivial = mean_boxes(trained, scenes.frame, inputs.classes)
    baseline = make_sample(trivial, scenes.objects, len(inputs.classes), len(scenes.frame))
    confidence = best_confidence(curves.get(CHOOSES, curves[subset]))
    findings = finding_rows(subset, scenes, confidence, inputs.classes)
    images = scene_rows(findings)
    tables = {
        "worst_items": images.filter(pl.col("f1") < 1).head(analyzer.worst_items),
        "best_items": images.filter(pl.col("found") > 0)
        .sort("f1", "found", "item", descending=[True, True, False])
        .head(analyzer.worst_items),
        "detections": findings,
        "curves": curves[subset],
        "confusion_matrix": box_confusion(subset, findings, inputs.classes),
    }
    return Part(subset, sample, {"mean box of each class": baseline}, np.arange(len(scenes.frame)), tables)


def _draw(analysis: Analysis, inputs: AnalysisInputs, analyzer: ResultAnalyzer, folder: Path) -> None:
    part = analysis.parts[analysis.headline]
    about = f"{part.subset}, {part.item_count:,} images"
    confidence = _confidence(analysis)
    names = [*inputs.classes, BACKGROUND]
    counts = analysis.of_headline("confusion_matrix")["count"].to_numpy().reshape(len(names), len(names))
    title = f"Confusion at confidence {confidence:.2f} · {about}"
    write_bytes(folder / "confusion_matrix.png", confusion_matrix(counts, names, title))
    curves = draw_threshold_curves(analysis.of_headline("curves"), f"Thresholds · {about}", confidence)
    write_bytes(folder / "curves.png", curves)
    per_class = analysis.of_headline("analysis").filter(pl.col("class") != "")
    if len(per_class):
        write_bytes(folder / "classes.png", class_scores(per_class, f"Classes · {about}"))
    for name in ("best_items", "worst_items"):
        rows = analysis.of_headline(name).head(PER_PICTURE)
        draw_scenes(rows, analysis.of_headline("detections"), inputs, folder / f"{name}.png")


def _advise(analysis: Analysis) -> str:
    return weakest_class_sentence(analysis.of_headline("confusion_matrix"), _confidence(analysis))


def _confidence(analysis: Analysis) -> float:
    """Return the confidence that the headline subset's findings have."""
    curves = analysis.tables["curves"]
    subset = CHOOSES if CHOOSES in analysis.parts else analysis.headline
    return best_confidence(curves.filter(pl.col("subset") == subset))


DETECTION = Kind("image", _parts, _draw, _advise)

COLUMNS = 2

MOST_LETTERS = 14
"""Letters of a class name in a tag."""

TRUTH = rgb("#FFFFFF")

COLOURS = {
    FOUND: rgb("#3DDC84"),
    CONFUSED: rgb("#E48BD0"),
    DUPLICATE: rgb("#FFB000"),
    MISPLACED: rgb("#FFE14D"),
    NO_OBJECT: rgb("#FF7A33"),
    CROWD: rgb("#9AA5B1"),
    MISSED: rgb("#FF4D4D"),
}

WORDS = {NO_OBJECT: "no object there", MISSED: "missed (dashed)"}
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


MOST_POINTS = 200
"""Points kept of each curve: more can't be seen."""

ALL = ""
"""Class of the curve of all classes together."""

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


def curve_rows(subset: str, sample: DetectionSample, classes: tuple[str, ...]) -> pl.DataFrame:
    """Return one curve per class that has objects, and one of all together, at an overlap of 0.5.

    Args:
        subset: Name of the subset.
        sample: Its images.
        classes: Class names in the model's order.

    Returns:
        One row per confidence that a box must have, descending; ``best`` marks the highest F1 of each curve.
    """
    objects = np.array(sample.class_counts)
    labels = sample.predicted.label[sample.matches.boxes]
    parts = [_curve(sample, np.ones(len(labels), bool), int(objects.sum())).with_columns(pl.lit(ALL).alias("class"))]
    for place in np.flatnonzero(objects):
        curve = _curve(sample, labels == place, int(objects[place]))
        parts.append(curve.with_columns(pl.lit(classes[place]).alias("class")))
    return pl.concat(parts).with_columns(pl.lit(subset).alias("subset")).select(CURVE_SCHEMA.names()).cast(CURVE_SCHEMA)


def best_confidence(curves: pl.DataFrame) -> float:
    """Return the confidence with the highest F1 over all classes; 0.5 where nothing was predicted."""
    best = curves.filter((pl.col("class") == ALL) & pl.col("best"))["threshold"]
    return float(best[0]) if len(best) else 0.5


def _curve(sample: DetectionSample, chosen: Booleans, object_count: int) -> pl.DataFrame:
    found = sample.matches.found[AT_50, chosen]
    crowd = np.append(sample.objects.crowd, False)[found]
    confidence = sample.predicted.confidence[sample.matches.boxes[chosen]][~crowd]
    right = np.cumsum(found[~crowd] >= 0)
    # Equally sure boxes are taken or left together.
    last = np.flatnonzero(np.append(np.diff(confidence) != 0, True)[: len(confidence)])
    right, boxes = right[last].astype(np.float64), 1.0 + last
    f1 = 2 * right / (boxes + object_count)
    best = np.arange(len(f1)) == (f1.argmax() if len(f1) else -1)
    kept = _thinned(right, best)
    return pl.DataFrame(
        {
            "threshold": confidence[last][kept],
            "precision": (right / boxes)[kept],
            "recall": (right / object_count if object_count else np.zeros(len(right)))[kept],
            "f1": f1[kept],
            "best": best[kept],
        }
    )


def _thinned(right: Floats, best: Booleans) -> Booleans:
    """Return which points to keep: the best, the ends, and others evenly spaced."""
    kept = best.copy()
    kept[np.linspace(0, len(right) - 1, min(len(right), MOST_POINTS)).round().astype(int)] = True
    return kept


def mean_boxes(trained: pl.DataFrame, scenes: pl.DataFrame, classes: tuple[str, ...]) -> Boxes:
    """Return one box per class and image: the mean of the class's training boxes, as sure as the class is frequent.

    Args:
        trained: Columns class, and x and y of the middle, width and height as shares of the image.
        scenes: The images, columns width_px and height_px.
        classes: In the model's order; those without training boxes are never predicted.
    """
    means = trained.group_by("class").agg(pl.mean("x", "y", "width", "height"), share=pl.len() / len(trained))
    present = [name for name in classes if name in set(means["class"])]
    means = pl.DataFrame({"class": present}).join(means, on="class", maintain_order="left")
    sizes = scenes.select("width_px", "height_px").to_numpy().astype(np.float64)
    middle, size = means.select("x", "y").to_numpy(), means.select("width", "height").to_numpy()
    place = np.concatenate([middle - size / 2, np.broadcast_to(size, middle.shape)], axis=1)
    boxes = place[None] * np.tile(sizes, 2)[:, None]  # (n, k, 4)
    count = len(scenes) * len(present)
    return Boxes(
        np.repeat(np.arange(len(scenes)), len(present)),
        np.tile([classes.index(name) for name in present], len(scenes)),
        boxes.reshape(-1, 4),
        np.tile(means["share"].to_numpy(), len(scenes)),
        np.zeros(count, bool),
    )
