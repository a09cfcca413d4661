"""Stage ``predictions``: applies a model to data.

Belongs here: from results to the arguments of the prediction. Does not belong here: predicting. Torch is imported when
the stage runs, not when the definitions are loaded.
"""

from pathlib import Path
from typing import Any

import polars as pl

from assay.pipeline import StageConfig
from assay.spec.predictions import PredictionsSection
from assay.storage.results import Result
from assay.utils.concurrency import Progress, silent


def predict(
    spec: StageConfig[PredictionsSection],
    model: Result,
    data: Result,
    rows: pl.LazyFrame | None,
    folder: Path,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Apply a model to the data of its training, or evaluate it on other data; see ``assay.training.predictions``.

    Args:
        spec: The stage's section of the spec.
        model: Result of ``trained_model``.
        data: Result of the stage that feeds the model.
        rows: Its table, if it is ``normalized``.
        folder: Existing empty folder for the result.
        progress: Called while items are predicted.
    """
    from assay.training.data import data_source
    from assay.training.predictions import build_predictions, require_same_data

    source = data_source(data, rows if data.stage == "normalized" else None)
    if spec.found is None:
        require_same_data(model.folder, source)
    return build_predictions(spec.section, spec.task, spec.seed, source, model.folder, folder, progress)
