"""What of an experiment is tracked once a stage is done.

Belongs here: from an experiment's folder and results to plain values. Does not belong here: MLflow (``runs``), what it
calls things (``values``). The spec is read as the experiment's folder has it, from which secrets were removed.
"""

from dataclasses import dataclass
from pathlib import Path

from assay.errors import StorageError
from assay.experiments.contents import recorded_spec, stage_results
from assay.experiments.folders import ExperimentFolders
from assay.storage.files import MANIFEST
from assay.storage.parquet import read_parquet
from assay.storage.results import Result
from assay.tracking.values import Point, parameters_of, points_of_analysis, points_of_training, tags_of

STAGES = ("trained_model", "analysis")
"""Stages after which there is something new to track, in their order."""

TABLES = {
    "trained_model": ("training_history.parquet", points_of_training),
    "analysis": ("analysis.parquet", points_of_analysis),
}
"""Where the metrics of a stage are, and what makes points of them."""

FILES: dict[str, tuple[str, ...]] = {
    "trained_model": (
        "git_versions.yaml",
        "configs/**/*.yaml",
        "train_logs.csv",
        "models/model.safetensors",
        "pictures/*.png",
        "net_data/*",
    ),
    "analysis": ("analysis/analysis.parquet", "analysis/pictures/*.png"),
}
"""Files of an experiment's folder that are tracked after each of these stages."""


@dataclass(frozen=True)
class StageContent:
    """What a stage adds.

    Attributes:
        stage: One of ``STAGES``.
        fingerprint: Of its result.
        made_ms: When the result was complete, in milliseconds since 1970.
        points: Metrics.
        files: Below the experiment's folder.
    """

    stage: str
    fingerprint: str
    made_ms: int
    points: list[Point]
    files: list[Path]


@dataclass(frozen=True)
class Content:
    """What is tracked of an experiment after a stage.

    Attributes:
        experiment_id: Whose it is.
        folder: The experiment's folder.
        parameters: Keys of the spec and their values.
        tags: What may change at any time.
        stages: The stage, and those that its result was made from.
    """

    experiment_id: str
    folder: Path
    parameters: dict[str, str]
    tags: dict[str, str]
    stages: list[StageContent]


def content_after(root: Path, experiment_id: str, stage: str) -> Content:
    """Return what is tracked of an experiment once a stage is done.

    Raises:
        StorageError: The experiment has no folder, or no result of this stage.
    """
    folder, spec = ExperimentFolders(root).find(experiment_id), recorded_spec(root, experiment_id)
    results = stage_results(root, experiment_id)
    if folder is None or spec is None or stage not in results:
        raise StorageError(f"Experiment {experiment_id!r} has no {stage} to track.")
    made_from = {**results[stage].manifest["ancestors"], stage: results[stage].fingerprint}
    known = [results[name] for name in STAGES if name in results and results[name].fingerprint == made_from.get(name)]
    return Content(
        experiment_id,
        folder.path,
        parameters_of(spec),
        {"assay.storage": str(root.absolute()), **tags_of(experiment_id, spec, folder.run_id)},
        [_stage_content(result, folder.path) for result in known],
    )


def _stage_content(result: Result, folder: Path) -> StageContent:
    table, points_of = TABLES[result.stage]
    return StageContent(
        result.stage,
        result.fingerprint,
        round((result.folder / MANIFEST).stat().st_mtime * 1000),
        points_of(read_parquet(result.folder / table)),
        [path for pattern in FILES[result.stage] for path in sorted(folder.glob(pattern)) if path.is_file()],
    )
