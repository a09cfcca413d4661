"""An experiment's own folder: self-contained, portable, assembled from the results of its stages.

Belongs here: its layout, publishing results into it, its manifest. Does not belong here: building results.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.errors import StorageError
from assay.experiments.describing import describe, pattern_for
from assay.files import temporary_sibling, write_json, write_text
from assay.ids import new_run_id, validate_id
from assay.locks import hold
from assay.results import REPORT, Result
from assay.sealing import MANIFEST
from assay.spec.experiment import ExperimentSpec
from assay.spec.yaml_text import to_yaml

PLACES = {
    "tabular": "tabular/",
    "normalized": "normalized/",
    "trained_model": "",
    "predictions": "predictions/",
    "analysis": "analysis/",
}
"""Where in the folder the files of a stage's result are; of the other stages, it has statistics only."""

RESULTS = "results"
"""Folder of each stage's own manifest and report, with which its result can be put together again elsewhere."""


@dataclass(frozen=True)
class ExperimentFolder:
    """The folder of one experiment.

    Attributes:
        experiment_id: Whose it is.
        run_id: The run in which the folder was made; part of its name.
        path: Where it is.
    """

    experiment_id: str
    run_id: str
    path: Path


class ExperimentFolders:
    """All experiment folders below a storage root, found through an index, never by parsing their names."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.index = self.root / "experiments_index"

    def find(self, experiment_id: str) -> ExperimentFolder | None:
        """Return an experiment's folder, or None when it has none yet."""
        entry = self.index / f"{validate_id(experiment_id)}.json"
        if not entry.is_file():
            return None
        content = json.loads(entry.read_bytes())
        return ExperimentFolder(experiment_id, content["run_id"], self.root / content["folder"])

    def open(self, experiment_id: str, spec: ExperimentSpec) -> ExperimentFolder:
        """Return an experiment's folder, made now if it has none, with its description up to date."""
        with self._locked(experiment_id):
            folder = self.find(experiment_id) or self._make(experiment_id, spec)
            describe(folder.path, experiment_id, folder.run_id, spec)
        return folder

    def _make(self, experiment_id: str, spec: ExperimentSpec) -> ExperimentFolder:
        run_id = new_run_id()
        name = pattern_for(spec.exp_folder_pattern, spec.task).safe_substitute(RUN_ID=run_id, SHORT_ID=experiment_id)
        relative = f"{spec.exp_out_location}/{name}"
        folder = ExperimentFolder(experiment_id, run_id, self.root / relative)
        try:
            folder.path.mkdir(parents=True)
        except FileExistsError:
            message = (
                f"{folder.path} exists already; exp_folder_pattern {spec.exp_folder_pattern!r} gave the same name."
            )
            raise StorageError(f"{message} Use $RUN_ID in it.") from None
        self.enter(folder)
        return folder

    def enter(self, folder: ExperimentFolder) -> None:
        """Note that a folder is an experiment's."""
        relative = folder.path.relative_to(self.root).as_posix()
        write_json(self.index / f"{folder.experiment_id}.json", {"run_id": folder.run_id, "folder": relative})

    def forget(self, experiment_id: str) -> None:
        """Note that an experiment has no folder any more."""
        (self.index / f"{validate_id(experiment_id)}.json").unlink(missing_ok=True)

    def publish(self, experiment_id: str, result: Result) -> Path:
        """Link a stage's result into the experiment's folder; what the stage had there before goes afterwards.

        Returns:
            The experiment's folder.

        Raises:
            StorageError: The experiment has no folder yet.
        """
        folder = self.find(experiment_id)
        if folder is None:
            raise StorageError(f"Experiment {experiment_id!r} has no folder yet. Materialize 'experiment' first.")
        with self._locked(experiment_id):
            files = _link_files(result, folder.path)
            write_text(folder.path / "datasetsstats" / f"{result.stage}.yaml", to_yaml(result.report))
            _update_manifest(folder.path, result, files)
        return folder.path

    def _locked(self, experiment_id: str) -> Any:
        return hold(self.root / "locks", f"experiments/{validate_id(experiment_id)}", "write", "writing its folder")


def experiments_with_folder(root: Path) -> set[str]:
    """Return the IDs of all experiments that have a folder, with or without a spec file."""
    return {entry.stem for entry in (root / "experiments_index").glob("*.json")}


def _link_files(result: Result, target: Path) -> dict[str, dict[str, Any]]:
    """Hard-link (copy across file systems) the files of a result; returns their manifest entries."""
    if result.stage not in PLACES:
        return {}
    entries: dict[str, dict[str, Any]] = {}
    for name, entry in result.manifest["files"].items():
        relative = folder_name(result.stage, name)
        _link(result.folder / name, target / relative)
        entries[relative] = {**entry, "stage": result.stage}
    _link(result.folder / MANIFEST, target / RESULTS / result.stage / MANIFEST)
    return entries


def folder_name(stage: str, name: str) -> str:
    """Return the name that a file of a stage's result has in the experiment's folder."""
    return f"{RESULTS}/{stage}/{name}" if name == REPORT else f"{PLACES[stage]}{name}"


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_sibling(target)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copy2(source, temporary)
    # Two links to one file: rename would do nothing and leave the temporary name.
    if target.exists() and target.samefile(temporary):
        temporary.unlink()
    else:
        temporary.replace(target)


def _update_manifest(folder: Path, result: Result, files: Mapping[str, dict[str, Any]]) -> None:
    path = folder / MANIFEST
    manifest = json.loads(path.read_bytes()) if path.is_file() else {"results": {}, "files": {}}
    former = [name for name, entry in manifest["files"].items() if entry["stage"] == result.stage]
    kept = {name: entry for name, entry in manifest["files"].items() if entry["stage"] != result.stage}
    manifest["results"][result.stage] = result.fingerprint
    manifest["files"] = {**kept, **files}
    write_json(path, manifest)
    for name in former:
        if name not in files:
            (folder / name).unlink(missing_ok=True)
