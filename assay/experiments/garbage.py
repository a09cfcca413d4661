"""Garbage collection: unreferenced results, leftovers of builds, and everything of removed experiments.

Belongs here: finding and deleting garbage. Does not belong here: asking the user.
"""

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.errors import StorageError
from assay.experiments.evaluation import source_record_path
from assay.experiments.folders import ExperimentFolders
from assay.experiments.specs import SpecFiles
from assay.pipeline import STAGES
from assay.storage.files import MANIFEST
from assay.storage.locks.acquire import hold
from assay.storage.results import SCRATCH

STALE_S = 7 * 24 * 3600.0
"""Age in seconds after which an interrupted build is not expected to be continued."""


@dataclass(frozen=True)
class Garbage:
    """A folder that can be deleted.

    Attributes:
        path: The folder.
        lock: Name of the lock that protects it.
        reason: Why it is not needed.
        size_bytes: Total size of its files.
        experiment_id: The removed experiment that it belonged to; None for a result or leftover.
    """

    path: Path
    lock: str
    reason: str
    size_bytes: int
    experiment_id: str | None = None


def find_garbage(root: Path, specs: SpecFiles) -> list[Garbage]:
    """Return everything below the storage root that no experiment with a spec file refers to."""
    return [
        *_removed_experiments(root, specs),
        *_unused_results(root, set(specs.ids())),
        *_stale_scratch(root, time.time() - STALE_S),
    ]


def _removed_experiments(root: Path, specs: SpecFiles) -> Iterator[Garbage]:
    known = set(specs.ids())
    index = root / "experiments_index"
    for entry in sorted(index.glob("*.json")):
        if entry.stem not in known:
            path = root / json.loads(entry.read_bytes())["folder"]
            reason = f"the file of experiment {entry.stem!r} was removed"
            yield Garbage(path, f"experiments/{entry.stem}", reason, _size(path), entry.stem)


def _unused_results(root: Path, known: set[str]) -> Iterator[Garbage]:
    used = _used_fingerprints(root, known)
    for stage in STAGES:
        for path in sorted(root.glob(f"*/{stage}/*")):
            is_result = path.is_dir() and path.parent.parent.name != "tables"
            if is_result and path.name not in used and not path.name.startswith("."):
                yield Garbage(path, f"{stage}/{path.name}", "no experiment refers to it", _size(path))


def _stale_scratch(root: Path, oldest: float) -> Iterator[Garbage]:
    for stage in STAGES:
        for path in sorted(root.glob(f"*/{stage}/{SCRATCH}/*")):
            times = [file.stat().st_mtime for file in (path, *path.rglob("*"))]
            if max(times) < oldest:
                yield Garbage(path, f"{stage}/{path.name}", "kept for a build that nobody continued", _size(path))


def _used_fingerprints(root: Path, known: set[str]) -> set[str]:
    """Return the fingerprints of the results of all known experiments, and of all their ancestors."""
    used: set[str] = set()
    folders = ExperimentFolders(root)
    for name in known:
        folder = folders.find(name)
        manifest = folder.path / MANIFEST if folder else None
        if manifest and manifest.is_file():
            used |= set(json.loads(manifest.read_bytes())["results"].values())
    for stage in STAGES:
        for path in root.glob(f"*/{stage}/*/{MANIFEST}"):
            if path.parent.name in used:
                used |= set(json.loads(path.read_bytes())["ancestors"].values())
    return used


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def collect_garbage(root: Path, specs: SpecFiles, garbage: Sequence[Garbage]) -> list[Garbage]:
    """Delete garbage; returns what was skipped because it was locked."""
    skipped = []
    for item in garbage:
        try:
            with hold(root / "locks", item.lock, "write", "deleting", timeout_s=0):
                _delete(root, specs, item)
        except StorageError:
            skipped.append(item)
    return skipped


def _delete(root: Path, specs: SpecFiles, item: Garbage) -> None:
    if item.experiment_id is not None:
        # Before anything is deleted: the ID must never be given to another experiment.
        specs.tombstones.add(item.experiment_id)
        for path in root.glob(f"tables/*/*/experiment_id={item.experiment_id}"):
            shutil.rmtree(path)
        for name in ("pointers", "gates"):
            shutil.rmtree(root / name / item.experiment_id, ignore_errors=True)
        source_record_path(root, item.experiment_id).unlink(missing_ok=True)
    shutil.rmtree(item.path, ignore_errors=True)
    if item.experiment_id is not None:
        (root / "experiments_index" / f"{item.experiment_id}.json").unlink(missing_ok=True)
