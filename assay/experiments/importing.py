"""Importing experiments of other storages: folder, results, tables and, last, the spec file.

Single results of an experiment at another location are imported too, for evaluations of its model.

Belongs here: the order of the steps, restoring results from an experiment's folder, refusals. Does not belong here:
copying files (``assay.storage.locations``), registering partitions with Dagster.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from assay.errors import AssayError, FileError, IdError, StorageError
from assay.experiments.catalog import StoredExperiment, experiments_at, find_experiment, mapping_from, spec_at, tree_of
from assay.experiments.contents import TABLES, write_pointer
from assay.experiments.costs import COSTS, cost_table, costs_in
from assay.experiments.evaluation import source_record_path
from assay.experiments.folders import (
    INFO,
    PLACES,
    RESULTS,
    ExperimentFolder,
    ExperimentFolders,
    cost_in,
    experiment_row,
    folder_name,
)
from assay.experiments.leftovers import UNFINISHED
from assay.experiments.sharing import sharing
from assay.experiments.specs import SpecFiles
from assay.pipeline import digest_of
from assay.spec.experiment import ExperimentSpec, FoundExperiment
from assay.spec.ids import validate_id
from assay.spec.yaml_text import to_yaml
from assay.storage.costs import COST, read_cost, write_cost
from assay.storage.files import (
    MANIFEST,
    fsync_path,
    is_complete,
    link_or_copy,
    put_in_place,
    remove_leftovers,
    temporary_sibling,
    write_text,
)
from assay.storage.locations.config import Location, Locations, location_errors
from assay.storage.locations.filesystem import Tree, side_by_side
from assay.storage.locations.sync import SyncResult, copy_verified, sync_folder
from assay.storage.locks.acquire import hold
from assay.storage.packs import unpack
from assay.storage.parquet import StoredTable, scan_parquet
from assay.storage.partitions import place_of, require_key
from assay.storage.records import FolderManifest, Record, ResultManifest, StageReport, parse_stored, read_stored
from assay.storage.results import REPORT, Result, ResultStore
from assay.utils.concurrency import Progress, silent
from assay.utils.reading import read_bytes


@dataclass(frozen=True)
class Imported:
    """An imported experiment.

    Attributes:
        experiment_id: Its ID.
        spec: Its resolved spec.
        folder: Its folder in this storage.
        results: Its results by stage, without those whose files are not part of an experiment's folder.
        written: What was copied.
    """

    experiment_id: str
    spec: ExperimentSpec
    folder: Path
    results: Mapping[str, Result]
    written: SyncResult


def import_experiment(
    specs: SpecFiles, location: Location, experiment_id: str, progress: Progress = silent
) -> Imported:
    """Copy an experiment from a location into this storage and make it one of its own experiments.

    An interrupted import is continued by the next call; the spec file is written last.

    Args:
        specs: The spec files of this storage.
        location: A location outside this storage.
        experiment_id: ID of the experiment.
        progress: Called with the number of files that are ready.

    Raises:
        IdError: The ID belongs to another experiment in this storage.
        StorageError: The location has no such experiment, or its files differ from its manifest.
    """
    if location.is_storage:
        raise StorageError(f"Location {location.name!r} is of this storage; its experiments live here already.")
    found = find_experiment(location, validate_id(experiment_id))
    with lock_experiment(specs, experiment_id, f"importing from {location.name}"):
        return import_locked(specs, location, found, progress)


def import_pack(specs: SpecFiles, path: Path, progress: Progress = silent) -> Imported:
    """Import the experiment in a pack, or in a download of the dashboard.

    The file is unpacked beside the results, looked at like the folder of a stranger, and removed again in any case.

    Args:
        specs: The spec files of this storage.
        path: The file.
        progress: Called with the number of files that are ready.

    Raises:
        FileError: It is no such file, is damaged, or holds anything else than one whole experiment.
        IdError, StorageError: See ``import_experiment``.
    """
    place = temporary_sibling(specs.root / "pack")
    try:
        unpack(path, place)
        location = Location(path.name, replace(Tree.of(place), shown=str(path)), is_storage=False)
        found = experiments_at(location)
        if not found:
            raise FileError(path, f"holds no experiment, whose folder has {INFO}; expected a file of 'assay pack ID'")
        if not found[0].finished:
            why = found[0].problem or f"it lacks {MANIFEST}"
            raise FileError(path, f"does not hold the whole experiment ({why}). Pack it again: 'assay pack ID'")
        return import_experiment(specs, location, found[0].experiment_id, progress)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        with suppress(OSError):  # of a storage that did not exist and was refused something
            specs.root.rmdir()


@contextmanager
def lock_experiment(specs: SpecFiles, experiment_id: str, purpose: str) -> Iterator[None]:
    """Hold the write lock on an experiment's folder in this storage for the block, for all machines that share it."""
    name = f"experiments/{validate_id(experiment_id)}"
    with sharing(specs.root, experiment_id, purpose), hold(specs.root / "locks", name, "write", purpose):
        yield


def import_locked(
    specs: SpecFiles, location: Location, found: StoredExperiment, progress: Progress = silent
) -> Imported:
    """Import an experiment that the caller has found and locked, see ``import_experiment``.

    Everything that may be refused is looked at before anything is written. The files are collected in a hidden folder,
    and appear under their name when all of them are there.
    """
    root, experiment_id = specs.root, found.experiment_id
    spec = spec_at(location, found)
    if spec.existing_experiment is not None and spec.found is None:
        raise StorageError(f"{found.folder}: its existing_experiment does not say which experiment was found.")
    folder = ExperimentFolder(experiment_id, found.run_id, root / spec.exp_out_location / found.folder)
    _require_same(specs, folder, spec)
    is_there = _require_own_place(folder)
    with location_errors(location.name):
        source = tree_of(location, found)
        stages = _whole_stages(source)
        place = folder.path if is_there else folder.path.with_name(f"{UNFINISHED}{experiment_id}")
        with _nothing_left(None if is_there else place):
            written = sync_folder(source, Tree.of(place), True, lambda done, total: progress(done, total, "files"))
            _require_tables(place, stages, experiment_id)
    if not is_there:
        place.rename(folder.path)
        fsync_path(folder.path.parent)
    with ExitStack() as stack:
        results = restore_results(folder.path, ResultStore(root), spec.trained_model.output_location)
        for result in results.values():  # nobody refers to them until the spec is there
            stack.enter_context(ResultStore(root).keeping(result))
        _enter_tables(root, experiment_id, spec, folder, results)
        if spec.existing_experiment is not None:
            write_text(source_record_path(root, experiment_id), to_yaml(spec.existing_experiment.model_dump()))
        ExperimentFolders(root).register(folder)  # a folder in the index without a spec file counts as removed
        if not specs.exists(experiment_id):
            specs.store(experiment_id, spec.as_dict())
    return Imported(experiment_id, spec, folder.path, results, written)


@contextmanager
def _nothing_left(place: Path | None) -> Iterator[None]:
    """Remove a folder if the block refuses what it brought; not if it was cut off, or could not reach the source."""
    try:
        yield
    except AssayError:
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)
            with suppress(OSError):  # others have experiments beside it
                place.parent.rmdir()
        raise


def _require_own_place(folder: ExperimentFolder) -> bool:
    """Return whether an experiment's folder is there already; refuses the name of a folder of something else."""
    path = folder.path
    if path.is_symlink() or path.parent.is_symlink():
        raise StorageError(f"{path} is reached by a link; nothing is written through links. Nothing was imported.")
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return False
    info = mapping_from(read_bytes(path / INFO), str(path / INFO)) if (path / INFO).exists() else {}
    if (info.get("experiment_id"), str(info.get("run_id", ""))) != (folder.experiment_id, folder.run_id):
        raise StorageError(f"{path} holds something else than this experiment. Nothing was imported. Move it away.")
    return True


def _whole_stages(source: Tree) -> list[str]:
    """Return the stages whose results can be restored from an experiment's folder, after checking their manifests."""
    whole = _manifest_in(source, MANIFEST, FolderManifest)
    stages = [stage for stage in PLACES if stage in whole["results"] and source.has(f"{RESULTS}/{stage}/{MANIFEST}")]
    for stage in stages:
        _require_whole(source, stage)
    return stages


def _manifest_in(folder: Tree, name: str, shape: type[Record]) -> dict[str, Any]:
    content = folder.read(name)
    if content is None:
        raise StorageError(f"{folder.shown} has no {name}: it is not finished, so it is not used.")
    return parse_stored(content, f"{folder.shown}/{name}", shape)


def _require_tables(folder: Path, stages: Sequence[str], experiment_id: str) -> None:
    """Refuse a folder whose reports or tables can't be entered here."""
    for stage in stages:
        report = folder / folder_name(stage, REPORT)
        read_stored(report, StageReport)
        for name in (TABLES.get(stage), "training_history.parquet" if stage == "trained_model" else None):
            if name is not None:
                path = folder / folder_name(stage, name)
                try:
                    require_key(scan_parquet(path), "experiment_id", experiment_id)
                except pl.exceptions.PolarsError as error:
                    raise StorageError(f"{path} can't be read as a table: {error}") from error


def _require_same(specs: SpecFiles, folder: ExperimentFolder, spec: ExperimentSpec) -> None:
    """Refuse an ID that belongs to another experiment in this storage."""
    name, digest = folder.experiment_id, digest_of(spec.as_dict())
    specs.tombstones.check(name, digest)
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
    """Write the pointers and table partitions of the experiment's assets."""

    def write_table(table: str, content: pl.DataFrame | StoredTable) -> None:
        place_of(root, "main", table, "experiment_id", experiment_id).write(content)

    for stage, result in results.items():
        if stage in TABLES:
            write_table(stage, StoredTable(result.folder / TABLES[stage], result.fingerprint))
    if "trained_model" in results:
        model = results["trained_model"]
        write_pointer(root, experiment_id, "trained_model", model)
        write_table("training_history", StoredTable(model.folder / "training_history.parquet", model.fingerprint))
    write_table(COSTS, cost_table(costs_in(root, folder.path, experiment_id)))
    write_table("experiments", pl.DataFrame([experiment_row(experiment_id, spec, folder)]))


def restore_results(folder: Path, store: ResultStore, output_location: str) -> dict[str, Result]:
    """Restore all results whose files are in an experiment's folder.

    Args:
        folder: An experiment's folder whose files have been verified against its manifest.
        store: Result store to restore them in.
        output_location: Folder below the storage root.

    Returns:
        The results by stage; those that exist in ``store`` already are reused.

    Raises:
        StorageError: The manifest of a result is damaged, or does not match the folder's own.
    """
    return {stage: restore_result(folder, stage, store, output_location) for stage in _whole_stages(Tree.of(folder))}


def restore_result(folder: Path, stage: str, store: ResultStore, output_location: str) -> Result:
    """Restore the result of one stage, see ``restore_results``."""
    fingerprint, files = _require_whole(Tree.of(folder), stage)
    result = Result(stage, fingerprint, store.root / output_location / stage / fingerprint)
    # Not by a write lock at once: whoever reads the result may be waiting for this experiment's lock.
    with store.reading(result):
        if is_complete(result.folder):
            return result
    with hold(store.lock_folder, f"{stage}/{fingerprint}", "write", "importing"):
        if not is_complete(result.folder):
            _link_together(folder, files, store, result)
        cost, _ = read_cost(cost_in(folder, stage), stage, fingerprint)
        if cost is not None and result.cost[0] is None:
            write_cost(result.cost_file, cost)
    return result


def _require_whole(folder: Tree, stage: str) -> tuple[str, list[str]]:
    """Return fingerprint and file names of a stage's result if the folder has all of its files, else raise."""
    whole = _manifest_in(folder, MANIFEST, FolderManifest)
    own = _manifest_in(folder, f"{RESULTS}/{stage}/{MANIFEST}", ResultManifest)
    fingerprint = str(own["fingerprint"])
    if own["stage"] != stage or fingerprint != whole["results"].get(stage):
        raise StorageError(
            f"{folder.shown}: the manifest of {stage} is of {own['stage']} {fingerprint}. It is not used."
        )
    needed = [REPORT, TABLES.get(stage, REPORT), *(["training_history.parquet"] if stage == "trained_model" else [])]
    for name in {**dict.fromkeys(needed), **own["files"]}:
        listed = whole["files"].get(folder_name(stage, name), {})
        if name == MANIFEST or name not in own["files"] or listed.get("sha256") != own["files"][name]["sha256"]:
            raise StorageError(f"{folder.shown}: {name} of {stage} is missing, or another file than its manifest says.")
    return fingerprint, list(own["files"])


def _link_together(folder: Path, names: list[str], store: ResultStore, result: Result) -> None:
    target, stage = result.folder, result.stage
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target)
    temporary = temporary_sibling(target)
    try:
        for name in names:
            link_or_copy(folder / folder_name(stage, name), temporary / name)
        link_or_copy(folder / RESULTS / stage / MANIFEST, temporary / MANIFEST)
        for path in [*temporary.rglob("*"), temporary]:
            fsync_path(path)
        if store.share(result, temporary):
            put_in_place(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def fetch_result(locations: Locations, found: FoundExperiment, stage: str, output_location: str) -> Result:
    """Return a result of an evaluation's source: from this storage, or copied from the source's location.

    Files that an interrupted call copied are not copied again.

    Args:
        locations: The locations of the project.
        found: The source, with the fingerprints of its results.
        stage: ``trained_model`` or ``normalized``.
        output_location: Folder below the storage root for a result that has to be copied.

    Raises:
        StorageError: It can't be copied, or the source has another result by now.
    """
    store = ResultStore(locations.root)
    fingerprint = {"trained_model": found.model, "normalized": found.scaling}[stage]
    known = store.find(stage, fingerprint)
    if known is not None:
        return known
    name, _, folder = found.folder.partition("/")
    location = locations.open(name)
    here = Tree.of(locations.root / "adopted" / ".fetched" / fingerprint)
    lock = f"adopted/{fingerprint}"
    with hold(locations.root / "locks", lock, "write", f"copying from {name}"), location_errors(name):
        with _nothing_left(here.as_path):
            _copy(location.tree.below(folder), here, stage, fingerprint)
            result = restore_result(here.as_path, stage, store, output_location)
        shutil.rmtree(here.as_path)
    return result


def _copy(source: Tree, here: Tree, stage: str, fingerprint: str) -> None:
    manifest = _manifest_in(source, MANIFEST, FolderManifest)
    if manifest["results"].get(stage) != fingerprint:
        raise StorageError(
            f"{source.shown} has no {stage} {fingerprint} any more, and neither has this storage. Evaluate what it has "
            "now: make another experiment."
        )
    _require_whole(source, stage)
    files = {name: entry["sha256"] for name, entry in manifest["files"].items() if entry["stage"] == stage}
    here.require_space(sum(manifest["files"][name]["size_bytes"] for name in files))
    list(side_by_side(lambda name: copy_verified(source, here, name, name, files[name]), files))
    for name in (MANIFEST, f"{RESULTS}/{stage}/{MANIFEST}"):
        here.copy_from(source, name, name)
    with suppress(StorageError):  # it is good to know, but nothing depends on it
        cost = source.read(f"{RESULTS}/{stage}/{COST}")
        if cost is not None:
            here.write(f"{RESULTS}/{stage}/{COST}", cost)
