"""What is wrong with a storage and its disk, found without changing anything: one sentence each, with its remedy.

Belongs here: what is found in files and file systems, and how thoroughly is looked. Does not belong here: the Dagster
home, its database, installed packages (``deployment``), mending (``garbage``, ``assay locks``).
"""

import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from assay.errors import AssayError, FileError, StorageError, one_line
from assay.experiments.leftovers import find_leftovers
from assay.experiments.locks import lock_folders
from assay.experiments.specs import SpecFiles
from assay.experiments.usage import UsageReader, result_folders
from assay.spec.ids import is_id
from assay.storage.files import MANIFEST, TEMPORARY_PREFIX, entries_below, fsync_path, is_leftover
from assay.storage.locks.holders import describe, heartbeat_of, holders
from assay.storage.partitions import find_tables, place_of
from assay.storage.records import MOST_MANIFEST_BYTES, Pointer, ResultManifest, read_stored
from assay.storage.remote import remote_of
from assay.storage.results import Result, ResultStore, verify
from assay.storage.warehouse.database import IndexInUseError, open_index
from assay.utils.reading import read_text

Level = Literal["ok", "note", "problem"]

MOST_LISTED = 10
"""How many findings of one kind are listed; the others are counted."""

QUICK_RESULTS = 2000
"""How many results, the latest ones, a quick look compares with their manifests."""

QUICK_TABLES = 5000
"""How many partitions of tables a quick look compares with their seals."""


@dataclass(frozen=True)
class Finding:
    """One sentence about a deployment.

    Attributes:
        area: What was looked at, such as ``results``.
        level: ``ok``, ``note`` (nothing is broken), or ``problem`` (something is, or soon will be).
        text: The sentence, with what to do next.
    """

    area: str
    level: Level
    text: str


def found_by(area: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Yield what a look finds; one that fails is a finding as well, and others go on."""
    try:
        yield from look()
    except OSError as error:
        where = f" ({error.filename})" if error.filename is not None else ""
        remedy = "Make it readable and writable for this user"
        yield Finding(area, "problem", f"Can't be looked at: {error.strerror or error}{where}. {remedy}.")
    except AssayError as error:
        yield Finding(area, "problem", str(error))


def check_storage(root: Path, specs: SpecFiles, deep: bool = False) -> Iterator[Finding]:
    """Yield what is found in a storage that need not exist.

    Args:
        root: Storage root.
        specs: The spec files.
        deep: Read every byte of every result, instead of comparing names and sizes of the latest ones.
    """
    if not root.is_dir():
        yield Finding(
            "storage", "note", f"{root} does not exist yet; the first run makes it. Elsewhere: ASSAY_STORAGE."
        )
        return
    yield from found_by("results", lambda: _results(root, deep))
    yield from found_by("records", lambda: _records(root, specs))
    yield from found_by("tables", lambda: _tables(root, deep))
    yield from found_by("index", lambda: _index(root))
    yield from found_by("locks", lambda: _locks(specs))
    yield from found_by("leftovers", lambda: _leftovers(root, specs))


def _listed(area: str, problems: Iterable[str], fine: str) -> Iterator[Finding]:
    """Yield the first problems, and how many more there are; or, without any, that all is fine."""
    listed = iter(problems)
    shown = list(islice(listed, MOST_LISTED))
    yield from (Finding(area, "problem", each) for each in shown)
    if more := sum(1 for _ in listed):
        yield Finding(area, "problem", f"… and {more:,} more of this kind.")
    if not shown:
        yield Finding(area, "ok", fine)


def _results(root: Path, deep: bool) -> Iterator[Finding]:
    paths, linked = result_folders(root)
    yield from (Finding("results", "note", f"{each}, and 'assay gc' leaves it alone.") for each in linked)
    latest = paths if deep else sorted(paths, key=_changed, reverse=True)[:QUICK_RESULTS]
    what = "the same bytes as" if deep else "all files of"
    told = f"{len(latest):,} of {len(paths):,} results have {what} their manifests"
    hint = "." if deep else "; every byte is compared by: assay doctor --deep."
    yield from _listed("results", (line for path in latest for line in _damage(path, deep)), f"{told}{hint}")


def _changed(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0


def _damage(folder: Path, deep: bool) -> Iterator[str]:
    """Yield what is wrong with a result's folder, in one sentence; nothing of one that is deleted at this moment."""
    stage = folder.parent.name
    try:
        manifest = read_stored(folder / MANIFEST, ResultManifest, MOST_MANIFEST_BYTES)
        if (manifest["stage"], manifest["fingerprint"]) != (stage, folder.name):
            wrong = [f"its {MANIFEST} is that of {manifest['stage']} {manifest['fingerprint']}"]
        elif deep:
            wrong = verify(Result(stage, folder.name, folder))
        else:
            wrong = _other_sizes(folder, {name: entry["size_bytes"] for name, entry in manifest["files"].items()})
    except FileNotFoundError:
        wrong = [f"it has no {MANIFEST}"] if folder.is_dir() else []
    except (StorageError, OSError) as error:
        wrong = [str(error)]
    if wrong:
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        yield f"{folder}: {one_line(wrong[0])}{more}. Delete this folder: {stage} is then made again."


def _other_sizes(folder: Path, expected: dict[str, int]) -> list[str]:
    found = {name: status.st_size for name, status in entries_below(folder) if name != MANIFEST}
    missing = [f"{name} is missing" for name in expected if name not in found]
    extra = [f"{name} is not in the manifest" for name in found if name not in expected and not is_leftover(name)]
    sizes = [
        f"{name} has {found[name]:,} bytes instead of {size:,}"
        for name, size in expected.items()
        if name in found and found[name] != size
    ]
    return missing + extra + sizes


def _records(root: Path, specs: SpecFiles) -> Iterator[Finding]:
    """Yield damaged records of experiments, and pointers of living ones to results that are gone."""
    if not specs.folder.is_dir():
        remedy = "'assay new TASK' makes it; elsewhere: ASSAY_EXPERIMENTS"
        yield Finding("records", "note", f"There is no folder {specs.folder} of experiments; {remedy}.")
        return
    usage = UsageReader(root, specs).look()
    remedy = "Mend or remove what it names; until then, 'assay gc' keeps what is in doubt."
    problems = [*(f"{each}. {remedy}" for each in usage.problems), *_lost_results(root, usage.living)]
    fine = f"{len(usage.living):,} experiments; every record can be read, every pointer leads to a result."
    yield from _listed("records", problems, fine)


def _lost_results(root: Path, living: set[str]) -> Iterator[str]:
    # In the cache of a bucket, data of other machines come when they are needed.
    pointers = sorted((root / "pointers").glob("*/*.json")) if remote_of(root.absolute()) is None else ()
    for path in pointers:
        experiment_id = path.parent.name
        if experiment_id not in living or not is_id(experiment_id):
            continue
        with suppress(FileNotFoundError, StorageError):  # one that is damaged was told already
            made = read_stored(path, Pointer)
            if ResultStore(root).find(made["stage"], made["fingerprint"]) is None:
                gone = f"{made['stage']} {made['fingerprint']}"
                yield f"{path} leads to {gone}, which is gone. Make it again: assay run {experiment_id}"


def _tables(root: Path, deep: bool) -> Iterator[Finding]:
    tables = find_tables(root)
    partitions = [(table, key) for table in tables for key in table.versions]
    looked = partitions if deep else partitions[:QUICK_TABLES]
    problems: list[str] = []
    for table, key in looked:
        try:
            place_of(root, table.schema, table.table, table.column, key).checked()
        except AssayError as error:
            problems.append(str(error))
    fine = f"{len(looked):,} of {len(partitions):,} partitions of {len(tables)} tables are as they were stored."
    yield from _listed("tables", problems, fine)


def _index(root: Path) -> Iterator[Finding]:
    path = root / "warehouse.duckdb"
    if not path.exists():
        yield Finding("index", "ok", f"{path} does not exist yet; the first 'assay sql' makes it.")
        return
    try:
        index = open_index(path)
    except IndexInUseError as error:
        yield Finding("index", "note", str(error))
        return
    if index is None:
        remedy = "The next query makes it anew from the tables, or: assay sql --rebuild"
        yield Finding("index", "problem", f"{path} can't be read by this version of DuckDB. {remedy}")
        return
    index.connection.close()
    yield Finding("index", "ok", f"{path} can be read.")


def _locks(specs: SpecFiles) -> Iterator[Finding]:
    dead, living = [], 0
    for folder in lock_folders(specs.locations).values():
        heartbeat_of(folder)
        for holder in holders(folder):
            if holder.alive is False:
                dead.append(holder)
            else:
                living += 1
    for holder in dead[:MOST_LISTED]:
        yield Finding("locks", "note", f"Left by a process that died: {describe(holder)}. Next: assay locks --clear")
    if len(dead) > MOST_LISTED:
        yield Finding("locks", "note", f"… and {len(dead) - MOST_LISTED:,} more. Next: assay locks --clear")
    if not dead:
        yield Finding("locks", "ok", f"{living} held by living processes, none left by dead ones.")


def _leftovers(root: Path, specs: SpecFiles) -> Iterator[Finding]:
    found = list(find_leftovers(root, specs.folder, specs.locations))
    if not found:
        yield Finding("leftovers", "ok", "Killed processes left nothing that is older than a day.")
        return
    yield Finding(
        "leftovers", "note", f"{len(found)} left by killed processes, such as {found[0].path}. Next: assay gc"
    )


LEAST_FREE_BYTES = 2**30
"""Free space below which a result may not be finished."""

LITTLE_FREE_BYTES = 10 * 2**30
"""Free space that is told."""

LARGEST_SKEW_S = 5.0
"""Difference between two clocks, in seconds, from which times of locks and runs mislead."""

NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "ceph", "fuse.glusterfs", "lustre", "beegfs", "gpfs"}
)
"""File systems that several machines may use, as Linux calls them."""


def check_disk(folder: Path) -> Iterator[Finding]:
    """Yield whether there is space where a folder is, or will be, and whether it can be written."""
    place = _existing(folder)
    free, system = shutil.disk_usage(place).free, os.statvfs(place)
    told = f"{free / 2**30:,.1f} GiB are free at {place}"
    if free < LEAST_FREE_BYTES:
        yield Finding("disk", "problem", f"{told}: too little for new results. Free some, such as by: assay gc")
    elif free < LITTLE_FREE_BYTES:
        yield Finding("disk", "note", f"{told}. Unused results are deleted by: assay gc")
    elif system.f_files and not system.f_favail:
        yield Finding("disk", "problem", f"No more files can be made at {place}: delete some, such as by: assay gc")
    else:
        yield Finding("disk", "ok", f"{told}.")
    if not os.access(place, os.W_OK | os.X_OK):
        yield Finding("disk", "problem", f"{place} can't be written by this user. Change its owner or rights.")


def _existing(path: Path) -> Path:
    """Return the path, or the nearest folder above it that exists."""
    return next(each for each in (path, *path.parents) if each.exists())


def check_file_system(root: Path, kind: str | None = None) -> Iterator[Finding]:
    """Yield whether renaming, links and locks work where a storage is, in a temporary folder that is removed again.

    Args:
        root: Storage root, which need not exist.
        kind: Kind of its file system; None: as the machine says.
    """
    if not root.is_dir():
        return
    kind = file_system_of(root) if kind is None else kind
    with TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=root) as name:
        yield from _features(Path(name), kind)
    if kind in NETWORK and heartbeat_of(root / "locks") is None:
        why = f"{root} is on a network file system ({kind}), where locks of the operating system may not hold"
        yield Finding("file system", "problem", f"{why}. Next, while nothing runs: assay locks --shared")


def _features(folder: Path, kind: str) -> Iterator[Finding]:
    file, other = folder / "file", folder / "other"
    file.touch()
    skew_s = file.stat().st_mtime - time.time()
    if abs(skew_s) > LARGEST_SKEW_S:
        told = f"Its clock and this machine's differ by {abs(skew_s):.0f} s"
        yield Finding("file system", "problem", f"{told}. Let both follow one time server (NTP).")
    features = {
        "rename onto an existing file": lambda: _rename(file, other),
        "make symbolic links": lambda: (folder / "link").symlink_to("file"),
        "lock files": lambda: _lock(file),
        "flush a folder to the disk": lambda: fsync_path(folder),
    }
    broken = [what for what, use in features.items() if not _works(use)]
    for what in broken:
        yield Finding("file system", "problem", f"It can't {what}. Put the storage elsewhere: ASSAY_STORAGE.")
    if not _works(lambda: os.link(file, folder / "hard")):
        told = "It has no hard links, so results in folders of experiments are copies and take twice the space"
        yield Finding("file system", "note", f"{told}.")
    elif not broken:
        where = f" ({kind})" if kind else ""
        yield Finding("file system", "ok", f"Renaming, hard links, symbolic links and locks work{where}.")


def _works(use: Callable[[], object]) -> bool:
    try:
        use()
    except OSError:
        return False
    return True


def _rename(file: Path, other: Path) -> None:
    other.touch()
    file.replace(other)
    other.replace(file)


def _lock(path: Path) -> None:
    """Lock a file, and see that a second descriptor does not get the lock.

    Raises:
        OSError: There are no such locks, or they hold nobody up.
    """
    with path.open("rb") as first, path.open("rb") as second:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        raise OSError("a second lock was given")


def file_system_of(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """Return the kind of file system that a path is on, such as ``ext4``; empty where that can't be told (macOS)."""
    try:
        lines = read_text(mounts).splitlines()
    except (FileNotFoundError, FileError):
        return ""
    kinds = {}
    for line in lines:
        place, _, rest = line.partition(" - ")
        kinds[re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), place.split(" ")[4])] = rest.split(" ")[0]
    resolved = path.resolve()
    return next((kinds[str(each)] for each in (resolved, *resolved.parents) if str(each) in kinds), "")
