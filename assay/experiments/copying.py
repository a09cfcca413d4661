"""Copying experiments between locations, and mirroring an experiment's folder at its ``exp_out_location``.

Copies are verified and can be resumed; the source is not changed unless its deletion is requested. A pack is a copy in
one file.

Belongs here: requests, refusals, the order of the steps. Does not belong here: copying files
(``assay.storage.locations.sync``), the format of packs (``assay.storage.packs``), making an experiment part of this
storage (``importing``).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.errors import FileError, StorageError
from assay.experiments.catalog import StoredExperiment, experiments_at, find_experiment, tree_of
from assay.experiments.checks import EXP_TESTS
from assay.experiments.folders import (
    ENVIRONMENT_FILES,
    INFO,
    RESULTS,
    STATISTICS,
    ExperimentFolder,
    ExperimentFolders,
    read_folder_manifest,
)
from assay.experiments.importing import Imported, import_locked, lock_experiment
from assay.experiments.specs import SpecFiles
from assay.spec.ids import validate_id
from assay.spec.secrets import hide
from assay.storage.costs import COST
from assay.storage.files import MANIFEST
from assay.storage.locations.config import Location, Locations, location_errors
from assay.storage.locations.filesystem import Tree
from assay.storage.locations.sync import INCOMING, SyncResult, sync_folder
from assay.storage.locks.acquire import hold
from assay.storage.packs import is_pack, write_pack
from assay.storage.remote import refuse_in_bucket
from assay.utils.concurrency import Progress, silent
from assay.utils.reading import MOST_BYTES, read_bytes
from assay.utils.text import pluralize


@dataclass(frozen=True)
class CopyRequest:
    """A copy to make.

    Attributes:
        experiment_id: ID of the experiment.
        input_loc_name: Name of the location that has it.
        output_loc_name: Name of the location that gets it.
        delete_source: Delete the source after every file of the copy was read back.
    """

    experiment_id: str
    input_loc_name: str
    output_loc_name: str
    delete_source: bool = False


@dataclass(frozen=True)
class CopyReport:
    """The outcome of a copy.

    Attributes:
        target: The folder of the copy.
        written: What was copied.
        duration_s: How long it took, in seconds.
        imported: The imported experiment, if the target is this storage.
    """

    target: str
    written: SyncResult
    duration_s: float
    imported: Imported | None = None

    @property
    def sentence(self) -> str:
        """A summary in one line."""
        what = f"{pluralize(self.written.files, 'file')}, {self.written.size_bytes / 1e6:.1f} MB"
        new = "all there already" if not self.written.copied else f"{self.written.copied} of them copied"
        return f"{self.target}: {what}, {new}, each compared by SHA-256, {self.duration_s:.1f} s."


def copy_experiment(
    specs: SpecFiles, locations: Locations, request: CopyRequest, progress: Progress = silent
) -> CopyReport:
    """Copy an experiment; an interrupted copy is continued, and a complete one is brought up to date.

    A copy to another location is a copy of the experiment's folder. A copy into this storage is an import, with tables,
    results and spec file.

    Args:
        specs: The spec files of this storage.
        locations: The locations of the project.
        request: What to copy.
        progress: Called with the number of files that are ready.

    Raises:
        IdError: The ID is not valid, or belongs to another experiment in this storage.
        StorageError: A location or the experiment does not exist, both locations are the same folder, the target has
            another experiment with this ID, or the copy of a file differs.
    """
    started = time.monotonic()
    validate_id(request.experiment_id)
    source, target = locations.open(request.input_loc_name), locations.open(request.output_loc_name)
    _require_two_places(source, target)
    found, imported = find_experiment(source, request.experiment_id), None
    if request.delete_source:
        refuse_in_bucket(specs.root, "Deleting the source of a copy", "Copy it without --delete-source.")
    # One lock for all steps: exactly what was copied is deleted.
    with lock_experiment(specs, request.experiment_id, f"copying to {target.name}"):
        if target.is_storage:
            imported = import_locked(specs, source, found, progress)
            shown, written = str(imported.folder), imported.written
        else:
            shown, written = _copy(source, target, found, progress)
        if request.delete_source:
            copied = Tree.of(imported.folder) if imported else tree_of(target, found)
            _delete(specs, source, found, copied)
    return CopyReport(shown, written, time.monotonic() - started, imported)


def _copy(source: Location, target: Location, found: StoredExperiment, progress: Progress) -> tuple[str, SyncResult]:
    _require_no_other(target, found)
    place = tree_of(target, found)
    with location_errors(f"{source.name} or {target.name}"):
        written = sync_folder(tree_of(source, found), place, True, lambda done, total: progress(done, total, "files"))
    return place.shown, written


def _require_two_places(source: Location, target: Location) -> None:
    """Refuse to copy a folder onto itself, also by another name or through a link."""
    if source.is_storage and target.is_storage:
        raise StorageError(
            f"input_loc_name {source.name!r} and output_loc_name {target.name!r} are both of this storage, where an "
            "experiment is once. Nothing was copied."
        )
    if source.tree.is_same_folder(target.tree):
        raise StorageError(
            f"input_loc_name {source.name!r} and output_loc_name {target.name!r} are the same place "
            f"({target.tree.shown}). Nothing was copied."
        )


def _require_no_other(target: Location, found: StoredExperiment) -> None:
    """Refuse a copy to a location that has another experiment with the same ID, or another ID in the same folder."""
    others = [
        each.folder
        for each in experiments_at(target)
        if (each.folder == found.folder) != (each.experiment_id == found.experiment_id)
    ]
    if others:
        raise StorageError(
            f"Location {target.name!r} ({target.tree.shown}) has another experiment {found.experiment_id!r} already: "
            f"{', '.join(others)}. Move it away first. Nothing was copied."
        )


def _delete(specs: SpecFiles, source: Location, found: StoredExperiment, copied: Tree) -> None:
    """Delete a folder, its manifest first, so that what an interrupted deletion leaves counts as unfinished."""
    tree = tree_of(source, found)
    with location_errors(source.name):
        there = copied.files()
        new = [name for name in tree.files() if name not in there and not name.startswith(f"{INCOMING}/")]
        if new:
            raise StorageError(f"{tree.shown} has got {new[0]} since it was copied. It is not deleted: copy it again.")
        tree.remove([MANIFEST])
        tree.remove_all()
    if source.is_storage:
        ExperimentFolders(specs.root).unregister(found.experiment_id)


def mirror_experiment(locations: Locations, folder: ExperimentFolder) -> SyncResult | None:
    """Update the mirror of an experiment's folder, if its ``exp_out_location`` is outside the storage.

    Returns:
        What was copied; None if the experiment has no mirror, or no results yet.

    Raises:
        StorageError: The location can't be reached or written; an incomplete mirror is recognizably unfinished.
    """
    name = folder.path.relative_to(locations.root).parts[0]
    if not locations.is_external(name) or not (folder.path / MANIFEST).is_file():
        return None
    location = locations.open(name)
    lock = f"experiments/{folder.experiment_id}"
    with hold(locations.root / "locks", lock, "write", f"copying to {name}"), location_errors(name):
        return sync_folder(Tree.of(folder.path), location.tree.below(folder.path.name))


def pack_experiment(specs: SpecFiles, experiment_id: str, out: Path) -> SyncResult:
    """Write an experiment as one file that another storage can import: the same bytes each time.

    Packed is what Assay has written: results, tables, spec, records. Other files in its folder are left out.

    Args:
        specs: The spec files of this storage.
        experiment_id: ID of the experiment.
        out: The pack; an existing one is replaced.

    Returns:
        What was packed.

    Raises:
        IdError: The ID is not valid.
        StorageError: The experiment has nothing to pack, or was changed by somebody; ``out`` is something else than a
            pack; a text holds a secret.
    """
    _require_pack(out, experiment_id)
    folder = ExperimentFolders(specs.root).require(experiment_id).path
    with lock_experiment(specs, experiment_id, "packing"):
        manifest = read_folder_manifest(folder)
        if manifest is None:
            raise StorageError(f"Experiment {experiment_id!r} has no results yet. Next: assay run {experiment_id}")
        listed = {name: str(entry["sha256"]) for name, entry in manifest["files"].items()}
        sizes = {name: size for name, size in Tree.of(folder).files().items() if name in listed or _is_record(name)}
        if missing := [name for name in listed if name not in sizes]:
            raise StorageError(f"{folder} has no {missing[0]} any more. Next: assay run {experiment_id}")
        _require_no_secrets(folder, [name for name in sizes if sizes[name] <= MOST_BYTES])
        write_pack(out, folder, sizes, listed)
    return SyncResult(len(sizes), sum(sizes.values()), len(sizes))


def _require_pack(out: Path, experiment_id: str) -> None:
    """Refuse to replace anything but a pack."""
    if out.is_dir():
        raise StorageError(f"{out} is a folder. Name a file: --out {out / f'{experiment_id}.zip'}")
    if out.suffix.lower() != ".zip":
        raise StorageError(f"{out} does not end in .zip. Nearest valid: --out {out.with_suffix('.zip')}")
    try:
        if not is_pack(out):
            raise StorageError(f"{out} exists and is no pack of Assay. Choose another name, or remove it first.")
    except FileNotFoundError:
        return
    except FileError as error:
        raise StorageError(str(error)) from error


def _is_record(name: str) -> bool:
    """Return whether Assay writes a file of this name into the folder of an experiment, without listing it."""
    parts = name.split("/")
    is_own = name in (MANIFEST, INFO, EXP_TESTS, *ENVIRONMENT_FILES)
    is_config = parts[0] == "configs" and parts[-1] in ("experiment.yaml", "config.yaml")
    return is_own or is_config or parts[0] == STATISTICS or (parts[0] == RESULTS and parts[-1] in (MANIFEST, COST))


def _require_no_secrets(folder: Path, names: Sequence[str]) -> None:
    """Refuse a pack with the value of a secret variable, or a login, in one of its texts."""
    for name in names:
        if name.endswith((".yaml", ".json", ".csv")):
            text = read_bytes(folder / name).decode("utf-8", "replace")
            if hide(text) != text:
                raise StorageError(
                    f"{folder / name} holds a login, or the value of a secret environment variable. Nothing was packed."
                )
