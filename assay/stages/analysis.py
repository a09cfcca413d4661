"""Stage ``analysis``: computes metrics, tables and plots from a model's predictions.

Reads ``trained_model``, ``predictions``, the data that was predicted and, where there are any, ``crops``. Writes
analysis.parquet and the files that ``assay.analysis.build`` lists. Belongs here: passing result folders to the
analysis. Does not belong here: the analysis itself. matplotlib is imported only when the stage runs, which keeps
loading the definitions fast.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from assay.pipeline import StageConfig
from assay.spec.analysis import AnalysisSection, ResultAnalyzer
from assay.storage.results import Result
from assay.utils.concurrency import Progress, silent


def analyse(
    spec: StageConfig[AnalysisSection],
    predictions: pl.LazyFrame,
    inputs: Mapping[str, Result],
    data: Result,
    rows: pl.LazyFrame | None,
    folder: Path,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Compute metrics and plots from predictions and return a summary; see ``assay.analysis.build``.

    Args:
        spec: The stage's section of the spec.
        predictions: Rows of the stage ``predictions``.
        inputs: Results by stage: ``trained_model``, ``predictions`` and, where there are images of objects, ``crops``.
        data: The data that was predicted; for segmentation and detection it holds the ground truth.
        rows: Its table, if it is ``normalized``.
        folder: Existing empty folder for the result.
        progress: Called after each subset.
    """
    from assay.analysis.base import SimplePredictions
    from assay.analysis.build import build_analysis, inputs_of_model
    from assay.training.data import data_source
    from assay.training.model_file import CHOSEN, read_card
    from assay.training.simple_models import simple_predictions

    simple, model = None, inputs["trained_model"].folder
    analyzer: ResultAnalyzer = spec.section.result_analyzer
    if analyzer.simple_models:
        progress(0, 1, "simple models of the same data")
        subsets = predictions.select("subset").unique(maintain_order=True).collect()["subset"].to_list()
        source = data_source(data, rows if data.stage == "normalized" else None)
        found = simple_predictions(read_card(model / CHOSEN), source, subsets, spec.seed)
        simple = SimplePredictions(*found) if found else None
    crops = inputs["crops"].folder if "crops" in inputs else None
    splits = data.folder if data.stage == "splits" else None
    read = inputs_of_model(model, inputs["predictions"].folder, splits, crops, predictions, simple)
    return build_analysis(read, spec.section, spec.seed, folder, progress)
