"""Stage ``predictions``: applies a model to data.

Belongs here: from results to the arguments of the prediction. Does not belong here: predicting. Torch is imported when
the stage runs, not when the definitions are loaded.
"""

from pathlib import Path
from typing import Any

from assay.pipeline import StageConfig
from assay.spec.predictions import PredictionsSection
from assay.storage.results import Result
from assay.utils.concurrency import Progress, silent


def predict(
    spec: StageConfig[PredictionsSection], model: Result, data: Result, folder: Path, progress: Progress = silent
) -> dict[str, Any]:
    """Apply a model to the data of its training, or evaluate it on other data; see ``assay.training.predictions``."""
    from assay.training.data import data_source
    from assay.training.predictions import build_predictions, require_same_data

    source = data_source(data)
    if spec.found is None:
        require_same_data(model.folder, source)
    return build_predictions(spec.section, spec.task, spec.seed, source, model.folder, folder, progress)
