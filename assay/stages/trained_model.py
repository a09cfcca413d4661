"""Stage ``trained_model``: trains a model on images or rows.

Belongs here: from results to the arguments of the training. Does not belong here: training. Torch is imported when the
stage runs, not when the definitions are loaded.
"""

from pathlib import Path
from typing import Any

from assay.pipeline import StageConfig
from assay.spec.trained_model import TrainedModelSection
from assay.storage.results import Result
from assay.utils.concurrency import Progress, silent


def train(
    spec: StageConfig[TrainedModelSection],
    data: Result,
    folder: Path,
    progress: Progress = silent,
    scratch: Path | None = None,
) -> dict[str, Any]:
    """Train a model on whole images, crops or normalized rows; see ``assay.training.trained_model``."""
    from assay.training.data import data_source
    from assay.training.trained_model import build_trained_model

    return build_trained_model(spec.section, spec.task, spec.seed, data_source(data), folder, progress, scratch)
