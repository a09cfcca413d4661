"""Stage ``analysis``: metrics, tables and pictures of predictions.

Belongs here: from result folders to the arguments of the analysis. Does not belong here: analysing. matplotlib is
imported when the stage runs, not when the definitions are loaded.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assay.pipeline import StageConfig
from assay.spec.analysis import AnalysisSection
from assay.storage.results import Result
from assay.utils.concurrency import Progress, silent


def analyse(
    spec: StageConfig[AnalysisSection],
    inputs: Mapping[str, Result],
    data: Result,
    folder: Path,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Compute metrics and pictures of predictions; see ``assay.analysis.build``.

    Args:
        spec: What the stage reads of the spec.
        inputs: ``trained_model``, ``predictions`` and, where there are pictures, ``crops``.
        data: What was predicted; of masks and boxes it has the truth.
        folder: Empty.
        progress: Told after each subset.
    """
    from assay.analysis.build import build_analysis, inputs_of_model

    crops = inputs["crops"].folder if "crops" in inputs else None
    splits = data.folder if data.stage == "splits" else None
    read = inputs_of_model(inputs["trained_model"].folder, inputs["predictions"].folder, splits, crops)
    return build_analysis(read, spec.section, spec.seed, folder, progress)
