"""The results of an experiment, found by its ID: through the manifest of its folder, or an asset's pointer file.

Belongs here: from an experiment's ID to its results, writing pointers. Does not belong here: building or deleting
results (``assay.storage.results``, ``garbage``), tables, which have partitions instead.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from assay.checks.result import ExperimentFiles
from assay.errors import StorageError
from assay.experiments.folders import ExperimentFolders, read_folder_manifest
from assay.pipeline import STAGES
from assay.spec.ids import validate_id
from assay.spec.loading import load_values
from assay.storage.files import MANIFEST, is_complete, update_json
from assay.storage.partitions import EXPERIMENT_COLUMN, place_of
from assay.storage.records import Pointer, read_stored
from assay.storage.results import Result, ResultStore

TABLES = {
    "tabular": "tabular.parquet",
    "normalized": "normalized.parquet",
    "predictions": "predictions.parquet",
    "analysis": "analysis.parquet",
}
"""File of the table in each table stage's result folder."""


def stage_results(root: Path, experiment_id: str) -> dict[str, Result]:
    """Return the results of an experiment in this storage, by stage, in pipeline order.

    An imported experiment lacks the results that are not part of its folder until they are made again.
    """
    folder = ExperimentFolders(root).find(experiment_id)
    manifest = read_folder_manifest(folder.path) if folder else None
    fingerprints = manifest["results"] if manifest else {}
    store = ResultStore(root)
    found = {stage: store.find(stage, fingerprints[stage]) for stage in STAGES if stage in fingerprints}
    return {stage: result for stage, result in found.items() if result is not None}


def results_of_other_data(root: Path, experiment_id: str) -> dict[str, Result]:
    """Return the latest stored results of the same spec on other data, such as those before a label was mended.

    They stay in the storage until ``assay gc``. Empty if there are none.
    """
    analysis = stage_results(root, experiment_id).get("analysis")
    if analysis is None:
        return {}
    now, found = _with_ancestors(root, analysis), []
    for folder in sorted(root.glob("*/analysis/*")):
        other = Result("analysis", folder.name, folder)
        with suppress(StorageError):
            if is_complete(folder) and folder != analysis.folder and _recipe(other) == _recipe(analysis):
                found.append(_with_ancestors(root, other))
    same = [each for each in found if _are_of_other_data(now, each)]
    return max(same, key=lambda each: (each["analysis"].folder / MANIFEST).stat().st_mtime_ns, default={})


def _with_ancestors(root: Path, analysis: Result) -> dict[str, Result]:
    store = ResultStore(root)
    found = {stage: store.find(stage, name) for stage, name in analysis.manifest["ancestors"].items()}
    return {stage: result for stage, result in found.items() if result is not None} | {"analysis": analysis}


def _recipe(result: Result) -> list[Any]:
    return [result.manifest.get(key) for key in ("section", "seed", "task")]


def _are_of_other_data(now: Mapping[str, Result], other: Mapping[str, Result]) -> bool:
    if now.keys() != other.keys() or "generated_images" not in now:
        return False
    differs = now["generated_images"].fingerprint != other["generated_images"].fingerprint
    return differs and all(_recipe(now[stage]) == _recipe(other[stage]) for stage in now)


def outcome(root: Path, experiment_id: str) -> list[str]:
    """Return what to tell of an experiment's results: their summary, what to do next, and where the files are."""
    results, folder = stage_results(root, experiment_id), ExperimentFolders(root).find(experiment_id)
    texts = [results["analysis"].report[key] for key in ("summary", "next")] if "analysis" in results else []
    return [*texts, *([f"Everything is in {folder.path}"] if folder else [])]


def recorded_spec(root: Path, experiment_id: str) -> dict[str, Any] | None:
    """Return the spec in the experiment's folder as plain values; None if there is none."""
    folder = ExperimentFolders(root).find(experiment_id)
    path = folder.path / "configs" / "experiment.yaml" if folder else None
    return load_values(path) if path and path.is_file() else None


def stored_fingerprints(root: Path, experiment_id: str) -> dict[str, str]:
    """Return the fingerprint of every result that an experiment's assets are, by stage.

    Results and tables that were removed or changed after they were stored are left out.
    """
    found = {}
    for stage in STAGES:
        with suppress(StorageError):
            if stage in TABLES:
                made: Any = place_of(root, "main", stage, EXPERIMENT_COLUMN, experiment_id).checked()
            else:
                made = read_pointer(root, experiment_id, stage)
            if made is not None:
                found[stage] = made.fingerprint
    return found


def files_to_check(root: Path, experiment_id: str) -> ExperimentFiles:
    """Return the paths of an experiment's results, as its tests need them."""
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
    """Record which result an asset of an experiment is."""
    update_json(_path(root, experiment_id, asset), {"stage": result.stage, "fingerprint": result.fingerprint})


def read_pointer(root: Path, experiment_id: str, asset: str) -> Result | None:
    """Return the recorded result of an asset of an experiment; None if it was never made.

    Raises:
        StorageError: The result no longer exists, or the record is damaged.
    """
    try:
        pointer = read_stored(_path(root, experiment_id, asset), Pointer)
    except FileNotFoundError:
        return None
    return ResultStore(root).open(pointer["stage"], pointer["fingerprint"])


def _path(root: Path, experiment_id: str, asset: str) -> Path:
    return root / "pointers" / validate_id(experiment_id) / f"{asset}.json"
