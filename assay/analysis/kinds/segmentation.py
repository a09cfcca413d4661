"""Analysis of masks.

Belongs here: which tables and pictures there are. Does not belong here: how they are made
(``assay.analysis.segmentation``).
"""

from pathlib import Path
from typing import cast

import numpy as np
import polars as pl

from assay.analysis.confusion import confusion_rows
from assay.analysis.inputs import AnalysisInputs
from assay.analysis.kind import Analysis, Kind, Part
from assay.analysis.segmentation.draw import draw_scenes
from assay.analysis.segmentation.read import PixelCounts, read_counts
from assay.analysis.segmentation.tables import scene_rows, worst_class_sentence
from assay.class_maps import BACKGROUND
from assay.files import write_bytes
from assay.metrics.samples import Floats
from assay.metrics.segmentation import SegmentationSample
from assay.pictures.class_scores import class_scores
from assay.pictures.confusion import confusion_matrix
from assay.spec.analysis import ResultAnalyzer

PER_PICTURE = 4


def _parts(inputs: AnalysisInputs, analyzer: ResultAnalyzer) -> list[Part]:
    trained = inputs.taught["pixels"].to_numpy()
    return [_part(subset, pixels, trained, inputs, analyzer) for subset, pixels in read_counts(inputs).items()]


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
