"""What an experiment has so far, found through the manifest of its folder.

Belongs here: from an ID to results. Does not belong here: building or deleting them.
"""

import json
from pathlib import Path
from typing import Any

from assay.checks.result import ExperimentFiles
from assay.experiments.folders import ExperimentFolders
from assay.pipeline import STAGES
from assay.spec.ids import validate_id
from assay.spec.loading import load_values
from assay.storage.files import MANIFEST, write_json
from assay.storage.results import Result, ResultStore

TABLES = {
    "tabular": "tabular.parquet",
    "normalized": "normalized.parquet",
    "predictions": "predictions.parquet",
    "analysis": "analysis.parquet",
}
"""The table that each table stage makes, as a file of its result folder."""


def stage_results(root: Path, experiment_id: str) -> dict[str, Result]:
    """Return the results that an experiment has here, by stage, in the order of the chain.

    Of an imported experiment, those that were not part of its folder are missing until they are made again.
    """
    folder = ExperimentFolders(root).find(experiment_id)
    manifest = folder.path / MANIFEST if folder else None
    fingerprints = json.loads(manifest.read_bytes())["results"] if manifest and manifest.is_file() else {}
    store = ResultStore(root)
    found = {stage: store.find(stage, fingerprints[stage]) for stage in STAGES if stage in fingerprints}
    return {stage: result for stage, result in found.items() if result is not None}


def recorded_spec(root: Path, experiment_id: str) -> dict[str, Any] | None:
    """Return the spec, as plain values, with which the experiment's folder was last described; None without one."""
    folder = ExperimentFolders(root).find(experiment_id)
    path = folder.path / "configs" / "experiment.yaml" if folder else None
    return load_values(path) if path and path.is_file() else None


def experiment_files(root: Path, experiment_id: str) -> ExperimentFiles:
    """Return where an experiment's results are, as its tests want to know it."""
    found = stage_results(root, experiment_id)
    folder = ExperimentFolders(root).find(experiment_id)
    folders = {stage: result.folder for stage, result in found.items()}
    return ExperimentFiles(
        experiment_folder=folder.path if folder else None,
        splits_folder=folders.get("splits"),
        model_folder=folders.get("trained_model"),
        analysis=folders["analysis"] / TABLES["analysis"] if "analysis" in folders else None,
        tables={name: folders[name] / file for name, file in TABLES.items() if name in folders},
    )


def write_pointer(root: Path, experiment_id: str, asset: str, result: Result) -> None:
    """Point an asset of an experiment to a result."""
    write_json(_path(root, experiment_id, asset), {"stage": result.stage, "fingerprint": result.fingerprint})


def read_pointer(root: Path, experiment_id: str, asset: str) -> Result | None:
    """Return the result that an asset of an experiment is; None when it was never made.

    Raises:
        StorageError: The result is gone.
    """
    path = _path(root, experiment_id, asset)
    if not path.is_file():
        return None
    pointer = json.loads(path.read_text(encoding="utf-8"))
    return ResultStore(root).open(pointer["stage"], pointer["fingerprint"])


def _path(root: Path, experiment_id: str, asset: str) -> Path:
    return root / "pointers" / validate_id(experiment_id) / f"{asset}.json"
