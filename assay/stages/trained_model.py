"""The stages that learn, as functions of results; imports torch and matplotlib only when one is called.

Belongs here: from result folders to the arguments of the builders. Does not belong here: learning, analysing.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.pipeline import Slice
from assay.storage.results import Result
from assay.utils.concurrency import Progress, silent

if TYPE_CHECKING:
    from assay.training.data import DataSource


def train(
    spec: Slice, data: Result, folder: Path, progress: Progress = silent, scratch: Path | None = None
) -> dict[str, Any]:
    """Train a model on whole images, crops or normalized rows; see ``assay.training.trained_model``."""
    from assay.training.summary import write_taught
    from assay.training.trained_model import build_trained_model

    source = data_source(data)
    report = build_trained_model(spec.section, spec.task, spec.seed, source, folder, progress, scratch)
    write_taught(folder, source)
    return report


def predict(spec: Slice, model: Result, data: Result, folder: Path, progress: Progress = silent) -> dict[str, Any]:
    """Apply a model to the data that it learned from, or evaluate it on others; see ``assay.training.predictions``."""
    from assay.training.predictions import build_predictions, require_same_data

    source = data_source(data)
    if spec.found is None:
        require_same_data(model.folder, source)
    return build_predictions(spec.section, spec.task, spec.seed, source, model.folder, folder, progress)


def analyse(
    spec: Slice, inputs: Mapping[str, Result], data: Result, folder: Path, progress: Progress = silent
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


def data_source(data: Result) -> "DataSource":
    """Return images or rows as the learning code wants to know them."""
    from assay.training.data import DataSource

    section = data.manifest["section"]
    name = section.get("output_norm_feature_info_file_name")
    return DataSource(data.stage, data.folder, data.fingerprint, data.folder / name if name else None)
