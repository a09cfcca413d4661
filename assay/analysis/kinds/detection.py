"""Analysis of boxes.

Belongs here: which tables and pictures there are. Does not belong here: how they are made
(``assay.analysis.detection``).
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from assay.analysis.detection.baseline import mean_boxes
from assay.analysis.detection.curves import best_confidence, curve_rows
from assay.analysis.detection.draw import draw_scenes
from assay.analysis.detection.read import Scenes, read_boxes
from assay.analysis.detection.tables import box_confusion, scene_rows, weakest_class_sentence
from assay.analysis.detection_findings import finding_rows
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.kind import Analysis, Kind, Part
from assay.class_maps import BACKGROUND
from assay.files import write_bytes
from assay.metrics.detection import DetectionSample, make_sample
from assay.pictures.class_scores import class_scores
from assay.pictures.confusion import confusion_matrix
from assay.pictures.threshold_curves import draw_threshold_curves
from assay.spec.analysis import ResultAnalyzer

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
