"""Garbage collection: unreferenced results, leftovers of killed processes, and everything of removed experiments.

Whatever is deleted was looked at again under its lock. In doubt it is kept: a damaged record of a living experiment may
be the only one that names a result, and a name in a damaged record may lead out of the storage.

Belongs here: finding and deleting garbage. Does not belong here: asking the user, what is in use (``usage``), temporary
files (``leftovers``).
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from assay.errors import AssayError, InUseError, StorageError
from assay.experiments.evaluation import source_record_path
from assay.experiments.folders import PLACES, ExperimentFolders
from assay.experiments.leftovers import LEFTOVER_S, find_leftovers, newest_change
from assay.experiments.sharing import at_work
from assay.experiments.specs import SpecFiles, mark_forgotten
from assay.experiments.usage import Usage, UsageReader, is_result_name, result_folders
from assay.pipeline import STORED
from assay.storage.costs import COSTS, cost_path
from assay.storage.files import entries_below, is_complete, temporary_sibling
from assay.storage.locks.acquire import hold
from assay.storage.partitions import Partition
from assay.storage.remote import Remote, refuse_in_bucket, remote_of
from assay.storage.results import SCRATCH
from assay.utils.text import pluralize

STALE_S = 7 * 24 * 3600.0
"""Age in seconds after which an interrupted build is not expected to be continued."""

SETTLED_S = 2.0
"""Time in seconds for which the folder of spec files, and a result, must have been unchanged: editors and version
control take a file away before they put it back, and a result is complete before an experiment refers to it."""


_IN_BUCKET = (
    "Nobody knows here what other machines use. To free this machine's disk of what the bucket has as well: assay gc. "
    "To free the bucket, begin anew with another prefix, and delete the former one."
)

_IN_BUCKET_TOO = "the bucket has it, too, from where it comes back when it is needed"


@dataclass(frozen=True)
class Garbage:
    """A file or folder that can be deleted.

    Attributes:
        path: The file or folder.
        lock: Name of the lock that protects it; empty if none does.
        reason: Why it is not needed.
        size_bytes: Total size of its files.
        kind: What it is; a ``version`` is one that a killed writer of a table left, ``cached`` a result of which the
            bucket of the storage has the original.
        experiment_id: The removed experiment that it belonged to; None for everything else.
    """

    path: Path
    lock: str
    reason: str
    size_bytes: int
    kind: Literal["experiment", "result", "scratch", "leftover", "version", "cached"]
    experiment_id: str | None = None


@dataclass(frozen=True)
class Kept:
    """Garbage that was not deleted.

    Attributes:
        path: The file or folder.
        reason: Why it is still there.
        failed: Whether it should have been deleted; otherwise it is in use, or no garbage any more.
    """

    path: Path
    reason: str
    failed: bool = False


def survey(root: Path, specs: SpecFiles) -> tuple[list[Garbage], list[str]]:
    """Return everything below the storage root that nobody needs, and what is kept because it is in doubt.

    Of a storage in a bucket, whose other machines may need everything, that is what this machine can have back: results
    whose files no experiment's folder shows, such as crops.

    Raises:
        StorageError: The folder of spec files can't be read, so that every experiment would look removed.
    """
    if remote_of(root.absolute()) is not None:
        cached, linked = _cached_results(root)
        return [*cached, *_stale_scratch(root)], linked
    usage = UsageReader(root, specs).look()
    experiments, problems = _removed_experiments(root, usage)
    results, linked = _unused_results(root, usage)
    garbage = [*experiments, *results, *_stale_scratch(root), *_costs_of_nothing(root), *_leftovers(root, specs, usage)]
    return garbage, [*usage.problems, *problems, *linked]


def find_garbage(root: Path, specs: SpecFiles) -> list[Garbage]:
    """Return everything below the storage root that nobody needs, see ``survey``."""
    return survey(root, specs)[0]


def _removed_experiments(root: Path, usage: Usage) -> tuple[list[Garbage], list[str]]:
    found, problems = [], []
    for experiment_id, path in usage.folders.items():
        if experiment_id in usage.living:
            continue
        problem = usage.doubt_about(experiment_id)
        if problem:
            problems.append(problem)
        else:
            reason = f"the file of experiment {experiment_id!r} was removed"
            lock = f"experiments/{experiment_id}"
            found.append(Garbage(path, lock, reason, _size(path), "experiment", experiment_id))
    return found, problems


def _unused_results(root: Path, usage: Usage) -> tuple[list[Garbage], list[str]]:
    paths, linked = result_folders(root)
    unused = [path for path in paths if path.name not in usage.used]
    if usage.is_unsure:
        why = (
            f"{pluralize(len(unused), 'result is', 'results are')} kept: nobody knows what is used until that is mended"
        )
        return [], [*linked, *([why] if unused else [])]
    reason = "no experiment refers to it"
    return [Garbage(path, _lock_of(path), reason, _size(path), "result") for path in unused], linked


def _cached_results(root: Path) -> tuple[list[Garbage], list[str]]:
    paths, linked = result_folders(root)
    inside = {
        path: [status for _, status in entries_below(path)]
        for path in paths
        if path.parent.name not in PLACES and is_complete(path)
    }
    links = Counter((status.st_dev, status.st_ino) for each in inside.values() for status in each)

    def freed_bytes(found: Sequence[os.stat_result]) -> int:
        """Return what deleting frees: nothing of files that have a name elsewhere, such as among the user's data."""
        alone = [each for each in found if links[each.st_dev, each.st_ino] >= each.st_nlink]
        return sum(each.st_size // each.st_nlink for each in alone)

    sizes = {path: freed_bytes(found) for path, found in inside.items()}
    return [
        Garbage(path, _lock_of(path), _IN_BUCKET_TOO, size, "cached") for path, size in sizes.items() if size
    ], linked


def _lock_of(result: Path) -> str:
    return f"{result.parent.name}/{result.name}"


def _stale_scratch(root: Path) -> Iterator[Garbage]:
    oldest, reason = time.time() - STALE_S, "kept for a build that nobody continued"
    for stage in STORED:
        for path in sorted(root.glob(f"*/{stage}/{SCRATCH}/*")):
            if path.is_dir() and not path.is_symlink() and newest_change(path) < oldest:
                yield Garbage(path, f"{stage}/{path.name}", reason, _size(path), "scratch")


def _costs_of_nothing(root: Path) -> Iterator[Garbage]:
    """Yield the records of what results cost that somebody deleted by hand."""
    oldest = time.time() - LEFTOVER_S
    for path in sorted(root.glob(f"{COSTS}/*/*.json")):
        stage, fingerprint = path.parent.name, path.stem
        is_gone = stage in STORED and is_result_name(fingerprint) and not any(root.glob(f"*/{stage}/{fingerprint}"))
        if is_gone and not path.is_symlink() and newest_change(path) < oldest:
            yield Garbage(path, f"{stage}/{fingerprint}", "its result is gone", _size(path), "leftover")


def _leftovers(root: Path, specs: SpecFiles, usage: Usage) -> Iterator[Garbage]:
    owners = {path: f"experiments/{name}" for name, path in usage.folders.items()}
    for each in find_leftovers(root, specs.folder, specs.locations):
        lock = each.lock or next((owners[parent] for parent in each.path.parents if parent in owners), "")
        kind: Literal["leftover", "version"] = "version" if each.is_version else "leftover"
        yield Garbage(each.path, lock, "left by a process that was killed", _size(each.path), kind)


def _size(path: Path) -> int:
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            return sum(status.st_size for _, status in entries_below(path))
        return path.lstat().st_size
    return 0


def collect_garbage(
    root: Path, specs: SpecFiles, garbage: Sequence[Garbage], settled_s: float = SETTLED_S
) -> list[Kept]:
    """Delete garbage, each after another look under its lock; returns what was not deleted, and why.

    Args:
        root: Storage root.
        specs: The spec files.
        garbage: What was found before.
        settled_s: Time for which spec files and results must have been unchanged; waited for once.

    Raises:
        StorageError: The folder of spec files can't be read.
    """
    _wait_until_settled(specs.folder, settled_s)
    reader, kept, remote = UsageReader(root, specs), [], remote_of(root.absolute())
    if remote is None:
        reader.look()
    for item in garbage:
        try:
            with _locked(root, item):
                why = _why_cached(remote, item) if remote else _why_kept(specs, reader, item, settled_s)
                reason = why or _delete(root, specs, reader, item)
            if reason:
                kept.append(Kept(item.path, reason))
        except InUseError as error:
            kept.append(Kept(item.path, f"in use: {error}"))
        except (OSError, AssayError) as error:
            kept.append(Kept(item.path, f"can't be deleted: {error}", failed=True))
    return kept


def _wait_until_settled(folder: Path, settled_s: float) -> None:
    with suppress(FileNotFoundError):
        time.sleep(max(settled_s - _age_s(folder.stat().st_mtime), 0))


def _locked(root: Path, item: Garbage) -> AbstractContextManager[object]:
    return hold(root / "locks", item.lock, "write", "deleting", timeout_s=0) if item.lock else nullcontext()


def _why_cached(remote: Remote, item: Garbage) -> str:
    """Return why something stays in the cache of a bucket; empty if it need not. The caller has locked it."""
    if item.kind != "cached":
        return "" if newest_change(item.path) < time.time() - STALE_S else "somebody went on with it meanwhile"
    if running := at_work(remote.root):
        return f"a run of {', '.join(running)} on this machine may need it"
    is_there = remote.holds(item.path, item.path.parent.name, item.path.name)
    return "" if is_there else f"{remote.bucket.url} does not have it as it is here"


def _why_kept(specs: SpecFiles, reader: UsageReader, item: Garbage, settled_s: float) -> str:
    """Return why something is no garbage any more, or not surely; empty if it still is. The caller has locked it."""
    if item.kind in ("scratch", "leftover", "version"):
        oldest = time.time() - (STALE_S if item.kind == "scratch" else LEFTOVER_S)
        return "" if newest_change(item.path) < oldest else "somebody went on with it meanwhile"
    usage = reader.look()
    if _age_s(specs.folder.stat().st_mtime) < settled_s:
        return f"{specs.folder} was changed just now; run again when nobody saves there"
    if item.experiment_id is not None:
        is_known = usage.folders.get(item.experiment_id) == item.path
        if item.experiment_id in usage.living or not is_known:
            return "its spec file is there again" if is_known else "the index says something else by now"
        return usage.doubt_about(item.experiment_id)
    if usage.is_unsure:
        return f"nobody knows whether it is used: {usage.problems[0]}"
    if item.path.name in usage.used:
        return "an experiment uses it by now"
    # Its change time is that of the rename which completed it.
    return "it was made just now" if item.path.exists() and _age_s(item.path.lstat().st_ctime) < settled_s else ""


def _age_s(moment: float) -> float:
    return abs(time.time() - moment)  # the clock of a file server may be ahead


def _delete(root: Path, specs: SpecFiles, reader: UsageReader, item: Garbage) -> str:
    """Delete something; returns why it was kept after all, empty if it is gone."""
    if item.kind == "version":
        Partition(item.path.parent).remove_old_versions()
    elif item.experiment_id is None:
        _remove(item.path)
        if item.kind == "result" and not any(root.glob(f"*/{_lock_of(item.path)}")):
            cost_path(root, item.path.parent.name, item.path.name).unlink(missing_ok=True)
    else:
        return _delete_experiment(root, specs, reader, item.path, item.experiment_id)
    return ""


def forget_experiment(root: Path, specs: SpecFiles, experiment_id: str) -> bool:
    """Delete everything of one experiment at once, its spec file and the record of its removal included.

    Its results stay, because other experiments may share them; ``collect_garbage`` deletes those that none does. Its ID
    may be used again.

    Args:
        root: Storage root.
        specs: The spec files.
        experiment_id: The experiment; it need not have a file any more.

    Returns:
        Whether there was anything of it.

    Raises:
        IdError: The ID is not valid.
        StorageError: Somebody is changing its folder at this moment, or a file can't be deleted.
    """
    refuse_in_bucket(root, "Forgetting an experiment", _IN_BUCKET)
    file, reader = specs.path(experiment_id), UsageReader(root, specs)
    folder = ExperimentFolders(root).find(experiment_id)
    was_known = folder is not None or file.exists() or experiment_id in specs.tombstones.ids()
    with hold(root / "locks", f"experiments/{experiment_id}", "write", "forgetting it", timeout_s=0):
        mark_forgotten(root, experiment_id)  # before the file is gone, so that automation takes it for no removal
        file.unlink(missing_ok=True)
        _delete_experiment(root, specs, reader, folder.path if folder else root / ".none", experiment_id)
        specs.tombstones.restore(experiment_id)
    return was_known


def _delete_experiment(root: Path, specs: SpecFiles, reader: UsageReader, folder: Path, experiment_id: str) -> str:
    was_removed = experiment_id in specs.tombstones.ids()
    # Before anything is deleted: the ID must never be given to another experiment.
    specs.tombstones.add(experiment_id)
    if experiment_id in reader.look().living:  # put back before whoever put it there could see that it is too late
        if not was_removed:
            specs.tombstones.restore(experiment_id)
        return "its spec file is there again"
    for path in root.glob(f"tables/*/*/experiment_id={experiment_id}"):
        _remove(path)
    for name in ("pointers", "gates"):
        _remove(root / name / experiment_id)
    _remove(source_record_path(root, experiment_id))
    _remove(folder)
    _remove(root / "experiments_index" / f"{experiment_id}.json")
    return ""


def _remove(path: Path) -> None:
    """Delete a file or folder; a folder is renamed first, so that nobody takes half of it for the whole.

    Raises:
        OSError: It can't be deleted; what is left of it has a temporary name.
        StorageError: It is a link.
    """
    if path.is_symlink():
        raise StorageError(f"{path} is a link; nothing is deleted through links. Remove it by hand.")
    if path.is_dir():
        aside = path if path.name.startswith(".") else path.rename(temporary_sibling(path))
        shutil.rmtree(aside)
    else:
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108 - an open file of a location may be one as well
