"""Stage ``trained_model``: trains a model on images or rows.

Belongs here: from results to the arguments of the training. Does not belong here: training. Torch is imported when the
stage runs, not when the definitions are loaded.
"""

from pathlib import Path
from typing import Any

import polars as pl

from assay.pipeline import StageConfig
from assay.spec.trained_model import TrainedModelSection
from assay.storage.results import Result
from assay.utils.concurrency import Progress, silent


def train(
    spec: StageConfig[TrainedModelSection],
    data: Result,
    rows: pl.LazyFrame | None,
    folder: Path,
    progress: Progress = silent,
    scratch: Path | None = None,
) -> dict[str, Any]:
    """Train a model on whole images, crops or normalized rows; see ``assay.training.trained_model``.

    Args:
        spec: The stage's section of the spec.
        data: Result of the stage that feeds the model.
        rows: Its table, if it is ``normalized``.
        folder: Existing empty folder for the result.
        progress: Called after each epoch.
        scratch: Folder for checkpoints of an interrupted training.
    """
    from assay.training.data import data_source
    from assay.training.trained_model import build_trained_model

    source = data_source(data, rows if data.stage == "normalized" else None)
    return build_trained_model(spec.section, spec.task, spec.seed, source, folder, progress, scratch)
