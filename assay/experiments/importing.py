"""Bringing an experiment to life that another storage made: its folder, results, tables, and last its spec file.

Belongs here: the order, and what is refused. Does not belong here: copying files (``assay.locations``), putting results
together (``restoring``), telling Dagster.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from assay.errors import IdError, StorageError
from assay.experiments.catalog import StoredExperiment, find_experiment, spec_at, tree_of
from assay.experiments.contents import TABLES
from assay.experiments.evaluation import adopted_path
from assay.experiments.folders import ExperimentFolder, ExperimentFolders
from assay.experiments.pointers import write_pointer
from assay.experiments.restoring import restore_results
from assay.experiments.specs import SpecFiles
from assay.experiments.summary import experiment_row
from assay.files import write_text
from assay.locations.places import Location, reaching
from assay.locations.tree import Tree
from assay.locations.updating import Written, bring
from assay.locks import hold
from assay.partition_files import place_of
from assay.pipeline import digest_of
from assay.progress import Progress, silent
from assay.results import Result, ResultStore
from assay.spec.experiment import ExperimentSpec
from assay.spec.ids import validate_id
from assay.spec.yaml_text import to_yaml
from assay.tables import StoredTable


@dataclass(frozen=True)
class Imported:
    """An experiment that lives here now.

    Attributes:
        experiment_id: Which one.
        spec: What it is.
        folder: Its folder in this storage.
        results: Its results by stage; stages whose files are not part of an experiment's folder are missing.
        written: What had to be copied.
    """

    experiment_id: str
    spec: ExperimentSpec
    folder: Path
    results: Mapping[str, Result]
    written: Written


def import_experiment(
    specs: SpecFiles, location: Location, experiment_id: str, progress: Progress = silent
) -> Imported:
    """Copy an experiment from a location into this storage and make it one of its own.

    One that was cut off goes on where it was; until then, no file of the experiment's spec exists.

    Args:
        specs: The spec files, which know the storage root.
        location: A place outside of this storage.
        experiment_id: Which experiment.
        progress: Called with the number of files ready.

    Raises:
        IdError: The ID is that of another experiment here.
        StorageError: The location has no such experiment, or its files are not what its manifest says.
    """
    if location.is_storage:
        raise StorageError(f"Location {location.name!r} is of this storage; its experiments live here already.")
    found = find_experiment(location, validate_id(experiment_id))
    with lock_experiment(specs, experiment_id, f"importing from {location.name}"):
        return bring_in(specs, location, found, progress)


def lock_experiment(specs: SpecFiles, experiment_id: str, purpose: str) -> AbstractContextManager[None]:
    """Keep everybody else from changing an experiment's folder in this storage for the block."""
    return hold(specs.root / "locks", f"experiments/{validate_id(experiment_id)}", "write", purpose)


def bring_in(specs: SpecFiles, location: Location, found: StoredExperiment, progress: Progress = silent) -> Imported:
    """Import an experiment that the caller has found and locked; see ``import_experiment``."""
    root, experiment_id = specs.root, found.experiment_id
    spec = spec_at(location, found)
    folder = ExperimentFolder(experiment_id, found.run_id, root / spec.exp_out_location / found.folder)
    _require_same(specs, folder, spec)
    with reaching(location.name):
        target = Tree.of(folder.path)
        written = bring(tree_of(location, found), target, True, lambda done, total: progress(done, total, "files"))
    results = restore_results(folder.path, ResultStore(root), spec.trained_model.output_location)
    ExperimentFolders(root).enter(folder)
    _enter_tables(root, experiment_id, spec, folder, results)
    if spec.existing_experiment is not None:
        write_text(adopted_path(root, experiment_id), to_yaml(spec.existing_experiment.model_dump()))
    if not specs.exists(experiment_id):
        specs.store(experiment_id, spec.as_dict())
    return Imported(experiment_id, spec, folder.path, results, written)


def _require_same(specs: SpecFiles, folder: ExperimentFolder, spec: ExperimentSpec) -> None:
    """Refuse an ID that somebody else has here."""
    name, digest = folder.experiment_id, digest_of(spec.as_dict())
    specs.tombstones.refuse(name, digest)
    known = ExperimentFolders(specs.root).find(name)
    other = known is not None and known.run_id != folder.run_id
    if other or (specs.exists(name) and digest_of(specs.load(name).as_dict()) != digest):
        raise IdError(
            f"Experiment ID {name!r} is that of another experiment in this storage. Nothing was imported. Rename or "
            "remove that one first, or import into another storage."
        )


def _enter_tables(
    root: Path, experiment_id: str, spec: ExperimentSpec, folder: ExperimentFolder, results: Mapping[str, Result]
) -> None:
    """Let the assets' pointers and partitions lead to the results."""

    def enter(table: str, content: pl.DataFrame | StoredTable) -> None:
        place_of(root, "main", table, "experiment_id", experiment_id).write(content)

    for stage, result in results.items():
        if stage in TABLES:
            enter(stage, StoredTable(result.folder / TABLES[stage], result.fingerprint))
    if "trained_model" in results:
        model = results["trained_model"]
        write_pointer(root, experiment_id, "trained_model", model)
        enter("training_history", StoredTable(model.folder / "training_history.parquet", model.fingerprint))
    enter("experiments", pl.DataFrame([experiment_row(experiment_id, spec, folder)]))
