"""An experiment's own folder: self-contained, portable, and assembled from the results of its stages.

The folder holds the linked files of the results, the configuration, and what the experiment ran on: code versions,
packages and hardware, but never environment variables, which may hold secrets.

Belongs here: the layout, finding and describing folders, publishing results, the manifest, the row of the table
``experiments``. Does not belong here: building results (``assay.storage.results``).
"""

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from string import Template
from typing import Any

import assay
from assay.errors import StorageError
from assay.spec.experiment import SECTION_NAMES, TASK_PREFIX, ExistingExperiment, ExperimentSpec
from assay.spec.ids import new_run_id, validate_id
from assay.spec.secrets import without_removed_keys
from assay.spec.yaml_text import to_yaml
from assay.storage.costs import COST, read_cost, write_cost
from assay.storage.files import MANIFEST, link_or_copy, update_json, update_text, write_json, write_text
from assay.storage.locks.acquire import hold
from assay.storage.records import FolderManifest, IndexEntry, read_stored
from assay.storage.results import REPORT, Result
from assay.utils.text import canonical_json

PLACES = {
    "tabular": "tabular/",
    "normalized": "normalized/",
    "trained_model": "",
    "predictions": "predictions/",
    "analysis": "analysis/",
}
"""Subfolder for the files of a stage's result; of all other stages, the folder has only statistics."""

RESULTS = "results"
"""Subfolder with the manifest and report of each stage, from which its result can be restored in another storage."""

STATISTICS = "datasetsstats"
"""Subfolder with what each stage reported; written after a result's files, and before the manifest that names them."""


@dataclass(frozen=True)
class ExperimentFolder:
    """The folder of one experiment.

    Attributes:
        experiment_id: ID of the experiment.
        run_id: ID of the run that made the folder; usually part of its name.
        path: Absolute path.
    """

    experiment_id: str
    run_id: str
    path: Path


class ExperimentFolders:
    """All experiment folders below a storage root, found through an index and never by parsing their names."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.index = self.root / "experiments_index"

    def find(self, experiment_id: str) -> ExperimentFolder | None:
        """Return an experiment's folder, which is inside the storage; None if it has none yet.

        Raises:
            StorageError: Its entry in the index is damaged, or names no folder of a location of this storage.
        """
        try:
            content = read_stored(self.index / f"{validate_id(experiment_id)}.json", IndexEntry)
        except FileNotFoundError:
            return None
        return ExperimentFolder(experiment_id, content["run_id"], self.root / content["folder"])

    def require(self, experiment_id: str) -> ExperimentFolder:
        """Return an experiment's folder.

        Raises:
            IdError: The ID is not valid.
            StorageError: It has none yet, or it is reached by a link; see also ``find``.
        """
        folder = self.find(experiment_id)
        if folder is None or not folder.path.is_dir():
            raise StorageError(f"Experiment {experiment_id!r} has no folder. Next: assay run {experiment_id}")
        if folder.path.is_symlink() or folder.path.parent.is_symlink():
            raise StorageError(f"{folder.path} is reached by a link; nothing outside the storage is sent or written.")
        return folder

    def open(self, experiment_id: str, spec: ExperimentSpec) -> ExperimentFolder:
        """Return an experiment's folder with an updated description; it is created if it does not exist.

        Raises:
            StorageError: Another folder has the name that ``exp_folder_pattern`` gives.
        """
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
        self.register(folder)
        return folder

    def register(self, folder: ExperimentFolder) -> None:
        """Add an experiment's folder to the index."""
        relative = folder.path.relative_to(self.root).as_posix()
        write_json(self.index / f"{folder.experiment_id}.json", {"run_id": folder.run_id, "folder": relative})

    def unregister(self, experiment_id: str) -> None:
        """Remove an experiment's folder from the index."""
        (self.index / f"{validate_id(experiment_id)}.json").unlink(missing_ok=True)

    def publish(self, experiment_id: str, result: Result) -> Path:
        """Link a stage's result into the experiment's folder, and then remove the files of its former result.

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
            update_text(folder.path / STATISTICS / f"{result.stage}.yaml", to_yaml(result.report))
            _update_manifest(folder.path, result, files)
            _update_cost(folder.path, result)
        return folder.path

    def _locked(self, experiment_id: str) -> Any:
        return hold(self.root / "locks", f"experiments/{validate_id(experiment_id)}", "write", "writing its folder")


def experiments_with_folder(root: Path) -> set[str]:
    """Return the IDs of all experiments that have a folder, with or without a spec file."""
    return {entry.stem for entry in (root / "experiments_index").glob("*.json")}


def _link_files(result: Result, target: Path) -> dict[str, dict[str, Any]]:
    """Link the files of a result into a folder; returns their entries for the folder's manifest."""
    if result.stage not in PLACES:
        return {}
    entries: dict[str, dict[str, Any]] = {}
    for name, entry in result.manifest["files"].items():
        relative = folder_name(result.stage, name)
        link_or_copy(result.folder / name, target / relative)
        entries[relative] = {**entry, "stage": result.stage}
    link_or_copy(result.folder / MANIFEST, target / RESULTS / result.stage / MANIFEST)
    return entries


def folder_name(stage: str, name: str) -> str:
    """Return the path of a result's file relative to the experiment's folder."""
    return f"{RESULTS}/{stage}/{name}" if name == REPORT else f"{PLACES[stage]}{name}"


def read_folder_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of an experiment's folder; None if it has none yet.

    Raises:
        StorageError: It is damaged.
    """
    try:
        return read_stored(folder / MANIFEST, FolderManifest)
    except FileNotFoundError:
        return None


def _update_manifest(folder: Path, result: Result, files: Mapping[str, dict[str, Any]]) -> None:
    path = folder / MANIFEST
    manifest = read_folder_manifest(folder) or {"results": {}, "files": {}}
    former = [name for name, entry in manifest["files"].items() if entry["stage"] == result.stage]
    kept = {name: entry for name, entry in manifest["files"].items() if entry["stage"] != result.stage}
    manifest["results"][result.stage] = result.fingerprint
    manifest["files"] = {**kept, **files}
    update_json(path, manifest)
    for name in former:
        if name not in files:
            (folder / name).unlink(missing_ok=True)


def cost_in(folder: Path, stage: str) -> Path:
    """Return where an experiment's folder keeps what the result of a stage cost; its manifest does not list it."""
    return folder / RESULTS / stage / COST


def _update_cost(folder: Path, result: Result) -> None:
    path, (cost, _) = cost_in(folder, result.stage), result.cost
    known, _ = read_cost(path, result.stage, result.fingerprint)
    if cost is not None and cost != known:
        write_cost(path, cost)
    elif cost is None and known is None:
        path.unlink(missing_ok=True)  # it is of a former result


REPORT_PAGE = "report.html"
"""File of an experiment's folder with its report, once somebody has asked for one."""

INFO = "experiment_info.yaml"
"""File of an experiment's folder with its ID, task and tags, by which it is recognized."""


ENVIRONMENT_FILES = ("git_versions.yaml", "environment.yaml")
"""What an experiment's first run ran on: versions of the code; Python, packages and machine."""


def describe(folder: Path, experiment_id: str, run_id: str, spec: ExperimentSpec) -> None:
    """Write the experiment's info file, its configuration, and, if configured, code versions and environment."""
    info = {
        "experiment_id": experiment_id,
        "run_id": run_id,
        "task": spec.task,
        "prefix": prefix_of(spec.exp_folder_pattern, spec.task),
        "name": spec.name,
        "description": spec.description,
        "tags": spec.tags,
        **({"source": _source_of(spec.existing_experiment)} if spec.existing_experiment else {}),
        "updated": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    values = without_removed_keys(spec.as_dict())
    for name in SECTION_NAMES:
        if name in values:
            update_text(folder / "configs" / name / "config.yaml", to_yaml(values[name]))
    update_text(folder / "configs" / "experiment.yaml", to_yaml(values))
    initializer = spec.trained_model.exp_initializer
    if initializer.git_versions:
        update_text(folder / ENVIRONMENT_FILES[0], to_yaml(git_versions(Path.cwd())))
    if initializer.environment:
        update_text(folder / ENVIRONMENT_FILES[1], to_yaml(environment()))
    write_text(folder / INFO, to_yaml(info))


def _source_of(evaluated: ExistingExperiment) -> dict[str, Any]:
    """Return the experiment whose model is evaluated, and its location, as plain values."""
    return evaluated.found.model_dump() if evaluated.found else evaluated.model_dump()


def prefix_of(pattern: str, task: str) -> str:
    """Return the prefix that a pattern gives to folder names of a task, such as ``REG``."""
    return pattern_for(pattern, task).template.partition("$")[0].rstrip("-_.")


def pattern_for(pattern: str, task: str) -> Template:
    """Return a pattern for folder names with the task's prefix filled in."""
    return Template(Template(pattern).safe_substitute(PREFIX=TASK_PREFIX[task]))


def git_version(folder: Path) -> dict[str, Any]:
    """Return commit and dirty flag of the Git repository that contains ``folder``; both None outside of one."""
    commit = _git(folder, "rev-parse", "HEAD")
    status = _git(folder, "status", "--porcelain") if commit else None
    return {"commit": commit, "dirty": None if status is None else bool(status)}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed program, fixed arguments
            ["git", *arguments],  # noqa: S607 - the user's own git
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def git_versions(folder: Path) -> dict[str, Any]:
    """Return the versions of Assay and of the project that uses it."""
    package = Path(assay.__file__).parent
    return {"assay": {"version": assay.__version__, **git_version(package)}, "project": git_version(folder)}


@cache
def environment() -> dict[str, Any]:
    """Return the versions of Python and all packages, and the hardware; none of them changes within a process."""
    # Each access to ``metadata`` parses a file, and so does ``version``.
    found = [dist.metadata for dist in distributions()]
    packages = {entry["Name"]: entry["Version"] for entry in found if entry["Name"]}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cpu_count": os.cpu_count(),
        "memory_bytes": memory,
        "packages": dict(sorted(packages.items())),
    }


def experiment_row(experiment_id: str, spec: ExperimentSpec, folder: ExperimentFolder | None) -> dict[str, Any]:
    """Return an experiment's row of the table ``experiments``: columns to filter by, and the whole spec as JSON.

    Args:
        experiment_id: ID of the experiment.
        spec: Its resolved spec.
        folder: Its folder; None if it was never run.
    """
    return {
        "task": spec.task,
        "name": spec.name,
        "description": spec.description,
        "tags": canonical_json(spec.tags),
        "seed": spec.seed,
        "source": spec.generated_images.source.kind,
        "evaluates": spec.found.experiment_id if spec.found else "",
        "run_id": folder.run_id if folder else None,
        "folder": str(folder.path) if folder else None,
        "spec": canonical_json(spec.as_dict()),
    }
